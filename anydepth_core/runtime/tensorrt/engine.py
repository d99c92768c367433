"""A deserialised engine with its execution context: a network, or what makes its input."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from anydepth_core.runtime.tensorrt.buffers import Buffers, Sizes, tensor_bytes, TENSORS
from anydepth_core.runtime.tensorrt.cuda import Cuda, CudaError, TO_DEVICE, TO_HOST
from anydepth_core.runtime.tensorrt.library import cause, Log, ran_out_of_memory


@dataclass(frozen=True)
class Role:
    """What an engine is for.

    Attributes:
        input: name of its input.
        outputs: names of its outputs.
        shapes: how many axes they have; a number stands for what an axis must be.
        uploads: its input is copied to the device whenever it runs.
        downloads: its outputs are copied to the host whenever it runs.
    """

    input: str
    outputs: tuple[str, ...]
    shapes: Mapping[str, tuple[int | None, ...]]
    uploads: bool
    downloads: bool


NETWORK = Role(
    'images',
    ('boxes', 'scores'),
    {'images': (1, 3, None, None), 'boxes': (1, 4, None), 'scores': (1, None, None)},
    uploads=False,
    downloads=True,
)
PREPROCESSING = Role(
    'image',
    ('images',),
    {'image': (None, None, 3), 'images': (1, 3, None, None)},
    uploads=True,
    downloads=False,
)


class PlanError(RuntimeError):
    """A plan cannot be used on this device and must be built anew."""


class Engine:
    """One engine; its scratch and tensors lie in :class:`Buffers` that it is bound to.

    Not for several threads at a time.
    """

    def __init__(
        self, trt: Any, log: Log, cuda: Cuda, plan: bytes, name: str, role: Role = NETWORK
    ) -> None:
        """Deserialise a plan.

        Args:
            trt: the module ``tensorrt``.
            log: its log.
            cuda: the device.
            plan: a plan from the own cache: what is inside may run as code.
            name: what the engine is called in messages.
            role: what it is for.

        Raises:
            PlanError: if TensorRT does not accept the plan, or its tensors are not those of its
                role.
            RuntimeError: if there is not enough memory.
        """
        self.name = name
        self.role = role
        self.plan_bytes = len(plan)
        self._trt = trt
        self._log = log
        self._cuda = cuda
        self._runtime = trt.Runtime(log)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise self._refused('could not load')
        self.shapes = self._checked_shapes()
        self._context = self._make_context()
        if self._context is None:
            raise self._refused('could not make a context of')
        self._bound: Buffers | None = None

    @property
    def sizes(self) -> Sizes:
        """How much memory the engine needs beside its weights."""
        if hasattr(self._engine, 'device_memory_size_v2'):  # from 10.3 on
            scratch = self._engine.device_memory_size_v2
        else:
            scratch = self._engine.device_memory_size
        tensors = {name: tensor_bytes(name, shape) for name, shape in self.shapes.items()}
        return Sizes(scratch=int(scratch), **tensors)

    def bind(self, buffers: Buffers) -> None:
        """Let the engine work in these buffers; what was captured before keeps the old ones."""
        scratch = buffers.device['scratch']
        if hasattr(self._context, 'set_device_memory'):  # from 10.3 on
            self._context.set_device_memory(scratch, buffers.sizes.scratch)
        else:
            self._context.device_memory = scratch
        for name in self.shapes:
            if not self._context.set_tensor_address(name, buffers.device[name]):
                raise RuntimeError(
                    f'TensorRT refused the address of {name} of {self.name}: '
                    'update TensorRT, or use the back end onnxruntime'
                )
        self._bound = buffers

    def enqueue(self, stream: int) -> None:
        """Run, with the copies that belong to the role, all in stream order.

        Raises:
            RuntimeError: if TensorRT or CUDA refuses.
        """
        assert self._bound is not None
        if self.role.uploads:
            self.upload(self._bound, stream)
        if not self._context.execute_async_v3(stream):
            raise RuntimeError(
                f'TensorRT could not run {self.name} ({cause(self._log.take())}): '
                'start again, or use the back end onnxruntime'
            )
        if self.role.downloads:
            self.download(self._bound, stream)

    def upload(self, buffers: Buffers, stream: int) -> None:
        """Copy the input to the device."""
        name = self.role.input
        size = tensor_bytes(name, self.shapes[name])
        target, source = buffers.device[name], buffers.host[name]
        self._cuda.copy_async(target, source, size, TO_DEVICE, stream)

    def download(self, buffers: Buffers, stream: int) -> None:
        """Copy the outputs to the host."""
        for name in self.role.outputs:
            size = tensor_bytes(name, self.shapes[name])
            target, source = buffers.host[name], buffers.device[name]
            self._cuda.copy_async(target, source, size, TO_HOST, stream)

    def capture(self, stream: int) -> int:
        """Record :meth:`enqueue` as a CUDA graph, ready to launch; nothing runs.

        Raises:
            RuntimeError: if it cannot be recorded; the stream is usable all the same.
        """
        self._cuda.begin_capture(stream)
        try:
            self.enqueue(stream)
        except RuntimeError:
            with suppress(CudaError):
                self._cuda.destroy_graph(self._cuda.end_capture(stream))
            raise
        graph = self._cuda.end_capture(stream)
        try:
            executable = self._cuda.instantiate(graph)
        finally:
            self._cuda.destroy_graph(graph)
        try:
            self._cuda.upload(executable, stream)
            self._cuda.synchronize(stream)  # it is launched in another stream
        except CudaError:
            self._cuda.destroy_executable(executable)
            raise
        return executable

    def feed(self, buffers: Buffers, images: np.ndarray) -> None:
        """Put an input where :meth:`upload` takes it from."""
        np.copyto(buffers.array(self.role.input, self.shapes[self.role.input]), images)

    def results(self, buffers: Buffers) -> tuple[np.ndarray, ...]:
        """Copy the outputs, without the batch, from where :meth:`download` put them."""
        return tuple(
            buffers.array(name, self.shapes[name])[0].copy() for name in self.role.outputs
        )

    def close(self) -> None:
        """Release the context before the engine, and the engine before its runtime."""
        self._context = None
        self._engine = None
        self._runtime = None

    def _make_context(self) -> Any:
        strategies = getattr(self._trt, 'ExecutionContextAllocationStrategy', None)
        if strategies is None:  # 8.6
            return self._engine.create_execution_context_without_device_memory()
        return self._engine.create_execution_context(strategies.USER_MANAGED)

    def _checked_shapes(self) -> dict[str, tuple[int, ...]]:
        engine, role = self._engine, self.role
        modes, kinds = self._trt.TensorIOMode, self._trt.DataType
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        if sorted(names) != sorted(role.shapes):
            raise PlanError(
                f'{self.name} has the tensors {", ".join(names)}, '
                f'expected {", ".join(role.shapes)}'
            )
        for name in names:
            mode = modes.INPUT if name == role.input else modes.OUTPUT
            if engine.get_tensor_mode(name) != mode:
                raise PlanError(f'{name} of {self.name} is no {mode.name.lower()}')
            kind = kinds.UINT8 if TENSORS[name] is np.uint8 else kinds.FLOAT
            if engine.get_tensor_dtype(name) != kind:
                raise PlanError(f'{name} of {self.name} is not {np.dtype(TENSORS[name])}')
        shapes = {name: tuple(engine.get_tensor_shape(name)) for name in role.shapes}
        fit = all(map(_fits, shapes.values(), role.shapes.values()))
        if not fit or len({shapes[name][-1] for name in role.outputs}) > 1:
            raise PlanError(f'{self.name} has tensors of the shapes {shapes}')
        return shapes

    def _refused(self, verb: str) -> RuntimeError:
        self._cuda.memory()  # raises if it is the device that failed, not the plan
        errors = self._log.take()
        text = f'TensorRT {verb} {self.name}: {cause(errors)}'
        if ran_out_of_memory(errors):
            return RuntimeError(
                f'{text}; close other programs, or keep fewer operating points ready'
            )
        return PlanError(text)


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(shape) == len(wanted) and all(
        side > 0 and needed in (None, side) for side, needed in zip(shape, wanted)
    )
