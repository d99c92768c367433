"""Published names of a detector's weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import re

from anydepth_core.checkpoint import names_rtdetr, names_yolov12
from anydepth_core.models.detector import Detector

_NAMES: Mapping[str, Callable[[str, Detector], str]] = {
    'yolov12': names_yolov12.published_name,
    'rtdetr': names_rtdetr.published_name,
}


def published_names(detector: Detector) -> dict[str, str]:
    """Map every key of the detector's state dict to its name in published any-depth files.

    A key that these files do not have maps to the name of its twin.
    """
    name = _NAMES[detector.family]
    return {key: name(key, detector) for key in detector.state_dict()}


def twin(key: str) -> str:
    """Return the key of the full depth's weight that a key of the base depth stands beside.

    Any other key is its own twin.
    """
    return re.sub(r'(^|\.)(norm\d?|conv)_base\.', r'\1\2.', key)
