"""The command shows a device in one table."""

import pytest

from anydepth_core.cli import main
from tests.anydepth_core.sensing.fake_device import write_jetson


def test_a_device_is_shown_with_what_it_lacks_and_what_reading_costs(tmp_path, capsys):
    assert main(['sensors', '--root', str(write_jetson(tmp_path)), '--seconds', '0.5']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split() == ['Temperature', 'gpu-thermal', '(C)', '48.2'] for line in lines)
    assert any(line.split() == ['Battery', '(%)', 'n/a'] for line in lines)
    assert 'not on this device: battery: none in /sys/class/power_supply' in lines
    assert lines[-1].startswith('reading took ') and '% of a core over 0.5' in lines[-1]


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--root', '/nowhere'], '--root /nowhere is no directory'),
        (['--seconds', '0'], '--seconds 0 is not legal: give up to 3600'),
        (['--seconds', 'nan'], '--seconds nan is not legal'),
    ],
)
def test_what_is_not_legal_is_said_in_one_sentence(capsys, arguments, message):
    assert main(['sensors', *arguments]) == 1
    printed = capsys.readouterr()
    assert printed.out == '' and printed.err.count('\n') == 1 and message in printed.err
