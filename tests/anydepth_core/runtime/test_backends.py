"""The settings of a back end are checked in one place, and it is opened by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from anydepth_core.runtime.backends import BACKENDS, open_runtime, RuntimeSettings
from anydepth_core.runtime.onnx_runtime import OnnxRuntime
from tests.anydepth_core.support.toy_bundle import write_toy_bundle


@pytest.mark.parametrize(
    ('setting', 'words'),
    [
        ({'backend': 'abacus'}, "backend 'abacus' is not legal: use one of onnxruntime, tensorrt"),
        ({'provider': 'CPUExecutionProvider'}, 'use one of cpu, cuda, tensorrt, openvino'),
        ({'precision': 'int8'}, "precision 'int8' is not legal: use one of fp32, fp16"),
        ({'threads': -1}, 'threads -1 is not legal: give 0 or more'),
        ({'max_points': 0}, 'max_points 0 is not legal: give 1 or more'),
        ({'device': -1}, 'device -1'),
        ({'workspace_mb': 0}, 'workspace_mb 0'),
    ],
)
def test_a_setting_that_is_not_legal_is_refused_with_what_is(
    setting: dict[str, object], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        RuntimeSettings(**setting)  # type: ignore[arg-type]


def test_onnx_runtime_is_what_runs_unless_told(tmp_path: Path) -> None:
    runtime = open_runtime(write_toy_bundle(tmp_path / 'toy'), RuntimeSettings(max_points=3))
    assert BACKENDS[0] == 'onnxruntime' and isinstance(runtime, OnnxRuntime)
    assert runtime.capacity == 3
