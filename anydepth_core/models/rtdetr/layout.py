"""Sizes of the RT-DETR layouts (arXiv 2304.08069, arXiv 2605.09407)."""

from __future__ import annotations

from dataclasses import dataclass

VARIANTS = ('corrected', 'published')


@dataclass(frozen=True)
class Layout:
    """One RT-DETR.

    Attributes:
        blocks: residual blocks of the four backbone stages.
        bottleneck: the blocks have three convolutions and four times the channels, else two.
        deep_stem: the stem is three 3x3 convolutions (RT-DETR), else one 7x7 (any-depth files).
        frozen: the backbone's norms are fixed and its stem is not trained; such a model starts
            from pre-trained weights.
        width: channels of the stem; the stages have 1, 2, 4, 8 times as many (bottleneck: 4, 8,
            16, 32 times).
        neck_channels: channels of the neck's maps.
        neck_hidden: hidden channels of the neck's transformer layer.
        expansion: channels inside the neck's CSP blocks over ``neck_channels``.
        channels: channels of the decoder.
        hidden: hidden channels of the decoder layers.
        heads: attention heads, in neck and decoder.
        points: points sampled per head and level.
        queries: tokens selected as queries; fewer where the image has fewer tokens.
        decoder_layers: layers of the decoder.
        evaluated_layers: layers that run unless a depth says otherwise, None for all.
    """

    blocks: tuple[int, int, int, int]
    bottleneck: bool = True
    deep_stem: bool = True
    frozen: bool = True
    width: int = 64
    neck_channels: int = 256
    neck_hidden: int = 1024
    expansion: float = 1.0
    channels: int = 256
    hidden: int = 1024
    heads: int = 8
    points: int = 4
    queries: int = 300
    decoder_layers: int = 6
    evaluated_layers: int | None = None

    @property
    def stage_channels(self) -> tuple[int, ...]:
        """Output channels of the four backbone stages."""
        return tuple(self.width * 2**k * (4 if self.bottleneck else 1) for k in range(4))


LAYOUTS = {
    'anydepth_rtdetr_r50': Layout((3, 4, 6, 3), deep_stem=False),
    'anydepth_rtdetr_r101': Layout(
        (3, 4, 23, 3), deep_stem=False, neck_channels=384, neck_hidden=2048
    ),
    'rtdetr_r18': Layout(
        (2, 2, 2, 2), bottleneck=False, frozen=False, expansion=0.5, decoder_layers=3
    ),
    'rtdetr_r34': Layout(
        (3, 4, 6, 3), bottleneck=False, frozen=False, expansion=0.5, decoder_layers=4
    ),
    'rtdetr_r50': Layout((3, 4, 6, 3)),
    'rtdetr_r50_m': Layout((3, 4, 6, 3), expansion=0.5, evaluated_layers=3),
    'rtdetr_r101': Layout((3, 4, 23, 3), neck_channels=384, neck_hidden=2048),
}
"""By model name."""
