"""Batch norm over several processes: equal to one with the joint batch."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import distributed, nn

from anydepth_core.nn.sync_norm import SyncBatchNorm, synchronise_norms
from tests.anydepth_core.support.processes import run_in_processes

IMAGES = (3, 1)
"""How many each process has."""


def norm_of(affine):
    generator = torch.Generator().manual_seed(1)
    norm = nn.BatchNorm2d(5, eps=1e-3, momentum=0.03, affine=affine).double()
    for tensor in norm.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(5, generator=generator) + 0.5)
    return norm


def images_and_weights():
    generator = torch.Generator().manual_seed(2)
    # a mean that is large against the deviation
    pixels = torch.randn(sum(IMAGES), 5, 6, 4, generator=generator).double() + 100
    return pixels.split(IMAGES), torch.rand(pixels.shape, generator=generator).split(IMAGES)


def outcome(norm, images, weights):
    """Output, gradients and statistics after a loss that weighs every pixel differently."""
    images = images.clone().requires_grad_()
    output = norm(images)
    (output.square() * weights).sum().backward()
    gradients = {f'gradient.{name}': value.grad for name, value in norm.named_parameters()}
    return {'output': output.detach(), 'images': images.grad} | gradients | norm.state_dict()


def normalise(folder):
    distributed.init_process_group('gloo')
    rank = distributed.get_rank()
    images, weights = images_and_weights()
    for affine in (True, False):
        norm = SyncBatchNorm(norm_of(affine))
        found = outcome(norm, images[rank], weights[rank])
        norm.eval()
        found['evaluated'] = norm(images[rank]).detach()
        torch.save(found, folder / f'{affine}.{rank}')
    half = SyncBatchNorm(norm_of(True).float())(images[rank].bfloat16())
    torch.save(half, folder / f'half.{rank}')
    distributed.destroy_process_group()


@pytest.fixture(scope='module')
def left(tmp_path_factory):
    folder = tmp_path_factory.mktemp('norms')
    assert run_in_processes(normalise, folder) == [0, 0]
    return folder


@pytest.mark.parametrize('affine', [True, False])
def test_processes_with_unequal_shares_normalise_as_one(left, affine):
    images, weights = images_and_weights()
    norm = norm_of(affine)
    joint = outcome(norm, torch.cat(images), torch.cat(weights))
    joint['evaluated'] = norm.eval()(torch.cat(images)).detach()
    found = [torch.load(left / f'{affine}.{rank}') for rank in range(2)]
    for name, value in joint.items():
        mine, other = (each[name] for each in found)
        if name in ('output', 'images', 'evaluated'):
            whole = torch.cat((mine, other))
        elif name.startswith('gradient.'):
            whole = mine + other
        else:
            assert torch.equal(mine, other), name
            whole = mine
        assert torch.allclose(whole, value, rtol=1e-9, atol=1e-9), name


def test_half_precision_stays_and_is_normalised_in_float32(left):
    images, _ = images_and_weights()
    exact = norm_of(True)(torch.cat(images))
    half = torch.cat([torch.load(left / f'half.{rank}') for rank in range(2)])
    assert half.dtype == torch.bfloat16
    # bfloat16 itself rounds 100 to halves
    assert float((half - exact).detach().abs().mean()) < 0.3


def test_norms_take_each_others_place_with_their_tensors():
    module = nn.Sequential(nn.Conv2d(3, 5, 1), nn.BatchNorm2d(5), nn.LayerNorm(4))
    module.eval()
    before = copy.deepcopy(module.state_dict())
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    synchronise_norms(module)
    assert [type(each) for each in module] == [nn.Conv2d, SyncBatchNorm, nn.LayerNorm]
    assert list(module.state_dict()) == list(before)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    trained = {id(value) for group in optimizer.param_groups for value in group['params']}
    assert {id(value) for value in module.parameters()} == trained
    assert not module[1].training
