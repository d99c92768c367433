"""The families of detectors: which settings their losses have and who computes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from anydepth_core.models.rtdetr.objective import DetrLossSettings, RtDetrObjective
from anydepth_core.models.yolov12.objective import LossSettings, Yolov12Objective
from anydepth_core.train.distributed import ALONE, Processes
from anydepth_core.train.objective import Objective


@dataclass(frozen=True)
class Family:
    """One family.

    Attributes:
        loss: settings dataclass behind the ``loss`` section of a recipe.
        objective: builds the objective from these settings, the number of classes, the seed of
            the run, and the processes that train together.
    """

    loss: type
    objective: Callable[[Any, int, int, Processes], Objective]


def _yolov12(settings: LossSettings, classes: int, seed: int, processes: Processes) -> Objective:
    return Yolov12Objective(settings, processes.normaliser)


def _rtdetr(
    settings: DetrLossSettings, classes: int, seed: int, processes: Processes
) -> Objective:
    # noise of its own in each process and with each seed
    own_seed = seed * processes.count + processes.rank
    return RtDetrObjective(settings, classes, own_seed, processes.normaliser)


FAMILIES = {
    'yolov12': Family(LossSettings, _yolov12),
    'rtdetr': Family(DetrLossSettings, _rtdetr),
}
"""By ``Detector.family``."""


def family_of(name: str) -> Family:
    """Return the family of a model by its name, which contains that of the family.

    Raises:
        ValueError: if there is no such model.
    """
    for key, family in FAMILIES.items():
        if key in name:
            return family
    raise ValueError(
        f'model.name is {name!r}; it must contain the name of a family: {", ".join(FAMILIES)}'
    )


def build_objective(
    family: str, settings: Any, classes: int, seed: int = 0, processes: Processes = ALONE
) -> Objective:
    """Build the objective of a family.

    Args:
        family: ``Detector.family``.
        settings: settings of the losses; None for the defaults.
        classes: number of classes.
        seed: seed of the run.
        processes: the processes that train together.

    Raises:
        ValueError: if the settings belong to another family.
    """
    loss = FAMILIES[family].loss
    chosen = loss() if settings is None else settings
    if not isinstance(chosen, loss):
        raise ValueError(
            f'the losses of {family} are set by {loss.__name__}, not {type(chosen).__name__}'
        )
    return FAMILIES[family].objective(chosen, classes, seed, processes)
