"""Checkpoints of every form become detectors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
import json
import os
from pathlib import Path
import pickle
from typing import Any

import pytest
from safetensors.torch import save_file
import torch

from anydepth_core import build_detector
from anydepth_core.checkpoint import read_checkpoint, save_checkpoint
from anydepth_core.checkpoint.names import twin
from anydepth_core.checkpoint.read import open_checkpoint
from anydepth_core.models.build import BUILDERS
from anydepth_core.models.detector import Detector
from anydepth_core.models.rtdetr.layout import LAYOUTS
from anydepth_core.models.rtdetr.model import AnyDepthRTDETR
from tests.anydepth_core.support.published import (
    published_state_dict,
    save_detr,
    save_yolo,
)

RTDETR = ('anydepth_rtdetr_r50', 'rtdetr_r18', 'rtdetr_r50_m')


@pytest.fixture(autouse=True)
def narrow_rtdetr(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make RT-DETRs with the block counts of the real ones and a tenth of their width."""
    for name in RTDETR:
        layout = replace(
            LAYOUTS[name], width=8, neck_channels=32, neck_hidden=32, channels=32, hidden=32
        )
        monkeypatch.setitem(BUILDERS, name, partial(AnyDepthRTDETR, name, layout))


def random_detector(name: str, num_classes: int, **options: Any) -> Detector:
    torch.manual_seed(0)
    detector: Detector = build_detector(name, num_classes=num_classes, **options)
    for value in detector.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape).half())
        else:
            value.fill_(3)
    return detector


def assert_same(read: Detector, source: Detector, any_depth: bool = True) -> None:
    assert (read.name, read.num_classes, read.training) == (source.name, source.num_classes, False)
    own = source.state_dict()
    for key, value in read.state_dict().items():
        origin = own[key if any_depth else twin(key)]
        if value.shape != origin.shape:
            origin = origin[:, : value.shape[1]]
        assert torch.equal(value, origin), key


def test_published_any_depth_detr_is_read_from_its_averaged_weights(tmp_path: Path) -> None:
    source = random_detector('anydepth_rtdetr_r50', 5, variant='published')
    path = save_detr(tmp_path / 'checkpoint0067.pth', published_state_dict(source))
    checkpoint = open_checkpoint(path, variant='published')
    assert_same(checkpoint.detector, source)
    assert checkpoint.form == 'torch file, state dict (ema.module)'
    assert checkpoint.metadata['source']['last_epoch'] == 67
    assert 'class_names' not in checkpoint.metadata


def test_corrected_statistics_start_as_the_published_ones(tmp_path: Path) -> None:
    source = random_detector('anydepth_rtdetr_r50', 5, variant='published')
    read = read_checkpoint(save_detr(tmp_path / 'a.pth', published_state_dict(source)))
    weights = read.state_dict()
    assert read.variant == 'corrected'
    for level in range(3):
        for part in ('running_mean', 'running_var'):
            norm, base = (
                weights[f'decoder.input_proj.{level}.{kind}.{part}']
                for kind in ('norm', 'norm_base')
            )
            assert torch.equal(norm, base)


@pytest.mark.parametrize('name', ['rtdetr_r18', 'rtdetr_r50_m'])
def test_official_rtdetr_is_read(tmp_path: Path, name: str) -> None:
    source = random_detector(name, 5)
    state = published_state_dict(source, any_depth=False)
    buffers = {'decoder.anchors': torch.zeros(1, 10, 4)}
    checkpoint = open_checkpoint(save_detr(tmp_path / 'ema.pth', {**state, **buffers}))
    assert_same(checkpoint.detector, source, any_depth=False)
    assert checkpoint.report.ignored == ('decoder.anchors',)
    assert not checkpoint.report.any_depth
    torch.save({'model': state}, tmp_path / 'model.pth')
    assert_same(read_checkpoint(tmp_path / 'model.pth'), source, any_depth=False)
    torch.save(state, tmp_path / 'bare.pth')
    assert_same(read_checkpoint(tmp_path / 'bare.pth'), source, any_depth=False)


@pytest.mark.parametrize('variant', ['orig', 'switch'])
def test_published_any_depth_yolo_is_read(tmp_path: Path, variant: str) -> None:
    source = random_detector('anydepth_yolov12n', 3, variant=variant)
    path = save_yolo(tmp_path / 'yolo.pt', published_state_dict(source), ['a', 'b', 'c'])
    checkpoint = open_checkpoint(path)
    assert_same(checkpoint.detector, source)
    assert checkpoint.detector.variant == variant
    assert checkpoint.form == 'torch file, pickled network (model)'
    assert checkpoint.metadata['class_names'] == ['a', 'b', 'c']


