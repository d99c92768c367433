"""One run of the demo: nodes, the course of settings, a line a second, the results."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
import sys
import tempfile
import time

import rclpy
from rclpy.executors import SingleThreadedExecutor

from anydepth_core.commands.runtime_options import (
    add_runtime_arguments,
    node_parameters,
    runtime_settings,
)
from anydepth_core.control.signals import Decision
from anydepth_core.export.bundle import Bundle, load_bundle
from anydepth_core.files import write_atomically
from anydepth_ros.demo import course
from anydepth_ros.demo.recorder import Answer, RecorderNode
from anydepth_ros.demo.recording import Answered, Frame, Recording, Told
from anydepth_ros.demo.report import conclusion, live_line, summary
from anydepth_ros.demo.simulated import SimulatedBoard, work_of
from anydepth_ros.demo.timeline import draw_timeline
from anydepth_ros.demo.video import AnnotatedVideo
from anydepth_ros.frames import FrameSource
from anydepth_ros.processes import NodeProcesses
from anydepth_ros.running import init, POLL_S, StopSignals
from anydepth_ros.shipped import shipped_file

PATIENCE_S = 120.0  # for the first detections: a large model takes seconds a depth to build
CLIP = 'config/media/fod_clip.mp4'
NEWS_S = 5.0  # how often the wait is reported and the detector asked how it is
WARM_EVERY_S = 0.2


class Stopped(Exception):
    """The user has ended the demo."""


class DemoError(Exception):
    """The demo cannot go on; one sentence for the user."""


def run_demo(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return 0, or 1 with a sentence when it cannot go on."""
    started = time.monotonic()
    signals = StopSignals()
    try:
        options = parse_arguments(arguments)
        if find_spec('matplotlib') is None:
            raise DemoError('the timeline needs matplotlib: pip install matplotlib')
        bundle = load_bundle(options.bundle)
        fps = options.rate or FrameSource(options.source).fps
        with tempfile.TemporaryDirectory() as root, NodeProcesses() as processes:
            demo = Demo(options, bundle, processes, fps, signals, started, Path(root))
            start_nodes(processes, options, fps, root)
            return demo.run()
    except (DemoError, ValueError, OSError) as error:
        print(f'demo: {error}', file=sys.stderr)
        return 1


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line.

    Raises:
        FileNotFoundError: if no source is given and our own clip is not installed.
    """
    parser = argparse.ArgumentParser(
        prog='demo',
        description='Video source -> detector -> topics: depth by hand, then the controller '
        'answers to a latency budget and to heat (simulated).',
    )
    parser.add_argument(
        '--source', default='', help='video, image folder or camera number; empty: our own clip'
    )
    parser.add_argument('--bundle', default='default', help="directory of a bundle, or 'default'")
    parser.add_argument(
        '--seconds', type=float, default=60.0, help='how long, from the first detections on'
    )
    parser.add_argument(
        '--rate', type=float, default=0.0, help='frames per second, 0: as recorded'
    )
    parser.add_argument(
        '--depths',
        default='',
        help='comma-separated depths to go through by hand; empty: down the ladder',
    )
    parser.add_argument('--out', type=Path, default=Path('out'), help='folder of the results')
    add_runtime_arguments(parser)
    options = parser.parse_args(arguments)
    options.source = options.source or str(shipped_file(CLIP))
    return options


def start_nodes(
    processes: NodeProcesses, options: argparse.Namespace, fps: float, sensor_root: str
) -> None:
    """Start the three nodes; images go reliably, so that no frame is lost on the way."""
    detector = {
        'model': options.bundle,
        **node_parameters(runtime_settings(options)),
        'image_reliability': 'reliable',
    }
    processes.start('detector_node', detector)
    processes.start(
        'controller_node', {'model': options.bundle, 'sensors': True, 'sensor_root': sensor_root}
    )
    processes.start(
        'video_source_node', {'source': options.source, 'rate': float(fps), 'loop': True}
    )


class Demo:
    """One run of the demo, while the nodes are alive."""

    def __init__(
        self,
        options: argparse.Namespace,
        bundle: Bundle,
        processes: NodeProcesses,
        fps: float,
        signals: StopSignals,
        started: float,
        sensor_root: Path,
    ) -> None:
        self._options = options
        self._bundle = bundle
        self._processes = processes
        self._signals = signals
        self._started = started
        self._video_fps = fps
        self._depths = course.depths_by_hand(bundle, options.depths)
        parts = course.parts_of(options.seconds)
        self._hand, self._budget, self._heat = parts
        self._recording = Recording(parts)
        self._board = SimulatedBoard(sensor_root, work_of(bundle), self._heat)
        self._video: AnnotatedVideo | None = None
        self._first: float | None = None

    def run(self) -> int:
        """Wait for the nodes, play the course, write the results."""
        init([])
        executor = SingleThreadedExecutor()
        self._node = RecorderNode(self._answered, self._told)
        executor.add_node(self._node)
        try:
            self._wait_for_nodes(executor)
            self._play(executor)
        except Stopped:
            print('\nstopped', flush=True)
        finally:
            executor.shutdown()
            self._node.destroy_node()
            rclpy.try_shutdown()
            self._processes.stop()
            self._write_results()
        return 0

    def _wait_for_nodes(self, executor: SingleThreadedExecutor) -> None:
        """Spin until the detector has answered and the controller has decided.

        Raises:
            DemoError: if a node ends, the detector cannot start or nothing arrives in time.
        """
        begin, news = time.monotonic(), NEWS_S
        states: list[str] = []
        while self._first is None:
            self._spin(executor)
            waited = time.monotonic() - begin
            if waited > PATIENCE_S:
                raise DemoError(
                    f'no detections within {PATIENCE_S:.0f} s ({self._node.images_in} images '
                    'arrived); '
                    "the nodes' messages above say why"
                )
            if 'unconfigured' in states:
                raise DemoError('the detector could not start; its message above says why')
            if waited > news:
                print(f'{waited:5.0f} s   no detections yet: large models take time', flush=True)
                self._node.ask_for_state(states.append)
                news += NEWS_S
        seconds = self._first - self._started
        self._recording.first_detections_s = seconds
        depths = ', '.join(map(str, self._depths))
        print(f'first detections after {seconds:.1f} s; by hand: {depths}', flush=True)

    def _play(self, executor: SingleThreadedExecutor) -> None:
        """Set what is due, warm the simulated board, print a line a second."""
        settings = course.by_hand(self._hand, self._depths)
        settings += course.heat(self._heat)
        budget_is_known, warmed, shown = False, 0.0, 0
        while (now := self._now()) < self._options.seconds:
            self._spin(executor)
            if not budget_is_known and now >= self._budget.start_s:
                budget_is_known = True
                settings += course.budget(self._budget, self._budgets())
            for setting in [one for one in settings if one.time_s <= now]:
                settings.remove(setting)
                self._set(setting)
            if now >= warmed + WARM_EVERY_S:
                warmed = now
                self._warm(now)
            if now >= shown + 1:
                shown = int(now)
                print(live_line(self._recording, now), flush=True)

    def _now(self) -> float:
        """Return the seconds since the first detections."""
        return time.monotonic() - (self._first or 0.0)

    def _spin(self, executor: SingleThreadedExecutor) -> None:
        """Handle what has arrived.

        Raises:
            DemoError: if a node has ended by itself.
            Stopped: after Ctrl-C.
        """
        executor.spin_once(timeout_sec=POLL_S)
        self._recording.images_in = self._node.images_in
        self._recording.messages_out = self._node.messages_out
        if self._signals.noted:
            raise Stopped
        if (ended := self._processes.ended()) is not None:
            raise DemoError(ended)

    def _budgets(self) -> course.Budgets:
        """Choose budgets by what was measured by hand."""
        frames = self._recording.frames
        budgets = course.budgets_of((frame.depth, frame.latency_ms) for frame in frames)
        print(
            f'the controller has the depth now; budgets by the latencies above: '
            f'{budgets.comfortable_ms:g} ms, then {budgets.tight_ms:g} ms',
            flush=True,
        )
        return budgets

    def _warm(self, now: float) -> None:
        level = self._recording.frames[-1].level if self._recording.frames else None
        self._recording.climate.append(self._board.advance(now, level))

    def _set(self, setting: course.Setting) -> None:
        asked_s = self._now()

        def done(accepted: bool, reason: str) -> None:
            took_ms = 1e3 * (self._now() - asked_s)
            self._recording.answers.append(Answered(setting, accepted, took_ms, reason))
            if not accepted:
                name, value = setting.parameter, setting.value
                print(f'{setting.node}: {name} {value} was refused: {reason}', flush=True)

        self._node.set_parameter(setting, done)

    def _told(self, decision: Decision, in_charge: bool) -> None:
        if self._first is not None:
            self._recording.told.append(Told(self._now(), decision, in_charge))

    def _answered(self, answer: Answer) -> None:
        if self._first is None:
            if not self._node.reachable():
                return
            self._first = answer.time_s
            path = self._options.out / 'annotated.mp4'
            self._video = AnnotatedVideo(path, self._video_fps, self._bundle.class_names)
        self._recording.frames.append(
            Frame(
                time_s=answer.time_s - self._first,
                depth=answer.depth,
                level=answer.level,
                latency_ms=answer.latency_ms,
                inference_ms=answer.inference_ms,
                age_ms=answer.age_ms,
                detections=len(answer.detections),
            )
        )
        self._recording.dropped = answer.dropped
        if self._video is not None:
            caption = f'{answer.depth}  {answer.latency_ms:.0f} ms   {self._recording.reason()}'
            self._video.add(answer.image_bgr, answer.detections, caption)

    def _write_results(self) -> None:
        if self._video is None:
            return
        self._video.close()
        out: Path = self._options.out
        draw_timeline(self._recording, self._bundle, out / 'timeline.png')
        write_atomically(
            out / 'summary.json',
            summary(self._recording, self._bundle, self._options.source).encode(),
        )
        names = ', '.join(
            str(out / name) for name in ('annotated.mp4', 'timeline.png', 'summary.json')
        )
        print(f'{conclusion(self._recording)}\nwrote {names}', flush=True)
