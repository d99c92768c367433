"""Optimisers, parameter groups and learning-rate schedules."""

from __future__ import annotations

from dataclasses import dataclass
import math

import torch
from torch import nn

SCHEDULES = ('linear', 'cosine', 'constant')
OPTIMIZERS = ('sgd', 'adamw')


@dataclass(frozen=True)
class OptimizerSettings:
    """Optimiser and schedule.

    Attributes:
        name: ``sgd`` (Nesterov) or ``adamw``.
        rate: peak learning rate.
        final_factor: last learning rate over ``rate``.
        schedule: ``linear``, ``cosine`` or ``constant``.
        momentum: SGD momentum, or beta1 of AdamW.
        weight_decay: decay of convolution weights (and of the residual scales ``gamma``), not of
            norms and biases.
        warmup_epochs: epochs in which the rate rises from 0.
        warmup_momentum: momentum at the first step.
    """

    name: str = 'sgd'
    rate: float = 0.01
    final_factor: float = 0.01
    schedule: str = 'linear'
    momentum: float = 0.937
    weight_decay: float = 5e-4
    warmup_epochs: float = 3.0
    warmup_momentum: float = 0.8

    def __post_init__(self) -> None:
        """Refuse unknown names."""
        if self.name not in OPTIMIZERS:
            raise ValueError(f'optimizer.name is {self.name!r}; allowed: {", ".join(OPTIMIZERS)}')
        if self.schedule not in SCHEDULES:
            raise ValueError(
                f'optimizer.schedule is {self.schedule!r}; allowed: {", ".join(SCHEDULES)}'
            )


@dataclass(frozen=True)
class StepRates:
    """Learning rate and momentum of one step."""

    rate: float
    momentum: float


def build_optimizer(module: nn.Module, settings: OptimizerSettings) -> torch.optim.Optimizer:
    """Build the optimiser with three groups: decayed weights, norm weights, biases."""
    decayed, norms, biases = [], [], []
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        if name.endswith('.bias'):
            biases.append(parameter)
        elif parameter.ndim == 1 and not name.endswith('.gamma'):
            norms.append(parameter)
        else:
            decayed.append(parameter)
    groups = [
        {'params': decayed, 'weight_decay': settings.weight_decay},
        {'params': norms, 'weight_decay': 0.0},
        {'params': biases, 'weight_decay': 0.0},
    ]
    if settings.name == 'adamw':
        return torch.optim.AdamW(groups, lr=settings.rate, betas=(settings.momentum, 0.999))
    momentum = settings.momentum
    return torch.optim.SGD(groups, settings.rate, momentum, nesterov=momentum > 0)


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
    """Put the rates of one step into the optimiser."""
    for group in optimizer.param_groups:
        group['lr'] = rates.rate
        if 'betas' in group:
            group['betas'] = (rates.momentum, group['betas'][1])
        else:
            group['momentum'] = rates.momentum
