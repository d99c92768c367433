from __future__ import annotations

import argparse
import re

import cv2
import pytest

from anydepth_core.commands import benchmark
from anydepth_core.runtime.level_graphs import LevelGraphs
from tests.anydepth_core.support.toy_bundle import (
    LADDER,
    picture,
    SPACE,
    write_toy_bundle,
    write_toy_detr_bundle,
)


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
            benchmark.run(
                parser.parse_args([str(bundle.path), '--runs', '3', *map(str, arguments)])
            )
            == 0
        )
        return capsys.readouterr().out.splitlines()

    return run


def test_every_level_is_a_row_with_p50_and_p95_of_each_step(start):
    title, _, heading, *rows, ratio, note = start()
    assert '1 thread(s)' in title and 'spinning off' in title and '3 interleaved runs' in title
    assert heading.split() == list(benchmark._HEADING)
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
    assert 'ratios on this machine' in note


def test_multiply_adds_are_counted_in_the_graph_that_runs(bundle):
    graphs = LevelGraphs(bundle)
    small, base, full = (benchmark.multiply_adds(graphs, point) for point in LADDER)
    # 9 anchors: three 3x3 essential convolutions, the head (3x3) and its first row (3), and three
    # refinements (3x3)
    assert base == 9 * (3 * 9 + 9 + 3) and full == base + 9 * 3 * 9
    assert small == base * 4 / 9


def test_chosen_depths_only_and_each_once(start):
    _, _, _, *rows, ratio, _ = start('--depths', 'base,1,10-1')
    assert [row.split()[:2] for row in rows] == [['1', '00-0'], ['-', '10-1']]
    assert 'not measured' in ratio


def test_full_and_base_are_added_to_a_ladder_without_them(tmp_path):
    middle = SPACE.parse('10-1')
    bundle = write_toy_bundle(tmp_path / 'b', ladder=[benchmark.OperatingPoint(middle, (64, 64))])
    depths = [point.depth for point in benchmark._points(bundle, None)]
    assert depths == [middle, SPACE.base, SPACE.full]


def test_decoder_layers_are_timed_as_part_of_the_depth(tmp_path, capsys):
    bundle = write_toy_detr_bundle(tmp_path / 'detr')
    parser = argparse.ArgumentParser()
    benchmark.add_arguments(parser)
    words = [str(bundle.path), '--runs', '2', '--depths', '0000-0d1,full,base']
    assert benchmark.run(parser.parse_args(words)) == 0
    _, _, _, *rows, ratio, _ = capsys.readouterr().out.splitlines()
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
    ],
)
def test_wrong_settings_are_refused_in_one_sentence(start, arguments, words):
    with pytest.raises(ValueError, match=words) as refusal:
        start(*arguments)
    assert '\n' not in str(refusal.value)


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
