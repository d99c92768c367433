"""Why no image is answered: one sentence with the cause and what to do about it. No ROS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from anydepth_ros.tally import TallyReport

RAW = 'sensor_msgs/msg/Image'
COMPRESSED = 'sensor_msgs/msg/CompressedImage'
COMPRESSED_SUFFIX = '/compressed'
NEAREST = 3  # topics that are named
FRESH_S = 1.0  # after this, or twice the usual distance, images do not arrive any more
FUTURE_MS = 20.0  # clocks that are synchronised over a network differ by less
OLD_MS = 10e3  # nothing but a clock makes an image this old where no limit is set
OTHER_TIME_MS = 1e11  # three years: the stamp is not of this clock at all
PROFILE = (
    'FASTDDS_DEFAULT_PROFILES_FILE=$(ros2 pkg prefix anydepth_ros)/share/anydepth_ros/config/'
    'fastdds_shm.xml (Humble and Jazzy: FASTRTPS_DEFAULT_PROFILES_FILE)'
)
CLOCKS = 'synchronise the clocks of camera and detector (NTP or chrony)'


@dataclass(frozen=True)
class Publisher:
    """One publisher of a topic.

    Attributes:
        node: full name of its node.
        type: what it publishes, for example ``sensor_msgs/msg/Image``.
        reliability: what it offers: ``reliable``, ``best_effort``, ``system_default``,
            ``unknown``, ...
        durability: what it offers: ``volatile``, ``transient_local``, ``system_default``,
            ``unknown``, ...
    """

    node: str
    type: str
    reliability: str
    durability: str


@dataclass(frozen=True)
class TopicView:
    """What the graph shows of the topic an image is expected on.

    Attributes:
        topic: its resolved name.
        type: what is expected, for example ``sensor_msgs/msg/Image``.
        reliability: what the subscription asks for.
        durability: what the subscription asks for.
        publishers: who publishes the topic.
        others: name and type of the other topics.
        fragile: whether big images may be lost on their way: best effort over Fast DDS without a
            profile.
        name: what the node itself calls the raw images, before remapping: ``image``, or
            ``front/image`` for one of several cameras.
    """

    topic: str
    type: str
    reliability: str
    durability: str
    publishers: tuple[Publisher, ...]
    others: tuple[tuple[str, str], ...]
    fragile: bool
    name: str = 'image'


def why_silent(view: TopicView, report: TallyReport) -> str:
    """Say in one sentence why no image is answered and what to do about it."""
    fitting = [publisher for publisher in view.publishers if publisher.type == view.type]
    conflicts = [_conflict(view, publisher) for publisher in fitting]
    if _arriving(report):
        sentence = _unanswered(view, report)
    elif not view.publishers:
        sentence = _no_publisher(view, report)
    elif not fitting:
        sentence = _wrong_type(view)
    elif all(conflicts):
        sentence = conflicts[0]
    else:
        sentence = _nothing_comes(view, fitting[conflicts.index('')].node, report)
    return ' '.join(sentence.split())


def stamp_problem(report: TallyReport, limit_ms: float) -> str:
    """Say in one sentence what is wrong with the stamps of the images; '' if nothing is.

    Args:
        report: the counts of the camera.
        limit_ms: the age above which images are skipped, 0 if there is none.
    """
    age_ms = report.last_age_ms if report.age_ms is None else report.age_ms
    if age_ms is None:
        return ''
    if age_ms < -FUTURE_MS or age_ms > (limit_ms if limit_ms > 0 else OLD_MS):
        return _stamps(age_ms, limit_ms)
    return ''


def _stamps(age_ms: float, limit_ms: float | None) -> str:
    """Say what makes stamps so old or so far in the future; the limit may be unknown."""
    if age_ms > OTHER_TIME_MS:
        return (
            f'the stamps of the images are zero or not of this clock ({_duration(age_ms)} old): '
            'make the camera driver fill in header.stamp, or set use_sim_time:=true for a '
            'simulation or a recording played with --clock'
        )
    if age_ms < -OTHER_TIME_MS:
        return (
            f'the stamps of the images are {_duration(-age_ms)} in the future: set '
            'use_sim_time:=false, or make the simulation or recording publish /clock'
        )
    if age_ms < 0:
        return f'the stamps of the images are {_duration(-age_ms)} in the future: {CLOCKS}'
    limit = f', the limit is {_duration(limit_ms)}' if limit_ms else ''
    raised = '' if limit_ms == 0 else ', raise max_image_age_ms if images take that long'
    return (
        f'the images are {_duration(age_ms)} old by their stamps{limit}: {CLOCKS}, set '
        f'use_sim_time:=true for a simulation or recording{raised}'
    )


def _duration(milliseconds: float) -> str:
    if milliseconds < 10e3:
        return f'{milliseconds:.0f} ms'
    seconds = milliseconds / 1e3
    return f'{seconds:.1f} s' if seconds < 86400 else f'{seconds / 86400:.1f} days'


def _arriving(report: TallyReport) -> bool:
    """Tell whether images come in and are not answered."""
    received_ago, answered_ago = report.received_ago_s, report.answered_ago_s
    if received_ago is None or report.received_hz <= 0:
        return False
    fresh = received_ago < max(FRESH_S, 2 / report.received_hz)
    return fresh and (answered_ago is None or received_ago < answered_ago)


def _unanswered(view: TopicView, report: TallyReport) -> str:
    """Say why images that arrive are not answered: the latest loss is the cause."""
    arriving = f'images arrive on {view.topic} ({report.received_hz:.1f} Hz)'
    rejected_ago = _after_answer(report.reason_age_s, report)
    old_ago = _after_answer(report.too_old_ago_s, report)
    if rejected_ago is not None and (old_ago is None or rejected_ago <= old_ago):
        return f'{arriving} but all are rejected, {report.rejected} so far: {report.reason}'
    if old_ago is not None and report.last_age_ms is not None:
        return (
            f'{arriving} but all are skipped because of their age, {report.too_old} so far: '
            f'{_stamps(report.last_age_ms, None)}'
        )
    return (
        f'{arriving} but none was answered for {report.unanswered_s:.1f} s: the model is still at '
        'work on one of them, choose a cheaper depth or raise image_timeout_s'
    )


def _after_answer(ago_s: float | None, report: TallyReport) -> float | None:
    """Return when a loss was if it was after the last answer; an earlier one is no cause."""
    if ago_s is None or report.answered_ago_s is None or ago_s < report.answered_ago_s:
        return ago_s
    return None


def _no_publisher(view: TopicView, report: TallyReport) -> str:
    near = _near(view)
    if report.received_ago_s is not None:
        others = f', or use another image topic: {", ".join(near)}' if near else ''
        return (
            f'nobody publishes {view.topic} any more, the last image came '
            f'{report.received_ago_s:.1f} s ago: restart the camera driver{others}'
        )
    if near:
        return f'nobody publishes {view.topic}, {_suggestion(view, near)}'
    return (
        f'nobody publishes {view.topic} and there is no other image topic: start the camera '
        'driver, or look whether it runs in another ROS_DOMAIN_ID or network'
    )


def _wrong_type(view: TopicView) -> str:
    publisher, near = view.publishers[0], _near(view)
    begin = (
        f'{view.topic} is published by {publisher.node} as {publisher.type} but {view.type} is '
        'expected'
    )
    if publisher.type in (RAW, COMPRESSED):
        return f'{begin}: start with {_how(view, view.topic, publisher.type)}'
    if near:
        return f'{begin}, {_suggestion(view, near)}'
    return f'{begin}: no image topic is there, start the camera driver'


def _suggestion(view: TopicView, near: dict[str, str]) -> str:
    first, kind = next(iter(near.items()))
    return f'the nearest image topics are {", ".join(near)}: start with {_how(view, first, kind)}'


def _how(view: TopicView, topic: str, kind: str) -> str:
    """Return the arguments that make the node use another topic."""
    suffix = COMPRESSED_SUFFIX if kind == COMPRESSED else ''
    how = f'-r {view.name}{suffix}:={topic}'
    if view.name == 'image' and topic.endswith(suffix):
        how = f'image_topic:={topic.removesuffix(suffix)} (or {how})'
    if kind != view.type:
        how += f' and image_transport:={"raw" if kind == RAW else "compressed"}'
    return how


def _near(view: TopicView) -> dict[str, str]:
    """Return the image topics nearest to the one that is expected, with their types.

    The same camera in the other form comes first, then topics of the expected type.
    """
    if view.type == COMPRESSED:
        other_type, twin = RAW, view.topic.removesuffix(COMPRESSED_SUFFIX)
    else:
        other_type, twin = COMPRESSED, view.topic + COMPRESSED_SUFFIX
    fitting = [name for name, kind in view.others if kind == view.type]
    unfitting = [name for name, kind in view.others if kind == other_type]
    near = {twin: other_type} if twin in unfitting else {}
    near.update(dict.fromkeys(_nearest(view.topic, fitting), view.type))
    near.update(dict.fromkeys(_nearest(view.topic, unfitting), other_type))
    return dict(list(near.items())[:NEAREST])


def _nearest(topic: str, names: Sequence[str]) -> list[str]:
    """Order names by how much they are like a topic: as a whole, by their ends, then the rest."""
    whole = get_close_matches(topic, names, NEAREST)
    end = topic.rsplit('/', 1)[-1]
    ends = get_close_matches(end, [name.rsplit('/', 1)[-1] for name in names], NEAREST)
    by_end = [name for close in ends for name in names if name.rsplit('/', 1)[-1] == close]
    return list(dict.fromkeys([*whole, *by_end, *names]))[:NEAREST]


def _conflict(view: TopicView, publisher: Publisher) -> str:
    """Say which policy keeps a publisher away, '' if none does."""
    begin = f'{publisher.node} publishes {view.topic} with incompatible QoS'
    if view.reliability == 'reliable' and publisher.reliability == 'best_effort':
        return (
            f'{begin} RELIABILITY, it offers best_effort and reliable is asked for: set '
            'image_reliability:=best_effort'
        )
    if view.durability == 'transient_local' and publisher.durability == 'volatile':
        return (
            f'{begin} DURABILITY, it offers volatile and transient_local is asked for: set '
            f'qos_overrides.{view.topic}.subscription.durability:=volatile'
        )
    return ''


def _nothing_comes(view: TopicView, node: str, report: TallyReport) -> str:
    """Say what remains when the publisher is there and fits."""
    if report.received_ago_s is None:
        begin = f'{node} publishes {view.topic} and fits, but no image arrives'
        slow = ''
    else:
        begin = (
            f'{node} still publishes {view.topic} but the last image came '
            f'{report.received_ago_s:.1f} s ago'
        )
        slow = ', or raise image_timeout_s if it is that slow'
    if view.fragile:
        return (
            f'{begin}: best-effort images above 512 KiB do not pass the default shared memory of '
            f'Fast DDS, set image_reliability:=reliable or export {PROFILE} for camera and '
            f'detector; if the images are smaller the camera has stopped{slow}'
        )
    return (
        f'{begin}: the camera has stopped, restart its driver, or its messages do not pass the '
        f'network or firewall{slow}'
    )
