"""What machine this is, in its own words."""

from __future__ import annotations

from importlib import metadata
import os
from pathlib import Path
import platform
import re

from anydepth_core.evaluation.benchmark import Machine

_PACKAGES = ('onnxruntime', 'onnxruntime-gpu', 'onnxruntime-openvino', 'tensorrt', 'numpy')


def device_name(root: Path = Path('/')) -> str:
    """Return the name of the board, else of the processor, else its architecture."""
    for pattern, path in (
        (r'([^\0]+)', 'proc/device-tree/model'),
        (r'^model name\s*:\s*(.+)$', 'proc/cpuinfo'),
    ):
        try:
            text = (root / path).read_text(encoding='utf-8', errors='replace')
        except OSError:
            continue
        if found := re.search(pattern, text, re.MULTILINE):
            return found[1].strip()
    return platform.machine() or 'unknown'


def this_machine(accelerator: str | None) -> Machine:
    """Describe this machine.

    Args:
        accelerator: name of the GPU that runs the network, if there is one.
    """
    versions = {'python': platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return Machine(
        device=device_name(),
        accelerator=accelerator,
        processors=_processors(),
        system=f'{platform.system()} {platform.release()} {platform.machine()}',
        versions=versions,
    )


def _processors() -> int:
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
