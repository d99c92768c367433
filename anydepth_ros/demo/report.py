"""What a run of the demo has shown, in figures; no ROS."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import metadata
import json
import os
import platform
from typing import Any

import numpy as np

from anydepth_core.export.bundle import Bundle
from anydepth_core.version import __version__


@dataclass(frozen=True)
class Frame:
    """One answered image.

    Attributes:
        time_s: when its detections arrived, after the first ones.
        depth: operating point it was processed with, ``1111-1111@320`` or ``1111-1d6@640``.
        latency_ms: from the stamp of the image to the arrival of its detections.
        inference_ms: share of the network.
        detections: how many.
    """

    time_s: float
    depth: str
    latency_ms: float
    inference_ms: float
    detections: int


@dataclass(frozen=True)
class Switch:
    """A change of depth that was asked for; the parameter service took ``took_ms`` to answer."""

    time_s: float
    depth: str
    accepted: bool
    took_ms: float
    reason: str = ''


@dataclass
class Recording:
    """Everything a run has recorded."""

    frames: list[Frame] = field(default_factory=list)
    switches: list[Switch] = field(default_factory=list)
    images_in: int = 0
    messages_out: int = 0
    dropped: int = 0
    first_detections_s: float = 0.0

    def depths(self) -> list[str]:
        """Return what occurred: most refinements first, then decoder layers, then input size."""
        return sorted({f.depth for f in self.frames}, key=_dearest_first)

    def fps(self) -> float:
        """Return the answered frames per second."""
        span = self.frames[-1].time_s - self.frames[0].time_s if self.frames else 0.0
        return (len(self.frames) - 1) / span if span > 0 else 0.0

    def conclusion(self) -> str:
        """Return the closing lines: totals and one row per depth."""
        wide = max(map(len, ('depth', *self.depths())))
        lines = [
            f'{len(self.frames)} frames answered at {self.fps():.1f} fps, {self.dropped} dropped '
            'for newer ones',
            f'{"depth":<{wide}}  frames   latency ms p50      p95   network ms p50   '
            'detections a frame',
        ]
        for depth in self.depths():
            row = depth_figures([f for f in self.frames if f.depth == depth])
            lines.append(
                f'{depth:<{wide}}{row["frames"]:>8}'
                f'{row["latency_ms_p50"]:>17.1f}{row["latency_ms_p95"]:>9.1f}'
                f'{row["inference_ms_p50"]:>17.1f}{row["detections_mean"]:>21.2f}'
            )
        return '\n'.join(lines)


def _dearest_first(depth: str) -> tuple[int, int, int, str]:
    stages, _, size = depth.partition('@')
    bits, _, layers = stages.partition('d')
    sides = [int(side) for side in size.split('x') if side]
    return -bits.count('1'), -int(layers or 0), -max(sides, default=0), depth


def percentiles(values: list[float]) -> tuple[float, float]:
    """Return p50 and p95, zeros for no value."""
    if not values:
        return 0.0, 0.0
    p50, p95 = np.percentile(values, [50, 95])
    return float(p50), float(p95)


def live_line(recording: Recording, now_s: float, images_in: int, messages_out: int) -> str:
    """Return the line of each second: totals, and depth, latency and rate of the last second."""
    recent = [f for f in recording.frames if f.time_s > now_s - 1]
    p50, p95 = percentiles([f.latency_ms for f in recent])
    depth = recent[-1].depth if recent else '-'
    return (
        f'{now_s:5.0f} s   frames in {images_in:5d}   detections out {messages_out:5d}   depth '
        f'{depth}   '
        f'latency p50 {p50:6.1f}  p95 {p95:6.1f} ms   {len(recent):3d} fps'
    )


def depth_figures(frames: list[Frame]) -> dict[str, Any]:
    """Return the figures of the frames of one depth."""
    latency = percentiles([f.latency_ms for f in frames])
    inference = percentiles([f.inference_ms for f in frames])
    return {
        'frames': len(frames),
        'latency_ms_p50': round(latency[0], 2),
        'latency_ms_p95': round(latency[1], 2),
        'inference_ms_p50': round(inference[0], 2),
        'inference_ms_p95': round(inference[1], 2),
        'detections_mean': round(float(np.mean([f.detections for f in frames])), 3),
    }


def summary(recording: Recording, bundle: Bundle, source: str) -> str:
    """Return the summary as JSON text."""
    frames = recording.frames
    by_depth = {d: depth_figures([f for f in frames if f.depth == d]) for d in recording.depths()}
    ladder = [bundle.space.format(point.depth) for point in bundle.ladder.points]
    content = {
        'source': source,
        'bundle': {'path': str(bundle.path), 'model': bundle.model_name, 'ladder': ladder},
        'images_in': recording.images_in,
        'detections_messages': recording.messages_out,
        'frames': len(frames),
        'dropped': recording.dropped,
        'detections': sum(f.detections for f in frames),
        'frames_with_detections': sum(f.detections > 0 for f in frames),
        'seconds': round(frames[-1].time_s, 3) if frames else 0.0,
        'fps': round(recording.fps(), 2),
        'first_detections_s': round(recording.first_detections_s, 2),
        'depths': by_depth,
        'switches': [
            {
                'time_s': round(s.time_s, 3),
                'depth': s.depth,
                'accepted': s.accepted,
                'took_ms': round(s.took_ms, 1),
                'reason': s.reason,
            }
            for s in recording.switches
        ],
        'versions': versions(),
        'ros_distro': ros_distribution(),
        'machine': {'processor': platform.machine(), 'cores': os.cpu_count()},
    }
    return json.dumps(content, indent=2) + '\n'


def versions() -> dict[str, str]:
    """Return the versions that matter for the figures."""
    result = {'anydepth_ros': __version__, 'python': platform.python_version()}
    for name in ('rclpy', 'onnxruntime', 'onnx', 'numpy', 'opencv-python-headless'):
        try:
            result[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return result


def ros_distribution() -> str:
    """Return the ROS 2 distribution: of the environment, or of the wheels that are installed."""
    if os.environ.get('ROS_DISTRO'):
        return os.environ['ROS_DISTRO']
    for name in ('kilted', 'jazzy'):
        try:
            metadata.version(f'ros-{name}-rclpy')
        except metadata.PackageNotFoundError:
            continue
        return f'{name} (PyPI)'
    return 'unknown'