def test_official_yolo_is_read_with_names_and_licence(tmp_path: Path) -> None:
    source = random_detector('yolov12n', 3)
    state = published_state_dict(source, any_depth=False)
    checkpoint = open_checkpoint(
        save_yolo(tmp_path / 'yolov12s.pt', state, {0: 'x', 2: 'z', 1: 'y'})
    )
    assert_same(checkpoint.detector, source, any_depth=False)
    assert checkpoint.metadata['class_names'] == ['x', 'y', 'z']
    facts = checkpoint.metadata['source']
    assert facts['license'] == 'AGPL-3.0' and facts['file'] == 'yolov12s.pt'
    assert len(facts['sha256']) == 64


def test_averaged_networks_come_first(tmp_path: Path) -> None:
    source = random_detector('yolov12n', 3)
    state = published_state_dict(source, any_depth=False)
    from tests.anydepth_core.support.published import fake_ultralytics, pickled_network

    with fake_ultralytics() as classes:
        last = pickled_network({key: value * 0 for key, value in state.items()}, classes)
        torch.save({'model': last, 'ema': pickled_network(state, classes)}, tmp_path / 'last.pt')
    assert_same(read_checkpoint(tmp_path / 'last.pt'), source, any_depth=False)


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f'touch {self.path}',)


def test_a_file_with_code_in_it_is_read_and_the_code_is_not_run(tmp_path: Path) -> None:
    state = published_state_dict(random_detector('yolov12n', 2), any_depth=False)
    evil = Evil(tmp_path / 'trace')
    path = save_yolo(tmp_path / 'evil.pt', state, ['a', 'b'], train_args=evil, date=evil)
    assert read_checkpoint(path).num_classes == 2
    assert not (tmp_path / 'trace').exists()


def hugging_face(folder: Path, source: Detector, **settings: Any) -> Path:
    """Write the weights of an RT-DETR under the names of Hugging Face."""
    folder.mkdir()
    state = published_state_dict(source, any_depth=False)
    renames = [
        ('backbone.conv1.conv1_1.', 'model.backbone.model.embedder.embedder.0.'),
        ('backbone.conv1.conv1_2.', 'model.backbone.model.embedder.embedder.1.'),
        ('backbone.conv1.conv1_3.', 'model.backbone.model.embedder.embedder.2.'),
        ('backbone.res_layers.', 'model.backbone.model.encoder.stages.'),
        ('.blocks.', '.layers.'),
        *((f'.branch2{letter}.', f'.layer.{n}.') for n, letter in enumerate('abc')),
        ('.short.conv.conv.', '.shortcut.1.conv.'),
        ('.short.conv.norm.', '.shortcut.1.norm.'),
        ('.short.', '.shortcut.'),
        ('encoder.input_proj.', 'model.encoder_input_proj.'),
        ('encoder.encoder.0.', 'model.encoder.encoder.0.'),
        ('encoder.lateral', 'model.encoder.lateral'),
        ('encoder.down', 'model.encoder.down'),
        ('encoder.fpn', 'model.encoder.fpn'),
        ('encoder.pan', 'model.encoder.pan'),
        ('decoder.decoder.', 'model.decoder.'),
        ('decoder.dec_score_head.', 'model.decoder.class_embed.'),
        ('decoder.dec_bbox_head.', 'model.decoder.bbox_embed.'),
        ('decoder.query_pos_head.', 'model.decoder.query_pos_head.'),
        ('decoder.enc_', 'model.enc_'),
        ('decoder.denoising', 'model.denoising'),
        *((f'decoder.input_proj.{n}.conv', f'model.decoder_input_proj.{n}.0') for n in range(3)),
        *((f'decoder.input_proj.{n}.norm', f'model.decoder_input_proj.{n}.1') for n in range(3)),
        ('.cross_attn.', '.encoder_attn.'),
        ('.linear1.', '.fc1.'),
        ('.linear2.', '.fc2.'),
    ]
    tensors: dict[str, torch.Tensor] = {}
    for name, value in state.items():
        for ours, theirs in renames:
            if name.startswith(ours) or (ours.startswith('.') and ours in name):
                name = name.replace(ours, theirs, 1)
        if '.backbone.' in name:
            name = name.replace('.conv.', '.convolution.').replace('.norm.', '.normalization.')
        elif '.layers.' in name:
            decoder = name.startswith('model.decoder')
            norms = ('self_attn', 'encoder_attn' if decoder else 'final', 'final')
            for number, norm in enumerate(norms, 1):
                name = name.replace(f'.norm{number}.', f'.{norm}_layer_norm.')
        if 'in_proj_' in name:
            for letter, part in zip('qkv', value.chunk(3)):
                tensors[name.replace('in_proj_', f'{letter}_proj.')] = part.clone()
        else:
            tensors[name] = value
    save_file(tensors, str(folder / 'model.safetensors'), metadata={'format': 'pt'})
    config = {
        'model_type': 'rt_detr',
        'id2label': {str(n): name for n, name in enumerate(('person', 'car', 'dog'))},
        **settings,
    }
    (folder / 'config.json').write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize('name', ['rtdetr_r18', 'rtdetr_r50_m'])
