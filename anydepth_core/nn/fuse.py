"""Deployment form of a detector: one depth, without norms.

A module that is something simpler at one depth has a method ``fused``; :func:`fuse` asks every
module for it, from the outside in, and tells it whether the refinement of its stage runs.
"""

from __future__ import annotations

from collections.abc import Mapping
import copy
from dataclasses import dataclass
from typing import Protocol, runtime_checkable, TYPE_CHECKING

from torch import nn

from anydepth_core.depth import DepthConfig, DepthSpace

if TYPE_CHECKING:
    from anydepth_core.models.detector import Detector


@runtime_checkable
class Fusible(Protocol):
    """A module that is something simpler at one depth in evaluation."""

    def fused(self, full: bool) -> nn.Module:
        """Return what computes the same at one depth; the module itself is spent.

        What has submodules may return itself without those that are not used; the rest of them
        is asked in turn.
        """
        ...


@runtime_checkable
class Layered(Protocol):
    """A module of which depth sets how many layers run."""

    def keep_layers(self, layers: int) -> None:
        """Drop for good what evaluation after so many layers does not use."""
        ...


@dataclass(frozen=True, kw_only=True)
class FusedDepthSpace(DepthSpace):
    """The depths of a detector of which only one is left.

    Attributes:
        only: the depth that the detector was fused for.
    """

    only: DepthConfig

    def parse(self, text: str | DepthConfig) -> DepthConfig:
        """Read a depth as :class:`DepthSpace` does.

        Raises:
            ValueError: if it is no depth of the detector, or not the one that is left.
        """
        depth = super().parse(text)
        if depth != self.only:
            raise ValueError(
                f'the detector is fused for depth {self.format(self.only)} and cannot run at '
                f'{self.format(depth)}: fuse the original detector for that depth'
            )
        return depth


def fuse(detector: Detector, depth: DepthConfig | str) -> Detector:
    """Make the deployment form of a detector.

    Norms are folded into convolutions, in float64; blocks that are several parallel convolutions
    in training become one. Refinements, norms and decoder layers that the depth does not use are
    dropped, as is what only training uses.

    Args:
        detector: the detector; it is not changed.
        depth: the one depth that the result can run at.

    Returns:
        A copy in evaluation mode, without gradients; another depth is refused with a ValueError.

    Raises:
        ValueError: if the depth is not legal for this detector.
    """
    config = detector.depth_space.parse(depth)
    fused = copy.deepcopy(detector).eval()
    if isinstance(detector.depth_space, FusedDepthSpace):
        return fused
    fused.depth_space = FusedDepthSpace(**vars(detector.depth_space), only=config)
    for name in detector.training_only:
        owner, _, attribute = name.rpartition('.')
        delattr(fused.get_submodule(owner), attribute)
    bits = {module: config.stages[stage] for stage, module in fused.switched_modules()}
    _fuse(fused, True, bits)
    for module in fused.modules():
        if isinstance(module, Layered) and config.decoder_layers is not None:
            module.keep_layers(config.decoder_layers)
    return fused.eval().requires_grad_(False)


def _fuse(module: nn.Module, full: bool, bits: Mapping[nn.Module, bool]) -> nn.Module:
    """Return what becomes of a module and of all inside it.

    Args:
        module: the module, changed in place.
        full: what the module around it was told. Outside all stages that is True: there is one
            set of norms.
        bits: whether the refinement runs, of the modules that a depth bit rules.
    """
    full = bits.get(module, full)
    if isinstance(module, Fusible):
        module = module.fused(full)
    for name, child in module.named_children():
        setattr(module, name, _fuse(child, full, bits))
    return module
