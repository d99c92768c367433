"""Build a detector by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from anydepth_core.models.detector import Detector
from anydepth_core.models.rtdetr.layout import LAYOUTS as RTDETR_LAYOUTS
from anydepth_core.models.rtdetr.model import AnyDepthRTDETR
from anydepth_core.models.yolov12.layout import LAYOUTS as YOLOV12_LAYOUTS
from anydepth_core.models.yolov12.model import AnyDepthYOLOv12

BUILDERS: dict[str, Callable[..., Detector]] = {
    **{name: partial(AnyDepthYOLOv12, name) for name in YOLOV12_LAYOUTS},
    **{name: partial(AnyDepthRTDETR, name, layout) for name, layout in RTDETR_LAYOUTS.items()},
}


def build_detector(name: str, variant: str | None = None, num_classes: int = 80) -> Detector:
    """Build a detector with freshly initialised weights; see ``anydepth_core.build_detector``."""
    if name not in BUILDERS:
        raise ValueError(f'no detector {name!r}; known: {", ".join(BUILDERS)}')
    chosen = {} if variant is None else {'variant': variant}
    return BUILDERS[name](num_classes=num_classes, **chosen)
