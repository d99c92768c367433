"""The back ends by name, and the settings they share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from anydepth_core.export.bundle import Bundle
from anydepth_core.runtime.level_graphs import PRECISIONS
from anydepth_core.runtime.providers import PROVIDERS
from anydepth_core.runtime.runtime import Runtime

BACKENDS = ('onnxruntime', 'tensorrt')
PREPROCESSORS = ('cpu', 'runtime')


@dataclass(frozen=True)
class RuntimeSettings:
    """How a bundle is served; a field that a back end has no use for is ignored by it.

    Attributes:
        backend: one of ``BACKENDS``.
        threads: CPU threads of one inference, 0 for one per physical core.
        spinning: let waiting threads spin: lower latency for more energy.
        max_points: operating points kept ready at the same time.
        provider: what ONNX Runtime runs on, one of ``PROVIDERS``.
        precision: ``fp32`` or ``fp16``.
        device: number of the accelerator.
        engine_cache: directory of the engines built on this device, None for the user's cache.
        workspace_mb: most memory that building an engine may use, None for what is free.
        preprocess: where an image becomes a network input: on the ``cpu``, or in the ``runtime``,
            which is the GPU; only tensorrt can do that.
    """

    backend: str = 'onnxruntime'
    threads: int = 0
    spinning: bool = False
    max_points: int = 6
    provider: str = 'cpu'
    precision: str = 'fp32'
    device: int = 0
    engine_cache: Path | None = None
    workspace_mb: int | None = None
    preprocess: str = 'cpu'

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: if one is not legal; the message says what is.
        """
        choices = {
            'backend': BACKENDS,
            'provider': PROVIDERS,
            'precision': PRECISIONS,
            'preprocess': PREPROCESSORS,
        }
        for name, legal in choices.items():
            value = getattr(self, name)
            if value not in legal:
                raise ValueError(f'{name} {value!r} is not legal: use one of {", ".join(legal)}')
        for name, least in (('threads', 0), ('max_points', 1), ('device', 0), ('workspace_mb', 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f'{name} {value} is not legal: give {least} or more')
        if self.preprocess == 'runtime' and self.backend != 'tensorrt':
            raise ValueError(
                f'the back end {self.backend} does not preprocess on the GPU: '
                'use the back end tensorrt, or leave preprocessing to the CPU'
            )


DEFAULTS = RuntimeSettings()


def open_runtime(bundle: Bundle, settings: RuntimeSettings) -> Runtime:
    """Open a bundle with the back end of the settings.

    Raises:
        RuntimeError: if what the back end needs is missing; the message says what to install.
    """
    if settings.backend == 'tensorrt':
        from anydepth_core.runtime.tensorrt.runtime import TensorRtRuntime

        return TensorRtRuntime(bundle, settings)

    from anydepth_core.runtime.onnx_runtime import OnnxRuntime

    return OnnxRuntime(bundle, settings)
