from __future__ import annotations

import argparse
import json
import re

import cv2
from onnx import TensorProto
import pytest

from anydepth_core.commands import benchmark
from anydepth_core.evaluation.benchmark import read_report
from anydepth_core.evaluation.benchmark_run import multiply_adds, Plan, run_benchmark
from anydepth_core.runtime import backends
from tests.anydepth_core.runtime.tensorrt.support import Rig
from tests.anydepth_core.sensing.fake_device import write_jetson
from tests.anydepth_core.support.peer_model import write_model
from tests.anydepth_core.support.toy_bundle import (
    LADDER,
    picture,
    SPACE,
    write_toy_bundle,
    write_toy_detr_bundle,
)

QUICK = ('--runs', '3', '--energy-seconds', '0')


@pytest.fixture(scope='module')
def bundle(tmp_path_factory):
    return write_toy_bundle(tmp_path_factory.mktemp('benchmark') / 'toy')


@pytest.fixture
def start(bundle, capsys):
    """Run the command with the toy bundle and few runs; return what it prints."""

    def run(*arguments):
        parser = argparse.ArgumentParser()
        benchmark.add_arguments(parser)
        assert (
            benchmark.run(parser.parse_args([str(bundle.path), *QUICK, *map(str, arguments)])) == 0
        )
        return capsys.readouterr().out.splitlines()

    return run


def test_every_level_is_a_row_with_p50_and_p95_of_each_step(start):
    title, device, heading, *rows, memory, ratio, note = start()
    assert '1 thread(s)' in title and 'spinning off' in title and '3 interleaved runs' in title
    assert 'milliseconds' in device
    assert heading.startswith('level') and 'preprocess ' in heading
    assert {'depth', 'inference', 'p99', 'jitter', 'total', 'MB', 'AP'} < set(heading.split())
    assert [row.split()[:3] for row in rows] == [
        ['0', '00-0', '64x64'],
        ['1', '00-0', '96x96'],
        ['2', '11-1', '96x96'],
    ]
    for row in rows:
        pairs = re.findall(r'(\d+\.\d\d) / (\d+\.\d\d)', row)
        assert len(pairs) == 4 and all(float(middle) <= float(tail) for middle, tail in pairs)
        assert re.search(r'\d\.\d M +\d+\.\d\d$', row)
    assert rows[-1].endswith(' 1.00')  # the dearest, by multiply-adds
    assert re.fullmatch(
        r'full / base at 96x96: inference time [\d.]+ \(.*\), multiply-adds [\d.]+', ratio
    )
    assert 'with all 3' in memory and 'ratios on this machine' in note


def test_multiply_adds_are_counted_in_the_graph_that_runs(bundle):
    small, base, full = multiply_adds(bundle, LADDER)
    # 9 anchors: three 3x3 essential convolutions, the head (3x3) and its first row (3), and three
    # refinements (3x3)
    assert base == 9 * (3 * 9 + 9 + 3) and full == base + 9 * 3 * 9
    assert small == base * 4 / 9


def test_chosen_depths_only_and_each_once(start):
    _, _, _, *rows, _, ratio, _ = start('--depths', 'base,1,10-1')
    assert [row.split()[:2] for row in rows] == [['1', '00-0'], ['-', '10-1']]
    assert 'not measured' in ratio


def test_full_and_base_are_added_to_a_ladder_without_them(tmp_path):
    middle = SPACE.parse('10-1')
    bundle = write_toy_bundle(tmp_path / 'b', ladder=[benchmark.OperatingPoint(middle, (64, 64))])
    depths = [point.depth for point in benchmark._points(bundle, None, 9)]
    assert depths == [middle, SPACE.base, SPACE.full]
    assert len(benchmark._points(bundle, None, 2)) == 2
    assert len(benchmark._points(bundle, None, 1)) == 1


def test_decoder_layers_are_timed_as_part_of_the_depth(tmp_path, capsys):
    bundle = write_toy_detr_bundle(tmp_path / 'detr')
    parser = argparse.ArgumentParser()
    benchmark.add_arguments(parser)
    words = [str(bundle.path), *QUICK, '--depths', '0000-0d1,full,base']
    assert benchmark.run(parser.parse_args(words)) == 0
    _, _, _, *rows, _, ratio, _ = capsys.readouterr().out.splitlines()
    assert [row.split()[1] for row in rows] == ['0000-0d1', '1111-1d3', '0000-0d2']
    assert ratio.startswith('full / base at 96x96: inference time')


