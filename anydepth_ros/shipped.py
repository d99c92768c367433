"""Find the files that ship with the package; no ROS."""

from __future__ import annotations

import os
from pathlib import Path
import sys


def shipped_file(relative: str) -> Path:
    """Return the path of a shipped file: in a source checkout, or under ``share`` when installed.

    Args:
        relative: such as ``config/fastdds_shm.xml``.

    Raises:
        FileNotFoundError: if it is nowhere.
    """
    prefixes = [*os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep), sys.prefix]
    places = [Path(__file__).resolve().parents[1]]
    places += [Path(prefix, 'share', 'anydepth_ros') for prefix in prefixes if prefix]
    for place in places:
        if (place / relative).is_file():
            return place / relative
    raise FileNotFoundError(2, 'not installed with the package', relative)
