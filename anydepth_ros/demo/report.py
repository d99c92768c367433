"""What a run of the demo has shown, in figures; no ROS."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
import json
import os
import platform
from typing import Any

import numpy as np

from anydepth_core.export.bundle import Bundle
from anydepth_core.version import __version__
from anydepth_ros.demo.course import Part
from anydepth_ros.demo.recording import Frame, Recording

IN_A_ROW = 5
"""Frames in a row within the budget before the latency is called back under it."""


def live_line(recording: Recording, now_s: float) -> str:
    """Return the line of each second: totals, and what the last second was like."""
    recent = [frame for frame in recording.frames if frame.time_s > now_s - 1]
    p50, p95 = percentiles([frame.latency_ms for frame in recent])
    depth = recent[-1].depth if recent else '-'
    climate = f'   {recording.climate[-1].board_c:.1f} C' if recording.climate else ''
    return (
        f'{now_s:4.0f} s  {recording.part_at(now_s).name:<7}  frames in {recording.images_in:4d}  '
        f'detections out {recording.messages_out:4d}  {len(recent):3d} fps  latency p50 {p50:5.1f}'
        f'  p95 {p95:5.1f} ms{climate}   depth {depth}   {recording.reason()}'
    )


def conclusion(recording: Recording) -> str:
    """Return the closing lines: totals, one row per depth, one line per part."""
    depths = depths_of(recording.frames)
    wide = max(map(len, ('depth', *depths)))
    lines = [
        f'{len(recording.frames)} frames answered at {fps_of(recording.frames):.1f} fps, '
        f'{recording.dropped} dropped for newer ones',
        f'{"depth":<{wide}}  frames   latency ms p50      p95   network ms p50   '
        'detections a frame',
    ]
    for depth in depths:
        row = frame_figures([frame for frame in recording.frames if frame.depth == depth])
        lines.append(
            f'{depth:<{wide}}{row["frames"]:>8}'
            f'{row["latency_ms_p50"]:>17.1f}{row["latency_ms_p95"]:>9.1f}'
            f'{row["inference_ms_p50"]:>17.1f}{row["detections_mean"]:>21.2f}'
        )
    return '\n'.join([*lines, *filter(None, map(_step_words, budget_steps(recording)))])


def _step_words(step: dict[str, Any]) -> str:
    """Say how the latency came back under a budget that it was over, else nothing."""
    if step['back_under_after_frames']:
        return (
            f'budget {step["budget_ms"]:g} ms: latency back under it after '
            f'{step["back_under_after_frames"]} frames, {step["back_under_after_s"]:.1f} s'
        )
    return ''


def summary(recording: Recording, bundle: Bundle, source: str) -> str:
    """Return the summary as JSON text."""
    frames = recording.frames
    by_depth = {d: frame_figures([f for f in frames if f.depth == d]) for d in depths_of(frames)}
    ladder = [bundle.space.format(point.depth) for point in bundle.ladder.points]
    content = {
        'source': source,
        'bundle': {'path': str(bundle.path), 'model': bundle.model_name, 'ladder': ladder},
        'images_in': recording.images_in,
        'detections_messages': recording.messages_out,
        'frames': len(frames),
        'dropped': recording.dropped,
        'detections': sum(frame.detections for frame in frames),
        'frames_with_detections': sum(frame.detections > 0 for frame in frames),
        'seconds': round(frames[-1].time_s, 3) if frames else 0.0,
        'fps': round(fps_of(frames), 2),
        'first_detections_s': round(recording.first_detections_s, 2),
        'depths': by_depth,
        'parts': {part.name: part_figures(recording, part) for part in recording.parts},
        'budget_steps': budget_steps(recording),
        'settings': _settings(recording),
        'versions': versions(),
        'ros_distro': ros_distribution(),
        'machine': {'processor': platform.machine(), 'cores': os.cpu_count()},
    }
    return json.dumps(content, indent=2) + '\n'


def part_figures(recording: Recording, part: Part) -> dict[str, Any]:
    """Return the figures of a part; temperatures are those of the simulated board."""
    frames = recording.in_part(part)
    points = [point for point in recording.climate if recording.part_at(point.time_s) == part]
    levels = [frame.level for frame in frames]
    return {
        **frame_figures(frames),
        'start_s': round(part.start_s, 3),
        'end_s': round(part.end_s, 3),
        'fps': round(fps_of(frames), 2),
        'share_over_budget': _share_over_budget(recording, frames),
        'highest_temperature_c': _highest(point.board_c for point in points),
        'highest_at_dearest_level_c': _highest(point.undriven_c for point in points),
        'seconds_over_soft_limit': _seconds_over(recording, 'temperature_soft_c', part),
        'seconds_over_hard_limit': _seconds_over(recording, 'temperature_hard_c', part),
        'level_changes': sum(a != b for a, b in zip(levels, levels[1:])),
        'reasons': [
            {
                'time_s': round(told.time_s, 3),
                'level': told.decision.level,
                'reason': told.decision.reason,
            }
            for told in recording.reasons()
            if recording.part_at(told.time_s) == part
        ],
    }


def frame_figures(frames: Sequence[Frame]) -> dict[str, Any]:
    """Return the figures of some frames."""
    figures: dict[str, Any] = {'frames': len(frames)}
    for name in ('latency_ms', 'inference_ms', 'age_ms'):
        p50, p95 = percentiles([getattr(frame, name) for frame in frames])
        figures[f'{name}_p50'], figures[f'{name}_p95'] = round(p50, 2), round(p95, 2)
    counts = [frame.detections for frame in frames]
    figures['detections_mean'] = round(float(np.mean(counts)), 3) if counts else 0.0
    return figures


def budget_steps(recording: Recording) -> list[dict[str, Any]]:
    """Return, for each budget, after how many frames and seconds the latency was under it.

    Counted are the frames from the budget on, to the one that completes `IN_A_ROW` frames in a row
    within it; 0 where no frame was late before that, None where it did not happen.
    """
    steps = recording.target('deadline_ms')
    ends_s = [since_s for since_s, _ in steps[1:]] + [float('inf')]
    result = []
    for (since_s, budget_ms), end_s in zip(steps, ends_s):
        if not budget_ms:
            continue
        frames = [frame for frame in recording.frames if since_s <= frame.time_s < end_s]
        back = back_under([frame.latency_ms for frame in frames], budget_ms)
        after_s = round(frames[back - 1].time_s - since_s, 3) if back else back
        result.append(
            {
                'time_s': round(since_s, 3),
                'budget_ms': budget_ms,
                'back_under_after_frames': back,
                'back_under_after_s': after_s,
            }
        )
    return result


def back_under(latencies_ms: Sequence[float], budget_ms: float) -> int | None:
    """Return the number, from 1, of the frame with which the latency is back under a budget.

    Returns:
        0 if no frame was late before `IN_A_ROW` in a row were in time, None if they never were.
    """
    in_a_row = 0
    for number, latency_ms in enumerate(latencies_ms, 1):
        in_a_row = in_a_row + 1 if latency_ms <= budget_ms else 0
        if in_a_row == IN_A_ROW:
            return 0 if number == IN_A_ROW else number
    return None


def depths_of(frames: Sequence[Frame]) -> list[str]:
    """Return what occurred: most refinements first, then decoder layers, then input size."""
    return sorted({frame.depth for frame in frames}, key=_dearest_first)


def _dearest_first(depth: str) -> tuple[int, int, int, str]:
    stages, _, size = depth.partition('@')
    bits, _, layers = stages.partition('d')
    sides = [int(side) for side in size.split('x') if side]
    return -bits.count('1'), -int(layers or 0), -max(sides, default=0), depth


def fps_of(frames: Sequence[Frame]) -> float:
    """Return the answered frames per second."""
    span = frames[-1].time_s - frames[0].time_s if frames else 0.0
    return (len(frames) - 1) / span if span > 0 else 0.0


def percentiles(values: list[float]) -> tuple[float, float]:
    """Return p50 and p95, zeros for no value."""
    if not values:
        return 0.0, 0.0
    p50, p95 = np.percentile(values, [50, 95])
    return float(p50), float(p95)


def _share_over_budget(recording: Recording, frames: Sequence[Frame]) -> float | None:
    judged = [
        frame.latency_ms > budget_ms
        for frame in frames
        if (budget_ms := recording.target_at('deadline_ms', frame.time_s)) is not None
    ]
    return round(sum(judged) / len(judged), 4) if judged else None


def _highest(values: Any) -> float | None:
    known = list(values)
    return round(max(known), 2) if known else None


def _seconds_over(recording: Recording, limit: str, part: Part) -> float | None:
    """Return how long the board was over a limit in a part, None where there was no limit."""
    seconds, limited = 0.0, False
    for before, point in zip(recording.climate, recording.climate[1:]):
        limit_c = recording.target_at(limit, point.time_s)
        if limit_c is not None and recording.part_at(point.time_s) == part:
            limited = True
            seconds += (point.time_s - before.time_s) * (point.board_c > limit_c)
    return round(seconds, 2) if limited else None


def _settings(recording: Recording) -> list[dict[str, Any]]:
    return [
        {
            'time_s': round(one.setting.time_s, 3),
            'node': one.setting.node,
            'parameter': one.setting.parameter,
            'value': one.setting.value,
            'accepted': one.accepted,
            'took_ms': round(one.took_ms, 1),
            'reason': one.reason,
        }
        for one in recording.answers
    ]


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
