"""One choice of what runs the network, for every command and for the node."""

from __future__ import annotations

import argparse
from dataclasses import replace

import pytest

from anydepth_core.commands.runtime_options import (
    add_runtime_arguments,
    describe,
    node_parameters,
    runtime_settings,
)
from anydepth_core.runtime.backends import RuntimeSettings


def settings_of(*words: str, threads: int = 0) -> RuntimeSettings:
    parser = argparse.ArgumentParser()
    add_runtime_arguments(parser, threads)
    return runtime_settings(parser.parse_args(words))


def test_nothing_given_is_the_default_with_the_threads_of_the_command() -> None:
    assert settings_of() == RuntimeSettings()
    assert settings_of(threads=3) == RuntimeSettings(threads=3)


def test_every_option_reaches_the_settings_and_the_node() -> None:
    expected = {
        'backend': 'tensorrt',
        'provider': 'cuda',
        'precision': 'fp16',
        'device': 1,
        'threads': 2,
    }
    words = [f'--{name}={value}' for name, value in expected.items()]
    settings = settings_of(*words)
    assert settings == RuntimeSettings(**expected)  # type: ignore[arg-type]
    assert node_parameters(settings) == {**expected, 'gpu_preprocess': False}
    settings = settings_of(*words, '--gpu-preprocess')
    assert settings.preprocess == 'runtime' and node_parameters(settings)['gpu_preprocess']


def test_preprocessing_on_the_gpu_needs_the_back_end_that_can() -> None:
    with pytest.raises(ValueError, match='onnxruntime does not preprocess on the GPU: use'):
        settings_of('--gpu-preprocess')


def test_a_number_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match='threads -1 is not legal'):
        settings_of('--threads', '-1')


def test_the_heading_says_what_runs() -> None:
    one = describe(RuntimeSettings(threads=1))
    assert one == 'ONNX Runtime (cpu, fp32), 1 thread(s), spinning off'
    assert 'all thread(s)' in describe(RuntimeSettings())
    gpu = RuntimeSettings(backend='tensorrt', precision='fp16', device=1)
    assert describe(gpu) == 'TensorRT (fp16), GPU 1'
    assert describe(replace(gpu, preprocess='runtime')).endswith('GPU 1, preprocessing too')
