"""`anydepth replay`: run the controller on a simulated device or on recorded signals."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
import json
import math
from pathlib import Path
from typing import Any, TYPE_CHECKING

from anydepth_core.files import write_atomically
from anydepth_core.text_table import aligned

if TYPE_CHECKING:
    from anydepth_core.control.drawing import Picture
    from anydepth_core.control.profile import Profile
    from anydepth_core.control.scenarios import Trace
    from anydepth_core.control.settings import ControllerSettings
    from anydepth_core.control.signals import Decision

HELP = 'run the controller on a simulated device or on recorded signals'

ALL = 'all'
_Format = Callable[[float], str]
_MISSES: tuple[str, _Format] = ('frames over the budget', lambda value: f'{value:.2%}')
_LATENCY: tuple[str, _Format] = ('mean latency (ms)', lambda value: f'{value:.2f}')
_AP: tuple[str, _Format] = ('mean AP by profile', lambda value: f'{value:.4f}')
_CHANGES: tuple[str, _Format] = ('level changes per minute', lambda value: f'{value:.2f}')
CLOSED: dict[str, tuple[str, _Format]] = {
    'miss_rate': _MISSES,
    'tracking_error_ms': ('tracking error (ms)', lambda value: f'{value:.3f}'),
    'mean_latency_ms': _LATENCY,
    'mean_energy_j': ('mean energy per frame (J)', lambda value: f'{value:.3f}'),
    'mean_ap': _AP,
    'seconds_over_soft': ('over the soft limit (s)', lambda value: f'{value:.1f}'),
    'seconds_over_hard': ('over the hard limit (s)', lambda value: f'{value:.1f}'),
    'max_temperature_c': ('highest temperature (C)', lambda value: f'{value:.1f}'),
    'changes_per_minute': _CHANGES,
    'late_changes_per_minute': ('the same, last third', lambda value: f'{value:.2f}'),
    'final_charge': ('charge at the end', lambda value: f'{value:.1%}'),
    'seconds': ('length (s)', lambda value: f'{value:.1f}'),
}
"""Lines of the table of a simulation, by the name of the figure."""
OPEN: dict[str, tuple[str, _Format]] = {
    'miss_rate': _MISSES,
    'mean_latency_ms': _LATENCY,
    'mean_level': ('mean level', lambda value: f'{value:.2f}'),
    'mean_ap': _AP,
    'changes_per_minute': _CHANGES,
    'same_level': ('level as served', lambda value: f'{value:.1%}'),
}
"""Lines of the table of a recording."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        'trace',
        metavar='SCENARIO|TRACE',
        help='latency_step, sawtooth, bursts, power_mode, heat, battery_mission, sensor_faults '
        'or all: a simulated device answers to the level; or a recorded file .csv or .jsonl with '
        'time_s, latency_ms, latency_level, rate_hz, power_w, battery, charging, over_current, '
        'temp:ZONE, or a rosbag with stats, battery_state, temperature, /diagnostics: what would '
        'have been chosen',
    )
    parser.add_argument(
        '--controller',
        metavar='FILE',
        help='YAML with the sections targets (they replace those of a scenario) and settings',
    )
    parser.add_argument(
        '--profile',
        metavar='FILE',
        help='cost of each level; default: the simulated device, or what the recording says',
    )
    parser.add_argument(
        '--compare',
        action='store_true',
        help='run always full, always base and the published two-depth law, too',
    )
    parser.add_argument(
        '--namespace', default='', metavar='NAME', help='of the robot, for a rosbag (the root)'
    )
    parser.add_argument(
        '--camera',
        default='',
        metavar='NAME',
        help='camera, for a rosbag (the only one)',
    )
    parser.add_argument('--seed', type=int, default=0, help='of all noise (%(default)s)')
    parser.add_argument(
        '--noise',
        type=float,
        metavar='X',
        help='spread of simulated latencies as a share, 0 to 0.5 (0.05)',
    )
    parser.add_argument(
        '--output', default='out/replay', metavar='DIR', help='where results go (%(default)s)'
    )


