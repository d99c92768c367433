"""Event files for TensorBoard, where it is installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class TensorBoardLog:
    """The rows of ``metrics.csv`` as scalars; does nothing where TensorBoard is missing.

    Args:
        folder: folder of the event files.
        first_epoch: what was written for this epoch and later ones is void.
    """

    def __init__(self, folder: Path, first_epoch: int = 0) -> None:
        self.writer: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self.writer = SummaryWriter(str(folder), purge_step=first_epoch or None)

    def append(self, row: Mapping[str, float | int]) -> None:
        """Add the figures of an epoch, grouped by the first part of their names."""
        if self.writer is None:
            return
        for name, value in row.items():
            if name != 'epoch':
                group, _, rest = name.partition('_')
                self.writer.add_scalar(f'{group}/{rest}' if rest else name, value, row['epoch'])
        self.writer.flush()
