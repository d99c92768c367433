"""Replay: policies on the same simulation or recording, and what came of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
import re
from typing import Any

import numpy as np

from anydepth_core.config import from_mapping, load_yaml, to_mapping
from anydepth_core.control.controller import Controller
from anydepth_core.control.profile import Profile
from anydepth_core.control.published import AlwaysLevel, PublishedPolicy, synthetic_advantages
from anydepth_core.control.scenarios import run, Scenario, SCENARIOS, SteeredPolicy, Trace
from anydepth_core.control.settings import ControllerSettings
from anydepth_core.control.signals import Decision, sanitised, Signals
from anydepth_core.control.targets import Targets

OURS = 'ours'
BASELINES = ('always full', 'always base', 'published law')
SCENARIO_NAMES = {make.__name__: make for make in SCENARIOS.values()}

_ADVANTAGES = 2000
_WAITING = re.compile(r'^[\d.]+ s before level \d+: ')
_NUMBER = re.compile(r'\d+(\.\d+)?')
_SECTIONS = ('targets', 'settings')


@dataclass(frozen=True)
class OpenRun:
    """What a policy would have chosen on recorded signals, which do not answer to it.

    Attributes:
        records: what was recorded, made possible: a latency off the ladder is unknown.
        decisions: one per record; it holds from the next record on.
        targets: in force all along.
        profile: what the policy believes.
    """

    records: tuple[Signals, ...]
    decisions: tuple[Decision, ...]
    targets: Targets
    profile: Profile


@dataclass(frozen=True)
class OpenFigures:
    """Figures of a recording; None where they cannot be told.

    Attributes:
        miss_rate: share of frames over the deadline.
        mean_latency_ms: over frames with a latency.
        mean_level: over records.
        mean_ap: by the profile, over records.
        changes_per_minute: level changes.
        same_level: share of records at the level that was served.
    """

    miss_rate: float | None
    mean_latency_ms: float | None
    mean_level: float | None
    mean_ap: float | None
    changes_per_minute: float | None
    same_level: float | None


def load_controller(path: str | Path) -> tuple[dict[str, Any], ControllerSettings]:
    """Read a controller file: the sections ``targets`` and ``settings``, both optional.

    Returns:
        The targets that are given, for :func:`with_targets`, and the settings.

    Raises:
        ValueError: if the file is not readable, or a section, name or value is not legal.
    """
    content = load_yaml(path)
    unknown = [str(key) for key in content if key not in _SECTIONS]
    if unknown:
        raise ValueError(f'{path}: unknown section {unknown[0]}; known: {", ".join(_SECTIONS)}')
    targets, settings = (content.get(name) or {} for name in _SECTIONS)
    try:
        with_targets(Targets(), targets)
        return dict(targets), from_mapping(settings, ControllerSettings)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from None


def with_targets(targets: Targets, given: Mapping[str, Any]) -> Targets:
    """Replace those targets that are given by name.

    Raises:
        ValueError: if a name is unknown or a value not legal.
    """
    if not isinstance(given, Mapping):
        raise ValueError(f'targets must be a mapping, not {type(given).__name__}')
    return from_mapping({**to_mapping(targets), **given}, Targets) if given else targets


def build_scenario(
    name: str, noise: float, seed: int, profile: Profile | None, given: Mapping[str, Any]
) -> Scenario:
    """Make a built-in scenario, with another device or targets if wanted.

    Args:
        name: a key of ``SCENARIO_NAMES``.
        noise: spread of the latency, standard deviation of its logarithm.
        seed: of all noise.
        profile: the levels of the simulated device instead of the built-in ones; the scenario's
            deadlines move with them: what lay midway between base and full still does.
        given: targets by name that hold all along, whatever the scenario says.

    Raises:
        ValueError: if the profile cannot stand for the device.
    """
    scenario = SCENARIO_NAMES[name](noise=noise, seed=seed)
    schedule = scenario.schedule
    if profile is not None:
        schedule = tuple(
            (start, _rescaled(targets, scenario.device.profile, profile))
            for start, targets in schedule
        )
        if not _is_timing_only(schedule) and any(x.energy_j is None for x in profile.levels):
            raise ValueError(f'{name} needs energy_j of every level in the profile')
        scenario = replace(scenario, device=replace(scenario.device, profile=profile))
    schedule = tuple((start, with_targets(targets, given)) for start, targets in schedule)
    return replace(scenario, schedule=schedule)


def run_scenario(
    scenario: Scenario, settings: ControllerSettings, compare: bool
) -> dict[str, Trace | None]:
    """Close the loop around our law, and around the baselines if wanted.

    Returns:
        Traces by name; None for the published law where the targets are more than a budget.
    """
    profile = scenario.device.profile
    policies = _policies(profile, scenario.schedule, settings, compare, scenario.seed)
    top = len(profile.levels) - 1
    return {
        name: None
        if policy is None
        else run(policy, scenario, top if name in (OURS, 'always full') else 0)
        for name, policy in policies.items()
    }


def run_recording(
    records: Sequence[Signals],
    profile: Profile,
    targets: Targets,
    settings: ControllerSettings,
    compare: bool,
    seed: int = 0,
) -> dict[str, OpenRun | None]:
    """Let our law, and the baselines if wanted, decide on recorded signals.

    Returns:
        Decisions by name; None for the published law where the targets are more than a budget.
    """
    policies = _policies(profile, ((0.0, targets),), settings, compare, seed)
    possible = tuple(sanitised(record, len(profile.levels)) for record in records)
    runs: dict[str, OpenRun | None] = {}
    for name, policy in policies.items():
        runs[name] = None
        if policy is not None:
            policy.set_targets(targets)
            decisions = tuple(policy.decide(record) for record in possible)
            runs[name] = OpenRun(possible, decisions, targets, profile)
    return runs


def served_figures(run: OpenRun) -> OpenFigures:
    """Return the figures of what was served, as measured."""
    levels = [record.latency_level for record in run.records]
    latency = [record.latency_ms for record in run.records]
    return _open_figures(run, levels, latency)


def chosen_figures(run: OpenRun) -> OpenFigures:
    """Return the figures of what was chosen.

    Its latencies are estimates: as measured, times the profile's ratio of the chosen level to the
    one that was served.
    """
    chosen = [None, *(decision.level for decision in run.decisions[:-1])]
    costs = [level.latency_ms for level in run.profile.levels]
    latency = [
        None
        if record.latency_ms is None or record.latency_level is None or level is None
        else record.latency_ms * costs[level] / costs[record.latency_level]
        for record, level in zip(run.records, chosen)
    ]
    return _open_figures(run, chosen, latency)


def kind(decision: Decision) -> str:
    """Return what a decision has in common with others that differ in numbers only.

    Numbers in words, such as the 'gpu0' of a zone, count as numbers, too; and a level that must
    wait has the same cause as one that is there.
    """
    return _NUMBER.sub('#', cause(decision))


def cause(decision: Decision) -> str:
    """Return the words of a reason that come after the level, and after how long it waits."""
    words = decision.reason.partition(': ')[2] or decision.reason
    return _WAITING.sub('', words)


def stretches(decisions: Sequence[Decision]) -> list[tuple[int, int, str]]:
    """Return first index, index after the last, and kind, of decisions of one kind in a row."""
    kinds = [kind(decision) for decision in decisions]
    starts = [i for i in range(len(kinds)) if i == 0 or kinds[i] != kinds[i - 1]]
    return [(a, b, kinds[a]) for a, b in zip(starts, [*starts[1:], len(kinds)])]


def _policies(
    profile: Profile,
    schedule: Sequence[tuple[float, Targets]],
    settings: ControllerSettings,
    compare: bool,
    seed: int,
) -> dict[str, SteeredPolicy | None]:
    ours = Controller(profile, schedule[0][1], settings)
    if not compare:
        return {OURS: ours}
    published = None
    dearer = profile.levels[-1].latency_ms > profile.levels[0].latency_ms
    if dearer and _is_timing_only(schedule):
        published = PublishedPolicy(profile, None, synthetic_advantages(_ADVANTAGES, seed))
    ends = AlwaysLevel(len(profile.levels) - 1), AlwaysLevel(0)
    return {**dict(zip(BASELINES, (*ends, published))), OURS: ours}


def _is_timing_only(schedule: Sequence[tuple[float, Targets]]) -> bool:
    """Tell whether there is a budget of time all along, and no other target."""
    return all(
        targets.deadline() is not None
        and (targets.temperature_soft_c, targets.temperature_hard_c) == (None, None)
        and (targets.power_budget_w, targets.battery_reserve, targets.mission_end_s)
        == (None, None, None)
        for _, targets in schedule
    )


def _rescaled(targets: Targets, old: Profile, new: Profile) -> Targets:
    (low, high), (new_low, new_high) = (
        (profile.levels[0].latency_ms, profile.levels[-1].latency_ms) for profile in (old, new)
    )
    if new_high <= new_low:
        raise ValueError('the profile needs a last level that is slower than level 0')
    if targets.deadline_ms is None:
        return targets
    share = (targets.deadline_ms - low) / (high - low)
    return replace(targets, deadline_ms=new_low + share * (new_high - new_low))


def _open_figures(
    run: OpenRun, levels: Sequence[int | None], latency: Sequence[float | None]
) -> OpenFigures:
    deadline_ms = run.targets.deadline()
    times = [value for value in latency if value is not None]
    known = [level for level in levels if level is not None]
    aps = [run.profile.levels[level].ap for level in known]
    rated = [ap for ap in aps if ap is not None]
    pairs = [
        (level, record.latency_level)
        for level, record in zip(levels, run.records)
        if level is not None and record.latency_level is not None
    ]
    seconds = run.records[-1].time_s - run.records[0].time_s
    changes = sum(before != after for before, after in zip(known, known[1:]))
    return OpenFigures(
        miss_rate=None if deadline_ms is None else _mean([t > deadline_ms for t in times]),
        mean_latency_ms=_mean(times),
        mean_level=_mean(known),
        mean_ap=_mean(rated) if len(rated) == len(aps) else None,
        changes_per_minute=60.0 * changes / seconds if seconds > 0 else None,
        same_level=_mean([level == served for level, served in pairs]),
    )


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None
