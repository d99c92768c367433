"""The command prints what each depth costs and what each refinement saves."""

from __future__ import annotations

import pytest

from anydepth_core.cli import main


@pytest.fixture
def printed(capsys):
    """Run the command; return its lines split into words, blank ones left out."""

    def run(*arguments):
        assert main(['complexity', *arguments]) == 0
        return [line.split() for line in capsys.readouterr().out.splitlines() if line]

    return run


def test_a_line_per_depth_then_a_line_per_stage_and_decoder_layer(printed):
    lines = printed('rtdetr_r18', '--depths', 'full,1111-0,base')
    assert lines[0][:4] == ['rtdetr_r18', '(corrected),', '80', 'classes,']
    assert [line[0] for line in lines[3:5]] == ['plain:', 'published:']
    columns = ['parameters', 'plain', 'published', 'plain/full']
    assert lines[5] == ['depth', *columns]
    assert [line[0] for line in lines[6:9]] == ['1111-1d3', '1111-0d3', '0000-0d2']
    assert lines[6][2:] == ['30.744', '30.865', '1.000']
    assert lines[8][2:] == ['18.963', '19.058', '0.617']
    assert lines[9] == ['saved', 'without', *columns]
    names = [' '.join(line[:-4]) for line in lines[10:]]
    assert names == [*(f'backbone.stage{n}' for n in (1, 2, 3, 4)), 'neck', 'one decoder layer']
    assert lines[14][2:] == ['3.277', '3.287', '0.107']
    parameters, kept, saved = (
        int(line[1].replace(',', '')) for line in (lines[6], lines[7], lines[14])
    )
    assert parameters - kept == saved == 4 * 2 * (9 * 128 * 128 + 128)


def test_a_model_without_decoder_at_another_size(printed):
    lines = printed('anydepth_yolov12n', '--variant', 'switch', '--size', '128x256')
    assert lines[0][:2] == ['anydepth_yolov12n', '(switch),'] and '128x256;' in lines[0]
    depths = [line[0] for line in lines[6:10]]
    assert depths == ['1111-1111', '1111-0000', '0000-1111', '0000-0000']
    assert lines[11][0] == 'backbone.stage1' and float(lines[11][2]) == 0
    assert lines[-1][0] == 'neck.down32' and len(lines) == 11 + 8


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['rtdetr_r19'], "no detector 'rtdetr_r19'; known: "),
        (['rtdetr_r18', '--variant', 'orig'], 'variants: corrected, published'),
        (['rtdetr_r18', '--size', '100'], "input size '100' is not legal"),
        (['rtdetr_r18', '--depths', '1111-1d4'], "depth '1111-1d4' is not legal"),
        (['rtdetr_r18', '--depths', ','], 'names no depth'),
        (['rtdetr_r18', '--classes', '0'], 'num_classes is 0'),
    ],
)
def test_what_is_not_legal_is_said_in_one_sentence(capsys, arguments, message):
    assert main(['complexity', *arguments]) == 1
    printed = capsys.readouterr()
    assert printed.out == '' and printed.err.count('\n') == 1
    assert printed.err.startswith('anydepth complexity: ') and message in printed.err
