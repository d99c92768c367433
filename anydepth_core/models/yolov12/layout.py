"""Sizes of the any-depth YOLOv12 layouts (arXiv 2605.09407) and of official YOLOv12 turbo."""

from __future__ import annotations

from dataclasses import dataclass
import math

VARIANTS = ('orig', 'switch')


@dataclass(frozen=True)
class Layout:
    """One row of the scale table, in one variant.

    Attributes:
        depth_multiple: factor on the number of repeats.
        width_multiple: factor on the channels.
        max_channels: upper limit of the channels before ``width_multiple``.
        c3k_everywhere: the C3k2 blocks of the backbone hold C3k repeats (large scales).
        mlp_ratio: hidden channels of the attention blocks' 1x1 convolutions over their channels.
        residual: the attention stages add their input to their output, scaled by ``gamma``.
        keep_repeats: variant ``switch``: C3k2 blocks keep all repeats, the C3k inside drop a
            bottleneck.
    """

    depth_multiple: float
    width_multiple: float
    max_channels: int
    c3k_everywhere: bool
    mlp_ratio: float
    residual: bool = True
    keep_repeats: bool = False

    @property
    def variants(self) -> tuple[str, ...]:
        """Which variants differ: with one repeat in every C3k2 block there is none to drop."""
        return VARIANTS if self.repeats(2) > 1 else VARIANTS[:1]

    def repeats(self, count: int) -> int:
        """Repeats of a block at this scale (ties round to even, as published)."""
        return max(round(count * self.depth_multiple), 1)

    def channels(self, *counts: int) -> tuple[int, ...]:
        """Channels at this scale, each rounded up to a multiple of 8."""
        return tuple(
            math.ceil(min(count, self.max_channels) * self.width_multiple / 8) * 8
            for count in counts
        )


_L = Layout(1.00, 1.00, 512, c3k_everywhere=True, mlp_ratio=1.5)
_X = Layout(1.00, 1.50, 512, c3k_everywhere=True, mlp_ratio=1.5)

# The official layouts of l and x are those of the published any-depth detectors.
LAYOUTS = {
    'anydepth_yolov12n': Layout(0.75, 0.25, 1024, c3k_everywhere=False, mlp_ratio=2.0),
    'anydepth_yolov12s': Layout(1.00, 0.50, 512, c3k_everywhere=False, mlp_ratio=2.0),
    'anydepth_yolov12l': _L,
    'anydepth_yolov12x': _X,
    'yolov12n': Layout(0.50, 0.25, 1024, c3k_everywhere=False, mlp_ratio=2.0, residual=False),
    'yolov12s': Layout(0.50, 0.50, 1024, c3k_everywhere=False, mlp_ratio=2.0, residual=False),
    'yolov12m': Layout(0.50, 1.00, 512, c3k_everywhere=True, mlp_ratio=2.0, residual=False),
    'yolov12l': _L,
    'yolov12x': _X,
}
