"""Print the figures of docs/control.md: the law on simulated devices, many seeds, as Markdown."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
import sys
import time

import numpy as np
from tqdm import tqdm

from anydepth_core.control.controller import Controller
from anydepth_core.control.figures import battery_optimum, best_mean_ap, Figures, figures
from anydepth_core.control.profile import Profile
from anydepth_core.control.published import PublishedPolicy, synthetic_advantages
from anydepth_core.control.random_devices import random_hot_box, random_mission
from anydepth_core.control.scenarios import bursts, latency_step, run, sawtooth, Scenario

TIMED = {'step': latency_step, 'sawtooth': sawtooth, 'bursts': bursts}
NOISES = (0.03, 0.05, 0.10)


def main() -> int:
    """Run everything and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seeds', type=int, default=5, help='runs of each trace (%(default)s)')
    parser.add_argument('--devices', type=int, default=100, help='random devices (%(default)s)')
    parser.add_argument('--jobs', type=int, default=2, help='processes (%(default)s)')
    args = parser.parse_args()
    with ProcessPoolExecutor(args.jobs) as pool:
        runs = partial(_map, pool)
        print(timed_table(runs, range(args.seeds)), end='\n\n')
        print(mission_table(runs, range(args.devices)), end='\n\n')
        print(heat_table(runs, range(args.devices)))
    print(f'\nOne decision takes {decision_us():.0f} us (median).', file=sys.stderr)
    return 0


Runs = Callable[[Callable, Sequence], list]


def _map(pool: ProcessPoolExecutor, work: Callable, items: Sequence) -> list:
    return list(tqdm(pool.map(work, items), total=len(items), leave=False, disable=None))


# Deadlines and budgets


def timed(item: tuple[str, str, float, int]) -> tuple[Figures, Figures]:
    """Run one trace with our law and with the published one."""
    name, mode, noise, seed = item
    scenario = TIMED[name](mode=mode, noise=noise, seed=seed)
    profile = scenario.device.profile
    published = PublishedPolicy(profile, None, synthetic_advantages(3200, seed))
    top = len(profile.levels) - 1
    return figures(run(Controller(profile), scenario, top)), figures(run(published, scenario))


def timed_table(runs: Runs, seeds: Sequence[int]) -> str:
    """Compare with the published law: mean over seeds, ours / published."""
    items = [
        (name, mode, noise, seed)
        for mode in ('tracking', 'deadline')
        for name in TIMED
        for noise in NOISES
        for seed in seeds
    ]
    found: dict[tuple, list] = {}
    for item, pair in zip(items, runs(timed, items)):
        found.setdefault(item[:3], []).append(pair)
    lines = [
        '| mode | trace | noise | tracking error (ms) | over the budget | mean latency (ms) | '
        'mean AP | changes per minute |',
        '|---|---|---|---|---|---|---|---|',
    ]
    for (name, mode, noise), pairs in found.items():
        error = both(pairs, 'tracking_error_ms', '.2f') if mode == 'tracking' else '-'
        missed = both(pairs, 'miss_rate', '.1%') if mode == 'deadline' else '-'
        cells = [both(pairs, *one) for one in (('mean_latency_ms', '.1f'), ('mean_ap', '.4f'))]
        changes = both(pairs, 'changes_per_minute', '.0f')
        row = [mode, name, f'{noise:.0%}', error, missed, *cells, changes]
        lines.append(f'| {" | ".join(row)} |')
    return '\n'.join(lines)


def both(pairs: Sequence[tuple[Figures, Figures]], name: str, form: str) -> str:
    """Write the mean of a figure for either law."""
    means = (np.mean([getattr(pair[side], name) for pair in pairs]) for side in (0, 1))
    return ' / '.join(format(mean, form) for mean in means)


# Missions


def mission(item: tuple[str, int]) -> tuple[float, float, float, float]:
    """Fly a mission; give points above the reserve, changes, lost AP and the AP of the ladder."""
    case, seed = item
    scenario = random_mission(seed, 0.0 if case == NO_SAG else None)
    believed, scenario = told(case, scenario, seed)
    result = figures(run(Controller(believed), scenario, len(believed.levels) - 1))
    reserve = scenario.schedule[0][1].battery_reserve or 0.0
    lost = battery_optimum(scenario) - (result.mean_ap or 0.0)
    levels = scenario.device.profile.levels
    span = (levels[-1].ap or 0.0) - (levels[0].ap or 0.0)
    return 100 * (result.final_charge - reserve), result.changes_per_minute, lost, span


