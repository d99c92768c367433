"""The parameters of the detector: declared, described, checked and read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
import re
from typing import Any

from rclpy.node import Node
from rclpy.parameter import Parameter

from anydepth_core.models.postprocess import PostprocessSettings
from anydepth_core.runtime.backends import BACKENDS, DEFAULTS, RuntimeSettings
from anydepth_core.runtime.level_graphs import PRECISIONS
from anydepth_core.runtime.providers import PROVIDERS
from anydepth_ros.declaration import check_options, Declaration, declared_value, plain_value
from anydepth_ros.qos import RELIABILITIES

_CAMERA = re.compile(r'[A-Za-z][A-Za-z0-9_]*')


DECLARATIONS = (
    Declaration(
        'autostart',
        True,
        'configure and activate the node by itself as soon as it runs',
        change='start',
    ),
    Declaration(
        'model',
        'default',
        "directory of the bundle to serve, or 'default' for the one that is installed with the "
        'package',
        change='unconfigured',
    ),
    Declaration(
        'backend',
        DEFAULTS.backend,
        'what runs the network; tensorrt builds one engine per depth on first use',
        options=BACKENDS,
        change='unconfigured',
    ),
    Declaration(
        'provider',
        DEFAULTS.provider,
        'what onnxruntime runs on; one that does not start is an error',
        options=PROVIDERS,
        change='unconfigured',
    ),
    Declaration(
        'precision',
        DEFAULTS.precision,
        'arithmetic of the network; fp16 is for GPUs',
        options=PRECISIONS,
        change='unconfigured',
    ),
    Declaration(
        'device',
        DEFAULTS.device,
        'number of the GPU',
        limits=(0, 63),
        change='unconfigured',
    ),
    Declaration(
        'gpu_preprocess',
        False,
        'let tensorrt resize and convert the images on the GPU; the CPU does it until what a new '
        'image size needs is built',
        change='unconfigured',
    ),
    Declaration(
        'engine_cache',
        '',
        "directory in which tensorrt keeps its engines, '' for ~/.cache/anydepth/engines",
        change='unconfigured',
    ),
    Declaration(
        'max_ready_depths',
        DEFAULTS.max_points,
        'depths that are kept ready at the same time, each with its own copy of the weights it '
        'needs (tensorrt: at most 5): those the cameras run at, the cheapest, their neighbours on '
        'the ladder, others',
        limits=(2, 64),
        change='unconfigured',
    ),
    Declaration(
        'threads',
        0,
        'threads of one inference, 0 for one per physical core (or per entry of cpu_affinity)',
        limits=(0, 256),
        change='unconfigured',
    ),
    Declaration(
        'spinning',
        False,
        'let waiting threads of the inference spin: lower latency for more energy',
        change='unconfigured',
    ),
    Declaration(
        'cpu_affinity',
        (),
        'numbers of the CPUs the inference may use, empty for all',
        change='unconfigured',
        dynamic=True,
    ),
    Declaration(
        'cameras',
        (),
        'names of the cameras that share the model, each with its topics under its name '
        '(front/image, front/detections) and its own depth (front.depth); '
        'empty for one camera without a name',
        change='start',
        dynamic=True,
    ),
    Declaration(
        'image_transport',
        'raw',
        'raw subscribes to image (sensor_msgs/Image), compressed to image/compressed '
        '(sensor_msgs/CompressedImage)',
        options=('raw', 'compressed'),
        change='unconfigured',
    ),
    Declaration(
        'image_reliability',
        'best_effort',
        'reliability of the image subscription; '
        "choose 'reliable' for raw images above 0.5 MB with the default Fast DDS transport",
        options=tuple(RELIABILITIES),
        change='unconfigured',
    ),
    Declaration(
        'image_timeout_s',
        2.0,
        'after so many seconds without an image the node says why there is none; '
        'longer for cameras that are slower, 0 never',
        limits=(0.0, 3600.0),
    ),
    Declaration(
        'max_image_age_ms',
        0.0,
        'an image older than this when its turn comes is left out and counted, 0 for no limit',
        limits=(0.0, 1e6),
    ),
    Declaration(
        'depth',
        'full',
        "depth of the next frames: a ladder level (integer, 0 is the cheapest), 'full', 'base' "
        "or one bit per stage like '1111-0011' (1 runs the refinement), then the decoder layers "
        "where the model has a decoder: '1111-0d4'",
        dynamic=True,
    ),
    Declaration(
        'depth_mode',
        'manual',
        'manual: depth stays as it was set; auto: it belongs to the depth controller, whose next '
        'decision overwrites a value set by hand',
        options=('manual', 'auto'),
    ),
    Declaration(
        'target_latency_ms',
        0.0,
        'diagnostics warn when 95 % of the frames take longer than this from their arrival to '
        'their detections, 0 for no target',
        limits=(0.0, 60000.0),
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
    Declaration(
        'classes',
        (),
        'names or indices of the classes that are published, empty for all',
        dynamic=True,
    ),
    Declaration(
        'class_id_format',
        'index',
        'class_id of a detection: decimal index as in label_info, or name',
        options=('index', 'name'),
    ),
    Declaration(
        'diagnostics_period_s',
        1.0,
        'seconds between two messages on /diagnostics',
        limits=(0.1, 60.0),
        change='start',
    ),
)


def camera_depth(camera: str) -> Declaration:
    """Return the declaration of a named camera's own depth."""
    return Declaration(
        f'{camera}.depth',
        '',
        f'depth of camera {camera}, as depth; empty for the value of depth',
        dynamic=True,
    )


