"""Execution providers of ONNX Runtime by short names; one that cannot run is an error.

Left alone, ONNX Runtime falls back to the CPU without a word where a provider does not load.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TYPE_CHECKING

from anydepth_core.errors import sentence

if TYPE_CHECKING:
    from anydepth_core.runtime.backends import RuntimeSettings


@dataclass(frozen=True)
class _Provider:
    """An execution provider.

    Attributes:
        name: what ONNX Runtime calls it.
        fix: what to do where it is missing or does not start.
        device_option: the option that takes the number of the device, if there is one.
        threads_option: the option that takes the number of threads, where it does not follow the
            session.
    """

    name: str
    fix: str
    device_option: str | None = None
    threads_option: str | None = None


_PROVIDERS: Mapping[str, _Provider] = {
    'cpu': _Provider('CPUExecutionProvider', "run 'pip install --upgrade onnxruntime'"),
    'cuda': _Provider(
        'CUDAExecutionProvider',
        'install onnxruntime-gpu in place of onnxruntime, with the driver, CUDA and cuDNN it '
        'needs, or take provider cpu',
        'device_id',
    ),
    'tensorrt': _Provider(
        'TensorrtExecutionProvider',
        'install onnxruntime-gpu in place of onnxruntime, with the driver, CUDA, cuDNN and '
        'TensorRT it needs, or take provider cpu',
        'device_id',
    ),
    'openvino': _Provider(
        'OpenVINOExecutionProvider',
        'install onnxruntime-openvino in place of onnxruntime, or take provider cpu',
        threads_option='num_of_threads',
    ),
}

PROVIDERS = tuple(_PROVIDERS)


def require_onnxruntime() -> None:
    """Import ONNX Runtime.

    Raises:
        RuntimeError: if it is not installed.
    """
    try:
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise RuntimeError(
            f"ONNX Runtime cannot be imported ({error}): run 'pip install onnxruntime'"
        ) from None


def check_provider(provider: str) -> None:
    """Check that ONNX Runtime is installed and built with a provider.

    Args:
        provider: one of ``PROVIDERS``.

    Raises:
        RuntimeError: if it is not.
    """
    require_onnxruntime()
    import onnxruntime

    wanted, available = _PROVIDERS[provider], onnxruntime.get_available_providers()
    if wanted.name not in available:
        raise RuntimeError(
            f'provider {provider} is not in this ONNX Runtime (it has {", ".join(available)}): '
            f'{wanted.fix}'
        )


def open_session(model: bytes | str, options: Any, settings: RuntimeSettings) -> Any:
    """Open a session on the provider that was asked for and no other.

    Args:
        model: serialised ONNX model, or the path of one.
        options: of the session.
        settings: name of the provider, number of the device, threads.

    Raises:
        RuntimeError: if it does not start.
    """
    import onnxruntime

    wanted = _PROVIDERS[settings.provider]
    providers = [(wanted.name, _options(wanted, settings))]
    try:
        session = onnxruntime.InferenceSession(
            model, options, providers=providers, enable_fallback=0
        )
    except Exception as error:  # ONNX Runtime has its own types
        raise RuntimeError(
            f'provider {settings.provider} could not be started ({sentence(error)}): {wanted.fix}'
        ) from error
    if wanted.name not in (taken := session.get_providers()):
        raise RuntimeError(
            f'provider {settings.provider} could not be started, ONNX Runtime took '
            f'{", ".join(taken)} instead (its log says why): {wanted.fix}'
        )
    session._model_bytes = None  # kept for a fallback that is switched off: one more model
    return session


def _options(provider: _Provider, settings: RuntimeSettings) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if provider.device_option:
        options[provider.device_option] = settings.device
    if provider.threads_option and settings.threads:
        options[provider.threads_option] = settings.threads
    return options
