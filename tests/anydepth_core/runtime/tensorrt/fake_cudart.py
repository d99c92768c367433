"""A ``libcudart`` without a GPU: host memory as device memory, streams that run when waited for.

What a real device would punish with wrong results or a crash is noted in ``misuse`` and fails the
call: use after free, a copy over the end of an allocation, two streams in the same memory at a
time, waiting or allocating while capturing, launching a destroyed graph. ``leaks`` tells what was
never freed.
"""

from __future__ import annotations

from collections.abc import Callable
import ctypes
from dataclasses import dataclass, field
import itertools
import threading
from typing import Any

NAMES = {
    1: 'cudaErrorInvalidValue',
    2: 'cudaErrorMemoryAllocation',
    100: 'cudaErrorNoDevice',
    700: 'cudaErrorIllegalAddress',
    719: 'cudaErrorLaunchFailure',
    900: 'cudaErrorStreamCaptureUnsupported',
    901: 'cudaErrorStreamCaptureInvalidated',
}
GIB = 1 << 30


@dataclass
class Operation:
    """Something a stream does, and the memory it touches as (address, size)."""

    act: Callable[[], None]
    regions: list[tuple[int, int]]


@dataclass
class Stream:
    queue: list[Operation] = field(default_factory=list)
    captured: list[Operation] | None = None
    thread: int = 0
    invalidated: bool = False


class _Function:
    """A function of the library; ctypes lets its prototype be set, so this does, too."""

    def __init__(self, library: FakeCudart, name: str, body: Callable[..., int]) -> None:
        self._library, self._name, self._body = library, name, body
        self.argtypes: Any = None
        self.restype: Any = None

    def __call__(self, *arguments: Any) -> Any:
        library = self._library
        if self.argtypes is not None:
            assert len(arguments) == len(self.argtypes), self._name
        if self.restype is not None or self._name == 'cudaGetLastError':
            return self._body(*arguments)
        library.calls.append(self._name)
        if library.lost:
            return library.lost
        failure = library.planned.get(self._name)
        if failure:
            code = failure.pop(0)
            if code:
                library.lost = code if code in library.sticky else 0
                return code
        return self._body(*arguments)


