"""A ``tensorrt`` module without a GPU, in the flavours of several versions.

It has what a version has and nothing else: a call that a version lacks fails with AttributeError.
Engines run their ONNX graph in ONNX Runtime, on the memory and streams of :mod:`fake_cudart`.
"""

from __future__ import annotations

from collections.abc import Sequence
import ctypes
from dataclasses import dataclass
from enum import IntEnum
import json
import threading
import time
from types import SimpleNamespace
from typing import Any
import weakref

import numpy as np
import onnx
import onnxruntime

from tests.anydepth_core.runtime.tensorrt.fake_cudart import FakeCudart, Operation

VERSIONS = {
    '8.6': '8.6.2',
    '10.3': '10.3.0',
    '10.13': '10.13.3.9',
    '10.16': '10.16.1.11',
    '11': '11.4.0.106',
}
MAGIC = b'fake plan\n'
KINDS = {'tensor(float)': np.float32, 'tensor(uint8)': np.uint8}


@dataclass(frozen=True)
class Behaviour:
    """What goes wrong.

    Attributes:
        parse_error: what the parser finds.
        build_error: what the builder complains about.
        wrong: precisions whose engines give wrong boxes.
        not_finite: precisions whose engines give NaN.
        no_capture: engines cannot be captured.
        scratch: bytes of device memory an engine of the smallest input needs.
        seconds: how long a build takes.
    """

    parse_error: str = ''
    build_error: str = ''
    wrong: Sequence[str] = ()
    not_finite: Sequence[str] = ()
    no_capture: bool = False
    scratch: int = 4096
    seconds: float = 0.0


