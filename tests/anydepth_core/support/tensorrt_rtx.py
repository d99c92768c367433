"""NVIDIA's real ONNX parser and engine builder, which run on a machine without a GPU.

Importing this module skips the tests of a module where they are not installed.
"""

from __future__ import annotations

import onnx
import pytest

try:
    import tensorrt_rtx_bindings as trt
except (ImportError, OSError) as error:
    pytest.skip(
        f"NVIDIA's TensorRT-RTX is missing ({error}): pip install '.[tensorrt-rtx]'",
        allow_module_level=True,
    )


class _Log(trt.ILogger):
    """Keeps what the builder complains of."""

    def __init__(self) -> None:
        super().__init__()
        self.complaints: list[str] = []

    def log(self, severity: trt.ILogger.Severity, message: str) -> None:
        if severity <= trt.ILogger.WARNING:
            self.complaints.append(message)


def build(model: onnx.ModelProto) -> int:
    """Parse a model, build its engine and return the bytes of the engine.

    Raises:
        AssertionError: if either is refused, with what the parser and builder say.
    """
    log = _Log()
    builder = trt.Builder(log)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, log)
    parsed = parser.parse(model.SerializeToString())
    assert parsed, [parser.get_error(index).desc() for index in range(parser.num_errors)]
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    assert [output.name for output in outputs] == ['boxes', 'scores']
    assert all(output.dtype == trt.float32 and -1 not in output.shape for output in outputs)
    engine = builder.build_serialized_network(network, builder.create_builder_config())
    assert engine is not None, log.complaints
    return int(engine.nbytes)
