"""Compare the keys of weights with those of a detector, and tell what was done with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Shapes = Mapping[str, tuple[int, ...]]
_SHOWN = 5


@dataclass(frozen=True)
class Report:
    """How the weights of a file became those of a detector.

    Attributes:
        any_depth: the file has weights of its own for the base depth.
        taken: how many of the file's tensors the detector has.
        copied: keys of the detector that the file does not have, filled by their twin of the full
            depth.
        ignored: names in the file that carry no weight of the detector.
    """

    any_depth: bool
    taken: int
    copied: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f'{self.taken} tensors taken, none missing, unexpected or misshaped']
        if self.copied:
            lines.append(
                f'{len(self.copied)} for the base depth are copies of those for the full depth'
            )
        if not self.any_depth:
            lines.append('not trained any-depth: only full detects well until it is')
        if self.ignored:
            lines.append(f'{listed("ignored", self.ignored)}, which carry no weight')
        return '\n'.join(lines)


def check_keys(expected: Shapes, given: Shapes, detector: str) -> None:
    """Refuse weights that do not fit a detector exactly.

    Args:
        expected: key to shape as the detector has them.
        given: key to shape as the weights have them.
        detector: how the message calls the detector.

    Raises:
        ValueError: if keys are missing, unexpected or misshaped; the message lists them.
    """
    missing = [key for key in expected if key not in given]
    unexpected = [key for key in given if key not in expected]
    misshaped = [
        f'{key} {given[key]} instead of {expected[key]}'
        for key in expected
        if key in given and tuple(given[key]) != tuple(expected[key])
    ]
    if missing or unexpected or misshaped:
        parts = (
            listed('missing', missing),
            listed('unexpected', unexpected),
            listed('misshaped', misshaped),
        )
        raise ValueError(f'the weights do not fit {detector}: {"; ".join(parts)}')


def listed(word: str, keys: Iterable[str]) -> str:
    """Return how many keys there are, and the first of them: ``2 missing (a, b)``."""
    keys = list(keys)
    shown = ', '.join(keys[:_SHOWN]) + (
        f', ... {len(keys) - _SHOWN} more' if len(keys) > _SHOWN else ''
    )
    return f'{len(keys)} {word}' + (f' ({shown})' if keys else '')