class FakeCudart:
    """One GPU; ``lib.cudaMalloc`` and so on are its functions."""

    sticky = (700, 719)

    def __init__(
        self,
        total: int = 8 * GIB,
        name: str = 'Fake Orin',
        capability: tuple[int, int] = (8, 7),
        integrated: bool = False,
        devices: int = 1,
        version: int = 12060,
    ) -> None:
        self.total, self.name, self.capability = total, name, capability
        self.integrated, self.devices, self.version = integrated, devices, version
        self.used = 0
        self.lost = 0
        self.misuse: list[str] = []
        self.calls: list[str] = []
        self.planned: dict[str, list[int]] = {}
        self.before_wait: Callable[[int], None] = lambda stream: None
        self._memory: dict[int, tuple[str, Any]] = {}
        self._graveyard: list[Any] = []
        self._streams: dict[int, Stream] = {}
        self._graphs: dict[int, list[Operation]] = {}
        self._executables: dict[int, list[Operation]] = {}
        self._events: set[int] = set()
        self._handles = itertools.count(0x1000, 16)
        self._functions: dict[str, _Function] = {}
        self._lock = threading.RLock()

    def __getattr__(self, name: str) -> Any:
        if not name.startswith('cuda'):
            raise AttributeError(name)
        if name not in self._functions:
            body = getattr(type(self), f'_{name}').__get__(self)
            self._functions[name] = _Function(self, name, body)
        return self._functions[name]

    def plan(self, name: str, *codes: int) -> None:
        """Let the next calls of a function return these codes, 0 being a normal call."""
        self.planned[name] = list(codes)

    @property
    def leaks(self) -> dict[str, int]:
        kinds = [kind for kind, _ in self._memory.values()]
        counts = {kind: kinds.count(kind) for kind in set(kinds)}
        others = {
            'stream': self._streams,
            'graph': self._graphs,
            'executable': self._executables,
            'event': self._events,
        }
        return counts | {name: len(held) for name, held in others.items() if held}

    def reserve(self, size: int, kind: str = 'weights') -> int:
        """Allocate memory; 0 if there is not enough."""
        with self._lock:
            if kind != 'pinned' and self.used + size > self.total:
                return 0
            self.used += size if kind != 'pinned' else 0
            # Aligned as CUDA does, so that a wrong address cannot be right by chance.
            buffer = ctypes.create_string_buffer(min(size, 64 << 20) + 256)
            address = (ctypes.addressof(buffer) + 255) // 256 * 256
            self._memory[address] = (kind, (buffer, size))
            return address

    def release(self, address: int, kind: str = 'weights') -> None:
        with self._lock:
            if self._memory.get(address, ('',))[0] != kind:
                self._complain(f'freeing {kind} memory that is not allocated')
            for stream in self._streams.values():
                for operation in stream.queue:
                    if any(start == address for start, _ in operation.regions):
                        self._complain(f'freeing {kind} memory that a stream still works in')
            _, (buffer, size) = self._memory.pop(address)
            self.used -= size if kind != 'pinned' else 0
            ctypes.memset(buffer, 0xA5, len(buffer))
            self._graveyard.append(buffer)

    def check_region(self, address: int, size: int, kinds: tuple[str, ...]) -> None:
        """Complain unless the bytes lie inside one live allocation of one of these kinds."""
        with self._lock:
            for start, (kind, (_, length)) in self._memory.items():
                if kind in kinds and start <= address and address + size <= start + length:
                    return
        self._complain(f'{size} bytes at {address:#x} are not inside live {" or ".join(kinds)}')

    def capturing(self, stream: int) -> bool:
        return self._streams[stream].captured is not None

    def invalidate(self, stream: int) -> None:
        self._streams[stream].invalidated = True

    def submit(self, stream: int, operation: Operation) -> None:
        """Add to a stream, or to the graph it is capturing."""
        with self._lock:
            found = self._streams.get(stream)
            if found is None:
                self._complain('a stream that does not exist')
                return
            if found.captured is not None:
                if found.thread != threading.get_ident():
                    self._complain('work from another thread in a stream that is captured')
                found.captured.append(operation)
                return
            for handle, other in self._streams.items():
                if handle != stream and _overlap([operation], other.queue):
                    self._complain('two streams work in the same memory at the same time')
            found.queue.append(operation)

    def _complain(self, text: str) -> None:
        self.misuse.append(text)
        raise AssertionError(f'misuse of CUDA: {text}')

    def _unsafe(self, name: str) -> None:
        me = threading.get_ident()
        if any(s.captured is not None and s.thread == me for s in self._streams.values()):
            self._complain(f'{name} while this thread captures')

    # Below: the functions, as in the CUDA runtime API.

    def _cudaGetErrorName(self, code: int) -> bytes:
        return NAMES.get(code, 'cudaErrorUnknown').encode()

    def _cudaGetErrorString(self, code: int) -> bytes:
        return f'the fake was told to fail with {code}'.encode()

    def _cudaGetLastError(self) -> int:
        return 0

    def _cudaRuntimeGetVersion(self, out: Any) -> int:
        return _give(out, self.version)

    def _cudaGetDeviceCount(self, out: Any) -> int:
        return _give(out, self.devices) if self.devices else 100

    def _cudaSetDevice(self, device: int) -> int:
        return 0 if 0 <= device < self.devices else 1

    def _cudaGetDeviceProperties(self, out: Any, device: int) -> int:
        ctypes.memmove(out, self.name.encode() + b'\0', len(self.name) + 1)
        return 0

    def _cudaDeviceGetAttribute(self, out: Any, number: int, device: int) -> int:
        values = {75: self.capability[0], 76: self.capability[1], 18: int(self.integrated)}
        return _give(out, values[number])

    def _cudaMemGetInfo(self, free: Any, total: Any) -> int:
        _give(free, self.total - self.used)
        return _give(total, self.total)

    def _cudaMalloc(self, out: Any, size: int) -> int:
        return self._allocate(out, size, 'device')

    def _cudaHostAlloc(self, out: Any, size: int, flags: int) -> int:
        return self._allocate(out, size, 'pinned')

    def _allocate(self, out: Any, size: int, kind: str) -> int:
        self._unsafe('allocating')
        address = self.reserve(size, kind)
        return _give(out, address) if address else 2

    def _cudaFree(self, address: int) -> int:
        self._unsafe('cudaFree')
        self.release(address, 'device')
        return 0

    def _cudaFreeHost(self, address: int) -> int:
        self._unsafe('cudaFreeHost')
        self.release(address, 'pinned')
        return 0

    def _cudaMemcpyAsync(self, target: int, source: int, size: int, kind: int, stream: int) -> int:
        kinds = {1: ('device', 'pinned'), 2: ('pinned', 'device')}[kind]

        def act() -> None:
            self.check_region(target, size, (kinds[0],))
            self.check_region(source, size, (kinds[1],))
            ctypes.memmove(target, source, size)

        self.check_region(target, size, (kinds[0],))
        self.check_region(source, size, (kinds[1],))
        self.submit(stream, Operation(act, [(target, size), (source, size)]))
        return 0

    def _cudaStreamCreateWithFlags(self, out: Any, flags: int) -> int:
        if flags != 1:
            self._complain('a stream that waits for the default stream')
        handle = next(self._handles)
        self._streams[handle] = Stream()
        return _give(out, handle)

    def _cudaStreamSynchronize(self, stream: int) -> int:
        if self.capturing(stream):
            self._complain('waiting for a stream that is captured')
        self.before_wait(stream)
        queue = self._streams[stream].queue
        for operation in list(queue):
            operation.act()
        with self._lock:
            queue.clear()
        return 0

    def _cudaStreamDestroy(self, stream: int) -> int:
        if self._streams.pop(stream).queue:
            self._complain('a stream is destroyed that still has work')
        return 0

    def _cudaEventCreate(self, out: Any) -> int:
        handle = next(self._handles)
        self._events.add(handle)
        return _give(out, handle)

    def _cudaEventRecord(self, event: int, stream: int) -> int:
        assert event in self._events
        self.submit(stream, Operation(lambda: None, []))
        return 0

    def _cudaEventSynchronize(self, event: int) -> int:
        assert event in self._events
        return 0

    def _cudaEventElapsedTime(self, out: Any, start: int, end: int) -> int:
        assert {start, end} <= self._events
        return _give(out, 1.5)

    def _cudaEventDestroy(self, event: int) -> int:
        self._events.remove(event)
        return 0

    def _cudaStreamBeginCapture(self, stream: int, mode: int) -> int:
        if mode != 1:
            self._complain('a capture that forbids other threads to use CUDA')
        found = self._streams[stream]
        if found.queue or found.captured is not None:
            self._complain('a capture in a stream that is in use')
        found.captured, found.thread, found.invalidated = [], threading.get_ident(), False
        return 0

    def _cudaStreamEndCapture(self, stream: int, out: Any) -> int:
        found = self._streams[stream]
        if found.captured is None or found.thread != threading.get_ident():
            self._complain('the end of a capture that was not begun in this thread')
        captured, found.captured = found.captured, None
        if found.invalidated:
            return 901
        handle = next(self._handles)
        self._graphs[handle] = captured or []
        return _give(out, handle)

    def _cudaGraphInstantiate(self, out: Any, graph: int, flags: int) -> int:
        handle = next(self._handles)
        self._executables[handle] = list(self._graphs[graph])
        return _give(out, handle)

    def _cudaGraphDestroy(self, graph: int) -> int:
        del self._graphs[graph]
        return 0

    def _cudaGraphUpload(self, executable: int, stream: int) -> int:
        assert executable in self._executables
        return 0

    def _cudaGraphLaunch(self, executable: int, stream: int) -> int:
        if executable not in self._executables:
            self._complain('launching a graph that was destroyed')
        if self.capturing(stream):
            self._complain('launching a graph while the stream is captured')
        for operation in self._executables[executable]:
            self.submit(stream, operation)
        return 0

    def _cudaGraphExecDestroy(self, executable: int) -> int:
        with self._lock:
            gone = self._executables.pop(executable)
            for stream in self._streams.values():
                if any(operation in gone for operation in stream.queue):
                    self._complain('a graph is destroyed while it runs')
        return 0


def _give(out: Any, value: Any) -> int:
    out._obj.value = value
    return 0


def _overlap(some: list[Operation], others: list[Operation]) -> bool:
    return any(
        start < far + length and far < start + size
        for one in some
        for start, size in one.regions
        for other in others
        for far, length in other.regions
    )
