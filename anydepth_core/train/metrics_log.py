"""CSV log of a training run, one row per epoch."""

from __future__ import annotations

from collections.abc import Mapping
import csv
from pathlib import Path

from anydepth_core.files import write_atomically


class MetricsLog:
    """Rows of a CSV file; a resumed run replaces the rows of the epochs it repeats.

    Args:
        path: the CSV file.
        first_epoch: rows from this epoch on are dropped.
    """

    def __init__(self, path: Path, first_epoch: int = 0) -> None:
        self.path = path
        self.rows: list[dict[str, str]] = []
        if path.is_file() and first_epoch:
            with path.open(newline='', encoding='utf-8') as file:
                self.rows = [
                    row for row in csv.DictReader(file) if int(row['epoch']) < first_epoch
                ]

    def append(self, row: Mapping[str, float | int]) -> None:
        """Add a row and write the file."""
        self.rows.append(
            {
                key: f'{value:.6g}' if isinstance(value, float) else str(value)
                for key, value in row.items()
            }
        )
        columns = list(dict.fromkeys(key for row in self.rows for key in row))
        lines = [columns, *([row.get(column, '') for column in columns] for row in self.rows)]
        write_atomically(self.path, ''.join(','.join(line) + '\n' for line in lines).encode())
