"""Execution providers are chosen by name, and one that cannot run is an error."""

from __future__ import annotations

from pathlib import Path
import sys

import numpy as np
import pytest

from anydepth_core.depth import OperatingPoint
from anydepth_core.export.bundle import Bundle
from anydepth_core.runtime.backends import RuntimeSettings
from anydepth_core.runtime.onnx_runtime import OnnxRuntime
from anydepth_core.runtime.providers import PROVIDERS
from tests.anydepth_core.runtime.fake_onnxruntime import fake_onnxruntime
from tests.anydepth_core.support.toy_bundle import SPACE, write_toy_bundle

POINT = OperatingPoint(SPACE.full, (96, 96))
NAMES = {
    'cuda': 'CUDAExecutionProvider',
    'tensorrt': 'TensorrtExecutionProvider',
    'openvino': 'OpenVINOExecutionProvider',
}


@pytest.fixture(scope='module')
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    directory: Path = tmp_path_factory.mktemp('providers') / 'toy'
    return write_toy_bundle(directory)


def test_every_short_name_is_covered_here() -> None:
    assert set(PROVIDERS) == {'cpu', *NAMES}


@pytest.mark.parametrize('provider', NAMES)
def test_a_provider_that_is_not_built_in_is_refused_with_what_to_install(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, provider: str
) -> None:
    monkeypatch.setitem(sys.modules, 'onnxruntime', fake_onnxruntime([], []))
    with pytest.raises(RuntimeError) as refused:
        OnnxRuntime(bundle, RuntimeSettings(provider=provider))
    sentence = str(refused.value)
    assert sentence.startswith(f'provider {provider} is not in this ONNX Runtime')
    assert 'it has CPUExecutionProvider' in sentence and 'install onnxruntime-' in sentence


@pytest.mark.parametrize('provider', NAMES)
def test_a_provider_that_does_not_start_is_refused_and_nothing_runs_on_the_cpu_instead(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, provider: str
) -> None:
    fake = fake_onnxruntime([NAMES[provider]], [])
    monkeypatch.setitem(sys.modules, 'onnxruntime', fake)
    runtime = OnnxRuntime(bundle, RuntimeSettings(provider=provider))
    with pytest.raises(RuntimeError) as refused:
        runtime.run(np.zeros((1, 3, 96, 96), np.float32), POINT)
    sentence = str(refused.value)
    assert sentence.startswith(f'provider {provider} could not be started')
    assert 'took CPUExecutionProvider instead' in sentence and 'provider cpu' in sentence
    assert not runtime.ready(POINT)


@pytest.mark.parametrize('provider', NAMES)
def test_what_a_provider_raises_is_told_with_what_to_do(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, provider: str
) -> None:
    fake = fake_onnxruntime([NAMES[provider]], [NAMES[provider]], broken='no\ndevice 7')
    monkeypatch.setitem(sys.modules, 'onnxruntime', fake)
    runtime = OnnxRuntime(bundle, RuntimeSettings(provider=provider))
    with pytest.raises(RuntimeError, match=r'could not be started \(no device 7\): install'):
        runtime.prepare(POINT)


def test_a_failing_run_is_told_in_one_sentence(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = fake_onnxruntime([], ['CPUExecutionProvider'])
    monkeypatch.setitem(sys.modules, 'onnxruntime', fake)
    runtime = OnnxRuntime(bundle)
    runtime.prepare(POINT)
    fake.sessions[0].run = lambda *_: (_ for _ in ()).throw(Exception('device\nlost'))
    with pytest.raises(RuntimeError, match=r'ONNX Runtime failed \(device lost\): check'):
        runtime.run(np.zeros((1, 3, 96, 96), np.float32), POINT)


@pytest.mark.parametrize(
    ('provider', 'options'),
    [
        ('cuda', {'device_id': 2}),
        ('tensorrt', {'device_id': 2}),
        ('openvino', {'num_of_threads': 3}),
    ],
)
def test_only_the_provider_that_was_asked_for_is_given_with_its_device(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, provider: str, options: dict[str, int]
) -> None:
    fake = fake_onnxruntime([NAMES[provider]], [NAMES[provider]])
    monkeypatch.setitem(sys.modules, 'onnxruntime', fake)
    runtime = OnnxRuntime(bundle, RuntimeSettings(provider=provider, device=2, threads=3))
    runtime.prepare(POINT)
    assert runtime.ready(POINT) and fake.asked == [[(NAMES[provider], options)]]


def test_without_onnx_runtime_the_error_says_what_to_install(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(RuntimeError, match="run 'pip install onnxruntime'"):
        OnnxRuntime(bundle)
