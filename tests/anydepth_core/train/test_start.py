"""Where training starts: random weights or a checkpoint, of other classes too."""

from dataclasses import replace
from functools import partial
import logging

import onnx
import pytest
import torch

from anydepth_core.checkpoint import save_checkpoint
from anydepth_core.export.bundle import load_bundle
from anydepth_core.export.master import state_dict_from_master
from anydepth_core.models.build import build_detector, BUILDERS
from anydepth_core.models.rtdetr.model import AnyDepthRTDETR
from anydepth_core.train.settings import ModelSettings
from anydepth_core.train.start import starting_detector
from tests.anydepth_core.support.tiny_rtdetr import TINY


@pytest.fixture(autouse=True)
def tiny_models(monkeypatch):
    for name, frozen in (('tiny_rtdetr', False), ('tiny_frozen_rtdetr', True)):
        layout = replace(TINY, frozen=frozen)
        monkeypatch.setitem(BUILDERS, name, partial(AnyDepthRTDETR, name, layout))


def saved(folder, name, classes, variant=None):
    torch.manual_seed(1)
    detector = build_detector(name, variant, classes)
    with torch.no_grad():
        for value in detector.state_dict().values():
            value.add_(1)
    path = folder / 'given.safetensors'
    save_checkpoint(path, detector, {})
    return path, detector.state_dict()


FRESH = {
    'anydepth_yolov12n': ('head.cls.',),
    'tiny_rtdetr': ('decoder.enc_score_head.', 'decoder.denoising_class_embed.', '.score_head.'),
}


@pytest.mark.parametrize('name', list(FRESH))
def test_other_classes_start_fresh_and_the_log_names_them(tmp_path, caplog, name):
    path, given = saved(tmp_path, name, 80)
    torch.manual_seed(0)
    fresh = build_detector(name, None, 3).state_dict()
    torch.manual_seed(0)
    with caplog.at_level(logging.INFO):
        own = starting_detector(ModelSettings(name), 3, str(path)).state_dict()
    changed = [key for key in own if own[key].shape != given[key].shape]
    assert changed and all(any(part in key for part in FRESH[name]) for key in changed)
    for key in own:
        assert torch.equal(own[key], (fresh if key in changed else given)[key]), key
    assert '3 classes instead of 80' in caplog.text
    assert all(key in caplog.text for key in changed)


def test_same_classes_take_every_tensor(tmp_path, caplog):
    path, given = saved(tmp_path, 'tiny_rtdetr', 3)
    with caplog.at_level(logging.INFO):
        own = starting_detector(ModelSettings('tiny_rtdetr'), 3, str(path)).state_dict()
    assert all(torch.equal(own[key], given[key]) for key in given)
    assert 'fresh' not in caplog.text


@pytest.mark.parametrize(
    ('name', 'variant', 'message'),
    [
        ('anydepth_yolov12n', None, 'holds tiny_rtdetr'),
        ('tiny_frozen_rtdetr', None, 'holds tiny_rtdetr'),
    ],
)
def test_weights_of_another_model_are_refused(tmp_path, name, variant, message):
    path, _ = saved(tmp_path, 'tiny_rtdetr', 80)
    with pytest.raises(ValueError, match=message):
        starting_detector(ModelSettings(name, variant), 3, str(path))


@pytest.mark.parametrize('given', ['name', 'folder'])
def test_bundle_gives_its_weights(given):
    bundle = load_bundle()
    init = 'default' if given == 'name' else str(bundle.path)
    model = ModelSettings(bundle.model_name, bundle.variant)
    own = starting_detector(model, len(bundle.class_names), init).state_dict()
    master = state_dict_from_master(onnx.load(bundle.master_path))
    assert {key for key in own if own[key].is_floating_point()} == set(master)
    for key, value in master.items():
        assert torch.equal(own[key], torch.from_numpy(value)), key


def test_bundle_of_other_classes_gives_the_rest(caplog):
    bundle = load_bundle()
    with caplog.at_level(logging.INFO):
        starting_detector(ModelSettings(bundle.model_name, bundle.variant), 3, 'default')
    assert '3 classes instead of 31' in caplog.text


@pytest.mark.parametrize(
    ('name', 'variant'), [('anydepth_yolov12n', 'switch'), ('tiny_rtdetr', None)]
)
def test_bundle_of_another_model_is_refused(name, variant):
    with pytest.raises(ValueError, match=r'default holds anydepth_yolov12n \(orig\), not'):
        starting_detector(ModelSettings(name, variant), 31, 'default')


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(ValueError, match='none.safetensors'):
        starting_detector(ModelSettings('tiny_rtdetr'), 3, str(tmp_path / 'none.safetensors'))


@pytest.mark.parametrize(('name', 'warned'), [('tiny_rtdetr', 0), ('tiny_frozen_rtdetr', 1)])
def test_frozen_norms_without_weights_are_warned_of_once(caplog, name, warned):
    starting_detector(ModelSettings(name), 3)
    warnings = [
        record for record in caplog.records if 'needs pre-trained weights' in record.message
    ]
    assert len(warnings) == warned


def test_frozen_norms_with_weights_are_fine(tmp_path, caplog):
    path, _ = saved(tmp_path, 'tiny_frozen_rtdetr', 80)
    starting_detector(ModelSettings('tiny_frozen_rtdetr'), 3, str(path))
    assert 'needs pre-trained' not in caplog.text
