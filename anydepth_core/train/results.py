"""What a run leaves in its folder and on the terminal after every epoch."""

from __future__ import annotations

from collections.abc import Mapping
import logging
from pathlib import Path
import time
from typing import Any

from anydepth_core.checkpoint.io import save_checkpoint
from anydepth_core.train.ema import Ema
from anydepth_core.train.epoch_table import EpochTable
from anydepth_core.train.metrics_log import MetricsLog
from anydepth_core.train.settings import ENDS, TrainSettings
from anydepth_core.train.state import Progress
from anydepth_core.train.tensorboard_log import TensorBoardLog

logger = logging.getLogger(__name__)

Metrics = dict[str, dict[str, float]]
"""COCO statistics by depth."""


class Results:
    """Logs, checkpoints and the table of one run.

    Args:
        output: folder of the run.
        settings: the recipe.
        metadata: what every checkpoint says of itself.
        progress: where the run starts.
        steps: steps of an epoch.
    """

    def __init__(
        self,
        output: Path,
        settings: TrainSettings,
        metadata: Mapping[str, Any],
        progress: Progress,
        steps: int,
    ) -> None:
        self.output, self.settings, self.metadata, self.steps = output, settings, metadata, steps
        self.logs = (
            MetricsLog(output / 'metrics.csv', progress.epoch),
            TensorBoardLog(output / 'tensorboard', progress.epoch),
        )
        self.table = EpochTable(settings.evaluate_depths, settings.epochs)
        self._started = time.monotonic()
        self._first_step = progress.epoch * steps + progress.step
        logger.info('%s', self.table.header())

    def save(
        self, ema: Ema, progress: Progress, metrics: Metrics, row: Mapping[str, float]
    ) -> None:
        """Write the checkpoints of an epoch and add it to the logs.

        Args:
            ema: averaged weights; the last ones, and the best ones of a depth if they are.
            progress: before the epoch is counted.
            metrics: its statistics; nothing where none are due.
            row: its figures.
        """
        metadata = {**self.metadata, 'epoch': progress.epoch + 1, 'metrics': metrics}
        better = [
            depth
            for depth in ENDS
            if depth in metrics
            and (depth not in progress.best or metrics[depth]['AP'] > progress.best[depth])
        ]
        for name in ('last', *(f'best_{depth}' for depth in better)):
            save_checkpoint(self.output / f'{name}.safetensors', ema.module, metadata)
        for log in self.logs:
            log.append({'epoch': progress.epoch, **row})

    def show(self, epoch: int, row: Mapping[str, float]) -> None:
        """Show the line of an epoch, with the time left at the pace of this run."""
        done = epoch * self.steps
        pace_s = (time.monotonic() - self._started) / max(done - self._first_step, 1)
        left = self.settings.epochs * self.steps - done
        logger.info('%s', self.table.line(epoch, row, pace_s * left))


def ap_columns(metrics: Metrics) -> dict[str, float]:
    """Return AP and AP50 of every depth by the names of ``metrics.csv``."""
    return {
        f'{name}_{depth}': figures[name]
        for depth, figures in metrics.items()
        for name in ('AP', 'AP50')
    }
