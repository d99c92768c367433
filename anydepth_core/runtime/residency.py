"""Which operating points stay ready when there is not room for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from anydepth_core.depth import nearest, OperatingPoint


def resident(
    ladder: Sequence[OperatingPoint],
    wanted: Sequence[OperatingPoint],
    capacity: int,
    others: Sequence[OperatingPoint] = (),
) -> list[OperatingPoint]:
    """Choose what stays ready.

    Args:
        ladder: cheapest first.
        wanted: what runs now, most important first; it need not be on the ladder.
        capacity: how many fit.
        others: what may be wanted, too.

    Returns:
        At most ``capacity`` different points, most important first: the wanted ones, the cheapest,
        the neighbours of the wanted ones on the ladder, the rest of the ladder, others.
    """
    chosen: dict[tuple[object, object], OperatingPoint] = {}
    for point in (*wanted, *ladder[:1], *_neighbours(ladder, wanted), *ladder, *others):
        chosen.setdefault((point.depth, point.image_size), point)
    return list(chosen.values())[:capacity]


def _neighbours(
    ladder: Sequence[OperatingPoint], wanted: Sequence[OperatingPoint]
) -> Iterator[OperatingPoint]:
    """Give the ladder point that is most like each wanted one, and those next to it."""
    for point in wanted if ladder else ():
        place = ladder.index(nearest(ladder, point))
        yield from ladder[max(0, place - 1) : place + 2]
