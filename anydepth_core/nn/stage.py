"""The method: a stage with an essential path and a refinement that can be left out.

A stage is a chain of blocks. The first ones are *essential* and always run; the rest is the
*refinement*. Leaving the refinement out hands on the output of the last essential block, so the
stage still produces its level of the feature hierarchy, only less refined. Because the following
layers then see other statistics, every essential block owns two norms; which one runs depends on
the depth bit of its own stage (arXiv 2605.09407; arXiv 2312.16392).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn


def essential_count(repeats: int) -> int:
    """How many of a stage's repeated blocks are essential: half of them, rounded up."""
    return (repeats + 1) // 2


class Stage(nn.Module):
    """A chain of blocks of which the tail can be left out.

    Blocks are called as ``block(x, full)``; at base depth an essential block runs with its
    ``norm_base``.

    Args:
        essential: blocks that always run.
        refinement: blocks that run only at full depth.
    """

    def __init__(
        self, essential: Iterable[nn.Module], refinement: Iterable[nn.Module] = ()
    ) -> None:
        super().__init__()
        self.essential = nn.ModuleList(essential)
        self.refinement = nn.ModuleList(refinement)

    def run_blocks(self, x: torch.Tensor, full: bool) -> list[torch.Tensor]:
        """Return the outputs of the blocks that run, in order."""
        outputs = []
        for block in self.essential:
            x = block(x, full)
            outputs.append(x)
        if full:
            for block in self.refinement:
                x = block(x, full)
                outputs.append(x)
        return outputs

    def forward(self, x: torch.Tensor, full: bool) -> torch.Tensor:
        """Return the output of the last block that runs."""
        return self.run_blocks(x, full)[-1]

    def fused(self, full: bool) -> Stage:
        """Drop the refinement where it does not run; see ``nn/fuse.py``."""
        if not full:
            self.refinement = nn.ModuleList()
        return self
