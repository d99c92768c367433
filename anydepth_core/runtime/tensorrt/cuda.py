"""The part of the CUDA runtime that the TensorRT back end needs, through ctypes.

No torch, cupy or pycuda on the robot: about thirty functions of ``libcudart`` 12 or 13 are enough.
"""

from __future__ import annotations

from collections.abc import Mapping
import ctypes
from ctypes import c_char_p, c_float, c_int, c_size_t, c_uint, c_ulonglong, c_void_p, POINTER
import sys
from typing import Any

LIBRARIES = ('libcudart.so.13', 'libcudart.so.12')

TO_DEVICE, TO_HOST = 1, 2  # cudaMemcpyKind

_OUT_OF_MEMORY = 2
_NON_BLOCKING = 1  # cudaStreamNonBlocking: no implicit waits between streams
_THREAD_LOCAL = 1  # cudaStreamCaptureModeThreadLocal: other threads may go on using CUDA
_PORTABLE = 1  # cudaHostAllocPortable
_MAJOR, _MINOR, _INTEGRATED = 75, 76, 18  # cudaDeviceAttr
_PROPERTIES_BYTES = 16384  # generous: cudaDeviceProp grows with every version, the name is first
_NAME_BYTES = 256

# After these the CUDA context of the process is of no more use (CUDA runtime API, cudaError_t).
_LOST = frozenset(
    (4, 46, 100, 101, 201, 214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 802)
    + (911, 999)
)

_OUT = POINTER(c_void_p)
_PROTOTYPES: Mapping[str, tuple[Any, ...]] = {
    'cudaRuntimeGetVersion': (POINTER(c_int),),
    'cudaGetDeviceCount': (POINTER(c_int),),
    'cudaSetDevice': (c_int,),
    'cudaGetDeviceProperties': (c_void_p, c_int),
    'cudaDeviceGetAttribute': (POINTER(c_int), c_int, c_int),
    'cudaMemGetInfo': (POINTER(c_size_t), POINTER(c_size_t)),
    'cudaGetLastError': (),
    'cudaMalloc': (_OUT, c_size_t),
    'cudaFree': (c_void_p,),
    'cudaHostAlloc': (_OUT, c_size_t, c_uint),
    'cudaFreeHost': (c_void_p,),
    'cudaMemcpyAsync': (c_void_p, c_void_p, c_size_t, c_int, c_void_p),
    'cudaStreamCreateWithFlags': (_OUT, c_uint),
    'cudaStreamSynchronize': (c_void_p,),
    'cudaStreamDestroy': (c_void_p,),
    'cudaEventCreate': (_OUT,),
    'cudaEventRecord': (c_void_p, c_void_p),
    'cudaEventSynchronize': (c_void_p,),
    'cudaEventElapsedTime': (POINTER(c_float), c_void_p, c_void_p),
    'cudaEventDestroy': (c_void_p,),
    'cudaStreamBeginCapture': (c_void_p, c_int),
    'cudaStreamEndCapture': (c_void_p, _OUT),
    'cudaGraphInstantiate': (_OUT, c_void_p, c_ulonglong),
    'cudaGraphDestroy': (c_void_p,),
    'cudaGraphUpload': (c_void_p, c_void_p),
    'cudaGraphLaunch': (c_void_p, c_void_p),
    'cudaGraphExecDestroy': (c_void_p,),
}
"""Arguments of each function; all of them return a cudaError_t."""