def test_a_picture_can_be_given(start, tmp_path):
    cv2.imwrite(str(tmp_path / 'one.png'), picture((0, 0, 0), size=(50, 70)))
    assert '70x50 picture' in start('--image', tmp_path / 'one.png', '--depths', 'base')[0]


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (('--runs', '0'), '--runs 0'),
        (('--depths', 'deep'), 'deep'),
        (('--depths', ','), '--depths'),
        (('--image', '/nothing.png'), 'nothing.png cannot be read'),
        (('--threads', '-1'), 'threads -1'),
        (('--output', 'figures.csv'), 'give a name that ends in .json'),
        (('--energy-seconds', '-1'), '--energy-seconds -1 is not legal'),
        (('--energy-seconds', 'nan'), '--energy-seconds nan is not legal'),
        (('--compare', '/nothing.onnx'), 'there is no file /nothing.onnx'),
        (('--compare-size', '33'), "input size '33' is not legal"),
    ],
)
def test_wrong_settings_are_refused_in_one_sentence(start, arguments, words):
    with pytest.raises(ValueError, match=words) as refusal:
        start(*arguments)
    assert '\n' not in str(refusal.value)


def test_figures_and_picture_are_written_with_peers_in_the_same_rounds(start, tmp_path):
    pytest.importorskip('matplotlib', reason='the picture needs matplotlib')
    pytest.importorskip('dacite', reason='reading a report needs dacite')
    peer = write_model(
        tmp_path / 'peer.onnx',
        ('pixels', TensorProto.FLOAT, [1, 3, 'H', 'W']),
        ('orig_target_sizes', TensorProto.INT64, ['N', 2]),
    )
    path = tmp_path / 'out' / 'figures.json'
    lines = start('--compare', f'other={peer}:0.25', '--compare-size', '32x64', '--output', path)
    assert lines[1] == 'peers on ONNX Runtime (cpu), 1 thread(s), spinning off'
    assert any(line.split()[:3] == ['-', 'other', '32x64'] for line in lines)
    assert lines[-2:] == [f'figures: {path}', f'picture: {path.with_suffix(".png")}']
    assert path.with_suffix('.png').read_bytes()[:4] == b'\x89PNG'
    report = read_report(path)
    assert (report.runs, report.image_size, report.picture) == (3, (96, 96), (480, 640))
    assert [(point.level, point.ap) for point in report.points] == [(0, 0.2), (1, 0.3), (2, 0.4)]
    assert report.points[2].time_over_dearest == 1 and report.full_over_base_time > 0
    assert report.peers[0].inputs == {'pixels': (1, 3, 32, 64), 'orig_target_sizes': (1, 2)}
    assert report.peers[0].ap == 0.25
    assert report.machine.accelerator is None and report.memory.device_ready_mb is None


def test_without_an_ap_there_are_figures_and_no_picture(start, tmp_path):
    lines = start('--depths', '10-1', '--output', tmp_path / 'figures.json')
    assert lines[-1].startswith('no picture: ')
    assert json.loads((tmp_path / 'figures.json').read_text())['points'][0]['ap'] is None
    assert not (tmp_path / 'figures.png').exists()


def test_energy_is_that_of_the_machine_where_it_is_readable(bundle, tmp_path):
    settings = backends.RuntimeSettings(threads=1)
    runtime = backends.open_runtime(bundle, settings)
    image = picture((0, 0, 0))
    for root, power_w in ((write_jetson(tmp_path / 'jetson'), 7.0), (tmp_path / 'none', None)):
        plan = Plan(LADDER, 1, image, energy_s=0.05, sensor_root=root)
        report = run_benchmark(bundle, runtime, settings, plan)
        assert report.idle_power_w == (power_w and pytest.approx(power_w))
        for point in report.points:
            assert (point.energy_j is None) == (power_w is None)
            assert point.power_w == (power_w and pytest.approx(power_w))