def test_hugging_face_models_are_read(tmp_path: Path, name: str) -> None:
    source = random_detector(name, 3)
    folder = hugging_face(tmp_path / 'model', source)
    checkpoint = open_checkpoint(folder)
    assert_same(checkpoint.detector, source, any_depth=False)
    assert checkpoint.metadata['class_names'] == ['person', 'car', 'dog']
    assert_same(read_checkpoint(folder / 'model.safetensors'), source, any_depth=False)
    (folder / 'config.json').unlink()
    assert 'class_names' not in open_checkpoint(folder).metadata


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'model_type': 'rt_detr_v2'}, "model_type 'rt_detr_v2'; only 'rt_detr'"),
        ({'normalize_before': True}, 'normalize_before True'),
        ({'num_queries': 100}, 'num_queries 100; only 300'),
        ({'id2label': {'0': 'a', '1': 'b'}}, 'names 2 classes, its weights are for 3'),
    ],
)
def test_hugging_face_models_of_other_arithmetic_are_refused(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    folder = hugging_face(tmp_path / 'model', random_detector('rtdetr_r18', 3), **settings)
    with pytest.raises(ValueError, match=message):
        read_checkpoint(folder)


def test_placeholders_are_no_class_names(tmp_path: Path) -> None:
    labels = {str(n): f'LABEL_{n}' for n in range(3)}
    source = random_detector('rtdetr_r18', 3)
    folder = hugging_face(tmp_path / 'model', source, id2label=labels)
    assert 'class_names' not in open_checkpoint(folder).metadata


def test_our_own_checkpoints_are_read(tmp_path: Path) -> None:
    source = random_detector('anydepth_yolov12n', 2, variant='switch')
    save_checkpoint(tmp_path / 'own.safetensors', source, {'class_names': ['a', 'b'], 'epoch': 4})
    checkpoint = open_checkpoint(tmp_path / 'own.safetensors')
    assert_same(checkpoint.detector, source)
    assert checkpoint.metadata['epoch'] == 4 and checkpoint.report.any_depth
    with pytest.raises(ValueError, match=r'holds anydepth_yolov12n \(switch\), not .* \(orig\)'):
        read_checkpoint(tmp_path / 'own.safetensors', variant='orig')


def test_another_model_than_wanted_is_refused(tmp_path: Path) -> None:
    state = published_state_dict(random_detector('yolov12n', 2), any_depth=False)
    path = save_yolo(tmp_path / 'yolo.pt', state, ['a', 'b'])
    with pytest.raises(ValueError, match='yolo.pt: these are weights of yolov12n, not of rtdetr'):
        read_checkpoint(path, name='rtdetr_r18')


def test_the_version_1_form_of_yolov12_is_refused_by_name(tmp_path: Path) -> None:
    state = published_state_dict(random_detector('yolov12n', 2), any_depth=False)
    state = {name.replace('.attn.qk.', '.attn.qkv.'): value for name, value in state.items()}
    path = save_yolo(tmp_path / 'yolov12n.pt', state, ['a', 'b'])
    with pytest.raises(ValueError, match='yolov12n.pt: .*YOLOv12 v1.0 release'):
        read_checkpoint(path)


def test_a_half_complete_file_is_refused_with_its_missing_keys(tmp_path: Path) -> None:
    state = published_state_dict(random_detector('rtdetr_r18', 5), any_depth=False)
    del state['encoder.fpn_blocks.0.bottlenecks.1.conv1.conv.weight']
    with pytest.raises(ValueError, match=r'a.pth: .*1 missing \(encoder.fpn_blocks.0.bottl'):
        read_checkpoint(save_detr(tmp_path / 'a.pth', state))


@pytest.fixture
def odd_file(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    path = tmp_path / 'odd.pt'
    request.param(path)
    yield path


@pytest.mark.parametrize(
    ('odd_file', 'message'),
    [
        (lambda path: None, 'odd.pt does not exist'),
        (lambda path: path.mkdir(), 'odd.pt/model.safetensors does not exist'),
        (lambda path: path.write_bytes(b''), 'neither a safetensors file nor one of torch.save'),
        (lambda path: path.write_bytes(b'hello world'), 'neither a safetensors file nor one of'),
        (lambda path: path.write_bytes(pickle.dumps([1], 2)), 'torch before 1.6 or a bare pickle'),
        (
            lambda path: torch.save({}, path, _use_new_zipfile_serialization=False),
            'torch before 1.6',
        ),
        (lambda path: torch.save({'lr': 1}, path), r'holds no weights in .* \(entries: lr\)'),
        (lambda path: torch.save([torch.ones(1)], path), r'holds no weights .* \(entries: none\)'),
        (lambda path: save_file({'x': torch.ones(1)}, str(path)), 'no detector known here'),
    ],
    indirect=['odd_file'],
)
def test_odd_files_are_refused_in_one_sentence(odd_file: Path, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read_checkpoint(odd_file)
    assert len(str(caught.value).splitlines()) == 1
