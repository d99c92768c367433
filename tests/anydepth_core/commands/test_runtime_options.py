"""One choice of what runs the network, for every command and for the node."""

from __future__ import annotations

import argparse

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
    settings = settings_of(*(f'--{name}={value}' for name, value in expected.items()))
    assert settings == RuntimeSettings(**expected)  # type: ignore[arg-type]
    assert node_parameters(settings) == expected


def test_a_number_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match='threads -1 is not legal'):
        settings_of('--threads', '-1')


def test_the_heading_says_what_runs() -> None:
    one = describe(RuntimeSettings(threads=1))
    assert one == 'ONNX Runtime (cpu, fp32), 1 thread(s), spinning off'
    assert 'all thread(s)' in describe(RuntimeSettings())
    gpu = RuntimeSettings(backend='tensorrt', precision='fp16', device=1)
    assert describe(gpu) == 'TensorRT (fp16), GPU 1'
