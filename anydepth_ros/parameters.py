"""The parameters of the detector: declared, described, checked and read in this one file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter

from anydepth_core.models.postprocess import PostprocessSettings
from anydepth_ros.qos import RELIABILITIES


@dataclass(frozen=True)
class Declaration:
    """How one parameter is declared.

    Attributes:
        name: name of the parameter.
        default: value unless given; its type is the type of the parameter.
        description: what it does.
        limits: lowest and highest legal number.
        change: ``any time`` (from the next frame on), ``unconfigured`` (only in that lifecycle
            state) or ``start``.
        dynamic: whether the type may change.
    """

    name: str
    default: bool | int | float | str
    description: str
    limits: tuple[float, float] | None = None
    change: str = 'any time'
    dynamic: bool = False

    def descriptor(self) -> ParameterDescriptor:
        """Return what ``ros2 param describe`` shows."""
        result = ParameterDescriptor(
            name=self.name,
            description=self.description,
            additional_constraints=f'may change: {self.change}',
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


DECLARATIONS = (
    Declaration(
        'autostart',
        True,
        'configure and activate the node by itself as soon as it runs',
        change='start',
    ),
    Declaration(
        'bundle',
        'default',
        "directory of the bundle to serve, or 'default' for the one that is installed with the "
        'package',
        change='unconfigured',
    ),
    Declaration(
        'threads',
        0,
        'threads of one inference, 0 for one per physical core',
        limits=(0, 256),
        change='unconfigured',
    ),
    Declaration(
        'image_reliability',
        'best_effort',
        f'reliability of the image subscription: {", ".join(RELIABILITIES)}; '
        "choose 'reliable' for raw images above 0.5 MB with the default Fast DDS transport",
        change='unconfigured',
    ),
    Declaration(
        'depth',
        'full',
        "depth of the next frames: a ladder level (integer, 0 is the cheapest), 'full', 'base' "
        "or one bit per stage like '1111-0011' (1 runs the refinement), then the decoder layers "
        "where the model has a decoder: '1111-0d4'",
        dynamic=True,
    ),
    Declaration('confidence_threshold', 0.25, 'lowest score that is published', limits=(0.0, 1.0)),
    Declaration(
        'iou_threshold',
        0.7,
        'boxes of one class that overlap more than this are merged into the best of them; '
        'no effect on a model without suppression (RT-DETR)',
        limits=(0.0, 1.0),
    ),
    Declaration(
        'max_detections', 300, 'most detections of one image, best first', limits=(1, 10000)
    ),
)


@dataclass(frozen=True)
class DetectorParameters:
    """The values of all parameters at one moment; a frame is processed with one of these."""

    autostart: bool
    bundle: str
    threads: int
    image_reliability: str
    depth: int | str
    confidence_threshold: float
    iou_threshold: float
    max_detections: int

    def __post_init__(self) -> None:
        """Check what a descriptor cannot express.

        Raises:
            ValueError: if a value is not legal; the message says what is.
        """
        if isinstance(self.depth, bool) or not isinstance(self.depth, (int, str)):
            raise ValueError(
                f"depth {self.depth!r} is not legal: use a ladder level (integer), 'full', "
                "'base' or bits as text"
            )
        if self.image_reliability not in RELIABILITIES:
            raise ValueError(
                f'image_reliability {self.image_reliability!r} is not legal: use one of '
                f'{", ".join(RELIABILITIES)}'
            )

    def settings(self) -> PostprocessSettings:
        """Return what counts as a detection."""
        return PostprocessSettings(
            confidence=self.confidence_threshold,
            iou=self.iou_threshold,
            max_detections=self.max_detections,
        )


def declare(node: Node) -> DetectorParameters:
    """Declare every parameter and read the values it was started with.

    Raises:
        ValueError: if one is not legal.
    """
    for declaration in DECLARATIONS:
        node.declare_parameter(declaration.name, declaration.default, declaration.descriptor())
    return DetectorParameters(**{d.name: node.get_parameter(d.name).value for d in DECLARATIONS})


def changed(
    current: DetectorParameters, changes: Iterable[Parameter], configured: bool
) -> DetectorParameters:
    """Return the values after a change; parameters of others (``use_sim_time``) are let pass.

    Raises:
        ValueError: if the change is not legal now; the message says why.
    """
    known = {declaration.name: declaration for declaration in DECLARATIONS}
    values: dict[str, Any] = {p.name: p.value for p in changes if p.name in known}
    for name, value in values.items():
        if configured and known[name].change == 'unconfigured' and value != asdict(current)[name]:
            raise ValueError(
                f'{name} may change only while the node is unconfigured: clean it up first'
            )
    return replace(current, **values)