def test_tensorrt_engines_are_measured_with_the_memory_of_the_gpu(tmp_path, start, monkeypatch):
    rig = Rig(write_toy_bundle(tmp_path / 'toy'), tmp_path / 'engines')
    rig.build(*LADDER)
    path = tmp_path / 'figures.json'
    with rig.runtime(max_points=2) as runtime:
        monkeypatch.setattr(backends, 'open_runtime', lambda bundle, settings: runtime)
        words = ('--backend', 'tensorrt', '--precision', 'fp16', '--output', path)
        with pytest.raises(ValueError, match='keeps 2 of 3 operating points .* with --depths'):
            start(*words)
    with rig.runtime() as runtime:
        monkeypatch.setattr(backends, 'open_runtime', lambda bundle, settings: runtime)
        lines = start(*words)
    assert 'TensorRT (fp16)' in lines[0] and rig.cudart.name in lines[1]
    assert any('memory in use on the GPU' in line for line in lines)
    report = json.loads(path.read_text())
    assert report['machine']['accelerator'] == rig.cudart.name
    assert report['memory']['device_ready_mb'] > report['memory']['device_before_mb']
    assert all(point['device_added_mb'] is not None for point in report['points'])


def test_a_model_with_random_weights_is_timed_without_a_bundle(start):
    pytest.importorskip('torch', reason='building a model needs torch')
    lines = start('--model', 'yolov12n', '--size', '64x96', '--runs', '1')
    assert lines[0].startswith('yolov12n (orig) on ONNX Runtime')
    assert re.search(r'1111-1111 +64x96', '\n'.join(lines))
    assert lines[-2].startswith('full / base at 64x96: inference time')


def test_an_unknown_model_is_refused_with_the_known_ones(start):
    with pytest.raises(ValueError, match='known: .*anydepth_rtdetr_r50'):
        start('--model', 'resnet')


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (('--rate', '10'), '--rate is for the running node: add --node'),
        (('--image-size', '64x48'), '--image-size is for the running node'),
        (('--profile',), '--profile is for the running node'),
        (('--node', '--depths', 'full'), '--depths is not for the running node: give one --depth'),
        (('--node', '--compare', 'x.onnx'), '--compare is not for the running node'),
        (('--node', '--energy-seconds', '3'), '--energy-seconds is not for the running node'),
        (('--node', '--image-size', '64'), "--image-size '64' is not legal"),
        (('--node', '--encoding', 'rgb16'), "--encoding 'rgb16' is not legal"),
        (('--node', '--depth', 'deep'), 'deep'),
        (('--contention',), '--contention is for the running node: add --node'),
        (('--node', '--deadline', '30'), '--deadline is for the closed loop: add --contention'),
        (('--node', '--rounds', '2'), '--rounds is for the closed loop: add --contention'),
        (('--node', '--contention', '--depth', '1'), '--depth is not for the closed loop'),
        (('--node', '--contention', '--overload', '2'), '--overload is not for the closed loop'),
    ],
)
def test_options_that_would_have_no_effect_or_are_wrong_are_refused(start, arguments, words):
    with pytest.raises(ValueError, match=words) as refusal:
        start(*arguments)
    assert '\n' not in str(refusal.value)


def test_the_node_is_measured_with_the_options_that_were_given(start, bundle, monkeypatch):
    from anydepth_ros.benchmark import run

    given = {}

    def record(bundle, settings, image_bgr):
        given.update(path=bundle.path, settings=settings, image_bgr=image_bgr)
        return 0

    monkeypatch.setattr(run, 'benchmark_node', record)
    assert start('--node', '--overload', '10', '--profile', '--threads', '2') == []
    settings = given['settings']
    assert (settings.overload, settings.profile, settings.runtime.threads) == (10.0, True, 2)
    assert (settings.rate, settings.image_size) == (30.0, '1280x720')
    assert given['path'] == bundle.path and given['image_bgr'] is None
    assert settings.contention is None
    assert start('--node', '--contention', '--deadline', '30', '--rounds', '2') == []
    settings = given['settings']
    assert (settings.contention, settings.deadline, settings.rounds) == (0, 30.0, 2)
    assert start('--node', '--contention', '4') == []
    assert (given['settings'].hogs(), given['settings'].deadline) == (4, None)


def test_rate_and_overload_exclude_each_other(start):
    with pytest.raises(SystemExit):
        start('--node', '--rate', '10', '--overload', '2')
