"""How a parameter of a node is declared, described to the tools and read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node


@dataclass(frozen=True)
class Declaration:
    """How one parameter is declared.

    Attributes:
        name: name of the parameter.
        default: value unless given; its type is the type of the parameter.
        description: what it does.
        limits: lowest and highest legal number.
        options: legal texts.
        change: ``any time`` (from the next frame on), ``unconfigured`` (only in that lifecycle
            state) or ``start``.
        dynamic: whether the type may change; also for lists, because an empty one has no type.
    """

    name: str
    default: bool | int | float | str | tuple[()]
    description: str
    limits: tuple[float, float] | None = None
    options: tuple[str, ...] = ()
    change: str = 'any time'
    dynamic: bool = False

    def descriptor(self) -> ParameterDescriptor:
        """Return what ``ros2 param describe`` shows."""
        constraints = f'one of {", ".join(self.options)}; ' if self.options else ''
        result = ParameterDescriptor(
            name=self.name,
            description=self.description,
            additional_constraints=f'{constraints}may change: {self.change}',
            read_only=self.change == 'start',
            dynamic_typing=self.dynamic,
        )
        if self.limits and isinstance(self.default, float):
            low, high = self.limits
            result.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
        elif self.limits:
            low, high = self.limits
            result.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=1)]
        return result


def declared_value(node: Node, declaration: Declaration) -> Any:
    """Declare a parameter and return the value it was started with."""
    default: Any = [] if declaration.default == () else declaration.default
    parameter = node.declare_parameter(declaration.name, default, declaration.descriptor())
    return plain_value(declaration, parameter.value)


def plain_value(declaration: Declaration, value: Any) -> Any:
    """Turn the value of a list parameter into a tuple; a single value counts as a list of one.

    An empty text stands for nothing: some tools cannot write an empty list.
    """
    if declaration.default != ():
        return value
    entries = [value] if isinstance(value, (str, bool, int, float)) else list(value or ())
    return tuple(entry for entry in entries if entry != '')


def check_options(declarations: Iterable[Declaration], values: Mapping[str, Any]) -> None:
    """Refuse a text that is not among the options of its declaration.

    Raises:
        ValueError: if there is one; the message lists the options.
    """
    for one in declarations:
        if one.options and one.name in values and values[one.name] not in one.options:
            raise ValueError(
                f'{one.name} {values[one.name]!r} is not legal: use one of '
                f'{", ".join(one.options)}'
            )