class Severity(IntEnum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3


class ILogger:
    Severity = Severity

    def __init__(self) -> None:
        self.initialised = True

    def log(self, severity: Severity, text: str) -> None:
        raise NotImplementedError


class DataType(IntEnum):
    FLOAT = 0
    HALF = 1
    UINT8 = 5


class TensorIOMode(IntEnum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


def _enum(name: str, *members: str) -> Any:
    return IntEnum(name, {member: index for index, member in enumerate(members)})  # type: ignore


def make_tensorrt(flavour: str, cudart: FakeCudart, behaviour: Behaviour = Behaviour()) -> Any:
    """Make the module of a version."""
    number = tuple(map(int, f'{flavour}.0'.split('.')[:2]))
    creation = ('EXPLICIT_BATCH',) if number < (10, 0) else ('EXPLICIT_BATCH', 'STRONGLY_TYPED')
    flags = ['FP16', 'INT8', 'TF32'] if number < (11, 0) else ['TF32']
    module = SimpleNamespace(
        __version__=VERSIONS[flavour],
        ILogger=ILogger,
        DataType=DataType,
        TensorIOMode=TensorIOMode,
        MemoryPoolType=_enum('MemoryPoolType', 'WORKSPACE', 'DLA_MANAGED_SRAM'),
        BuilderFlag=_enum('BuilderFlag', *flags),
        NetworkDefinitionCreationFlag=_enum(
            'NetworkDefinitionCreationFlag', *(creation if number < (11, 0) else creation[1:])
        ),
        cudart=cudart,
        behaviour=behaviour,
        number=number,
        loggers=[],
    )
    if number >= (10, 0):
        module.ExecutionContextAllocationStrategy = _enum(
            'ExecutionContextAllocationStrategy', 'STATIC', 'ON_PROFILE_CHANGE', 'USER_MANAGED'
        )
    module.Builder = lambda log: Builder(module, log)
    module.OnnxParser = lambda network, log: OnnxParser(module, network, log)
    module.Runtime = lambda log: Runtime(module, log)
    return module


def _registered(module: Any, log: Any) -> Any:
    assert log.initialised, 'ILogger.__init__ was not called'
    if module.loggers and module.loggers[0] is not log:
        raise AssertionError('a second logger, which TensorRT would ignore')
    module.loggers[:] = [log]
    return log


class Network:
    __slots__ = ('flags', 'model')

    def __init__(self, flags: set[str]) -> None:
        self.flags = flags
        self.model = b''


class Builder:
    def __init__(self, module: Any, log: Any) -> None:
        self._module, self._log = module, _registered(module, log)

    def create_network(self, flags: int) -> Network:
        known = self._module.NetworkDefinitionCreationFlag
        return Network({flag.name for flag in known if flags & 1 << int(flag)})

    def create_builder_config(self) -> BuilderConfig:
        return BuilderConfig()

    def build_serialized_network(
        self, network: Network, config: BuilderConfig
    ) -> memoryview | None:
        module, behaviour = self._module, self._module.behaviour
        time.sleep(behaviour.seconds)
        strong = module.number >= (11, 0) or 'STRONGLY_TYPED' in network.flags
        flags = {flag.name for flag in config.flags}
        half = _is_half(network.model)
        assert config.limits['WORKSPACE'] > 0 and config.timing is not None
        error = behaviour.build_error
        if strong and 'FP16' in flags:
            error = 'precision flags are not allowed in a strongly typed network'
        if not strong and half and 'FP16' not in flags:
            error = 'the network has half tensors, but the FP16 flag is not set'
        if error:
            self._log.log(Severity.ERROR, error)
            self._log.log(Severity.ERROR, 'buildSerializedNetwork: Error Code 4')
            return None
        config.timing.content += b'.'
        header = {
            'version': module.__version__,
            'gpu': module.cudart.name,
            'precision': 'fp16' if half else 'fp32',
        }
        return memoryview(MAGIC + json.dumps(header).encode() + b'\n' + network.model)


class BuilderConfig:
    __slots__ = ('limits', 'flags', 'timing', 'max_aux_streams', 'builder_optimization_level')

    def __init__(self) -> None:
        self.limits: dict[str, int] = {}
        self.flags: set[Any] = set()
        self.timing: TimingCache | None = None
        self.max_aux_streams = -1
        self.builder_optimization_level = 3

    def set_memory_pool_limit(self, pool: Any, size: int) -> None:
        self.limits[pool.name] = size

    def set_flag(self, flag: Any) -> None:
        self.flags.add(flag)

    def clear_flag(self, flag: Any) -> None:
        self.flags.discard(flag)

    def create_timing_cache(self, content: bytes) -> TimingCache | None:
        fits = not content or content.startswith(b'timings')
        return TimingCache(content or b'timings') if fits else None

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
        self.timing = cache
        return True

    def get_timing_cache(self) -> TimingCache | None:
        return self.timing


class TimingCache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> memoryview:
        return memoryview(self.content)


class OnnxParser:
    def __init__(self, module: Any, network: Network, log: Any) -> None:
        self._module, self._network = module, network
        _registered(module, log)
        self._errors: list[str] = []

    def parse(self, model: bytes) -> bool:
        newest = 17 if self._module.number < (10, 0) else 25
        opset = onnx.load_model_from_string(model).opset_import[0].version
        if self._module.behaviour.parse_error:
            self._errors.append(self._module.behaviour.parse_error)
        elif opset > newest:
            self._errors.append(f'opset {opset} is newer than {newest}')
        elif self._module.number < (11, 0) and 'EXPLICIT_BATCH' not in self._network.flags:
            self._errors.append('only explicit batch is supported')
        self._network.model = model
        return not self._errors

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> str:
        return self._errors[index]


class Runtime:
    def __init__(self, module: Any, log: Any) -> None:
        self._module, self._log = module, _registered(module, log)

    def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
        module = self._module
        if module.cudart.lost:
            self._log.log(Severity.ERROR, 'Cuda Runtime (an illegal memory access)')
            return None
        header, _, model = bytes(plan).removeprefix(MAGIC).partition(b'\n')
        try:
            facts = json.loads(header)
        except ValueError:
            self._log.log(Severity.ERROR, 'Assertion magic == expected failed')
            return None
        if facts['version'] != module.__version__ or facts['gpu'] != module.cudart.name:
            self._log.log(Severity.ERROR, 'the plan was built for another TensorRT or GPU')
            return None
        address = module.cudart.reserve(len(plan))
        if not address:
            self._log.log(Severity.ERROR, 'Cuda Runtime (out of memory)')
            return None
        engine = _engine_class(module.number)(module, self._log, model, facts['precision'])
        weakref.finalize(engine, module.cudart.release, address)
        return engine


class Engine:
    """What every version has; see :func:`_engine_class` for the rest."""

    def __init__(self, module: Any, log: Any, model: bytes, precision: str) -> None:
        self.module, self.log, self.precision = module, log, precision
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        self.session = onnxruntime.InferenceSession(
            model, options, providers=['CPUExecutionProvider']
        )
        inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        self.tensors = {one.name: tuple(one.shape) for one in (*inputs, *outputs)}
        self.types = {one.name: KINDS[one.type] for one in (*inputs, *outputs)}
        self.inputs = [one.name for one in inputs]
        height, width = self.tensors['images'][2:]
        self.scratch = module.behaviour.scratch * height * width // 1024

    @property
    def num_io_tensors(self) -> int:
        return len(self.tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self.inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType.UINT8 if self.types[name] is np.uint8 else DataType.FLOAT

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.tensors[name]


def _engine_class(number: tuple[int, ...]) -> type[Engine]:
    """Return the engine of a version, with the attributes that it has."""
    members: dict[str, Any] = {}
    if number < (11, 0):
        members['device_memory_size'] = property(lambda self: self.scratch)
        members['create_execution_context_without_device_memory'] = lambda self: Context(self)
    if number >= (10, 0):
        members['create_execution_context'] = _create_context
    if number >= (10, 3):
        members['device_memory_size_v2'] = property(lambda self: self.scratch)
    return type('Engine', (Engine,), members)


def _create_context(engine: Engine, strategy: Any) -> Context:
    if strategy.name != 'USER_MANAGED':
        raise AssertionError('the context would allocate scratch of its own')
    return SizedContext(engine) if engine.module.number >= (10, 3) else Context(engine)


class Context:
    """An execution context up to 10.2."""

    __slots__ = ('_engine', '_addresses', '_scratch', '_warm', '_busy', '__weakref__')

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._addresses: dict[str, int] = {}
        self._scratch = (0, 0)
        self._warm = False
        self._busy = threading.Lock()

    def _set_device_memory(self, address: int) -> None:
        self._scratch = (address, self._engine.scratch)

    device_memory = property(None, _set_device_memory)

    def set_tensor_address(self, name: str, address: int) -> bool:
        size = _bytes(self._engine, name)
        self._engine.module.cudart.check_region(address, size, ('device',))
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        if not self._busy.acquire(blocking=False):
            raise AssertionError('two threads use one context')
        try:
            return self._enqueue(stream)
        finally:
            self._busy.release()

    def _enqueue(self, stream: int) -> bool:
        engine, cudart = self._engine, self._engine.module.cudart
        if cudart.capturing(stream):
            if not self._warm:
                raise AssertionError('a capture without a run before')
            if engine.module.behaviour.no_capture:
                cudart.invalidate(stream)
                engine.log.log(Severity.ERROR, 'operation not permitted when stream is capturing')
                return False
        self._warm = True
        addresses, scratch = dict(self._addresses), self._scratch
        if set(addresses) != set(engine.tensors):
            engine.log.log(Severity.ERROR, 'an address is missing')
            return False
        regions = [(address, _bytes(engine, name)) for name, address in addresses.items()]
        regions.append((scratch[0], max(1, engine.scratch)))
        assert scratch[1] >= engine.scratch
        act = Run(engine, addresses, regions)
        cudart.submit(stream, Operation(act, regions))
        return True


class SizedContext(Context):
    """An execution context from 10.3 on."""

    __slots__ = ()

    def set_device_memory(self, address: int, size: int) -> None:
        assert size >= self._engine.scratch, 'too little scratch'
        self._scratch = (address, size)


class Run:
    """One inference with the addresses of when it was enqueued.

    It keeps the session, not the engine, whose end must show.
    """

    def __init__(
        self, engine: Engine, addresses: dict[str, int], regions: list[tuple[int, int]]
    ) -> None:
        self._session, self._tensors = engine.session, dict(engine.tensors)
        self._types, self._inputs = dict(engine.types), list(engine.inputs)
        self._cudart, self._regions = engine.module.cudart, regions
        self._wrong = engine.precision in engine.module.behaviour.wrong
        self._not_finite = engine.precision in engine.module.behaviour.not_finite
        self._addresses = addresses

    def __call__(self) -> None:
        for address, size in self._regions:
            self._cudart.check_region(address, size, ('device',))
        ctypes.memset(self._regions[-1][0], 0x5A, self._regions[-1][1])
        names = [name for name in self._tensors if name not in self._inputs]
        feeds = {name: self._view(name).copy() for name in self._inputs}
        results = dict(zip(names, self._session.run(names, feeds)))
        if self._wrong:
            results[names[-1]] = np.roll(results[names[-1]], 1, axis=2)
        if self._not_finite:
            results[names[0]] = results[names[0]] * np.nan
        for name, result in results.items():
            self._view(name)[...] = result

    def _view(self, name: str) -> np.ndarray:
        shape, kind = self._tensors[name], np.dtype(self._types[name])
        content = ctypes.c_ubyte * (int(np.prod(shape)) * kind.itemsize)
        address = self._addresses[name]
        return np.ctypeslib.as_array(content.from_address(address)).view(kind).reshape(shape)


def _bytes(engine: Engine, name: str) -> int:
    return int(np.prod(engine.tensors[name])) * np.dtype(engine.types[name]).itemsize


def _is_half(model: bytes) -> bool:
    graph = onnx.load_model_from_string(model).graph
    return any(
        tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in graph.initializer
    ) or any(
        attribute.name == 'to' and attribute.i == onnx.TensorProto.FLOAT16
        for node in graph.node
        for attribute in node.attribute
    )
