"""The command prints figures, writes them down and says in one sentence what is wrong."""

from __future__ import annotations

import json
import sys

import pytest

from anydepth_core.cli import main
from anydepth_core.commands.replay import format_table

RECORDING = 'time_s,latency_ms,latency_level,temp:gpu\n' + ''.join(
    f'{index},{30 + index % 5},{index % 2},{50 + index}\n' for index in range(40)
)
PROFILE = (
    'levels:\n'
    '- {depth: base, latency_ms: 20, latency_p95_ms: 22}\n'
    '- {depth: full, latency_ms: 40, latency_p95_ms: 44}\n'
)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Work in a folder with a recording, a profile and a controller file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'trace.csv').write_text(RECORDING)
    (tmp_path / 'broken.csv').write_text('time_s\n1\nx\n')
    (tmp_path / 'notes.txt').write_text('time_s\n1\n')
    (tmp_path / 'profile.yaml').write_text(PROFILE)
    (tmp_path / 'controller.yaml').write_text('targets: {deadline_ms: 36}\n')
    (tmp_path / 'unknown.yaml').write_text('targets: {deadline: 36}\n')
    return tmp_path


def test_policies_stand_side_by_side_on_a_simulation(files, capsys):
    pytest.importorskip('matplotlib')
    assert main(['replay', 'latency_step', '--compare', '--seed', '1', '--output', 'here']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == 'latency step, simulated, noise 0.05, seed 1'
    assert ' '.join(lines[1].split()) == 'always full always base published law ours'
    assert len({len(line) for line in lines[1:12]}) == 1
    written = json.loads((files / 'here/replay.json').read_text())
    (replay,) = written['replays']
    assert (replay['source'], replay['loop'], written['seed']) == ('latency_step', 'closed', 1)
    figures = replay['figures']
    ours, published = figures['ours'], figures['published law']
    assert ours['tracking_error_ms'] < published['tracking_error_ms']
    shown = next(line for line in lines if line.startswith('tracking error')).split()
    assert shown[-1] == f'{ours["tracking_error_ms"]:.3f}'
    assert replay['decisions'][0]['reason'].startswith('level ')
    assert (files / 'here/replay.png').read_bytes()[:4] == b'\x89PNG'


def test_heat_takes_away_what_is_best_in_hindsight(files, capsys):
    pytest.importorskip('matplotlib')
    assert main(['replay', 'sensor_faults']) == 0
    printed = capsys.readouterr().out
    assert 'over the hard limit (s)' in printed and 'in hindsight' not in printed


def test_the_same_command_writes_the_same_figures(files):
    pytest.importorskip('matplotlib')
    for folder in ('one', 'two'):
        assert main(['replay', 'sawtooth', '--noise', '0.1', '--output', folder]) == 0
    first, second = ((files / folder / 'replay.json').read_text() for folder in ('one', 'two'))
    assert first == second


def test_a_battery_mission_is_compared_with_the_best_in_hindsight(files, capsys):
    pytest.importorskip('matplotlib')
    assert main(['replay', 'battery_mission']) == 0
    assert 'in hindsight: 0.4' in capsys.readouterr().out
    (replay,) = json.loads((files / 'out/replay/replay.json').read_text())['replays']
    assert replay['figures']['ours']['mean_ap'] <= replay['best_mean_ap']


def test_a_recording_shows_what_would_have_been_chosen(files, capsys):
    pytest.importorskip('matplotlib')
    pytest.importorskip('dacite')
    options = ['--controller', 'controller.yaml', '--profile', 'profile.yaml', '--compare']
    assert main(['replay', 'trace.csv', *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith('trace.csv, 40 records; ')
    assert ' '.join(lines[1].split()) == 'served always full always base published law ours'
    (replay,) = json.loads((files / 'out/replay/replay.json').read_text())['replays']
    assert replay['loop'] == 'open' and len(replay['figures']) == 5
    assert replay['figures']['served']['mean_latency_ms'] == 32.0
    assert replay['targets'][0]['deadline_ms'] == 36.0


def test_a_recording_gives_its_own_profile(files):
    pytest.importorskip('matplotlib')
    assert main(['replay', 'trace.csv']) == 0
    (replay,) = json.loads((files / 'out/replay/replay.json').read_text())['replays']
    assert [level['latency_ms'] for level in replay['profile']['levels']] == [32.0, 32.0]


def test_a_rosbag_is_replayed_like_a_recording(files, capsys):
    pytest.importorskip('matplotlib')
    pytest.importorskip('rosbags')
    from tests.anydepth_core.support.recorded_bags import stats, write_bag

    entries = [('/r/stats', 0.05 * index, stats(index % 2, 30 + index % 5)) for index in range(40)]
    write_bag(files / 'bag', entries)
    assert main(['replay', 'bag', '--namespace', 'r']) == 0
    assert capsys.readouterr().out.startswith('bag, 40 records; ')
    (replay,) = json.loads((files / 'out/replay/replay.json').read_text())['replays']
    assert replay['figures']['served']['mean_latency_ms'] == 32.0


def test_all_scenarios_have_a_picture_each(files, monkeypatch):
    from anydepth_core.control import replay

    pytest.importorskip('matplotlib')
    few = {name: replay.SCENARIO_NAMES[name] for name in ('latency_step', 'sawtooth')}
    monkeypatch.setattr(replay, 'SCENARIO_NAMES', few)
    assert main(['replay', 'all']) == 0
    found = sorted(path.name for path in (files / 'out/replay').iterdir())
    assert found == ['replay.json', 'replay_latency_step.png', 'replay_sawtooth.png']
    written = json.loads((files / 'out/replay/replay.json').read_text())
    assert [replay['source'] for replay in written['replays']] == list(few)


def test_figures_that_nobody_has_have_no_line():
    lines = {key: (key, lambda value: f'{value:.1f}') for key in ('a', 'bb')}
    columns = {'one': {'a': 1.0, 'bb': None}, 'two': {'a': None, 'bb': None}, 'three': None}
    table = [line.split() for line in format_table(columns, lines).splitlines()]
    assert table == [['one', 'two', 'three'], ['a', '1.0', '-', '-']]


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['heats'], "'heats' is neither a file nor a scenario; scenarios: latency_step, sawtooth"),
        (['missing.csv'], "'missing.csv' is neither a file nor a scenario"),
        (['notes.txt'], 'give a file that ends in .csv or .jsonl'),
        (['.'], 'give a file that ends in .csv or .jsonl'),
        (['broken.csv'], "broken.csv is no recording: line 3: time_s must be a number, not 'x'"),
        (['heat', '--profile', 'profile.yaml'], 'heat needs energy_j'),
        (['heat', '--profile', 'nowhere.yaml'], 'nowhere.yaml'),
        (['heat', '--controller', 'nowhere.yaml'], 'nowhere.yaml'),
        (['heat', '--controller', 'unknown.yaml'], 'unknown setting deadline'),
        (['heat', '--noise', '-0.1'], '--noise -0.1 is not legal: give 0 to 0.5'),
        (['heat', '--noise', 'nan'], '--noise nan is not legal'),
        (['trace.csv', '--noise', '0.1'], '--noise is for simulations'),
        (['trace.csv', '--camera', 'front'], '--namespace and --camera are for rosbags'),
        (['heat', '--seed', '-1'], '--seed -1 is not legal'),
        (['heat', '--output', 'trace.csv'], '--output trace.csv is a file'),
    ],
)
def test_what_is_not_legal_is_said_in_one_sentence(files, capsys, arguments, message):
    pytest.importorskip('dacite')
    assert main(['replay', *arguments]) == 1
    printed = capsys.readouterr()
    assert printed.out == '' and printed.err.count('\n') == 1
    assert printed.err.startswith('anydepth replay: ') and message in printed.err


def test_without_matplotlib_one_sentence_names_the_extra(files, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, 'matplotlib.figure', None)
    assert main(['replay', 'trace.csv']) == 1
    assert 'pip install "anydepth-ros[demo]"' in capsys.readouterr().err
