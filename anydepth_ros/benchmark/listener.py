"""Hears what the detector says about each image, and what the controller decides."""

from __future__ import annotations

from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from vision_msgs.msg import Detection2DArray

from anydepth_ros.benchmark.child import NAMESPACE
from anydepth_ros.conversions import stamp_ns, stats_values
from anydepth_ros.diagnostics import ENGINE, NOTHING

# Deeper than the detector's own queues: nothing is lost while this process looks elsewhere.
DEEP = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=1000, reliability=ReliabilityPolicy.RELIABLE
)


@dataclass(frozen=True)
class HeardDecision:
    """One decision of the controller.

    Attributes:
        stamp: when it was told, in nanoseconds.
        level: of the ladder.
        mode: ``depth_mode`` of the detector as the controller knows it, '' if unknown.
        reason: in words.
    """

    stamp: int
    level: int
    mode: str
    reason: str


class ListenerNode(Node):
    """The node ``listener``.

    Attributes:
        detections: number of detections by the stamp of their image.
        stats: figures of each frame by that stamp.
        latest: the figures that came last; their counters are those of the node so far.
        heard: messages so far.
        error: what the detector said last about an image it could not process.
        idle_reports: diagnostics in a row that said that no depth is being built.
        failure: why the detector cannot work at all, from its diagnostics.
        decisions: of a controller, if there is one.
    """

    def __init__(self) -> None:
        """Subscribe."""
        super().__init__('listener', namespace=NAMESPACE)
        self.detections: dict[int, int] = {}
        self.stats: dict[int, dict[str, str]] = {}
        self.latest: dict[str, str] = {}
        self.heard = 0
        self.error = ''
        self.idle_reports = 0
        self.failure = ''
        self.decisions: list[HeardDecision] = []
        self.create_subscription(Detection2DArray, 'detections', self._on_detections, DEEP)
        self.create_subscription(DiagnosticArray, 'stats', self._on_stats, DEEP)
        self.create_subscription(DiagnosticArray, 'diagnostics', self._on_diagnostics, DEEP)
        self.create_subscription(DiagnosticArray, 'controller/decision', self._on_decision, DEEP)

    def forget(self) -> None:
        """Forget the images and decisions so far."""
        self.detections.clear()
        self.stats.clear()
        self.decisions.clear()

    def _on_detections(self, message: Detection2DArray) -> None:
        self.heard += 1
        self.detections[stamp_ns(message.header)] = len(message.detections)

    def _on_stats(self, message: DiagnosticArray) -> None:
        self.heard += 1
        self.latest = stats_values(message)
        self.stats[stamp_ns(message.header)] = self.latest
        if message.status and message.status[0].message != 'ok':
            self.error = message.status[0].message

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if not status.name.endswith(f': {ENGINE.name}'):
                continue
            values = {pair.key: pair.value for pair in status.values}
            idle = values.get('State') == 'active' and values.get('Building') == NOTHING
            self.idle_reports = self.idle_reports + 1 if idle else 0
            self.failure = status.message if status.level == DiagnosticStatus.ERROR else ''

    def _on_decision(self, message: DiagnosticArray) -> None:
        values = stats_values(message)
        self.decisions.append(
            HeardDecision(
                stamp_ns(message.header), int(values['Level']), values['Mode'], values['Reason']
            )
        )
