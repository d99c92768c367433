"""The module ``tensorrt``: importing it, and its log."""

from __future__ import annotations

import logging
from typing import Any, Protocol

logger = logging.getLogger(__name__)

OLDEST = (8, 6)

# GridSample gives wrong values in deformable attention, without any error, in 10.13.3 on a T4
# (lightly-train issue 917), 10.14.1 and 11.1 (NVIDIA/TensorRT issue 4813, open in August 2026). No
# release notes say that it was mended in between.
_GRID_SAMPLE_FAULTY = ((10, 13), (11, 1))

_KEPT = 20  # errors remembered
_ABOUT_MEMORY = ('out of memory', 'outofmemory', 'bad_alloc', 'not be allocated', 'workspace')


class Log(Protocol):
    """TensorRT's log; an object of this kind is also what TensorRT calls an ILogger."""

    def take(self) -> list[str]:
        """Return the errors since the last call, the first first: it is mostly the cause."""
        ...


def import_tensorrt() -> Any:
    """Import TensorRT.

    Raises:
        RuntimeError: if it is missing or too old; the message says how to get it.
    """
    try:
        import tensorrt
    except ImportError as error:
        raise RuntimeError(
            f"TensorRT's Python module cannot be imported ({error}): on a Jetson it comes with "
            "JetPack ('sudo apt install nvidia-jetpack python3-libnvinfer'; a virtual environment "
            'needs --system-site-packages), or use the back end onnxruntime'
        ) from None
    check_version(tensorrt)
    return tensorrt


def check_version(trt: Any) -> None:
    """Refuse a TensorRT that lacks the calls used here.

    Raises:
        RuntimeError: if it is too old.
    """
    if version_of(trt) < OLDEST:
        raise RuntimeError(
            f'TensorRT {trt.__version__} is too old: '
            f'install version {".".join(map(str, OLDEST))} or later, '
            'or use the back end onnxruntime'
        )


def version_of(trt: Any) -> tuple[int, ...]:
    """Return the version of TensorRT as numbers."""
    return _numbers(trt.__version__)


def grid_sample_is_faulty(version: str) -> bool:
    """Whether this version of TensorRT is reported, or must be assumed, to sample wrongly."""
    first, last = _GRID_SAMPLE_FAULTY
    return first <= _numbers(version)[:2] <= last


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split('.')[:3] if part.isdigit())


def make_log(trt: Any) -> Log:
    """Make a log that remembers the last errors and passes everything to ``logging``."""
    severity = trt.ILogger.Severity
    errors = (severity.INTERNAL_ERROR, severity.ERROR)

    class TensorRtLog(trt.ILogger):  # type: ignore[misc]
        """A class of its own for each module, because its base is a class of that module."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self._errors: list[str] = []

        def log(self, level: Any, text: str) -> None:
            if level in errors:
                if len(self._errors) < _KEPT:
                    self._errors.append(' '.join(text.split()))
                logger.warning('TensorRT: %s', text)
            elif level == severity.WARNING:
                logger.info('TensorRT: %s', text)

        def take(self) -> list[str]:
            taken, self._errors = self._errors, []
            return taken

    log: Log = TensorRtLog()
    return log


def cause(errors: list[str]) -> str:
    """Return why TensorRT failed."""
    return next(iter(errors), 'TensorRT gives no reason')


def ran_out_of_memory(errors: list[str]) -> bool:
    """Whether TensorRT complains about memory."""
    return any(word in text.lower() for text in errors for word in _ABOUT_MEMORY)
