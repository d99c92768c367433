"""Optimisers, parameter groups and learning-rate schedules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
import math

import torch
from torch import nn

SCHEDULES = ('linear', 'cosine', 'constant')
OPTIMIZERS = ('sgd', 'adamw')
KINDS = ('norms', 'biases')
_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm)


@dataclass(frozen=True)
class OptimizerSettings:
    """Optimiser and schedule.

    Attributes:
        name: ``sgd`` (Nesterov) or ``adamw``.
        rate: peak learning rate.
        backbone_rate: peak learning rate of the backbone; None for ``rate``.
        final_factor: last learning rate over the peak.
        schedule: ``linear``, ``cosine`` or ``constant``.
        momentum: SGD momentum, or beta1 of AdamW.
        weight_decay: decay of the weights.
        no_decay: which weights are not decayed: ``norms`` (their weights and biases) and
            ``biases`` (all of them), of the whole detector or of one part of it, for example
            ``decoder.biases``. By default only convolutions, matrices and the residual scales
            ``gamma`` are decayed.
        warmup_epochs: epochs in which the rate rises from 0.
        warmup_momentum: momentum at the first step.
    """

    name: str = 'sgd'
    rate: float = 0.01
    backbone_rate: float | None = None
    final_factor: float = 0.01
    schedule: str = 'linear'
    momentum: float = 0.937
    weight_decay: float = 5e-4
    no_decay: tuple[str, ...] = KINDS
    warmup_epochs: float = 3.0
    warmup_momentum: float = 0.8

    def __post_init__(self) -> None:
        """Refuse unknown names and rates that are not positive."""
        if self.name not in OPTIMIZERS:
            raise ValueError(f'optimizer.name is {self.name!r}; allowed: {", ".join(OPTIMIZERS)}')
        if self.schedule not in SCHEDULES:
            raise ValueError(
                f'optimizer.schedule is {self.schedule!r}; allowed: {", ".join(SCHEDULES)}'
            )
        for name in ('rate', 'backbone_rate'):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f'optimizer.{name} is {value}; more than 0 is needed')
        for rule in self.no_decay:
            if rule.split('.')[-1] not in KINDS or rule.count('.') > 1:
                raise ValueError(
                    f'optimizer.no_decay has {rule!r}; allowed: {", ".join(KINDS)}, or one of '
                    f'them in a part of the detector, like decoder.{KINDS[0]}'
                )


@dataclass(frozen=True)
class StepRates:
    """Learning rate and momentum of one step."""

    rate: float
    momentum: float


def build_optimizer(module: nn.Module, settings: OptimizerSettings) -> torch.optim.Optimizer:
    """Build the optimiser with one group per learning rate and weight decay.

    Frozen parameters (without gradient) are left out.

    Raises:
        ValueError: if ``no_decay`` names a part that the detector does not have.
    """
    parts = [name for name, _ in module.named_children()]
    for rule in settings.no_decay:
        if '.' in rule and rule.split('.')[0] not in parts:
            raise ValueError(
                f'optimizer.no_decay has {rule!r}, but the parts of this detector are '
                f'{", ".join(parts)}'
            )
    backbone_rate = settings.rate if settings.backbone_rate is None else settings.backbone_rate
    backbone_factor = backbone_rate / settings.rate
    members: dict[tuple[float, float], list[nn.Parameter]] = {}
    for part, kinds, parameter in _trained(module):
        exempt = any(
            f'{prefix}{kind}' in settings.no_decay for prefix in ('', f'{part}.') for kind in kinds
        )
        factor = backbone_factor if part == 'backbone' else 1.0
        decay = 0.0 if exempt else settings.weight_decay
        members.setdefault((factor, decay), []).append(parameter)
    groups = [
        {
            'params': parameters,
            'weight_decay': decay,
            'rate_factor': factor,
            'lr': factor * settings.rate,
        }
        for (factor, decay), parameters in members.items()
    ]
    if settings.name == 'adamw':
        return torch.optim.AdamW(groups, lr=settings.rate, betas=(settings.momentum, 0.999))
    momentum = settings.momentum
    return torch.optim.SGD(groups, settings.rate, momentum, nesterov=momentum > 0)


def _trained(module: nn.Module) -> Iterator[tuple[str, set[str], nn.Parameter]]:
    """Yield the part, the kinds and the value of every parameter that is trained, once each."""
    seen: set[nn.Parameter] = set()
    for owner_name, owner in module.named_modules():
        norm = {'norms'} if isinstance(owner, _NORMS) else set()
        for name, parameter in owner.named_parameters(recurse=False):
            if parameter.requires_grad and parameter not in seen:
                seen.add(parameter)
                kinds = norm | ({'biases'} if name.endswith('bias') else set())
                yield owner_name.split('.')[0], kinds, parameter


def step_rates(settings: OptimizerSettings, epoch: float, epochs: int) -> StepRates:
    """Learning rate and momentum at a moment of training.

    Args:
        settings: the schedule.
        epoch: epochs done, with fraction.
        epochs: epochs in all.
    """
    progress = min(epoch / epochs, 1.0)
    falling = {
        'constant': 1.0,
        'linear': 1 - progress,
        'cosine': (1 + math.cos(math.pi * progress)) / 2,
    }[settings.schedule]
    rate = settings.rate * (settings.final_factor + (1 - settings.final_factor) * falling)
    warm = 1.0 if settings.warmup_epochs <= 0 else min(epoch / settings.warmup_epochs, 1.0)
    momentum = settings.warmup_momentum + (settings.momentum - settings.warmup_momentum) * warm
    return StepRates(rate * warm, momentum)


def set_rates(optimizer: torch.optim.Optimizer, rates: StepRates) -> None:
    """Put the rates of one step into the optimiser; the backbone keeps its share of the rate."""
    for group in optimizer.param_groups:
        group['lr'] = rates.rate * group['rate_factor']
        if 'betas' in group:
            group['betas'] = (rates.momentum, group['betas'][1])
        else:
            group['momentum'] = rates.momentum
