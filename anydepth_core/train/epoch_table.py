"""One line per epoch for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class EpochTable:
    """Columns of equal width: losses, AP at every evaluated depth, images per second, time left.

    Args:
        depths: depths that are evaluated.
        epochs: epochs in all.
    """

    def __init__(self, depths: Sequence[str], epochs: int) -> None:
        self.epochs = epochs
        self.columns = {
            'full': ('full_total', '.3f'),
            'base': ('base_total', '.3f'),
            'distillation': ('distillation_total', '.4f'),
            **{f'AP {depth}': (f'AP_{depth}', '.4f') for depth in depths},
            'images/s': ('images_per_second', '.1f'),
        }

    def header(self) -> str:
        """Return the titles."""
        return self._join('epoch', self.columns, 'left')

    def line(self, epoch: int, row: Mapping[str, float], left_s: float) -> str:
        """Return the line of an epoch.

        Args:
            epoch: epochs done.
            row: figures by the names of ``metrics.csv``; what is missing is shown as a dash.
            left_s: expected time to the end, in seconds.
        """
        cells = [
            format(row[name], form) if name in row else '-' for name, form in self.columns.values()
        ]
        return self._join(f'{epoch}/{self.epochs}', cells, duration(left_s))

    def _join(self, first: str, cells: Mapping[str, object] | Sequence[str], last: str) -> str:
        widths = [max(len(title), 8) for title in self.columns]
        middle = '  '.join(cell.rjust(width) for cell, width in zip(cells, widths))
        return f'{first:>9}  {middle}  {last:>9}'


def duration(seconds: float) -> str:
    """Return a time in its two largest units, for example ``2 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f'{whole} s'
    if whole < 3600:
        return f'{whole // 60} min'
    if whole < 86400:
        return f'{whole // 3600} h {whole % 3600 // 60:02d}'
    return f'{whole // 86400} d {whole % 86400 // 3600:02d} h'
