from __future__ import annotations

from dataclasses import fields, replace
import json
import math
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
import pytest

from anydepth_core.evaluation.benchmark import (
    BenchmarkReport,
    FORMAT,
    Machine,
    Memory,
    PeerFigures,
    PointFigures,
    read_report,
    Spread,
    write_report,
)
from anydepth_core.evaluation.benchmark_picture import can_draw, draw
from anydepth_core.evaluation.benchmark_table import format_report, format_table
from anydepth_core.evaluation.latency import Latency
from anydepth_core.structures import Timing

SPREAD = Spread(10.0, 12.5, 14.0, 2.5)
POINT = PointFigures(
    level=0,
    depth='0000-0000',
    image_size=(64, 96),
    ap=0.3,
    multiply_adds=2e6,
    preprocess=SPREAD,
    inference=SPREAD,
    postprocess=SPREAD,
    total=SPREAD,
    time_over_dearest=0.5,
    resident_added_mb=12.0,
    device_added_mb=3.0,
    power_w=7.0,
    energy_j=0.125,
    energy_above_idle_j=0.0625,
)
UNKNOWN = replace(
    POINT,
    level=None,
    ap=None,
    time_over_dearest=None,
    resident_added_mb=None,
    device_added_mb=None,
    power_w=None,
    energy_j=None,
    energy_above_idle_j=None,
)
PEER = PeerFigures('other', {'x': (1, 3, 64, 32), 'size': (1, 2)}, 0.25, SPREAD, 0.75, 8.0)
REPORT = BenchmarkReport(
    format=FORMAT,
    anydepth='0.1.0',
    date='2026-01-01T00:00:00+00:00',
    machine=Machine('a board', None, 4, 'Linux', {'python': '3.10'}),
    model='toy (orig)',
    image_size=(64, 96),
    runs_on='ONNX Runtime',
    peers_run_on='ONNX Runtime (cpu)',
    runs=3,
    picture=(48, 64),
    memory=Memory(50.0, 62.0, 1.0, 4.0),
    idle_power_w=5.0,
    full_over_base_time=1.3,
    full_over_base_multiply_adds=1.25,
    points=(POINT, UNKNOWN),
    peers=(PEER,),
)
BARE = replace(
    REPORT,
    memory=Memory(None, None, None, None),
    peers_run_on=None,
    idle_power_w=None,
    full_over_base_time=None,
    full_over_base_multiply_adds=None,
    points=(UNKNOWN,),
    peers=(),
)


@pytest.mark.parametrize('report', [REPORT, BARE])
def test_a_report_is_read_back_as_it_was_written(report, tmp_path):
    pytest.importorskip('dacite', reason='reading a report needs dacite')
    write_report(report, tmp_path / 'a.json')
    assert read_report(tmp_path / 'a.json') == report


numbers = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True))


@given(energy=numbers, ratio=numbers, added=numbers)
def test_what_is_no_number_becomes_null_and_never_zero(energy, ratio, added, tmp_path_factory):
    point = replace(POINT, energy_j=energy, time_over_dearest=ratio, resident_added_mb=added)
    path = tmp_path_factory.mktemp('report') / 'a.json'
    write_report(replace(REPORT, points=(point,)), path)
    written = json.loads(path.read_text())['points'][0]
    for name, value in (
        ('energy_j', energy),
        ('time_over_dearest', ratio),
        ('resident_added_mb', added),
    ):
        assert written[name] == (value if value is not None and math.isfinite(value) else None)


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'format': 2}, 'format 2 is not known: this version reads 1'),
        ({'runs': 'many'}, 'runs must be a whole number'),
        ({'colour': 'red'}, 'unknown setting colour'),
    ],
)
def test_another_file_is_refused_by_name(change, words, tmp_path):
    pytest.importorskip('dacite', reason='reading a report needs dacite')
    path = tmp_path / 'a.json'
    write_report(REPORT, path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=f'a.json is no report .*{words}.* --output'):
        read_report(path)
    with pytest.raises(ValueError, match=r'b\.json is no report'):
        read_report(tmp_path / 'b.json')


@pytest.mark.parametrize(
    'kind', [BenchmarkReport, Machine, Memory, PointFigures, PeerFigures, Spread]
)
def test_every_field_is_documented(kind):
    page = (Path(__file__).parents[3] / 'docs' / 'benchmarks.md').read_text()
    assert [field.name for field in fields(kind) if f'`{field.name}`' not in page] == []


def test_jitter_is_how_far_the_95th_percentile_lies_beyond_the_median():
    latency = Latency(tuple(Timing(0.0, float(time), 0.0) for time in range(101)))
    assert Spread.of(latency, 'inference_ms') == Spread(50.0, 95.0, 99.0, 45.0)


def test_columns_of_which_nothing_is_known_are_left_out():
    heading, known, unknown, peer = format_table(REPORT).splitlines()
    assert 'J/frame' in heading and 'GPU MB' in heading
    assert ' 0.125 ' in known and ' +12.0 ' in known
    assert peer.split()[:3] == ['-', 'other', '64x32'] and peer.endswith(' 0.75')
    heading, _ = format_table(BARE).splitlines()
    assert {'MB', 'J/frame', 'AP', 'level'}.isdisjoint(heading.split())


def test_what_is_unknown_is_not_told_as_zero():
    text = format_report(BARE)
    assert 'at rest' not in text and 'resident' not in text and 'peers' not in text
    assert 'full / base: not measured' in text
    text = format_report(REPORT)
    assert 'power at rest: 5.00 W' in text and '62 MB with all 2' in text
    assert 'memory in use on the GPU: 1 MB with none ready, 4 MB' in text


@pytest.mark.parametrize(
    'report',
    [
        REPORT,
        replace(REPORT, points=(replace(POINT, level=None), POINT)),
        replace(REPORT, points=(POINT,), peers=(PEER,) * 9),
        replace(REPORT, points=(POINT, UNKNOWN), peers=(replace(PEER, ap=None),)),
    ],
)
def test_the_picture_is_drawn(report, tmp_path):
    pytest.importorskip('matplotlib', reason='the picture needs matplotlib')
    assert can_draw(report)
    draw(report, tmp_path / 'a.png')
    assert (tmp_path / 'a.png').read_bytes()[:4] == b'\x89PNG'


def test_there_is_no_picture_without_an_ap_of_ours():
    assert not can_draw(replace(BARE, peers=(PEER,)))
