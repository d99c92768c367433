"""Files of torch.save are read; nothing that is pickled in them runs."""

from collections import OrderedDict
from collections.abc import Callable
import io
import os
from pathlib import Path
import pickle
import sys
import zipfile

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest
import torch
from torch import nn

from anydepth_core.checkpoint.modules import is_module, stored_state_dict
from anydepth_core.checkpoint.pickled import Inert, StoredTensor, TorchFile
from tests.anydepth_core.support.published import fake_ultralytics, pickled_network


def load(file: TorchFile, value):
    if isinstance(value, StoredTensor):
        return file.tensor(value)
    return {key: load(file, item) for key, item in value.items()}


def test_tensors_of_every_type_and_layout_are_read(tmp_path: Path) -> None:
    base = torch.arange(60.0).reshape(3, 4, 5)
    tensors = {
        'plain': base,
        'view': base[1:, ::2, 3],
        'transposed': base.permute(2, 0, 1).half(),
        'scalar': torch.tensor(7),
        'empty': torch.empty(0, 3),
        'parameter': nn.Parameter(base.bfloat16()),
        'flags': torch.tensor([True, False]),
        **{
            str(kind): torch.ones(2, dtype=kind) for kind in (torch.int8, torch.uint8, torch.int32)
        },
    }
    torch.save(OrderedDict(tensors), tmp_path / 'file.pt')
    with TorchFile(tmp_path / 'file.pt') as file:
        read = load(file, file.root)
    assert list(read) == list(tensors)
    for name, value in tensors.items():
        assert read[name].dtype == value.dtype
        assert torch.equal(read[name], value.detach())
        assert read[name].is_contiguous()


def test_a_network_of_unknown_classes_gives_its_state_dict(tmp_path: Path) -> None:
    tensors = {
        'model.0.conv.weight': torch.rand(2, 3, 3, 3),
        'model.0.bn.running_mean': torch.rand(2),
        'model.0.bn.num_batches_tracked': torch.tensor(5),
        'gamma': torch.rand(4),
    }
    with fake_ultralytics() as classes:
        network = pickled_network(tensors, classes, names={0: 'cat'})
        torch.save({'model': network}, tmp_path / 'file.pt')
    assert 'ultralytics.nn.tasks' not in sys.modules
    with TorchFile(tmp_path / 'file.pt') as file:
        assert is_module(file.root['model'])
        read = load(file, stored_state_dict(file.root['model']))
    assert set(read) == set(tensors)  # so the buffer that is not persistent is left out
    assert all(torch.equal(read[name], value) for name, value in tensors.items())
    assert 'ultralytics.nn.tasks' not in sys.modules


def test_a_network_of_an_old_torch_lacks_attributes_and_is_read(tmp_path: Path) -> None:
    with fake_ultralytics() as classes:
        network = pickled_network({'a.weight': torch.ones(2)}, classes)
        for module in network.modules():
            for name in ('_non_persistent_buffers_set', '_backward_pre_hooks', 'training'):
                vars(module).pop(name, None)
            module._buffers.pop('passing', None)
        torch.save(network, tmp_path / 'file.pt')
    with TorchFile(tmp_path / 'file.pt') as file:
        assert list(stored_state_dict(file.root)) == ['a.weight']


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function: Callable, *args: object) -> None:
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


def test_calls_in_a_pickle_are_not_made(tmp_path: Path) -> None:
    trace = tmp_path / 'trace'
    calls = [
        Calls(os.system, f'touch {trace}'),
        Calls(eval, f'open({str(trace)!r}, "w")'),
        Calls(open, str(trace), 'w'),
        Calls(pytest.fail, 'the pickle ran'),  # an object that is called, not a class
    ]
    torch.save({'calls': calls, 'w': torch.ones(1)}, tmp_path / 'file.pt')
    with TorchFile(tmp_path / 'file.pt') as file:
        assert all(isinstance(call, Inert) for call in file.root['calls'])
        assert torch.equal(file.tensor(file.root['w']), torch.ones(1))
    assert not trace.exists()


def write_pickle(path: Path, content: bytes, **members: bytes) -> Path:
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('file/data.pkl', content)
        for name, data in members.items():
            archive.writestr(f'file/{name}', data)
    return path


def text_pickle(*operations: bytes) -> bytes:
    return b''.join((b'\x80\x02', *operations, b'.'))


@pytest.mark.parametrize(
    'operations',
    [
        (b'ctorch._utils\n_rebuild_parameter\n', b'}', b'b'),  # give a function a state
        (b'cos\nsystem\n', b'}', b'b'),  # give a class a state
        (b'ccollections\nOrderedDict\n', b'N', b'}X\x08\x00\x00\x00__call__K\x01s', b'\x86', b'b'),
        (b'cbuiltins\nset\n', b')', b'\x81'),  # make an object of a function
        (b'ctorch\nSize\n', b'(K\x01t', b'R'),  # a number instead of numbers
        (b'K\x01Q',),  # an odd storage
        (b'K\x01', b'}', b'b'),  # give a number a state
    ],
)
def test_what_a_pickle_must_not_change_is_refused(tmp_path: Path, operations) -> None:
    path = write_pickle(tmp_path / 'file.pt', text_pickle(*operations))
    with pytest.raises(ValueError, match='damaged or no checkpoint'):
        TorchFile(path)
    assert not [name for name in vars(Inert) if name not in _INERT]


_INERT = set(vars(Inert))


class View:
    """Pickles as a call that rebuilds a tensor of one storage."""

    def __init__(self, offset, shape, strides, dtype=torch.FloatStorage, numbers=12, key='0'):
        self.storage = ('storage', dtype, key, 'cpu', numbers)
        self.view = (offset, shape, strides)

    def __reduce__(self):
        return torch._utils._rebuild_tensor_v2, (Stored(self.storage), *self.view, False, {})


