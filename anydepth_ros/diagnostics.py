"""The statuses of the detector on /diagnostics, made from plain values; no node.

The statuses follow the conventions of diagnostic_updater (names '<node>: <task>', a hardware id,
units in the keys) but are made here: its Python package is in no package registry, so a node that
needed it could not be tested without a ROS installation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from anydepth_ros.silence import stamp_problem
from anydepth_ros.tally import TallyReport

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
RECENT_S = 5.0  # how long a lost image is worth a warning
NOTHING = 'n/a'


@dataclass(frozen=True)
class EngineState:
    """What the detector serves from.

    Attributes:
        state: lifecycle state of the node: ``unconfigured``, ``inactive``, ``active``, ...
        backend: name of the back end.
        model: name of the model.
        ready: depths that are served at once.
        building: depths that are being built.
        failed: depths that could not be built, each with the reason.
        error: why nothing works, '' if it does.
    """

    state: str
    backend: str
    model: str
    ready: tuple[str, ...]
    building: tuple[str, ...]
    failed: tuple[tuple[str, str], ...]
    error: str


@dataclass(frozen=True)
class CameraState:
    """What is known of one camera.

    Attributes:
        name: its name, '' if there is only one.
        topic: where its images are expected.
        report: its counts.
        dropped: images left out because a newer one came, or lost on their way.
        silence: why no image is answered, '' if they are.
        paused: whether detection is switched off.
        target_latency_ms: the latency to keep, 0 if there is none.
        max_image_age_ms: the age above which images are skipped, 0 if there is none.
        depth: the depth that serves.
        wanted_depth: the depth that was asked for.
        level: the place of ``depth`` on the ladder, None if it has none.
        top_level: the highest level of the ladder.
        depth_mode: ``manual`` or ``auto``.
        depth_reason: why the depth is what it is.
    """

    name: str
    topic: str
    report: TallyReport
    dropped: int
    silence: str
    paused: bool
    target_latency_ms: float
    max_image_age_ms: float
    depth: str
    wanted_depth: str
    level: int | None
    top_level: int
    depth_mode: str
    depth_reason: str


@dataclass(frozen=True)
class Task:
    """One status: what its levels and keys mean; the documentation is made from this.

    Attributes:
        name: ends the name of the status.
        ok: what OK means.
        warn: what WARN means.
        error: what ERROR means, '' if the status is never an error.
        keys: key of each value, with what it is.
    """

    name: str
    ok: str
    warn: str
    error: str
    keys: dict[str, str]


ENGINE = Task(
    name='engine',
    ok='every depth that was asked for is ready or being built, or the node is not active',
    warn='a depth could not be built, the nearest ready one serves; or the first is being built',
    error='the model or its back end does not work',
    keys={
        'State': 'lifecycle state of the node',
        'Model': 'name of the model',
        'Back end': 'what runs it',
        'Ready depths': 'depths that are served at once',
        'Building': 'depths that are being built in the background',
        'Failed': 'depths that could not be built, with the reason',
    },
)
IMAGE = Task(
    name='image',
    ok='images arrive and are answered, or the node is inactive or paused',
    warn='an image was rejected or skipped as too old in the last 5 s, or the stamps are wrong',
    error='no image is answered; the message says why',
    keys={
        'Topic': 'where images are expected',
        'Received rate (Hz)': 'images a second over the last 5 s',
        'Answered rate (Hz)': 'detections a second over the last 5 s',
        'Stamp age (ms)': 'median age of the images by their stamps when they were answered',
        'Last stamp age (ms)': 'the age of the last one',
        'Last image (s ago)': 'time since the last image came',
        'Received': 'images received since configure',
        'Answered': 'images answered since configure',
        'Dropped': 'images left out for a newer one, or lost on their way, since configure',
        'Too old': 'images skipped because they were older than max_image_age_ms, since configure',
        'Rejected': 'images that could not be read or processed, since configure',
        'Last rejection': 'why the last of them was rejected',
    },
)
LATENCY = Task(
    name='latency',
    ok='the target is met, or there is none',
    warn='the 95th percentile of the last 5 s is above target_latency_ms',
    error='',
    keys={
        'Latency p95 (ms)': 'from the callback of an image to its detections, over the last 5 s',
        'Target (ms)': 'target_latency_ms',
    },
)
DEPTH = Task(
    name='depth',
    ok='the depth that was asked for serves; in auto the highest level of the ladder',
    warn='degraded on purpose (auto), or another depth serves than the one asked for',
    error='',
    keys={
        'Depth': 'the depth that serves',
        'Wanted depth': 'the depth that was asked for',
        'Level': 'its place on the ladder, 0 is the cheapest',
        'Top level': 'the highest level of the ladder',
        'Mode': 'depth_mode',
        'Reason': 'why the depth is what it is',
    },
)
TASKS = (ENGINE, IMAGE, LATENCY, DEPTH)


def statuses(
    node_name: str, hardware_id: str, engine: EngineState, cameras: Sequence[CameraState]
) -> list[DiagnosticStatus]:
    """Return the status of the engine, then image, latency and depth of each camera.

    Args:
        node_name: begins the name of every status.
        hardware_id: what the node runs on or serves; the name of the node if empty.
        engine: what is served from.
        cameras: the cameras; a single one may have the name ''.
    """
    rows = [(ENGINE, '', _engine(engine), _engine_values(engine))]
    for camera in cameras:
        idle = _idle(engine, camera)
        rows += [
            (IMAGE, camera.name, idle or _image(camera), _image_values(camera)),
            (LATENCY, camera.name, idle or _latency(camera), _latency_values(camera)),
            (DEPTH, camera.name, idle or _depth(camera), _depth_values(camera)),
        ]
    return [
        DiagnosticStatus(
            level=level,
            name=f'{node_name}: {f"{camera_name} {task.name}".strip()}',
            message=_line(message),
            hardware_id=hardware_id or node_name,
            values=[
                KeyValue(key=key, value=_text(value))
                for key, value in zip(task.keys, values, strict=True)
            ],
        )
        for task, camera_name, (level, message), values in rows
    ]


def _engine(engine: EngineState) -> tuple[bytes, str]:
    if engine.error:
        return ERROR, engine.error
    if engine.state != 'active':
        return OK, f'{engine.state}: no image is processed'
    meanwhile = 'the nearest ready one serves' if engine.ready else 'no image is processed'
    if engine.failed:
        depth, reason = engine.failed[-1]
        level = WARN if engine.ready else ERROR
        return level, f'depth {depth} could not be built, {meanwhile}: {reason}'
    if engine.building:
        level = OK if engine.ready else WARN
        return level, f'building depth {", ".join(engine.building)}, {meanwhile}'
    return OK, f'active: {engine.model} on {engine.backend}'


def _engine_values(engine: EngineState) -> list[object]:
    failed = '; '.join(f'{depth}: {reason}' for depth, reason in engine.failed)
    depths = [', '.join(engine.ready), ', '.join(engine.building)]
    return [engine.state, engine.model, engine.backend, *depths, failed]


def _idle(engine: EngineState, camera: CameraState) -> tuple[bytes, str] | None:
    """Return what a camera says that nothing is expected of."""
    if engine.state != 'active':
        return OK, f'{engine.state}: no image is processed'
    if camera.paused:
        return OK, 'paused: no image is processed until ~/enable is called with true'
    return None


def _image(camera: CameraState) -> tuple[bytes, str]:
    report = camera.report
    if camera.silence:
        return ERROR, camera.silence
    if report.reason_age_s is not None and report.reason_age_s <= RECENT_S:
        return WARN, f'an image was rejected {report.reason_age_s:.1f} s ago: {report.reason}'
    problem = stamp_problem(report, camera.max_image_age_ms)
    if problem:
        return WARN, problem
    if report.too_old_ago_s is not None and report.too_old_ago_s <= RECENT_S:
        return WARN, (
            f'an image was skipped {report.too_old_ago_s:.1f} s ago because it was older than '
            f'max_image_age_ms ({camera.max_image_age_ms:.0f}), {report.too_old} so far'
        )
    if report.received_ago_s is None or report.received_hz <= 0:
        return OK, f'waiting for images on {camera.topic}'
    return OK, f'{report.received_hz:.1f} Hz received, {report.answered_hz:.1f} Hz answered'


def _image_values(camera: CameraState) -> list[object]:
    report = camera.report
    return [
        camera.topic,
        report.received_hz,
        report.answered_hz,
        report.age_ms,
        report.last_age_ms,
        report.received_ago_s,
        report.received,
        report.answered,
        camera.dropped,
        report.too_old,
        report.rejected,
        report.reason,
    ]


def _latency(camera: CameraState) -> tuple[bytes, str]:
    latency_ms, target_ms = camera.report.latency_ms, camera.target_latency_ms
    if latency_ms is None:
        return OK, 'no image was answered lately'
    if target_ms <= 0:
        return OK, f'p95 {latency_ms:.1f} ms, no target'
    if latency_ms > target_ms:
        return WARN, (
            f'late: p95 {latency_ms:.1f} ms, target {target_ms:.1f} ms: choose a cheaper depth or '
            'depth_mode:=auto'
        )
    return OK, f'target met: p95 {latency_ms:.1f} ms, target {target_ms:.1f} ms'


def _latency_values(camera: CameraState) -> list[object]:
    target_ms = camera.target_latency_ms
    return [camera.report.latency_ms, target_ms if target_ms > 0 else None]


def _depth(camera: CameraState) -> tuple[bytes, str]:
    depth, wanted = camera.depth, camera.wanted_depth
    if depth != wanted:
        return WARN, f'depth {depth} serves instead of {wanted}: {camera.depth_reason}'
    level = camera.top_level if camera.level is None else camera.level
    if camera.depth_mode == 'auto' and level < camera.top_level:
        reason = camera.depth_reason or 'no reason given'
        return WARN, f'degraded on purpose: {reason} (level {level}, depth {depth})'
    return OK, f'{camera.depth_mode}: depth {depth}'


def _depth_values(camera: CameraState) -> list[object]:
    return [
        camera.depth,
        camera.wanted_depth,
        camera.level,
        camera.top_level,
        camera.depth_mode,
        camera.depth_reason,
    ]


def _text(value: object) -> str:
    if isinstance(value, float):
        return f'{value:.1f}'
    return NOTHING if value is None else _line(str(value)) or NOTHING


def _line(text: str) -> str:
    return ' '.join(text.split())
