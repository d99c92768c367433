"""Build a plan: one static graph for one operating point.

Only calls that TensorRT 8.6, 10.3, 10.13, 10.16 and 11 share are used; what one of them lacks is
asked for before it is used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from anydepth_core.files import write_atomically
from anydepth_core.runtime.tensorrt.library import cause, Log, ran_out_of_memory, version_of

MIB = 1 << 20
_LEAST_WORKSPACE, _MOST_WORKSPACE = 64 * MIB, 4096 * MIB
_READS_OPSET_18 = (10,)  # first version of TensorRT that does


def workspace_bytes(available: int, workspace_mb: int | None) -> int:
    """Return how much scratch memory the builder may try kernels with.

    Args:
        available: free memory of the device in bytes.
        workspace_mb: what the user allows, None for a quarter of what is free: the builder holds
            the weights several times over, too.
    """
    if workspace_mb is not None:
        return workspace_mb * MIB
    return min(max(available // 4, _LEAST_WORKSPACE), _MOST_WORKSPACE)


def opset_for(trt: Any, newest: int) -> int:
    """Return the opset to give to the parser of this TensorRT."""
    return min(newest, 17) if version_of(trt) < _READS_OPSET_18 else newest


def build_plan(
    trt: Any,
    log: Log,
    model: bytes,
    name: str,
    precision: str,
    workspace: int,
    timing_path: Path,
) -> bytes:
    """Build a plan.

    Args:
        trt: the module ``tensorrt``.
        log: its log.
        model: a static ONNX graph in the wanted precision.
        name: what the engine is called in messages.
        precision: ``fp32`` or ``fp16``.
        workspace: scratch memory the builder may use, in bytes.
        timing_path: timings of kernels from earlier builds; brought up to date.

    Raises:
        RuntimeError: if the graph cannot be parsed or built.
    """
    log.take()  # what it complained of before is not the cause of what may fail now
    builder = trt.Builder(log)
    network = builder.create_network(_network_flags(trt))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(model):
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        reason = ' '.join(str(errors[0]).split()) if errors else 'no reason given'
        raise RuntimeError(
            f'TensorRT {trt.__version__} cannot parse {name}: {reason}; '
            'update TensorRT, or use the back end onnxruntime'
        )
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
    config.max_aux_streams = 0  # one stream: engines share their scratch
    _set_precision(trt, config, precision)
    _use_timings(config, timing_path)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise _not_built(trt, log, name, workspace)
    timings = config.get_timing_cache()
    if timings is not None:
        write_atomically(timing_path, bytes(timings.serialize()))
    return bytes(plan)


def _network_flags(trt: Any) -> int:
    """Ask for what is not yet the rule: explicit batch in 8.6, strong typing from 10 to 10.16."""
    known = trt.NetworkDefinitionCreationFlag
    wanted = ('EXPLICIT_BATCH', 'STRONGLY_TYPED')
    return sum(1 << int(getattr(known, name)) for name in wanted if hasattr(known, name))


def _set_precision(trt: Any, config: Any, precision: str) -> None:
    """Say what the graph's types do not say."""
    strong = hasattr(trt.NetworkDefinitionCreationFlag, 'STRONGLY_TYPED')
    if precision == 'fp16' and not strong:
        config.set_flag(trt.BuilderFlag.FP16)
    if hasattr(trt.BuilderFlag, 'TF32'):
        config.clear_flag(trt.BuilderFlag.TF32)  # it has the 10 bit mantissa of half precision


def _use_timings(config: Any, path: Path) -> None:
    """Give the builder the timings of earlier builds; it starts anew where they do not fit."""
    known = path.read_bytes() if path.exists() else b''
    timings = config.create_timing_cache(known)
    if timings is None or not config.set_timing_cache(timings, False):
        fresh = config.create_timing_cache(b'')
        if fresh is not None:
            config.set_timing_cache(fresh, False)


def _not_built(trt: Any, log: Log, name: str, workspace: int) -> RuntimeError:
    fix = 'update TensorRT, or use the back end onnxruntime'
    errors = log.take()
    if ran_out_of_memory(errors):
        fix = (
            f'the builder had {workspace // MIB} MiB of workspace: close other programs or add '
            'swap, or set it with --workspace'
        )
    return RuntimeError(f'TensorRT {trt.__version__} cannot build {name}: {cause(errors)}; {fix}')
