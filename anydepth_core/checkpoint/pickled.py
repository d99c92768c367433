"""Read files of ``torch.save`` without running what is pickled in them.

A pickle is a program that may call anything it names. Here a name stands for one of a few
functions that describe tensors and containers, or for an inert class whose objects only keep their
state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import io
from math import prod
from pathlib import Path
import pickle
import sys
from types import TracebackType
from typing import Any, NamedTuple
import zipfile

import torch

from anydepth_core.errors import sentence

_DTYPES = {
    'DoubleStorage': torch.float64,
    'FloatStorage': torch.float32,
    'HalfStorage': torch.float16,
    'BFloat16Storage': torch.bfloat16,
    'LongStorage': torch.int64,
    'IntStorage': torch.int32,
    'ShortStorage': torch.int16,
    'CharStorage': torch.int8,
    'ByteStorage': torch.uint8,
    'BoolStorage': torch.bool,
}


class StoredStorage(NamedTuple):
    """The numbers of one or more tensors, still in the file."""

    key: str
    dtype: torch.dtype
    numbers: int


class StoredTensor(NamedTuple):
    """A tensor that is still in the file: a view of a storage, checked to lie inside it."""

    storage: StoredStorage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Inert:
    """Stands for an object of any class; it takes whatever the pickle does to it and runs nothing.

    Attributes:
        state: what the object would have restored itself from, None if nothing.
    """

    state: Any = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Inert:
        """Make an object; the arguments are dropped."""
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __call__(self, *args: Any, **kwargs: Any) -> Inert:
        """Return another inert object."""
        return Inert()

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        """Ignore an item of a list."""

    def extend(self, values: Any) -> None:
        """Ignore items of a list."""

    def add(self, value: Any) -> None:
        """Ignore an item of a set."""


class TorchFile:
    """A zip file of ``torch.save``, open for reading; a context manager.

    Attributes:
        root: the pickled object. Containers and plain values are themselves, tensors are
            :class:`StoredTensor`, everything else is :class:`Inert`.

    Args:
        path: the file.

    Raises:
        ValueError: if the file is damaged or of another form.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self._zip = zipfile.ZipFile(self.path)
        except zipfile.BadZipFile:
            raise ValueError(f'{path} is damaged: it starts as a zip file, but is none') from None
        try:
            self._prefix = self._find_prefix()
            self._check_byte_order()
            self.root = self._unpickle()
        except BaseException:
            self._zip.close()
            raise

    def __enter__(self) -> TorchFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._zip.close()

    def tensor(self, stored: StoredTensor) -> torch.Tensor:
        """Read a tensor.

        Raises:
            ValueError: if its numbers are missing or damaged.
        """
        storage = stored.storage
        data = self._read(f'{self._prefix}data/{storage.key}')
        if len(data) != storage.numbers * storage.dtype.itemsize:
            raise ValueError(
                f'{self.path} is damaged: storage {storage.key} has {len(data)} bytes, '
                f'not {storage.numbers} numbers of {storage.dtype}'
            )
        if not prod(stored.shape):
            return torch.empty(stored.shape, dtype=storage.dtype)
        numbers = torch.frombuffer(bytearray(data), dtype=storage.dtype)
        return numbers.as_strided(stored.shape, stored.strides, stored.offset).clone(
            memory_format=torch.contiguous_format
        )

    def _find_prefix(self) -> str:
        pickles = [name for name in self._zip.namelist() if name.endswith('data.pkl')]
        if len(pickles) != 1 or pickles[0].count('/') > 1:
            raise ValueError(f'{self.path} is a zip file, but not one that torch.save wrote')
        prefix = pickles[0].removesuffix('data.pkl')
        if f'{prefix}constants.pkl' in self._zip.namelist():
            raise ValueError(f'{self.path} is a TorchScript program, not a checkpoint')
        return prefix

    def _check_byte_order(self) -> None:
        name = f'{self._prefix}byteorder'
        if name in self._zip.namelist():
            order = self._read(name).decode('ascii', 'replace').strip()
            if order != sys.byteorder:
                raise ValueError(
                    f'{self.path} has {order}-endian numbers, this machine is {sys.byteorder}-'
                    'endian: save the file again on a machine like this one'
                )

    def _unpickle(self) -> Any:
        stream = io.BytesIO(self._read(f'{self._prefix}data.pkl'))
        try:
            return _Unpickler(stream, encoding='utf-8').load()
        except Exception as error:  # a damaged or malicious pickle can raise anything
            reason = sentence(error)
            raise ValueError(f'{self.path} is damaged or no checkpoint: {reason}') from None

    def _read(self, name: str) -> bytes:
        try:
            info = self._zip.getinfo(name)
            if info.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f'{self.path} is a zip file, but not one that torch.save wrote')
            return self._zip.read(info)
        except (KeyError, zipfile.BadZipFile, EOFError, RuntimeError, OSError) as error:
            reason = error.args[0] if error.args else type(error).__name__
            raise ValueError(f'{self.path} is damaged: {reason}') from None


class _Function:
    """A function that a pickle may call, but not change."""

    __slots__ = ('_function',)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError('a function is given a state')


class _Dict(dict):
    """A dictionary whose further attributes, such as the versions of modules, are dropped."""

    def __setstate__(self, state: Any) -> None:
        pass


def _tensor(
    storage: StoredStorage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> StoredTensor:
    """Describe a tensor; refuse a view that reaches outside its storage or repeats it."""
    numbers = (offset, *shape, *strides)
    if (
        not isinstance(storage, StoredStorage)
        or not all(type(number) is int and number >= 0 for number in numbers)
        or len(shape) != len(strides)
    ):
        raise pickle.UnpicklingError('a tensor is described wrongly')
    last = offset + sum((size - 1) * step for size, step in zip(shape, strides))
    if prod(shape) and (last >= storage.numbers or prod(shape) > storage.numbers):
        raise pickle.UnpicklingError('a tensor reaches outside its storage')
    return StoredTensor(storage, offset, tuple(shape), tuple(strides))


def _parameter(data: Any, *_: Any) -> Any:
    return data


def _size(numbers: Any = ()) -> tuple[Any, ...]:
    return tuple(numbers)


_FUNCTIONS: Mapping[tuple[str, str], Callable[..., Any]] = {
    ('torch._utils', '_rebuild_tensor'): _tensor,
    ('torch._utils', '_rebuild_tensor_v2'): _tensor,
    ('torch._utils', '_rebuild_parameter'): _parameter,
    ('torch._utils', '_rebuild_parameter_with_state'): _parameter,
    ('torch', 'Size'): _size,
    ('collections', 'OrderedDict'): _Dict,
    ('builtins', 'set'): set,
    ('__builtin__', 'set'): set,
}


class _Unpickler(pickle.Unpickler):
    """Knows the names of ``_FUNCTIONS`` and the storages; any other is an inert class."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what a name in the pickle stands for; nothing is imported."""
        if module == 'torch' and name in _DTYPES:
            return _DTYPES[name]
        if (module, name) in _FUNCTIONS:
            return _Function(_FUNCTIONS[module, name])
        return type(name, (Inert,), {'__module__': module})

    def persistent_load(self, pid: Any) -> StoredStorage:
        """Return the description of a storage."""
        kind, dtype, key, _, count = pid
        if (
            kind != 'storage'
            or not isinstance(dtype, torch.dtype)
            or not isinstance(key, str)
            or type(count) is not int
            or count < 0
        ):
            raise pickle.UnpicklingError('a storage is described wrongly')
        return StoredStorage(key, dtype, count)
