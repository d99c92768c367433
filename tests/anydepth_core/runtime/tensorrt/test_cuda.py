from __future__ import annotations

import ctypes

import pytest

from anydepth_core.runtime.tensorrt import cuda as module
from anydepth_core.runtime.tensorrt.buffers import Buffers, Sizes
from anydepth_core.runtime.tensorrt.cuda import (
    available_bytes,
    Cuda,
    CudaError,
    load_library,
    TO_DEVICE,
    TO_HOST,
)
from tests.anydepth_core.runtime.tensorrt.fake_cudart import FakeCudart, GIB


def test_the_device_is_described():
    cuda = Cuda(FakeCudart(name='Orin', capability=(8, 7), version=12060))
    assert (cuda.name, cuda.compute_capability, cuda.runtime_version) == ('Orin', (8, 7), '12.6')
    assert cuda.memory() == (8 * GIB, 8 * GIB)


def test_bytes_survive_the_way_to_the_device_and_back():
    library = FakeCudart()
    cuda = Cuda(library)
    device, host, stream = cuda.malloc(8), cuda.host_alloc(8), cuda.create_stream()
    ctypes.memmove(host, b'anydepth', 8)
    cuda.copy_async(device, host, 8, TO_DEVICE, stream)
    cuda.synchronize(stream)
    ctypes.memset(host, 0, 8)
    cuda.copy_async(host, device, 8, TO_HOST, stream)
    cuda.synchronize(stream)
    assert ctypes.string_at(host, 8) == b'anydepth'
    cuda.free(device)
    cuda.host_free(host)
    cuda.destroy_stream(stream)
    assert library.leaks == {} and library.misuse == []


def test_a_captured_graph_repeats_what_was_recorded():
    library = FakeCudart()
    cuda = Cuda(library)
    device, host, stream = cuda.malloc(4), cuda.host_alloc(4), cuda.create_stream()
    cuda.begin_capture(stream)
    cuda.copy_async(device, host, 4, TO_DEVICE, stream)
    cuda.copy_async(host, device, 4, TO_HOST, stream)
    graph = cuda.end_capture(stream)
    executable = cuda.instantiate(graph)
    cuda.destroy_graph(graph)
    cuda.upload(executable, stream)
    for _ in range(2):
        cuda.launch(executable, stream)
        cuda.synchronize(stream)
    assert library.calls.count('cudaGraphLaunch') == 2
    cuda.destroy_executable(executable)
    cuda.free(device)
    cuda.host_free(host)
    cuda.destroy_stream(stream)
    assert library.leaks == {}


def test_events_take_the_time():
    cuda = Cuda(FakeCudart())
    stream, events = cuda.create_stream(), (cuda.create_event(), cuda.create_event())
    for event in events:
        cuda.record(event, stream)
    assert cuda.elapsed_ms(*events) == 1.5


@pytest.mark.parametrize(
    ('code', 'name', 'lost', 'out_of_memory'),
    [
        (2, 'cudaErrorMemoryAllocation', False, True),
        (719, 'cudaErrorLaunchFailure', True, False),
        (1, 'cudaErrorInvalidValue', False, False),
    ],
)
def test_an_error_names_itself_and_says_whether_the_device_is_lost(
    code, name, lost, out_of_memory
):
    library = FakeCudart()
    cuda = Cuda(library)
    library.plan('cudaMalloc', code)
    with pytest.raises(CudaError, match=f'4096 bytes.*{name}') as caught:
        cuda.malloc(4096)
    error = caught.value
    assert (error.lost, error.out_of_memory) == (lost, out_of_memory)


def test_a_machine_without_gpu_says_so():
    with pytest.raises(RuntimeError, match='looking for a GPU: cudaErrorNoDevice.*driver'):
        Cuda(FakeCudart(devices=0))


def test_a_device_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(RuntimeError, match='device 2 does not exist.*0 to 1'):
        Cuda(FakeCudart(devices=2), device=2)


def test_a_missing_libcudart_says_where_it_comes_from(monkeypatch):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(module.ctypes, 'CDLL', missing)
    with pytest.raises(RuntimeError, match='libcudart.*nvidia-jetpack'):
        load_library()


def test_a_libcudart_that_lacks_a_function_is_too_old():
    class Old:
        pass

    with pytest.raises(RuntimeError, match='too old.*CUDA 12'):
        Cuda(Old())


def test_shared_memory_counts_what_the_kernel_would_give_back():
    apart, shared = FakeCudart(total=4096), FakeCudart(total=4096, integrated=True)
    assert available_bytes(Cuda(apart)) == 4096
    assert available_bytes(Cuda(shared)) > 4096


@pytest.mark.parametrize('call', range(6))
def test_buffers_are_allocated_as_a_whole_or_not_at_all(call):
    library = FakeCudart()
    names = ['cudaMalloc', 'cudaMalloc', 'cudaHostAlloc', 'cudaMalloc', 'cudaHostAlloc']
    names += ['cudaMalloc', 'cudaHostAlloc']
    name = names[call]
    library.plan(name, *[0] * names[:call].count(name), 2)
    with pytest.raises(CudaError):
        Buffers(Cuda(library), Sizes(64, 64, 64, 64))
    assert library.leaks == {}
