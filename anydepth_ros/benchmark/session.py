"""One run: camera, detector and listener, from the warm-up to the figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import json
from pathlib import Path
import signal
import subprocess
import sys
import time

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.serialization import serialize_message

from anydepth_core.commands.runtime_options import node_parameters
from anydepth_ros.benchmark.camera import CameraProcess
from anydepth_ros.benchmark.child import leave, NAMESPACE
from anydepth_ros.benchmark.figures import (
    counted,
    Load,
    RunFigures,
    Sent,
    summarise,
    time_per_image_ms,
)
from anydepth_ros.benchmark.frame import image_message, picture
from anydepth_ros.benchmark.listener import ListenerNode
from anydepth_ros.benchmark.process import cpu_seconds, resident_mb
from anydepth_ros.benchmark.settings import NodeSettings
from anydepth_ros.processes import NodeProcesses
from anydepth_ros.running import init

PATIENCE_S = 300.0  # until all depths are built: a large model takes many seconds for each
WARM_UP_HZ = 10.0
WARM_UP_S = 0.5  # of one piece of the warm-up
WARM_UP_ANSWERS = 15
IDLE_REPORTS = 2  # two, because between two builds there is a moment without one
SETTLED_S = 0.5  # silence, beside the time of two images, after which no answer is on its way
MEMORY_AFTER_S = 10.0  # by then all buffers have been filled
TAKES = 45
TAKE_HZ = 30.0
LOW_THRESHOLD = 0.001  # any picture has detections with it, noise too
POLL_S = 0.02
REMAPPING = ('-r', f'__ns:={NAMESPACE}', '-r', '/diagnostics:=diagnostics')


def middleware(profile: bool) -> str:
    """Return the name of the ROS middleware.

    Raises:
        ValueError: if a Fast DDS profile is wanted and it is not Fast DDS.
    """
    name = str(rclpy.get_rmw_implementation_identifier())
    if profile and 'fastrtps' not in name:
        raise ValueError(
            f'--profile is for Fast DDS, but the middleware is {name}: '
            'set RMW_IMPLEMENTATION=rmw_fastrtps_cpp or leave --profile out'
        )
    return name


def measure(
    bundle_path: str,
    settings: NodeSettings,
    size: tuple[int, int],
    image_bgr: np.ndarray | None,
    folder: Path,
) -> RunFigures:
    """Run camera and detector once, with images of one size, and return the figures.

    Args:
        bundle_path: what the detector serves.
        settings: what is measured.
        size: (width, height) of the images.
        image_bgr: picture to send, None for noise.
        folder: for the file that holds the serialised image.

    Raises:
        RuntimeError: if a process ends or the detector does not answer.
    """
    with opened(settings, size, image_bgr, folder) as session:
        take_ms = session.time_takes(settings.reliability)
        session.start_detector(detector_parameters(bundle_path, settings))
        busy_ms = session.warm_up()
        rate_hz = settings.overload * 1e3 / busy_ms if settings.overload else settings.rate
        return session.figures(size, rate_hz, settings.seconds, take_ms)


@contextmanager
def opened(
    settings: NodeSettings, size: tuple[int, int], image_bgr: np.ndarray | None, folder: Path
) -> Iterator[Session]:
    """Give a session with a camera whose detector is still to be started; end all of it.

    Args:
        settings: encoding and reliability of the images.
        size: (width, height) of the images.
        image_bgr: picture to send, None for noise.
        folder: for the file that holds the serialised image.
    """
    frame = folder / f'{size[0]}x{size[1]}.cdr'
    frame.write_bytes(
        serialize_message(image_message(picture(size, image_bgr), settings.encoding))
    )
    before = signal.signal(signal.SIGTERM, leave)
    init([])
    try:
        with NodeProcesses() as processes:
            session = Session(processes, CameraProcess(processes, frame, settings.reliability))
            try:
                yield session
            finally:
                session.close()
    finally:
        rclpy.try_shutdown()
        signal.signal(signal.SIGTERM, before)


def detector_parameters(bundle_path: str, settings: NodeSettings) -> dict[str, object]:
    """Return the parameters the detector is started with."""
    parameters: dict[str, object] = {
        'model': bundle_path,
        **node_parameters(settings.runtime),
        'image_reliability': settings.reliability,
        'depth': settings.depth_parameter(),
    }
    if settings.detections is not None:
        parameters['max_detections'] = settings.detections
        parameters['confidence_threshold'] = LOW_THRESHOLD
    return parameters


class Session:
    """What lives during one run.

    Attributes:
        listener: what was heard so far.
    """

    def __init__(self, processes: NodeProcesses, camera: CameraProcess) -> None:
        """Listen; the detector is started later.

        Args:
            processes: where it is to be started.
            camera: the camera, which waits for orders.
        """
        self._processes = processes
        self._camera = camera
        self._detector: subprocess.Popen[bytes] | None = None
        self.listener = ListenerNode()
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.listener)

    def close(self) -> None:
        """Stop listening."""
        self._executor.shutdown()
        self.listener.destroy_node()

    def time_takes(self, reliability: str) -> list[float]:
        """Time the middleware alone, while no detector is there to disturb it; milliseconds."""
        command = [sys.executable, '-m', 'anydepth_ros.benchmark.take', reliability, str(TAKES)]
        process = self._processes.run('take', command, stdout=subprocess.PIPE)
        while process.poll() is None:
            self._camera.play(TAKE_HZ, WARM_UP_S, lambda: time.sleep(POLL_S))
        times_ms: list[float] = json.loads(process.stdout.read() if process.stdout else '[]')
        return times_ms

    def play(
        self, rate_hz: float, seconds: float, also: Callable[[], object] | None = None
    ) -> Sent:
        """Send images for some time and hear what is said about them.

        Args:
            rate_hz: images per second.
            seconds: how long.
            also: called again and again meanwhile.

        Raises:
            RuntimeError: if camera or detector have ended.
        """

        def meanwhile() -> None:
            self.spin()
            if also is not None:
                also()

        return self._camera.play(rate_hz, seconds, meanwhile)

    def start_detector(self, parameters: dict[str, object]) -> None:
        """Start the detector's process."""
        self._detector = self._processes.start('detector_node', parameters, REMAPPING)

    def warm_up(self) -> float:
        """Send images slowly until the detector answers and has built all depths it wants.

        Returns:
            Its milliseconds per image.

        Raises:
            RuntimeError: if it ends or does not answer.
        """
        end = time.monotonic() + PATIENCE_S
        while (
            len(self.listener.detections) < WARM_UP_ANSWERS
            or self.listener.idle_reports < IDLE_REPORTS
        ):
            if self.listener.failure:
                raise RuntimeError(f'the detector {self.listener.failure}')
            if time.monotonic() > end:
                why = self.listener.error or 'its messages above say why'
                raise RuntimeError(f'the detector was not ready within {PATIENCE_S:.0f} s: {why}')
            self.play(WARM_UP_HZ, WARM_UP_S)
        self.settle()
        busy_ms = time_per_image_ms(self.listener.stats.values())
        if busy_ms is None:
            raise RuntimeError('the detector publishes no stats: its rate cannot be learnt')
        return busy_ms

    def figures(
        self, size: tuple[int, int], rate_hz: float, seconds: float, take_ms: list[float]
    ) -> RunFigures:
        """Send images at the wanted rate and work out the figures.

        Raises:
            RuntimeError: if the detector ends.
        """
        pid = self._detector.pid if self._detector else 0
        before, cpu_s, began = self.listener.latest, cpu_seconds(pid), time.monotonic()
        memory_mb: list[float] = []

        def watch_memory() -> None:
            if not memory_mb and time.monotonic() > began + MEMORY_AFTER_S:
                memory_mb.append(resident_mb(pid))

        sent = self.play(rate_hz, seconds, watch_memory)
        self.settle()
        return summarise(
            size=size,
            sent=sent,
            stats=self.listener.stats,
            detections=self.listener.detections,
            counts=counted(before, self.listener.latest),
            take_ms=take_ms,
            load=Load(
                memory_10s_mb=memory_mb[0] if memory_mb else None,
                memory_end_mb=resident_mb(pid),
                cpu_s=cpu_seconds(pid) - cpu_s,
            ),
        )

    def spin(self) -> None:
        """Hear what has arrived.

        Raises:
            RuntimeError: if the detector has ended.
        """
        self._executor.spin_once(timeout_sec=POLL_S)
        if self._detector is not None and self._detector.poll() is not None:
            raise RuntimeError(
                f'the detector has ended (exit status {self._detector.returncode}); see above'
            )

    def settle(self) -> None:
        """Hear the answers that are still on their way."""
        heard, since = -1, time.monotonic()
        silence_s = SETTLED_S + 2e-3 * float(self.listener.latest.get('total_ms', 0))
        while time.monotonic() < since + silence_s:
            self.spin()
            if self.listener.heard != heard:
                heard, since = self.listener.heard, time.monotonic()
