"""What a family of detectors learns in one step, as the step and the trainer see it."""

from __future__ import annotations

from typing import Any, Protocol

import torch

from anydepth_core.data.loader import Batch
from anydepth_core.models.detector import Losses


class Objective(Protocol):
    """Losses of the full and of the base pass; each family has its own class, see ``families``.

    Where several processes train together, every process computes the losses of its own images,
    and their gradients are averaged. So that this equals one process with all images, sums
    are divided by the mean of the normaliser over the processes (an objective is built with
    ``Processes.normaliser``); where the loss ``grows``, the step counts all images.
    """

    @property
    def grows(self) -> bool:
        """Whether the loss of a batch is proportional to its number of images.

        The losses of several batches, which stand for one large batch, then add up; otherwise
        their mean counts.
        """
        ...

    @property
    def same_view(self) -> bool:
        """Whether both passes see the same images and the same chance.

        If not, the base pass gets images of another size and what ``prepare`` draws anew.
        """
        ...

    def set_step(self, epoch: int, step: int) -> None:
        """Choose the chance of a step, so that a resumed run draws what an unbroken one does."""
        ...

    def prepare(self, batch: Batch) -> Any:
        """Bring the ground truth of a batch into the form that the losses read.

        What a family adds by chance (denoising queries) is drawn here.
        """
        ...

    def inputs(self, targets: Any) -> dict[str, Any]:
        """Further keyword arguments of ``Detector.forward``."""
        ...

    def full(self, raw: Any, targets: Any) -> tuple[Losses, Any]:
        """Losses of the full pass against the ground truth.

        Returns:
            The terms with their weights, and ``total``, which runs backward; what the base pass
            learns from, without gradient.

        Raises:
            FloatingPointError: if predictions are not finite; an objective that raises it must
                not wait for other processes here.
        """
        ...

    def base(self, raw: Any, teacher: Any, targets: Any) -> tuple[Losses, Losses]:
        """Losses of the base pass against the ground truth and against the full pass.

        Returns:
            The terms of both, each with their weights and ``total``.

        Raises:
            FloatingPointError: as ``full``.
        """
        ...

    def base_total(self, losses: Losses, distillation: Losses) -> torch.Tensor:
        """Join both parts of the base pass into what runs backward."""
        ...
