"""Find out from names and shapes of weights which detector they are of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
import re

from anydepth_core.models.rtdetr.layout import LAYOUTS as RTDETR
from anydepth_core.models.yolov12.layout import LAYOUTS as YOLOV12

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Identity:
    """A detector as :func:`anydepth_core.build_detector` takes it.

    Attributes:
        names: model names that fit, the usual one first.
        variant: block layout where the weights tell, else None.
        num_classes: number of classes.
    """

    names: tuple[str, ...]
    variant: str | None
    num_classes: int

    @property
    def name(self) -> str:
        """The usual model name."""
        return self.names[0]


class UnsupportedError(ValueError):
    """Weights of a known form that is not supported."""


def identify(shapes: Shapes) -> Identity:
    """Return whose weights these are.

    Args:
        shapes: published or official name to shape.

    Raises:
        UnsupportedError: if they are of a known form that is not supported; it is named.
        ValueError: if they are of no detector of this project.
    """
    for mark, family in _FAMILIES.items():
        if mark in shapes:
            return family(shapes)
    some = ', '.join(list(shapes)[:3]) or 'none at all'
    raise ValueError(
        f'these are weights of no detector known here (first names: {some}); known are '
        'AnyDepth-YOLO, official YOLOv12 turbo, AnyDepth-DETR, official RT-DETR and Hugging Face '
        'RTDetrForObjectDetection'
    )


def _yolov12(shapes: Shapes) -> Identity:
    if any(re.fullmatch(r'model\.\d+\.m\.\d+\.\d+\.attn\.qkv\.conv\.weight', k) for k in shapes):
        raise UnsupportedError(
            'these are weights of the YOLOv12 v1.0 release or of yolo12 of the ultralytics '
            'package (attention with one qkv convolution); '
            'only YOLOv12 turbo and AnyDepth-YOLO are read'
        )
    width, repeats = shapes['model.0.conv.weight'][0], _count(r'model\.6\.m\.(\d+)\.', shapes)
    attention = 'model.6.m.0.0.attn.qk.conv.weight' in shapes
    names = [
        name
        for name, layout in YOLOV12.items()
        if attention and (layout.channels(64)[0], layout.repeats(4)) == (width, repeats)
    ]
    scores = shapes.get('model.21.cv3.0.2.weight')
    if not names or not scores:
        raise ValueError(
            'these are weights of a YOLO, but of no YOLOv12 turbo or AnyDepth-YOLO known here '
            f'({width} channels in the first layer, {repeats} repeats in layer 6'
            f'{"" if attention else " without area attention"})'
        )
    any_depth = 'model.2.cv1.bn_skip.weight' in shapes
    variant = 'switch' if 'model.2.m.1.cv1.bn_skip.weight' in shapes else 'orig'
    # any-depth and official l and x are one network, the any-depth name comes first in the table
    order = 1 if any_depth else -1
    return Identity(tuple(names[::order]), variant if any_depth else None, scores[0])


def _rtdetr(shapes: Shapes, stage: str, third: str, deep_stem: bool) -> Identity:
    """Identify an RT-DETR; ``stage`` matches stage and block, ``third`` a third convolution."""
    stages = [
        _count(stage.format(index), shapes) for index in (range(4) if deep_stem else range(1, 5))
    ]
    bottleneck = third in shapes
    narrow = 'encoder.fpn_blocks.0.conv3.conv.weight' in shapes
    signature = (tuple(stages), bottleneck, deep_stem, narrow)
    for name, layout in RTDETR.items():
        own = (layout.blocks, layout.bottleneck, layout.deep_stem, layout.expansion < 1)
        scores = shapes.get('decoder.enc_score_head.weight')
        if own == signature and scores:
            return Identity((name,), None, scores[0])
    raise ValueError(
        f'these are weights of an RT-DETR that is not known here (backbone blocks '
        f'{", ".join(map(str, stages))}{", bottlenecks" if bottleneck else ""}); '
        f'known are {", ".join(RTDETR)}'
    )


def _official_rtdetr(shapes: Shapes) -> Identity:
    third = 'backbone.res_layers.0.blocks.0.branch2c.conv.weight'
    return _rtdetr(shapes, r'backbone\.res_layers\.{}\.blocks\.(\d+)\.', third, deep_stem=True)


def _any_depth_rtdetr(shapes: Shapes) -> Identity:
    third = 'backbone.layer1.0.conv3.weight'
    return _rtdetr(shapes, r'backbone\.layer{}\.(\d+)\.', third, deep_stem=False)


def _swin(shapes: Shapes) -> Identity:
    raise UnsupportedError(
        'these are weights of AnyDepth-DETR with a Swin backbone, which is not supported'
    )


def _count(pattern: str, shapes: Shapes) -> int:
    """How many numbers the names hold where the pattern has its group."""
    return len({match[1] for match in (re.match(pattern, name) for name in shapes) if match})


_FAMILIES: Mapping[str, Callable[[Shapes], Identity]] = {
    'model.0.conv.weight': _yolov12,
    'backbone.conv1.conv1_1.conv.weight': _official_rtdetr,
    'backbone.conv1.weight': _any_depth_rtdetr,
    'backbone.pre.0.weight': _swin,
}