class CudaError(RuntimeError):
    """A call of the CUDA runtime failed.

    Attributes:
        code: the cudaError_t.
        lost: the device cannot be used any more by this process.
        out_of_memory: there was not enough memory.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.lost = code in _LOST
        self.out_of_memory = code == _OUT_OF_MEMORY


def load_library() -> ctypes.CDLL:
    """Load ``libcudart``.

    Raises:
        RuntimeError: if there is none; the message says where it comes from.
    """
    for name in (*LIBRARIES, 'libcudart.so'):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise RuntimeError(
        f'the CUDA runtime ({" or ".join(LIBRARIES)}) is not installed: on a Jetson run '
        "'sudo apt install nvidia-jetpack', elsewhere install CUDA 12 or 13, "
        'or use the back end onnxruntime'
    )


class Cuda:
    """One CUDA device; addresses and handles are plain integers.

    Any thread may call any method after it called :meth:`use`.
    """

    def __init__(self, library: Any = None, device: int = 0) -> None:
        """Load the library, unless one is given, and take the device.

        Args:
            library: functions named and behaving as those of ``libcudart``.
            device: number of the GPU.

        Raises:
            RuntimeError: if there is no CUDA, no usable driver or no such device.
        """
        self._library = load_library() if library is None else library
        self.device = device
        self._declare()
        self._check_device()
        self.use()

    def use(self) -> None:
        """Make this the device of the calling thread."""
        self._call('cudaSetDevice', self.device)

    @property
    def name(self) -> str:
        """Name of the device, for example ``Orin``."""
        properties = ctypes.create_string_buffer(_PROPERTIES_BYTES)
        self._call('cudaGetDeviceProperties', properties, self.device)
        return properties.raw[:_NAME_BYTES].split(b'\0')[0].decode(errors='replace')

    @property
    def compute_capability(self) -> tuple[int, int]:
        """Major and minor compute capability, for example (8, 7)."""
        return self._attribute(_MAJOR), self._attribute(_MINOR)

    @property
    def integrated(self) -> bool:
        """Whether the GPU uses the memory of the CPU, as on a Jetson."""
        return bool(self._attribute(_INTEGRATED))

    @property
    def runtime_version(self) -> str:
        """Version of the CUDA runtime, for example ``12.6``."""
        version = c_int()
        self._call('cudaRuntimeGetVersion', ctypes.byref(version))
        return f'{version.value // 1000}.{version.value % 1000 // 10}'

    def memory(self) -> tuple[int, int]:
        """Return the free and the total memory of the device in bytes."""
        free, total = c_size_t(), c_size_t()
        self._call('cudaMemGetInfo', ctypes.byref(free), ctypes.byref(total))
        return free.value, total.value

    def malloc(self, size: int) -> int:
        """Allocate device memory and return its address."""
        return self._make('cudaMalloc', size, doing=f'allocating {size} bytes of device memory')

    def free(self, address: int) -> None:
        """Free device memory."""
        self._call('cudaFree', address)

    def host_alloc(self, size: int) -> int:
        """Allocate page-locked host memory and return its address."""
        return self._make(
            'cudaHostAlloc', size, _PORTABLE, doing=f'allocating {size} bytes of pinned memory'
        )

    def host_free(self, address: int) -> None:
        """Free page-locked host memory."""
        self._call('cudaFreeHost', address)

    def copy_async(self, target: int, source: int, size: int, kind: int, stream: int) -> None:
        """Copy bytes in stream order; ``kind`` is ``TO_DEVICE`` or ``TO_HOST``."""
        self._call('cudaMemcpyAsync', target, source, size, kind, stream)

    def create_stream(self) -> int:
        """Create a stream that waits for no other."""
        return self._make('cudaStreamCreateWithFlags', _NON_BLOCKING)

    def synchronize(self, stream: int) -> None:
        """Wait until everything in a stream is done."""
        self._call('cudaStreamSynchronize', stream, doing='waiting for the GPU')

    def destroy_stream(self, stream: int) -> None:
        """Destroy a stream."""
        self._call('cudaStreamDestroy', stream)

    def create_event(self) -> int:
        """Create an event that takes the time."""
        return self._make('cudaEventCreate')

    def record(self, event: int, stream: int) -> None:
        """Let an event happen when the stream gets here."""
        self._call('cudaEventRecord', event, stream)

    def elapsed_ms(self, start: int, end: int) -> float:
        """Wait for the second of two recorded events; return the milliseconds between them."""
        elapsed = c_float()
        self._call('cudaEventSynchronize', end, doing='waiting for the GPU')
        self._call('cudaEventElapsedTime', ctypes.byref(elapsed), start, end)
        return elapsed.value

    def destroy_event(self, event: int) -> None:
        """Destroy an event."""
        self._call('cudaEventDestroy', event)

    def begin_capture(self, stream: int) -> None:
        """Record what follows in the stream instead of running it; other threads are free."""
        self._call('cudaStreamBeginCapture', stream, _THREAD_LOCAL)

    def end_capture(self, stream: int) -> int:
        """End the recording, also a failed one, and return it as a graph."""
        return self._make('cudaStreamEndCapture', before=(stream,))

    def instantiate(self, graph: int) -> int:
        """Make a graph ready to launch."""
        return self._make('cudaGraphInstantiate', graph, 0)

    def destroy_graph(self, graph: int) -> None:
        """Destroy a graph; what was instantiated from it stays."""
        self._call('cudaGraphDestroy', graph)

    def upload(self, executable: int, stream: int) -> None:
        """Bring an instantiated graph to the device ahead of its first launch."""
        self._call('cudaGraphUpload', executable, stream)

    def launch(self, executable: int, stream: int) -> None:
        """Run an instantiated graph in stream order."""
        self._call('cudaGraphLaunch', executable, stream, doing='starting the network')

    def destroy_executable(self, executable: int) -> None:
        """Destroy an instantiated graph."""
        self._call('cudaGraphExecDestroy', executable)

    def _declare(self) -> None:
        try:
            for name, arguments in _PROTOTYPES.items():
                getattr(self._library, name).argtypes = arguments
            for name in ('cudaGetErrorName', 'cudaGetErrorString'):
                getattr(self._library, name).restype = c_char_p
        except AttributeError as error:
            raise RuntimeError(
                f'this libcudart is too old ({error}): install CUDA 12 or 13'
            ) from None

    def _check_device(self) -> None:
        count = c_int()
        try:
            self._call('cudaGetDeviceCount', ctypes.byref(count), doing='looking for a GPU')
        except CudaError as error:
            raise RuntimeError(
                f'{error}: check that there is an NVIDIA GPU whose driver is as new as this CUDA, '
                'or use the back end onnxruntime'
            ) from None
        if not 0 <= self.device < count.value:
            raise RuntimeError(
                f'device {self.device} does not exist: '
                f'this machine has the CUDA devices 0 to {count.value - 1}, give one of them'
            )

    def _attribute(self, number: int) -> int:
        value = c_int()
        self._call('cudaDeviceGetAttribute', ctypes.byref(value), number, self.device)
        return value.value

    def _make(
        self, name: str, *arguments: Any, before: tuple[Any, ...] = (), doing: str = ''
    ) -> int:
        """Call a function that returns a handle or an address through a pointer."""
        made = c_void_p()
        self._call(name, *before, ctypes.byref(made), *arguments, doing=doing)
        return made.value or 0

    def _call(self, name: str, *arguments: Any, doing: str = '') -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            self._library.cudaGetLastError()  # or the next call would report this one again
            raise CudaError(code, self._explain(code, doing or name))

    def _explain(self, code: int, doing: str) -> str:
        error = self._text(self._library.cudaGetErrorName(code))
        reason = self._text(self._library.cudaGetErrorString(code))
        return f'CUDA failed {doing if " " in doing else f"in {doing}"}: {error} ({reason})'

    @staticmethod
    def _text(value: bytes | None) -> str:
        return (value or b'unknown error').decode(errors='replace')


def available_bytes(cuda: Cuda) -> int:
    """Return how much memory engines and their builder can get.

    Where GPU and CPU share memory, CUDA leaves out what the kernel would give back (page cache),
    so the kernel is asked, too.
    """
    free, _ = cuda.memory()
    if not cuda.integrated or not sys.platform.startswith('linux'):
        return free
    with open('/proc/meminfo', encoding='ascii') as file:
        fields = dict(line.split(':', 1) for line in file)
    return max(free, 1024 * int(fields['MemAvailable'].split()[0]))
