"""Exponential moving average of the weights."""

from __future__ import annotations

from collections.abc import Mapping
import copy
import math

import torch

from anydepth_core.models.detector import Detector


class Ema:
    """Averaged copy of a detector; floating buffers (norm statistics) are averaged as well.

    The decay grows from 0 to ``decay`` as ``decay * (1 - exp(-updates / ramp))``, so that the
    first, random weights are forgotten.

    Args:
        module: the module to follow.
        decay: final decay.
        ramp: updates after which the decay has reached 63 %.
    """

    def __init__(self, module: Detector, decay: float = 0.9999, ramp: float = 2000) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.decay = decay
        self.ramp = ramp
        self.updates = 0

    @torch.no_grad()
    def update(self, module: Detector) -> None:
        """Take in the module's present weights."""
        self.updates += 1
        weight = 1 - self.decay * (1 - math.exp(-self.updates / self.ramp))
        averages, values = [], []
        for mine, other in zip(_values(self.module), _values(module)):
            if mine.is_floating_point():
                averages.append(mine)
                values.append(other.to(mine.device))
            else:
                mine.copy_(other)
        torch._foreach_lerp_(averages, values, weight)

    def load(self, state_dict: Mapping[str, torch.Tensor], updates: int) -> None:
        """Go on from stored averages."""
        self.module.load_state_dict(dict(state_dict))
        self.updates = updates


def _values(module: Detector) -> list[torch.Tensor]:
    """Parameters and buffers, each once even if two norms share it."""
    return [*module.parameters(), *module.buffers()]
