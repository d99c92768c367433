"""Record a torch forward pass as an ONNX graph.

The detector's own ``forward`` is run on small images while every torch function it calls is also
written as ONNX nodes (``torch_ops.py``). What runs in training is thus what is exported: there is
no second description of the data flow, norms stay unfolded, weights keep their state-dict names,
and both depths of a stage can be written into one graph. Functions that have no ONNX form here are
refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
from onnx import TensorProto
import torch
from torch.overrides import TorchFunctionMode

from anydepth_core.export.graph import GraphWriter
from anydepth_core.export.master import DECODER_LAYERS, DEPTH_MASK, IMAGES
from anydepth_core.export.torch_ops import ALIASES, HANDLERS, PASS_THROUGH


class DynamicSize(int):
    """A size that depends on the shape of the images; it knows which axis of which value it is.

    It works as an integer, but computing with it is refused: the result would be frozen into the
    graph.
    """

    value: str
    axis: int
    shape: tuple[int, ...]

    @staticmethod
    def of(value: str, shape: tuple[int, ...], axis: int) -> DynamicSize:
        """Make the size of one axis of a value."""
        size = DynamicSize(shape[axis])
        size.value, size.axis, size.shape = value, axis, shape
        return size

    def refuse(self, *_: object) -> NoReturn:
        """Say that nothing may be computed with it."""
        raise RuntimeError(
            'the forward pass computes with a size of the images, which an exported graph cannot '
            'follow; use -1 in reshape, or the shape of another map'
        )

    __add__ = __radd__ = __sub__ = __rsub__ = refuse  # type: ignore[assignment]
    __mul__ = __rmul__ = refuse  # type: ignore[assignment]
    __floordiv__ = __rfloordiv__ = __truediv__ = __rtruediv__ = refuse  # type: ignore[assignment]


class Weights:
    """The tensors of a detector's state dict, and which graphs use them.

    Args:
        tensors: tensors by their state-dict name.
        half: store tensors with two or more axes in half precision.
    """

    def __init__(self, tensors: Mapping[str, torch.Tensor], half: bool) -> None:
        self._tensors = tensors
        self._half = half
        self._names = {id(tensor): name for name, tensor in tensors.items()}
        self._users: dict[str, list[GraphWriter]] = {name: [] for name in tensors}

    def __contains__(self, tensor: torch.Tensor) -> bool:
        return id(tensor) in self._names

    def use(self, tensor: torch.Tensor, graph: GraphWriter) -> str:
        """Note that a graph uses a weight and return the name of its float32 value."""
        name = self._names[id(tensor)]
        if graph not in self._users[name]:
            self._users[name].append(graph)
        return self._cast_name(name) or name

    def store(self, root: GraphWriter) -> None:
        """Store each weight once: in the branch that is its only user, else in the root graph.

        Raises:
            RuntimeError: if a weight is not used at all, so that the graph would not hold it.
        """
        unused = [name for name, users in self._users.items() if not users]
        if unused:
            raise RuntimeError(
                f'the forward pass never uses the weights {", ".join(unused)}: '
                'remove them, or name them in training_only of the detector'
            )
        for name, users in self._users.items():
            home = users[0] if len(users) == 1 else root
            home.weight(name, self._tensors[name].detach().numpy(), self._cast_name(name))

    def _cast_name(self, name: str) -> str | None:
        return f'/{name}/float32' if self._half and self._tensors[name].dim() >= 2 else None


class Recorder(TorchFunctionMode):
    """Writes the torch functions called inside ``with recorder:`` as ONNX nodes.

    Args:
        weights: the tensors that become initialisers.
        images: the images the forward pass will be run with.
        other_shapes: all shapes the same forward pass asked for with images of other sizes, in
            order; a size that differs is dynamic. None while these are collected.
        sampling: how sampling between cells is written, a key of ``sampling.FORMS``.
    """

    def __init__(
        self,
        weights: Weights,
        images: torch.Tensor,
        other_shapes: Sequence[tuple[int, ...]] | None,
        sampling: str = 'grid_sample',
    ) -> None:
        super().__init__()
        self.graph = self._root = GraphWriter()
        self.sampling = sampling
        self.shapes: list[tuple[int, ...]] = []
        self._weights = weights
        self._other_shapes = other_shapes
        self._values = {id(images): IMAGES}
        self._conditions: dict[tuple[str, int], str] = {}
        self._alive: list[Any] = [images]

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run a torch function and write it down when it touches a recorded value."""
        kwargs = kwargs or {}
        result = func(*_without_sizes(args), **{k: _without_sizes(v) for k, v in kwargs.items()})
        name = _function_name(func)
        if name in ('shape', 'size'):
            return self._sizes(args[0], result, *args[1:])
        if name == '__len__':
            return self._length(args[0], result)
        if name in PASS_THROUGH or not self._touches((*args, *kwargs.values())):
            return result
        handler = HANDLERS.get(ALIASES.get(name, name))
        if handler is None:
            raise RuntimeError(
                f'torch function {name!r} has no ONNX form here; '
                'add one to anydepth_core/export/torch_ops.py'
            )
        if kwargs.get('inplace'):
            raise RuntimeError(f'{name}(inplace=True) has no ONNX form here; use inplace=False')
        if not any(result is argument for argument in args):
            self.assign(result, handler(self, result, *args, **kwargs))
        return result

    def stage_runs(self, index: int) -> str:
        """Name of the condition that the refinement of a stage runs."""
        return self._condition('Gather', DEPTH_MASK, index)

    def layer_runs(self, index: int) -> str:
        """Name of the condition that a decoder layer runs."""
        return self._condition('Greater', DECODER_LAYERS, index)

    def switch(
        self, condition: str, branches: Mapping[str, Callable[[], Sequence[torch.Tensor]]]
    ) -> list[torch.Tensor]:
        """Record two ways to compute the same tensors as the branches of one ``If``.

        Args:
            condition: name of a bool value.
            branches: what runs where it is true, then what runs where it is false; the keys are
                part of the names in the graph.

        Returns:
            the results of the second branch, which stand for the outputs of the ``If``.
        """
        outer = self.graph
        written = []
        for name, branch in branches.items():
            self.graph = outer.branch(name)
            results = [result.clone() for result in branch()]
            for result in results:
                shape = [None if isinstance(s, DynamicSize) else s for s in result.shape]
                self.graph.output(self.value(result), shape)
            written.append(self.graph)
        self.graph = outer
        self.assign(results, outer.switch(condition, *written))
        return results

    def assign(self, result: Any, names: str | Sequence[str]) -> None:
        """Remember which graph value a tensor, or each of several tensors, stands for."""
        pairs = (
            [(result, names)] if isinstance(names, str) else list(zip(result, names, strict=True))
        )
        for tensor, name in pairs:
            self._values[id(tensor)] = name
            self._alive.append(tensor)

    def value(self, operand: Any) -> str:
        """Name of a tensor or number in the graph; what was not recorded becomes a constant."""
        if isinstance(operand, torch.Tensor):
            if id(operand) in self._values:
                return self._values[id(operand)]
            if operand in self._weights:
                return self._weights.use(operand, self.graph)
            return self.graph.constant(operand.detach().cpu().numpy())
        if isinstance(operand, DynamicSize):
            return self._cast(self.sizes((operand,)))
        return self.graph.constant(np.array(operand, np.float32))

    def sizes(self, sizes: Sequence[int], reshaped: torch.Tensor | None = None) -> str:
        """Name of an int64 vector of sizes; in a reshape, sizes its operand has become 0."""
        whole = self._whole_shape(sizes)
        kept = None if reshaped is None else self.value(reshaped)
        numbers = [
            0
            if isinstance(size, DynamicSize) and (size.value, size.axis) == (kept, axis)
            else size
            for axis, size in enumerate(sizes)
        ]
        if not any(isinstance(number, DynamicSize) for number in numbers):
            return self.graph.integers([int(number) for number in numbers])
        if whole is not None:
            return self.graph.node('Shape', (whole,))
        parts = [self._size(number) for number in numbers]
        return parts[0] if len(parts) == 1 else self.graph.node('Concat', parts, axis=0)

    def _size(self, size: int) -> str:
        if not isinstance(size, DynamicSize):
            return self.graph.integers((size,))
        return self.graph.node('Shape', (size.value,), start=size.axis, end=size.axis + 1)

    def _whole_shape(self, sizes: Sequence[int]) -> str | None:
        """Name of the value whose whole shape these sizes are, None if there is no such value."""
        dynamic = [size for size in sizes if isinstance(size, DynamicSize)]
        if not dynamic or tuple(sizes) != dynamic[0].shape:
            return None
        same = all(
            not isinstance(size, DynamicSize)
            or (size.value, size.axis) == (dynamic[0].value, axis)
            for axis, size in enumerate(sizes)
        )
        return dynamic[0].value if same else None

    def _condition(self, kind: str, values: str, index: int) -> str:
        """Name of a condition; it is written once, where every branch can see it."""
        if (kind, index) not in self._conditions:
            operands = (values, self._root.constant(np.array(index)))
            self._conditions[kind, index] = self._root.node(kind, operands)
        return self._conditions[kind, index]

    def _cast(self, size: str) -> str:
        scalar = self.graph.node('Squeeze', (size,))
        return self.graph.node('Cast', (scalar,), to=TensorProto.FLOAT)

    def _touches(self, arguments: Sequence[Any]) -> bool:
        """Whether any argument, or member of an argument, depends on the inputs or is a weight."""
        for argument in arguments:
            if isinstance(argument, DynamicSize):
                return True
            if isinstance(argument, torch.Tensor):
                if id(argument) in self._values or argument in self._weights:
                    return True
            elif isinstance(argument, (tuple, list)) and self._touches(argument):
                return True
        return False

    def _sizes(self, tensor: torch.Tensor, result: Any, axis: int | None = None) -> Any:
        """Answer a question for the shape with sizes that know whether they are dynamic."""
        shape = tuple(tensor.shape)
        self.shapes.append(shape)
        if self._other_shapes is None or not self._touches((tensor,)):
            return result
        other = self._other_shapes[len(self.shapes) - 1]
        name = self.value(tensor)
        sizes = tuple(
            size if size == other[index] else DynamicSize.of(name, shape, index)
            for index, size in enumerate(shape)
        )
        return sizes if axis is None else sizes[axis]

    def _length(self, tensor: torch.Tensor, length: int) -> int:
        size = self._sizes(tensor, length, 0)
        if isinstance(size, DynamicSize):
            size.refuse()  # len() makes it a plain integer
        return length


def _function_name(func: Callable[..., Any]) -> str:
    """Name of a torch function; for a property, the name of the property."""
    name = getattr(func, '__name__', repr(func))
    return (
        getattr(getattr(func, '__self__', None), '__name__', name) if name == '__get__' else name
    )


def _without_sizes(argument: Any) -> Any:
    """Replace dynamic sizes, also inside tuples, lists and slices, by plain integers."""
    if isinstance(argument, DynamicSize):
        return int(argument)
    if isinstance(argument, (tuple, list)) and any(isinstance(a, DynamicSize) for a in argument):
        return type(argument)(_without_sizes(member) for member in argument)
    return argument