def run(args: argparse.Namespace) -> int:
    """Replay, print the figures, and write ``replay.json`` and ``replay.png``.

    With ``all`` each scenario has a picture of its own, ``replay_<scenario>.png``.

    Raises:
        ValueError: if the trace, a file, a name or a number is not usable.
        ImportError: if matplotlib is missing, dacite for a controller file, or rosbags for a bag.
    """
    from anydepth_core.control import replay
    from anydepth_core.control.drawing import draw
    from anydepth_core.control.profile import load_profile
    from anydepth_core.control.settings import ControllerSettings

    _check(args)
    profile = None if args.profile is None else load_profile(args.profile)
    given: dict[str, Any] = {}
    settings = ControllerSettings()
    if args.controller is not None:
        given, settings = replay.load_controller(args.controller)
    output, names = Path(args.output), replay.SCENARIO_NAMES
    chosen = list(names) if args.trace == ALL else [args.trace]
    results = []
    for name in chosen:
        simulate = _simulate if name in names else _replay
        result, picture = simulate(name, args, profile, given, settings)
        draw(picture, output / (f'replay_{name}.png' if args.trace == ALL else 'replay.png'))
        results.append(result)
    content = {'settings': asdict(settings), 'seed': args.seed, 'replays': results}
    text = json.dumps(_plain(content), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(output / 'replay.json', f'{text}\n'.encode())
    print(f'figures, reasons and pictures in {output}/')
    return 0


def format_table(
    columns: Mapping[str, Mapping[str, Any] | None], lines: Mapping[str, tuple[str, _Format]]
) -> str:
    """Return one aligned line per figure under the names of the policies; '-' for no figure.

    Figures that no policy has are left out.
    """
    table = [('', *columns)]
    for key, (words, write) in lines.items():
        values = [None if column is None else column[key] for column in columns.values()]
        if any(value is not None for value in values):
            table.append((words, *('-' if value is None else write(value) for value in values)))
    return aligned(table, left=1)


def _check(args: argparse.Namespace) -> None:
    from anydepth_core.control.recorded_bag import is_bag
    from anydepth_core.control.replay import SCENARIO_NAMES

    simulated = args.trace == ALL or args.trace in SCENARIO_NAMES
    if not simulated and not Path(args.trace).exists():
        known = ', '.join((*SCENARIO_NAMES, ALL))
        raise ValueError(f'{args.trace!r} is neither a file nor a scenario; scenarios: {known}')
    if (args.namespace or args.camera) and (simulated or not is_bag(args.trace)):
        raise ValueError('--namespace and --camera are for rosbags')
    if args.noise is not None and not simulated:
        raise ValueError('--noise is for simulations: a recording has its own')
    if args.noise is not None and not 0 <= args.noise <= 0.5:
        raise ValueError(f'--noise {args.noise} is not legal: give 0 to 0.5')
    if args.seed < 0:
        raise ValueError(f'--seed {args.seed} is not legal: give 0 or more')
    if Path(args.output).exists() and not Path(args.output).is_dir():
        raise ValueError(f'--output {args.output} is a file: give a folder')


def _simulate(
    name: str,
    args: argparse.Namespace,
    profile: Profile | None,
    given: Mapping[str, Any],
    settings: ControllerSettings,
) -> tuple[dict[str, Any], Picture]:
    from anydepth_core.control.drawing import picture_of_traces
    from anydepth_core.control.figures import figures
    from anydepth_core.control.replay import build_scenario, OURS, run_scenario

    noise = 0.05 if args.noise is None else args.noise
    scenario = build_scenario(name, noise, args.seed, profile, given)
    traces = run_scenario(scenario, settings, args.compare)
    known = {key: trace for key, trace in traces.items() if trace is not None}
    found = {
        key: None if trace is None else asdict(figures(trace)) for key, trace in traces.items()
    }
    print(f'{scenario.name}, simulated, noise {noise:g}, seed {args.seed}')
    print(format_table(found, CLOSED))
    best = _best_ap(known[OURS])
    print(
        ''
        if best is None
        else f'best mean AP that ends at the reserve, in hindsight: {best:.4f}\n'
    )
    ours = known[OURS]
    result = {
        'source': name,
        'loop': 'closed',
        'noise': noise,
        'profile': asdict(scenario.device.profile),
        'targets': [{'start_s': start, **asdict(wanted)} for start, wanted in scenario.schedule],
        'figures': found,
        'best_mean_ap': best,
        'decisions': _decisions(
            [frame.start_s + frame.duration_s for frame in ours.frames], ours.decisions
        ),
    }
    return result, picture_of_traces(f'{scenario.name}, simulated', known)


def _replay(
    name: str,
    args: argparse.Namespace,
    profile: Profile | None,
    given: Mapping[str, Any],
    settings: ControllerSettings,
) -> tuple[dict[str, Any], Picture]:
    from anydepth_core.control import replay
    from anydepth_core.control.drawing import picture_of_recording
    from anydepth_core.control.recorded import load_records, measured_profile
    from anydepth_core.control.recorded_bag import BagTopics, is_bag, load_bag
    from anydepth_core.control.targets import Targets

    topics = BagTopics(args.namespace, args.camera)
    records = load_bag(name, topics) if is_bag(name) else load_records(name)
    if profile is None:
        profile = measured_profile(records)
    targets = replay.with_targets(Targets(), given)
    runs = replay.run_recording(records, profile, targets, settings, args.compare, args.seed)
    ours = runs[replay.OURS]
    assert ours is not None
    found: dict[str, Any] = {'served': asdict(replay.served_figures(ours))}
    for key, one in runs.items():
        found[key] = None if one is None else asdict(replay.chosen_figures(one))
    print(
        f'{name}, {len(records)} records; nothing answers to the choice: all but what was served '
        'is estimated by the profile'
    )
    print(format_table(found, OPEN), end='\n\n')
    result = {
        'source': name,
        'loop': 'open',
        'profile': asdict(profile),
        'targets': [{'start_s': records[0].time_s, **asdict(targets)}],
        'figures': found,
        'decisions': _decisions([record.time_s for record in records], ours.decisions),
    }
    return result, picture_of_recording(f'{Path(name).name}, recorded', ours)


def _best_ap(trace: Trace) -> float | None:
    from anydepth_core.control.figures import battery_optimum

    targets = trace.scenario.schedule[-1][1]
    if targets.temperature_soft_c is not None or targets.temperature_hard_c is not None:
        return None  # it knows nothing of heat
    try:
        return battery_optimum(trace.scenario)
    except ValueError:  # no reserve, or one out of reach
        return None


def _decisions(times: Sequence[float], decisions: Sequence[Decision]) -> list[dict[str, Any]]:
    """Return the decisions that change the level or come to it for another kind of reason."""
    from anydepth_core.control.replay import kind

    kept: list[dict[str, Any]] = []
    before = None
    for time_s, decision in zip(times, decisions):
        now = decision.level, decision.authority, kind(decision)
        if now != before:
            kept.append({'time_s': time_s, **asdict(decision)})
        before = now
    return kept


def _plain(value: Any) -> Any:
    """Turn mappings into dicts and numbers that JSON does not have into null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
