"""Which depths of a run are measured, and with which norms."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from anydepth_core import build_detector
from anydepth_core.checkpoint.io import save_tensors
from anydepth_core.evaluation.experiments import norms
from anydepth_core.evaluation.experiments.matrix import Run, STUDIES
from anydepth_core.evaluation.experiments.measure import depths_of, last_weights
from anydepth_core.evaluation.experiments.norms import training_batches
from anydepth_core.models.yolov12.model import STAGES
from anydepth_core.train.settings import ModelSettings, TrainSettings


class FakeMeter:
    """AP falls by a little more for every later stage that is left out; all cost the same."""

    size = (64, 64)

    def point(self, detector, label, depth, norms='trained'):
        lost = sum(0.01 * stage for stage, runs in enumerate(depth.stages) if not runs)
        cost = 100 + sum(depth.stages)
        return SimpleNamespace(
            label=label, multiply_adds=cost, ap=0.5 - lost, norms=norms, detector=detector
        )


@pytest.fixture(scope='module')
def detector():
    return build_detector('anydepth_yolov12n', num_classes=2).eval()


def test_a_single_depth_is_measured_where_only_that_is_trained(detector, tmp_path):
    found = depths_of(detector, Run('base_only', 0, tmp_path), FakeMeter())
    assert found == {'base': detector.depth_space.base}


def test_guided_depths_leave_out_first_what_loses_least(detector, tmp_path):
    found = depths_of(detector, Run('any_depth', 0, tmp_path), FakeMeter())
    texts = {label: detector.depth_space.format(depth) for label, depth in found.items()}
    assert texts == {
        'full': '1111-1111',
        '1111-0000': '1111-0000',
        '0000-1111': '0000-1111',
        'guided -2': '0011-1111',
        'guided -5': '0000-0111',
        'base': '0000-0000',
    }
    assert len(STAGES) == 8


def test_weights_that_are_not_averaged_come_from_the_state(tmp_path):
    path = tmp_path / 'state.safetensors'
    save_tensors(path, {'detector/a': torch.ones(2), 'ema/a': torch.zeros(2)}, {})
    assert {key: value.tolist() for key, value in last_weights(path).items()} == {'a': [1, 1]}


@pytest.mark.parametrize('content', [None, b'', b'garbage' * 9])
def test_a_damaged_state_is_named(tmp_path, content):
    path = tmp_path / 'state.safetensors'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r'state\.safetensors is no readable state'):
        last_weights(path)


@pytest.fixture
def settings():
    return TrainSettings(
        model=ModelSettings('anydepth_yolov12n'), image_size=(64, 64), epochs=3, seed=1
    )


@pytest.fixture
def data(write_coco):
    json_path, images = write_coco(sizes=[(40, 60)] * 5, boxes=[(0, 0, 5, 5, 30, 20)])
    json_path.rename(json_path.parent / 'train.json')
    images.rename(json_path.parent / 'train')
    return json_path.parent


@pytest.mark.parametrize('augmented', [False, True])
def test_training_images_are_the_same_each_time(detector, settings, data, augmented):
    batches = training_batches(settings, detector, data, FakeMeter(), 4, augmented)
    first, second = (torch.cat(list(batches())) for _ in range(2))
    assert first.shape == (4, 3, 64, 64)
    assert torch.equal(first, second)
    assert first.min() >= 0 and 0.5 < first.max() <= 1


def changed(before, after):
    """Whether norms of full, and norms of base, have other statistics."""
    old, new = before.state_dict(), after.state_dict()
    names = [n for n in old if n.endswith('running_mean') and not torch.equal(old[n], new[n])]
    return any('norm_base' not in n for n in names), any('norm_base' in n for n in names)


def test_every_estimate_is_measured_at_every_depth(detector, tmp_path, monkeypatch):
    space, meter = detector.depth_space, FakeMeter()
    depths = {'full': space.full, '1111-0000': space.parse('1111-0000'), 'base': space.base}
    image = torch.from_numpy(np.random.default_rng(0).random((4, 3, 64, 64), np.float32))
    monkeypatch.setattr(norms, 'open_run', lambda *_: (detector, {'val': meter}))
    monkeypatch.setattr(norms, 'depths_of', lambda *_: depths)
    monkeypatch.setattr(norms, 'load_recipe', lambda _: None)
    asked = []

    def batches(settings, detector, data, meter, count, augmented):
        return lambda: asked.append(augmented) or [image]

    monkeypatch.setattr(norms, 'training_batches', batches)
    run = Run('any_depth', 0, tmp_path)
    points = norms.measure_norms('fod_a', STUDIES['fod_a'], run, tmp_path)
    names = ['trained', 'base', 'all', 'base, augmented', 'mixed, augmented']
    names += ['ladder', 'ladder, augmented', 'own', 'own, augmented']
    assert [(p.norms, p.label) for p in points] == [(n, at) for n in names for at in depths]
    by_name = {(p.norms, p.label): (changed(detector, p.detector), id(p.detector)) for p in points}
    assert by_name['trained', 'base'] == ((False, False), id(detector))
    assert by_name['base', 'full'][0] == (False, True)
    # what every depth reaches is estimated anew, other norms of full depth are not
    assert by_name['own', 'full'][0] == (True, False)
    assert by_name['own', 'base'][0] == (True, True)
    assert len({one for (n, _), (_, one) in by_name.items() if n == 'own'}) == len(depths)
    assert len({one for (n, _), (_, one) in by_name.items() if n == 'ladder'}) == 1
    assert sum(asked) == 3 + len(depths)


def test_a_run_of_one_depth_has_one_way_to_estimate(detector, tmp_path, monkeypatch):
    meter, image = FakeMeter(), torch.rand(4, 3, 64, 64)
    monkeypatch.setattr(norms, 'open_run', lambda *_: (detector, {'val': meter}))
    monkeypatch.setattr(norms, 'load_recipe', lambda _: None)
    monkeypatch.setattr(norms, 'training_batches', lambda *_: lambda: [image])
    run = Run('base_only', 0, tmp_path)
    points = norms.measure_norms('fod_a', STUDIES['fod_a'], run, tmp_path)
    names = [(point.norms, point.label) for point in points]
    assert names == [(one, 'base') for one in ('trained', 'own', 'own, augmented')]
    assert changed(detector, points[-1].detector) == (True, True)