@dataclass(frozen=True)
class DetectorParameters:
    """The values of all parameters at one moment; a frame is processed with one of these.

    The attributes have the names of the parameters; ``camera_depths`` holds the depth of each
    named camera, '' where it follows ``depth``.
    """

    autostart: bool
    model: str
    backend: str
    provider: str
    precision: str
    device: int
    gpu_preprocess: bool
    engine_cache: str
    max_ready_depths: int
    threads: int
    spinning: bool
    cpu_affinity: tuple[int, ...]
    cameras: tuple[str, ...]
    image_transport: str
    image_reliability: str
    image_timeout_s: float
    max_image_age_ms: float
    depth: int | str
    depth_mode: str
    target_latency_ms: float
    confidence_threshold: float
    iou_threshold: float
    max_detections: int
    classes: tuple[int | str, ...]
    class_id_format: str
    diagnostics_period_s: float
    camera_depths: Mapping[str, int | str]

    def __post_init__(self) -> None:
        """Check what a descriptor cannot express.

        Raises:
            ValueError: if a value is not legal; the message says what is.
        """
        check_options(DECLARATIONS, {one.name: getattr(self, one.name) for one in DECLARATIONS})
        _check_depth('depth', self.depth)
        for camera, depth in self.camera_depths.items():
            _check_depth(f'{camera}.depth', depth)
        _check_cpus(self.cpu_affinity)
        _check_cameras(self.cameras)
        for one in self.classes:
            if isinstance(one, bool) or not isinstance(one, (int, str)):
                raise ValueError(f'classes {one!r} is not legal: list names or indices of classes')

    def depth_of(self, camera: str) -> int | str:
        """Return what is wanted for a camera."""
        own = self.camera_depths.get(camera, '')
        return self.depth if own == '' else own

    def runtime(self) -> RuntimeSettings:
        """Return what the network runs on; each CPU of ``cpu_affinity`` gets a thread."""
        return RuntimeSettings(
            backend=self.backend,
            provider=self.provider,
            precision=self.precision,
            device=self.device,
            preprocess='runtime' if self.gpu_preprocess else 'cpu',
            engine_cache=Path(self.engine_cache).expanduser() if self.engine_cache else None,
            max_points=self.max_ready_depths,
            threads=self.threads or len(self.cpu_affinity),
            spinning=self.spinning,
        )

    def settings(self, class_names: Sequence[str]) -> PostprocessSettings:
        """Return what counts as a detection of a model with these classes.

        Raises:
            ValueError: if ``classes`` names one that the model has not.
        """
        labels = tuple(dict.fromkeys(class_label(one, class_names) for one in self.classes))
        return PostprocessSettings(
            confidence=self.confidence_threshold,
            iou=self.iou_threshold,
            max_detections=self.max_detections,
            classes=labels or None,
        )


