"""The detector says in its log and on /diagnostics why no image is answered."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
import pytest
from rclpy.context import Context
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from anydepth_core.export.bundle import Bundle
from anydepth_ros.detector_node import WATCH_PERIOD_S
from anydepth_ros.parameters import DECLARATIONS
from anydepth_ros.qos import image_qos, OUTPUT
from tests.anydepth_ros.conftest import Graph, wait_until
from tests.anydepth_ros.support import make_detector, Probe, wait_until_active


class Listener(Probe):
    """A probe that hears /diagnostics and publishes no image."""

    def __init__(self) -> None:
        super().__init__()
        self.statuses: dict[str, DiagnosticStatus] = {}
        self.destroy_publisher(self._images)
        self.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, OUTPUT)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.statuses.update({status.name: status for status in message.status})

    def message_of(self, name: str, level: bytes) -> str:
        """Wait until a status has a level and return what it says."""

        def text() -> str:
            status = self.statuses.get(f'detector: {name}')
            return status.message if status is not None and status.level == level else ''

        return str(wait_until(text, f'status {name} at level {level!r}'))


def nothing(node: Node) -> None:
    pass


def elsewhere(node: Node) -> None:
    node.create_publisher(Image, '/camera/image', 1)


def compressed(node: Node) -> None:
    node.create_publisher(CompressedImage, 'image', 1)


def text(node: Node) -> None:
    node.create_publisher(String, 'image', 1)


def best_effort(node: Node) -> None:
    node.create_publisher(Image, 'image', image_qos('best_effort'))


def mute(node: Node) -> None:
    node.create_publisher(Image, 'image', image_qos('reliable'))


@pytest.fixture
def other_node(local_graph: Graph) -> Iterator[Node]:
    """Return a node with a participant of its own: one participant knows one type of a topic."""
    context = Context()
    context.init()
    node = Node('camera_driver', context=context)
    yield node
    node.destroy_node()
    context.try_shutdown()


@pytest.mark.parametrize(
    ('camera', 'reliability', 'words'),
    [
        (nothing, 'best_effort', ['nobody publishes /image', 'no other image topic']),
        (elsewhere, 'best_effort', ['nobody publishes /image', 'image:=/camera/image']),
        (compressed, 'best_effort', ['CompressedImage', 'image_transport']),
        (text, 'best_effort', ['std_msgs/msg/String']),
        (best_effort, 'reliable', ['RELIABILITY', 'image_reliability']),
        (mute, 'best_effort', ['512 KiB', 'image_reliability:=reliable', 'fastdds_shm.xml']),
    ],
)
def test_silence_is_explained(
    local_graph: Graph,
    other_node: Node,
    toy_bundle: Bundle,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    camera: Callable[[Node], None],
    reliability: str,
    words: list[str],
) -> None:
    for name in ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE'):
        monkeypatch.delenv(name, raising=False)
    listener = Listener()
    camera(other_node)
    local_graph.add(listener)
    make_detector(
        local_graph,
        model=str(toy_bundle.path),
        image_reliability=reliability,
        image_timeout_s=0.5,
        diagnostics_period_s=0.1,
    )
    said = listener.message_of('image', DiagnosticStatus.ERROR)
    assert all(word in said for word in words), said
    assert said in capfd.readouterr().err


def test_silence_is_explained_within_three_seconds_unless_configured_otherwise() -> None:
    (timeout_s,) = (d.default for d in DECLARATIONS if d.name == 'image_timeout_s')
    assert isinstance(timeout_s, float) and timeout_s + WATCH_PERIOD_S < 3.0


def test_images_that_are_all_too_old_are_explained(graph: Graph, toy_bundle: Bundle) -> None:
    listener = Listener()
    images = listener.create_publisher(Image, 'image', image_qos('reliable', 5))
    listener._images = images
    graph.add(listener)
    make_detector(
        graph,
        model=str(toy_bundle.path),
        image_timeout_s=0.5,
        max_image_age_ms=100.0,
        diagnostics_period_s=0.1,
    )
    wait_until(lambda: images.get_subscription_count() == 1, 'the detector subscribes')

    def said() -> str:
        header = listener.next_header()
        header.stamp.sec -= 3600
        images.publish(
            Image(header=header, encoding='bgr8', height=1, width=1, step=3, data=[0] * 3)
        )
        status = listener.statuses.get('detector: image')
        return status.message if status and status.level == DiagnosticStatus.ERROR else ''

    message = wait_until(said, 'the reason')
    assert 'max_image_age_ms' in message and ('NTP' in message or 'use_sim_time' in message)


def test_an_inactive_or_paused_detector_is_not_silent(graph: Graph, toy_bundle: Bundle) -> None:
    listener = Listener()
    graph.add(listener)
    detector = make_detector(
        graph, model=str(toy_bundle.path), image_timeout_s=0.5, diagnostics_period_s=0.1
    )
    listener.message_of('image', DiagnosticStatus.ERROR)
    wait_until_active(detector)
    detector._images.pause(True)
    assert 'paused' in listener.message_of('image', DiagnosticStatus.OK)
    detector.trigger_deactivate()
    wait_until(lambda: 'inactive' in listener.message_of('image', DiagnosticStatus.OK))
    assert 'inactive' in listener.message_of('engine', DiagnosticStatus.OK)


def test_a_node_that_could_not_be_configured_says_so_on_diagnostics(graph: Graph) -> None:
    listener = Listener()
    graph.add(listener)
    make_detector(graph, model='/nowhere', diagnostics_period_s=0.1)
    assert 'cannot configure' in listener.message_of('engine', DiagnosticStatus.ERROR)


def test_a_missed_target_and_a_degraded_depth_are_warnings(
    graph: Graph, toy_bundle: Bundle
) -> None:
    listener = Listener()
    listener._images = listener.create_publisher(Image, 'image', image_qos('reliable', 5))
    graph.add(listener)
    detector = make_detector(
        graph, model=str(toy_bundle.path), depth_mode='auto', depth=0, diagnostics_period_s=0.1
    )
    listener.wait_for_detector()
    assert 'degraded on purpose' in listener.message_of('depth', DiagnosticStatus.WARN)
    listener.answer(listener.send())
    wait_until(lambda: 'no target' in listener.message_of('latency', DiagnosticStatus.OK))
    assert listener.set(target_latency_ms=0.001) == (True, '')
    assert 'late' in listener.message_of('latency', DiagnosticStatus.WARN)
    assert listener.set(target_latency_ms=60000.0, depth_mode='manual') == (True, '')
    wait_until(lambda: 'target met' in listener.message_of('latency', DiagnosticStatus.OK))
    assert 'manual' in listener.message_of('depth', DiagnosticStatus.OK)
    assert detector.get_parameter('depth').value == 0


def test_a_back_end_that_hangs_is_told_from_a_camera_that_is_silent(
    graph: Graph, toy_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('anydepth_ros.watchdog.HANG_S', 0.6)
    listener = Listener()
    listener._images = listener.create_publisher(Image, 'image', image_qos('reliable', 5))
    graph.add(listener)
    detector = make_detector(
        graph, model=str(toy_bundle.path), image_timeout_s=0.5, diagnostics_period_s=0.1
    )
    listener.wait_for_detector()
    wait_until_active(detector)
    detector.runtime.run_gate.clear()  # type: ignore[attr-defined]
    stamp = listener.send()
    wait_until(lambda: 'hangs' in listener.message_of('image', DiagnosticStatus.ERROR))
    detector.runtime.run_gate.set()  # type: ignore[attr-defined]
    listener.answer(stamp)
    wait_until(lambda: 'hangs' not in detector._cameras[''].watchdog.silence)
