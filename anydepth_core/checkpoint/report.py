"""Compare the keys of weights with those of a detector."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Shapes = Mapping[str, tuple[int, ...]]
_SHOWN = 5


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
            _list('missing', missing),
            _list('unexpected', unexpected),
            _list('misshaped', misshaped),
        )
        raise ValueError(f'the weights do not fit {detector}: {"; ".join(parts)}')


def _list(word: str, keys: Iterable[str]) -> str:
    keys = list(keys)
    shown = ', '.join(keys[:_SHOWN]) + (
        f', ... {len(keys) - _SHOWN} more' if len(keys) > _SHOWN else ''
    )
    return f'{len(keys)} {word}' + (f' ({shown})' if keys else '')
