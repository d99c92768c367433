"""Parity of the losses with the golden pack."""

from pathlib import Path

import pytest
import torch

from anydepth_core.models.yolov12.assigner import pad_targets
from anydepth_core.models.yolov12.criterion import detection_loss, DetectionGains
from anydepth_core.models.yolov12.distill import distillation_loss, DistillationSettings, PRESETS
from anydepth_core.models.yolov12.predictions import DensePredictions, flatten
from tests import golden

PACK = golden.load(Path(__file__).parents[2] / 'data' / 'golden' / 'yolo_loss_n.npz')
DTYPES = {torch.float32: (1e-5, 1e-5), torch.float64: (1e-12, 1e-6)}
"""Relative limit of the items; limit of gradient samples (stored as float32)."""


def raw(kind, dtype):
    levels = [
        torch.from_numpy(PACK[f'raw_{kind}.{i}']).to(dtype).requires_grad_() for i in range(3)
    ]
    return DensePredictions(levels, [], tuple(PACK.meta['strides']), torch.arange(16, dtype=dtype))


def features(kind, dtype):
    return list(
        torch.from_numpy(PACK[f'gap_{kind}']).to(dtype).split(PACK.meta['gap_channels'], 1)
    )


def targets(case, dtype):
    rows = torch.tensor(PACK.meta['cases'][case], dtype=torch.int64)
    height, width = PACK.meta['image_hw']
    boxes = torch.from_numpy(PACK['bboxes']).to(dtype)[rows]
    boxes = boxes * torch.tensor([width, height, width, height], dtype=dtype)
    xyxy = torch.cat((boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2), 1)
    index, labels = (torch.from_numpy(PACK[k]).long()[rows] for k in ('batch_idx', 'cls'))
    return pad_targets(index, labels, xyxy, PACK.meta['batch'])


def detection(kind, case, dtype):
    predictions = raw(kind, dtype)
    flat = flatten(predictions)
    losses, assignment = detection_loss(flat, targets(case, dtype), DetectionGains())
    return predictions, flat, losses, assignment


def distillation(case, preset, dtype):
    _, full, _, full_assignment = detection('super', case, dtype)
    predictions, base, _, base_assignment = detection('base', case, dtype)
    base_features = [f.requires_grad_() for f in features('base', dtype)]
    losses = distillation_loss(
        base,
        full,
        base_assignment,
        full_assignment,
        base_features,
        features('super', dtype),
        PRESETS[preset],
    )
    return predictions, base_features, losses


def assert_items(losses, expected, limit):
    assert set(losses) == set(expected)
    for name, value in expected.items():
        assert losses[name].item() == pytest.approx(value, rel=limit, abs=1e-15)


def assert_gradients(predictions, name, limit):
    for level, tensor in enumerate(predictions.levels):
        reference = torch.from_numpy(PACK[f'grad_val.{name}'][level]).to(tensor.dtype)
        mine = tensor.grad.flatten()[torch.from_numpy(PACK[f'grad_idx.{name}'][level]).long()]
        assert (mine - reference).abs().max() <= limit * tensor.grad.abs().max()


@pytest.mark.parametrize('dtype', list(DTYPES))
@pytest.mark.parametrize('case', ['main', 'second_only', 'none'])
@pytest.mark.parametrize('kind', ['super', 'base'])
def test_detection_loss_equals_the_pack(kind, case, dtype):
    _, _, losses, assignment = detection(kind, case, dtype)
    assert_items(losses, PACK.meta['results'][case][kind], DTYPES[dtype][0])
    assert int(assignment.foreground.sum()) == PACK.meta['results'][case][f'fg_{kind}']


@pytest.mark.parametrize('dtype', list(DTYPES))
@pytest.mark.parametrize('kind', ['super', 'base'])
def test_assignment_and_gradient_equal_the_pack(kind, dtype):
    predictions, _, losses, assignment = detection(kind, 'main', dtype)
    assert torch.equal(assignment.foreground, torch.from_numpy(PACK[f'fg_{kind}']).bool())
    index = torch.where(assignment.foreground, assignment.target_index, -1)
    assert torch.equal(index, torch.from_numpy(PACK[f'gt_{kind}']).long())
    assert torch.allclose(
        assignment.weight.float(), torch.from_numpy(PACK[f'weight_{kind}']), atol=5e-6
    )
    losses['total'].backward()
    assert_gradients(predictions, kind, DTYPES[dtype][1])


@pytest.mark.parametrize('dtype', list(DTYPES))
@pytest.mark.parametrize('case', ['main', 'second_only', 'none'])
@pytest.mark.parametrize('preset', ['finetune', 'coco_l'])
def test_distillation_loss_equals_the_pack(preset, case, dtype):
    predictions, base_features, losses = distillation(case, preset, dtype)
    assert_items(losses, PACK.meta['results'][case][f'kd_{preset}'], DTYPES[dtype][0])
    losses['total'].backward()
    if case == 'main':
        assert_gradients(predictions, f'kd_{preset}', DTYPES[dtype][1])
        norms = [0.0 if f.grad is None else f.grad.norm().item() for f in base_features]
        assert norms == pytest.approx(PACK.meta['gap_grad_norms'][preset], rel=1e-5)


def test_presets_are_those_of_the_pack():
    for name, values in PACK.meta['presets'].items():
        assert PRESETS[name] == DistillationSettings(
            temperature_cls=values['kd_temp_cls'],
            temperature_dfl=values['kd_temp_dfl'],
            box=values['kd_box'],
            cls=values['kd_cls'],
            dfl=values['kd_dfl'],
            feat=values['kd_feat'],
        )
