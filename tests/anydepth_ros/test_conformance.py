"""The message rules, in one process and across two."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vision_msgs.msg import LabelInfo

from anydepth_core.export.bundle import Bundle
from anydepth_ros.qos import LATCHED
from tests.anydepth_ros.conformance import check_everything
from tests.anydepth_ros.conftest import Graph
from tests.anydepth_ros.processes import Process
from tests.anydepth_ros.support import Probe, start_detector


def test_the_message_rules_hold_in_one_process(graph: Graph, toy_bundle: Bundle) -> None:
    _, probe = start_detector(graph, model=str(toy_bundle.path))
    heard: list[LabelInfo] = []
    probe.create_subscription(LabelInfo, 'label_info', heard.append, LATCHED)
    check_everything(probe, heard)


def test_the_message_rules_hold_across_two_processes(
    local_graph: Graph, start: Callable[..., Process], tmp_path: Path, toy_bundle: Bundle
) -> None:
    reliable = ('-p', 'image_reliability:=reliable')  # the largest image is above 512 KiB
    start('detector_node', '-p', f'model:={toy_bundle.path}', *reliable)
    probe = local_graph.add(Probe())
    assert isinstance(probe, Probe)
    probe.meet_detector()
    heard: list[LabelInfo] = []
    probe.create_subscription(LabelInfo, 'label_info', heard.append, LATCHED)
    check_everything(probe, heard)