def declare(node: Node) -> DetectorParameters:
    """Declare every parameter and read the values it was started with.

    Raises:
        ValueError: if one is not legal.
    """
    values = {one.name: declared_value(node, one) for one in DECLARATIONS}
    cameras = _checked_cameras(values['cameras'])
    depths = {camera: declared_value(node, camera_depth(camera)) for camera in cameras}
    return DetectorParameters(**values, camera_depths=depths)


def changed(
    current: DetectorParameters, changes: Iterable[Parameter], configured: bool
) -> DetectorParameters:
    """Return the values after a change; parameters of others (``use_sim_time``) are let pass.

    Raises:
        ValueError: if the change is not legal now; the message says why.
    """
    known = {declaration.name: declaration for declaration in DECLARATIONS}
    depths = dict(current.camera_depths)
    values: dict[str, Any] = {}
    for change in changes:
        camera = change.name.removesuffix('.depth')
        if change.name in known:
            values[change.name] = plain_value(known[change.name], change.value)
        elif camera in depths and camera != change.name:
            depths[camera] = change.value
    for name, value in values.items():
        if configured and known[name].change == 'unconfigured' and value != getattr(current, name):
            raise ValueError(
                f'{name} may change only while the node is unconfigured: clean it up first'
            )
    return replace(current, **values, camera_depths=depths)


def changed_names(before: DetectorParameters, after: DetectorParameters) -> set[str]:
    """Return the names of the values that differ."""
    return {
        one.name
        for one in fields(DetectorParameters)
        if getattr(before, one.name) != getattr(after, one.name)
    }


def _check_depth(name: str, depth: object) -> None:
    if isinstance(depth, bool) or not isinstance(depth, (int, str)):
        raise ValueError(
            f"{name} {depth!r} is not legal: use a ladder level (integer), 'full', 'base' or bits "
            'as text'
        )


def _check_cpus(cpus: Sequence[object]) -> None:
    if any(isinstance(cpu, bool) or not isinstance(cpu, int) or cpu < 0 for cpu in cpus):
        raise ValueError(
            f'cpu_affinity {list(cpus)!r} is not legal: list numbers of CPUs, 0 is the first'
        )


def _checked_cameras(cameras: Sequence[object]) -> tuple[str, ...]:
    _check_cameras(cameras)
    return tuple(str(camera) for camera in cameras)


def _check_cameras(cameras: Sequence[object]) -> None:
    good = all(isinstance(camera, str) and _CAMERA.fullmatch(camera) for camera in cameras)
    if not good or len(set(cameras)) < len(cameras):
        raise ValueError(
            f'cameras {list(cameras)!r} is not legal: list different names of letters, digits '
            'and underscores, each beginning with a letter'
        )


def class_label(one: int | str, class_names: Sequence[str], given_as: str = 'classes') -> int:
    """Return the index of a class given by its name or index.

    Args:
        one: name, index, or index as text.
        class_names: of the model.
        given_as: what the user calls the choice.

    Raises:
        ValueError: if the model has no such class.
    """
    if one in class_names:
        return list(class_names).index(str(one))
    text = str(one)
    if text.isdecimal() and int(text) < len(class_names):
        return int(text)
    raise ValueError(
        f'{given_as} {one!r} is not legal: the model has {", ".join(class_names)} '
        f'(0 to {len(class_names) - 1})'
    )