class Stored:
    def __init__(self, description):
        self.description = description


class Pickler(pickle.Pickler):
    def persistent_id(self, value):
        return value.description if isinstance(value, Stored) else None


def write_view(path: Path, view: View, numbers: int = 12, **members: bytes) -> Path:
    stream = io.BytesIO()
    Pickler(stream, 2).dump(view)
    data = torch.arange(float(numbers)).numpy().tobytes()
    return write_pickle(path, stream.getvalue(), **{'data/0': data}, **members)


whole = st.integers(min_value=0, max_value=14)


@settings(max_examples=200, deadline=None)
@given(offset=whole, dims=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), max_size=3))
def test_a_view_is_read_as_torch_reads_it_or_refused(tmp_path_factory, offset, dims) -> None:
    shape, strides = tuple(size for size, _ in dims), tuple(step for _, step in dims)
    path = write_view(tmp_path_factory.mktemp('view') / 'file.pt', View(offset, shape, strides))
    numbers = torch.arange(12.0)
    try:
        with TorchFile(path) as file:
            read = file.tensor(file.root)
    except ValueError:
        count = torch.Size(shape).numel()
        last = offset + sum((size - 1) * step for size, step in dims)
        assert count and (count > 12 or last > 11)
        return
    if read.numel():
        assert torch.equal(read, numbers.as_strided(shape, strides, offset))
    assert read.shape == shape


@pytest.mark.parametrize(
    'view',
    [
        View(-1, (1,), (1,)),
        View(0, (-1,), (1,)),
        View(0, (2, 2), (1,)),
        View(0, (True,), (1,)),
        View(0, (10**9, 10**9), (0, 0)),  # would fill the memory
        View('0', (1,), (1,)),
        View(0, (1,), (1,), numbers=-1),
        View(0, (1,), (1,), dtype=dict),
        View(0, (1,), (1,), key=0),
    ],
)
def test_tensors_described_wrongly_are_refused(tmp_path: Path, view: View) -> None:
    with pytest.raises(ValueError, match='damaged or no checkpoint'):
        TorchFile(write_view(tmp_path / 'file.pt', view))


@pytest.mark.parametrize(('key', 'numbers'), [('0', 11), ('0', 13), ('1', 12), ('../0', 12)])
def test_a_storage_that_is_missing_or_of_another_size_is_refused(
    tmp_path: Path, key: str, numbers: int
) -> None:
    view = View(0, (2,), (1,), numbers=numbers, key=key)
    with TorchFile(write_view(tmp_path / 'file.pt', view)) as file:
        with pytest.raises(ValueError, match='is damaged'):
            file.tensor(file.root)


def test_numbers_in_the_byte_order_of_another_machine_are_refused(tmp_path: Path) -> None:
    view = View(0, (2,), (1,))
    other = {'little': b'big', 'big': b'little'}[sys.byteorder]
    with pytest.raises(ValueError, match=f'{other.decode()}-endian'):
        TorchFile(write_view(tmp_path / 'other.pt', view, byteorder=other))
    same = write_view(tmp_path / 'same.pt', view, byteorder=sys.byteorder.encode())
    with TorchFile(same) as file:
        assert file.tensor(file.root).tolist() == [0, 1]


def test_networks_that_contain_themselves_are_refused(tmp_path: Path) -> None:
    with fake_ultralytics() as classes:
        network = pickled_network({'a.weight': torch.ones(1)}, classes)
        network._modules['again'] = network
        torch.save(network, tmp_path / 'file.pt')
    with TorchFile(tmp_path / 'file.pt') as file:
        with pytest.raises(ValueError, match='nests more than 50'):
            stored_state_dict(file.root)


def test_a_network_that_repeats_itself_without_end_is_refused(tmp_path: Path) -> None:
    with fake_ultralytics() as classes:
        network = pickled_network({'a.weight': torch.ones(1)}, classes)
        for _ in range(30):  # 2 ** 30 paths to one tensor
            outer = pickled_network({}, classes)
            outer._modules.update(left=network, right=network)
            network = outer
        torch.save(network, tmp_path / 'file.pt')
    with TorchFile(tmp_path / 'file.pt') as file:
        with pytest.raises(ValueError, match='more than 100000 modules'):
            stored_state_dict(file.root)


@settings(max_examples=150, deadline=None)
@given(position=st.integers(0, 10**6), value=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_pickle_is_a_value_error_or_nothing(tmp_path_factory, position, value, cut):
    stream = io.BytesIO()
    Pickler(stream, 2).dump({'w': View(0, (3, 2), (2, 1)), 'names': {0: 'cat'}, 'more': [1.5]})
    content = bytearray(stream.getvalue())
    position %= len(content)
    content[position:] = b'' if cut else bytes([value]) + content[position + 1 :]
    path = write_pickle(tmp_path_factory.getbasetemp() / 'damaged.pt', bytes(content))
    try:
        TorchFile(path)
    except ValueError as error:
        assert len(str(error).splitlines()) == 1


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'file.pt'
    torch.save({'w': torch.rand(100)}, path)
    content = path.read_bytes()
    for length in (5, len(content) // 2, len(content) - 10):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match='damaged'):
            TorchFile(path)


def test_other_zip_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / 'file.zip'
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('readme.txt', 'hello')
    with pytest.raises(ValueError, match='not one that torch.save wrote'):
        TorchFile(path)
    torch.jit.script(nn.Linear(2, 2)).save(str(path))
    with pytest.raises(ValueError, match='TorchScript'):
        TorchFile(path)
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('file/data.pkl', pickle.dumps({}))
    with pytest.raises(ValueError, match='not one that torch.save wrote'):
        TorchFile(path)
