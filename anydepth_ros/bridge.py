"""cv_bridge for the encodings that only it knows, where it is installed and works."""

from __future__ import annotations

from array import array
from functools import cache
import importlib.util
import os
import subprocess
import sys

import numpy as np
from sensor_msgs.msg import Image

from anydepth_core.errors import sentence

PROBE_TIMEOUT_S = 30.0
LONGEST_REFUSAL = 200  # characters: OpenCV repeats its source code in its errors

# encoding -> bytes of a 2x1 image, some with padding, and the BGR pixels they mean
_KNOWN: dict[str, tuple[bytes, list[list[int]]]] = {
    'rgb8': (bytes([10, 20, 30, 40, 50, 60, 7, 8, 9]), [[30, 20, 10], [60, 50, 40]]),
    'rgba8': (bytes([10, 20, 30, 0, 40, 50, 60, 0]), [[30, 20, 10], [60, 50, 40]]),
    'mono16': (bytes([128, 0, 129, 0]), [[0, 0, 0], [1, 1, 1]]),
}


def to_bgr(message: Image) -> np.ndarray:
    """Let cv_bridge read an image message.

    Args:
        message: an image in any encoding.

    Returns:
        (H, W, 3) uint8 BGR.

    Raises:
        ValueError: if cv_bridge is not installed, does not work here or refuses the image; a
            clause on one line.
    """
    if reason := why_unusable():
        raise ValueError(reason)
    try:
        image = _convert(message)
    # Its errors have no common type: CvBridgeError, TypeError, cv2.error, RuntimeError from C++.
    except Exception as error:
        raise ValueError(f'cv_bridge refused it: {sentence(error)[:LONGEST_REFUSAL]}') from error
    shape = (message.height, message.width, 3)
    if not _is_bgr(image, shape):
        raise ValueError('cv_bridge gave no 8-bit BGR image of its size')
    return np.ascontiguousarray(image)


@cache
def why_unusable() -> str:
    """Return '' if cv_bridge gives right pixels here, otherwise why not; asked once a process.

    It is tried in a child process: one that was compiled for NumPy 1 prints tracebacks under
    NumPy 2 while it is imported, may abort, and stays half imported; one that was linked to
    another OpenCV may crash. None of this may reach the node.
    """
    if importlib.util.find_spec('cv_bridge') is None:
        return 'cv_bridge is not installed'
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, sys.path))}
    try:
        probe = subprocess.run(
            [sys.executable, '-c', f'import {__name__} as bridge; bridge.check()'],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROBE_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f'cv_bridge is installed, but its check did not end: {type(error).__name__}'
    if probe.returncode != 0:
        return f'cv_bridge is installed, but fails its check under NumPy {np.__version__}'
    return ''


def check() -> None:
    """Compare cv_bridge with known pixels.

    Raises:
        Exception: if cv_bridge does not work.
    """
    # The order of the node: the libraries of OpenCV that are loaded first are those that stay.
    import cv2  # noqa: F401

    for encoding, (data, pixels) in _KNOWN.items():
        message = Image(height=1, width=2, encoding=encoding, step=len(data))
        message.data = array('B', data)
        image = _convert(message)
        if not _is_bgr(image, (1, 2, 3)) or image.tolist() != [pixels]:
            raise ValueError(f'cv_bridge converts {encoding} wrongly')


def _convert(message: Image) -> np.ndarray:
    from cv_bridge import CvBridge

    return CvBridge().imgmsg_to_cv2(message, 'bgr8')


def _is_bgr(image: object, shape: tuple[int, int, int]) -> bool:
    return isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.shape == shape