NO_SAG = 'all known, gauge without sag'
CASES = (
    NO_SAG,
    'all known',
    'energies 30 % wrong',
    'energies unknown',
    'capacity 10 % understated',
    'capacity 10 % overstated',
    'capacity unknown',
)


def told(case: str, scenario: Scenario, seed: int) -> tuple[Profile, Scenario]:
    """Return what the controller believes of the device, and the scenario with its targets."""
    profile, random = scenario.device.profile, np.random.default_rng(seed)
    targets = scenario.schedule[0][1]
    if case.startswith('energies'):
        wrong = 1 + 0.3 * random.uniform(-1, 1, len(profile.levels))
        energies = [
            (level.energy_j or 0.0) * factor for level, factor in zip(profile.levels, wrong)
        ]
        known = 'unknown' not in case
        levels = tuple(
            replace(level, energy_j=energy if known else None)
            for level, energy in zip(profile.levels, energies)
        )
        profile = replace(profile, levels=levels)
    if case.startswith('capacity'):
        factor = {'understated': 0.9, 'overstated': 1.1}.get(case.split()[-1])
        wh = None if factor is None else factor * (targets.battery_wh or 0.0)
        scenario = replace(scenario, schedule=((0.0, replace(targets, battery_wh=wh)),))
    return profile, scenario


def mission_table(runs: Runs, seeds: Sequence[int]) -> str:
    """Tell how missions end."""
    lines = [
        '| controller is told | missions | charge above the reserve at the end, points: '
        'least / median / most | 0 to 2 points | AP lost to hindsight, share of the ladder: '
        'median / most | changes per minute: median / most |',
        '|---|---|---|---|---|---|',
    ]
    for case in CASES:
        found = np.array(runs(mission, [(case, seed) for seed in seeds]))
        above, changes, lost = found[:, 0], found[:, 1], found[:, 2] / found[:, 3]
        row = [
            case,
            str(len(found)),
            f'{above.min():.2f} / {np.median(above):.2f} / {above.max():.2f}',
            f'{np.mean((above >= 0) & (above <= 2)):.0%}',
            f'{np.median(lost):.0%} / {lost.max():.0%}',
            f'{np.median(changes):.1f} / {changes.max():.1f}',
        ]
        lines.append(f'| {" | ".join(row)} |')
    return '\n'.join(lines)


# Heat


def hot_box(seed: int) -> tuple[float, float, float, float]:
    """Run half an hour; give seconds over hard and soft limit, late changes and lost AP share."""
    scenario = random_hot_box(seed)
    device, targets = scenario.device, scenario.schedule[0][1]
    profile, thermal = device.profile, device.thermal
    result = figures(run(Controller(profile), scenario, len(profile.levels) - 1))
    soft_c = targets.soft_limit_c('gpu') or 0.0
    steady_w = (soft_c - thermal.ambient_c) / thermal.resistance_c_per_w
    best = best_mean_ap(profile, (steady_w - device.idle_w) / device.rate_hz)
    span = (profile.levels[-1].ap or 0.0) - (profile.levels[0].ap or 0.0)
    lost = (best - (result.mean_ap or 0.0)) / span
    return (
        result.seconds_over_hard or 0.0,
        result.seconds_over_soft or 0.0,
        result.late_changes_per_minute,
        lost,
    )


def heat_table(runs: Runs, seeds: Sequence[int]) -> str:
    """Tell how hot boxes go."""
    hard, soft, late, lost = np.array(runs(hot_box, seeds)).T
    return '\n'.join(
        [
            '| devices | over the hard limit | seconds over the soft limit: median / most | '
            'changes per minute in the last third: median / most | '
            'AP lost to the best steady mix, share of the ladder: median / most |',
            '|---|---|---|---|---|',
            f'| {len(hard)} | {np.count_nonzero(hard)} | {np.median(soft):.0f} / {soft.max():.0f} '
            f'| {np.median(late):.2f} / {late.max():.2f} '
            f'| {np.median(lost):.0%} / {lost.max():.0%} |',
        ]
    )


def decision_us(decisions: int = 2000) -> float:
    """Time decisions with every kind of target; give the median in microseconds."""
    scenario = random_mission(0)
    profile, targets = scenario.device.profile, scenario.schedule[0][1]
    wanted = replace(targets, deadline_ms=50.0, temperature_soft_c=80.0, power_budget_w=20.0)
    signals = run(Controller(profile), replace(scenario, seconds=120.0)).signals
    controller, taken = Controller(profile, wanted), []
    for index in range(decisions):
        start = time.perf_counter()
        controller.decide(signals[index % len(signals)])
        taken.append(time.perf_counter() - start)
    return 1e6 * float(np.median(taken))


if __name__ == '__main__':
    raise SystemExit(main())
