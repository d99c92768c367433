"""The controller as a process of its own, beside the detector's."""

from __future__ import annotations

from collections.abc import Callable
import signal
import time

from diagnostic_msgs.msg import DiagnosticArray
import pytest
from sensor_msgs.msg import Temperature

from anydepth_core.export.bundle import Bundle
from anydepth_ros.qos import image_qos, OUTPUT
from tests.anydepth_ros.conftest import Graph, wait_until
from tests.anydepth_ros.processes import Process
from tests.anydepth_ros.support import Probe


@pytest.mark.parametrize('signals', [(signal.SIGTERM,), (signal.SIGINT, signal.SIGINT)])
def test_heat_lowers_the_depth_across_processes_and_signals_end_the_controller(
    local_graph: Graph,
    start: Callable[..., Process],
    toy_bundle: Bundle,
    signals: tuple[signal.Signals, ...],
) -> None:
    model = ('-p', f'model:={toy_bundle.path}')
    start('detector_node', *model, '-p', 'depth_mode:=auto')
    limits = ('-p', 'temperature_hard_c:=90.0', '-p', 'sensors:=true')
    controller = start('controller_node', *model, *limits)
    probe = Probe()
    local_graph.add(probe)
    probe.meet_detector()
    heard: list[DiagnosticArray] = []
    probe.create_subscription(DiagnosticArray, 'controller/decision', heard.append, OUTPUT)
    thermometer = probe.create_publisher(Temperature, 'temperature', image_qos('reliable'))
    wait_until(lambda: heard, 'a decision')

    def level_when_hot() -> str:
        thermometer.publish(Temperature(temperature=95.0))
        stamp = probe.send()
        probe.answer(stamp)
        return probe.stats[stamp]['level']

    wait_until(lambda: level_when_hot() == '0', 'the cheapest level')
    wait_until(lambda: '95.0 C' in heard[-1].status[0].message, 'the reason')
    for number in signals:
        controller.popen.send_signal(number)
        time.sleep(0.002)
    assert controller.wait() == 0
    assert 'Traceback' not in controller.output()


def test_a_wrong_target_ends_the_controller_with_one_line(
    start: Callable[..., Process], toy_bundle: Bundle
) -> None:
    arguments = ('-p', f'model:={toy_bundle.path}', '-p', 'mode:=fast')
    process = start('controller_node', *arguments)
    assert process.wait() == 1
    (line,) = [line for line in process.output().splitlines() if line.startswith('error: ')]
    assert 'mode' in line and 'deadline, tracking' in line
