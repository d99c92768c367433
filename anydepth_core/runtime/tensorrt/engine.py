"""A deserialised engine with its execution context: what runs one operating point."""

from __future__ import annotations

from contextlib import suppress
import math
from typing import Any

import numpy as np

from anydepth_core.runtime.tensorrt.buffers import Buffers, Sizes, TENSORS
from anydepth_core.runtime.tensorrt.cuda import Cuda, CudaError, TO_DEVICE, TO_HOST
from anydepth_core.runtime.tensorrt.library import cause, Log, ran_out_of_memory

INPUT, *OUTPUTS = TENSORS


class PlanError(RuntimeError):
    """A plan cannot be used on this device and must be built anew."""


class Engine:
    """One engine; its scratch and tensors lie in :class:`Buffers` that it is bound to.

    Not for several threads at a time.
    """

    def __init__(self, trt: Any, log: Log, cuda: Cuda, plan: bytes, name: str) -> None:
        """Deserialise a plan.

        Args:
            trt: the module ``tensorrt``.
            log: its log.
            cuda: the device.
            plan: a plan from the own cache: what is inside may run as code.
            name: what the engine is called in messages.

        Raises:
            PlanError: if TensorRT does not accept the plan, or its tensors are not those of a
                detector.
            RuntimeError: if there is not enough memory.
        """
        self.name = name
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
        tensors = {name: 4 * math.prod(shape) for name, shape in self.shapes.items()}
        return Sizes(scratch=int(scratch), **tensors)

    def bind(self, buffers: Buffers) -> None:
        """Let the engine work in these buffers; what was captured before keeps the old ones."""
        scratch = buffers.device['scratch']
        if hasattr(self._context, 'set_device_memory'):  # from 10.3 on
            self._context.set_device_memory(scratch, buffers.sizes.scratch)
        else:
            self._context.device_memory = scratch
        for name in TENSORS:
            if not self._context.set_tensor_address(name, buffers.device[name]):
                raise RuntimeError(f'TensorRT refused the address of {name} of {self.name}')
        self._bound = buffers

    def enqueue(self, stream: int) -> None:
        """Copy the input to the device, run, copy the outputs back, all in stream order.

        Raises:
            RuntimeError: if TensorRT or CUDA refuses.
        """
        assert self._bound is not None
        device, host, sizes = self._bound.device, self._bound.host, self.sizes
        self._cuda.copy_async(device[INPUT], host[INPUT], sizes.images, TO_DEVICE, stream)
        if not self._context.execute_async_v3(stream):
            raise RuntimeError(f'TensorRT could not run {self.name}: {cause(self._log.take())}')
        for name in OUTPUTS:
            self._cuda.copy_async(host[name], device[name], getattr(sizes, name), TO_HOST, stream)

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
        """Put a (1, 3, H, W) float32 input where :meth:`enqueue` takes it from."""
        np.copyto(buffers.array(INPUT, self.shapes[INPUT]), images)

    def results(self, buffers: Buffers) -> tuple[np.ndarray, np.ndarray]:
        """Copy boxes (4, A) and scores (C, A) from where :meth:`enqueue` put them."""
        boxes, scores = (buffers.array(name, self.shapes[name])[0].copy() for name in OUTPUTS)
        return boxes, scores

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
        engine, modes = self._engine, self._trt.TensorIOMode
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        if sorted(names) != sorted(TENSORS):
            raise PlanError(
                f'{self.name} has the tensors {", ".join(names)}, expected {", ".join(TENSORS)}'
            )
        for name in names:
            mode = modes.INPUT if name == INPUT else modes.OUTPUT
            if engine.get_tensor_mode(name) != mode:
                raise PlanError(f'{name} of {self.name} is no {mode.name.lower()}')
            if engine.get_tensor_dtype(name) != self._trt.DataType.FLOAT:
                raise PlanError(f'{name} of {self.name} is not float32')
        shapes = {name: tuple(engine.get_tensor_shape(name)) for name in TENSORS}
        boxes, scores = shapes['boxes'], shapes['scores']
        if any(side < 1 for shape in shapes.values() for side in shape) or not (
            len(boxes) == len(scores) == 3 and boxes[:2] == (1, 4) and boxes[2] == scores[2]
        ):
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
