"""The course of the demo: nodes, a schedule of depths, a line a second, the results."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
import sys
import time

import rclpy
from rclpy.executors import SingleThreadedExecutor

from anydepth_core.export.bundle import Bundle, load_bundle
from anydepth_core.files import write_atomically
from anydepth_ros.demo.recorder import Answer, RecorderNode
from anydepth_ros.demo.report import Frame, live_line, Recording, summary, Switch
from anydepth_ros.demo.timeline import draw_timeline
from anydepth_ros.demo.video import AnnotatedVideo
from anydepth_ros.frames import FrameSource
from anydepth_ros.processes import NodeProcesses
from anydepth_ros.running import init, POLL_S, StopSignals
from anydepth_ros.shipped import shipped_file

PATIENCE_S = 120.0  # for the first detections: a large model takes seconds a depth to build
CLIP = 'config/media/fod_clip.mp4'
NEWS_S = 5.0  # how often the wait is reported and the detector asked how it is


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
        with NodeProcesses() as processes:
            start_nodes(processes, options, fps)
            return Demo(options, bundle, processes, fps, signals, started).run()
    except (DemoError, ValueError, OSError) as error:
        print(f'demo: {error}', file=sys.stderr)
        return 1


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line.

    Raises:
        FileNotFoundError: if no source is given and our own clip is not installed.
    """
    parser = argparse.ArgumentParser(
        prog='demo', description='Video source -> detector -> topics, depth changing.'
    )
    parser.add_argument(
        '--source', default='', help='video, image folder or camera number; empty: our own clip'
    )
    parser.add_argument('--bundle', default='default', help="directory of a bundle, or 'default'")
    parser.add_argument(
        '--seconds', type=float, default=20.0, help='how long, from the first detections on'
    )
    parser.add_argument(
        '--rate', type=float, default=0.0, help='frames per second, 0: as recorded'
    )
    parser.add_argument(
        '--depths',
        default='',
        help='comma-separated depths to go through; empty: the ladder and more',
    )
    parser.add_argument(
        '--threads', type=int, default=0, help='threads of one inference, 0: one per core'
    )
    parser.add_argument('--out', type=Path, default=Path('out'), help='folder of the results')
    options = parser.parse_args(arguments)
    options.source = options.source or str(shipped_file(CLIP))
    return options


def start_nodes(processes: NodeProcesses, options: argparse.Namespace, fps: float) -> None:
    """Start detector and video source; both talk reliably, so that no frame is lost on the way."""
    detector = {
        'model': options.bundle,
        'threads': options.threads,
        'image_reliability': 'reliable',
    }
    processes.start('detector_node', detector)
    processes.start(
        'video_source_node', {'source': options.source, 'rate': float(fps), 'loop': True}
    )


def schedule(bundle: Bundle, chosen: str) -> list[int | str]:
    """List the depths to go through: down the ladder, one that is not on it, and back to full."""
    if chosen:
        return [
            int(word) if word.isdecimal() and len(word) < 4 else word for word in chosen.split(',')
        ]
    space, ladder = bundle.space, bundle.ladder
    ends = [ladder.parse(name, bundle.image_size) for name in ('full', 'base')]
    between = [level for level in reversed(range(len(ladder))) if ladder[level] not in ends]
    mixed = ''.join(str(index % 2) for index in range(len(space.stages)))
    return ['full', *between, 'base', space.format(space.parse(mixed)), 'full']


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
    ) -> None:
        self._options = options
        self._bundle = bundle
        self._processes = processes
        self._signals = signals
        self._started = started
        self._video_fps = fps
        self._depths = schedule(bundle, options.depths)
        self._recording = Recording()
        self._video: AnnotatedVideo | None = None
        self._first = 0.0

    def run(self) -> int:
        """Wait for the first detections, play the schedule, write the results."""
        init([])
        executor = SingleThreadedExecutor()
        self._node = RecorderNode(self._answered)
        executor.add_node(self._node)
        try:
            self._wait_for_detections(executor)
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

    def _wait_for_detections(self, executor: SingleThreadedExecutor) -> None:
        """Spin until the detector has answered.

        Raises:
            DemoError: if a node ends, the detector cannot start or nothing arrives in time.
        """
        begin, news = time.monotonic(), NEWS_S
        states: list[str] = []
        while not self._recording.frames:
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
        print(
            f'first detections after {seconds:.1f} s; depths {", ".join(map(str, self._depths))}',
            flush=True,
        )

    def _play(self, executor: SingleThreadedExecutor) -> None:
        """Ask for one depth after the other, print a line a second."""
        pause = self._options.seconds / len(self._depths)
        asked, shown = (
            1,
            0,
        )  # the first depth is the one the detector starts with, unless it was chosen
        if self._options.depths:
            self._ask(self._depths[0])
        while (now := time.monotonic() - self._first) < self._options.seconds:
            self._spin(executor)
            if asked < len(self._depths) and now >= asked * pause:
                self._ask(self._depths[asked])
                asked += 1
            if now >= shown + 1:
                shown = int(now)
                print(
                    live_line(self._recording, now, self._node.images_in, self._node.messages_out),
                    flush=True,
                )

    def _spin(self, executor: SingleThreadedExecutor) -> None:
        """Handle what has arrived.

        Raises:
            DemoError: if a node has ended by itself.
            Stopped: after Ctrl-C.
        """
        executor.spin_once(timeout_sec=POLL_S)
        if self._signals.noted:
            raise Stopped
        if (ended := self._processes.ended()) is not None:
            raise DemoError(ended)

    def _ask(self, depth: int | str) -> None:
        asked_s = time.monotonic() - self._first

        def done(accepted: bool, reason: str) -> None:
            took_ms = 1e3 * (time.monotonic() - self._first - asked_s)
            self._recording.switches.append(Switch(asked_s, str(depth), accepted, took_ms, reason))
            if not accepted:
                print(f'depth {depth} was refused: {reason}', flush=True)

        self._node.ask_for_depth(depth, done)

    def _answered(self, answer: Answer) -> None:
        if self._video is None:
            self._first = answer.time_s
            path = self._options.out / 'annotated.mp4'
            self._video = AnnotatedVideo(path, self._video_fps, self._bundle.class_names)
        frame = Frame(
            time_s=answer.time_s - self._first,
            depth=answer.depth,
            latency_ms=answer.latency_ms,
            inference_ms=answer.inference_ms,
            detections=len(answer.detections),
        )
        self._recording.frames.append(frame)
        self._recording.dropped = answer.dropped
        self._video.add(
            answer.image_bgr,
            answer.detections,
            f'depth {answer.depth}   {answer.latency_ms:.0f} ms',
        )

    def _write_results(self) -> None:
        if self._video is None:
            return
        self._recording.images_in = self._node.images_in
        self._recording.messages_out = self._node.messages_out
        self._video.close()
        out: Path = self._options.out
        draw_timeline(self._recording, out / 'timeline.png')
        write_atomically(
            out / 'summary.json',
            summary(self._recording, self._bundle, self._options.source).encode(),
        )
        names = ', '.join(
            str(out / name) for name in ('annotated.mp4', 'timeline.png', 'summary.json')
        )
        print(f'{self._recording.conclusion()}\nwrote {names}', flush=True)
