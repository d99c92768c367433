"""Any-depth object detection: one set of weights, any depth, chosen frame by frame.

Importing this package imports neither torch nor ONNX Runtime; :func:`build_detector` imports torch
when it is called.
"""

from __future__ import annotations

from typing import Any

from anydepth_core.version import __version__

__all__ = ['__version__', 'build_detector']


def build_detector(name: str, variant: str | None = None, num_classes: int = 80) -> Any:
    """Build an any-depth detector with freshly initialised weights.

    Args:
        name: model name, for example ``anydepth_yolov12n``.
        variant: block layout; None for the usual one of the model, see its class.
        num_classes: number of classes.

    Returns:
        The detector, a ``torch.nn.Module`` (see ``anydepth_core.models.detector``).

    Raises:
        ValueError: if name or variant is unknown; the message lists the known ones.
        ImportError: if torch is not installed.
    """
    from anydepth_core.models.build import build_detector as build

    return build(name, variant=variant, num_classes=num_classes)
