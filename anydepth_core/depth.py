"""Depth: which refinements of a detector run.

A detector is a chain of *stages*. The essential path of a stage always runs, its refinement may be
left out. A :class:`DepthConfig` says, stage by stage, whether the refinement runs; a
:class:`DepthSpace` is the set of depths of one detector and converts to and from text; a
:class:`Ladder` is the short list of operating points a robot uses.

Text form: ``full``, ``base`` or one bit per stage, backbone and neck separated by a dash
(``1111-0011``), followed by ``d<n>`` (decoder layers) where the detector has a decoder
(``1111-1d6``). A bit 1 means that the refinement runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
import itertools
import math
import re

_BITS = re.compile(r'(?P<bits>[01]+(?:-[01]+)?)(?:d(?P<decoder>\d+))?')


@dataclass(frozen=True)
class DepthConfig:
    """Which refinements run in one forward pass.

    Attributes:
        stages: one flag per stage, in ``DepthSpace.stages`` order; True runs the refinement.
        decoder_layers: decoder layers to evaluate, None for detectors without a decoder.
    """

    stages: tuple[bool, ...]
    decoder_layers: int | None = None


@dataclass(frozen=True)
class DepthSpace:
    """All depths of one detector.

    Attributes:
        stages: stage names, backbone first, in execution order.
        backbone_stages: how many of ``stages`` belong to the backbone (the dash of the text form
            stands after them).
        decoder_layers: decoder layers evaluated at full depth, None for detectors without a
            decoder.
        max_decoder_layers: decoder layers that the detector has, where it has more than it
            evaluates; None for ``decoder_layers``.
    """

    stages: tuple[str, ...]
    backbone_stages: int
    decoder_layers: int | None = None
    max_decoder_layers: int | None = None

    @property
    def full(self) -> DepthConfig:
        """Every refinement runs, all evaluated decoder layers."""
        return DepthConfig((True,) * len(self.stages), self.decoder_layers)

    @property
    def base(self) -> DepthConfig:
        """No refinement runs, two thirds of the evaluated decoder layers, rounded up."""
        evaluated = self.decoder_layers
        layers = None if evaluated is None else math.ceil(evaluated * 2 / 3)
        return DepthConfig((False,) * len(self.stages), layers)

    @property
    def most_decoder_layers(self) -> int | None:
        """The largest legal number of decoder layers, None for detectors without a decoder."""
        return self.max_decoder_layers or self.decoder_layers

    def parse(self, text: str | DepthConfig) -> DepthConfig:
        """Read a depth from its text form; a :class:`DepthConfig` is only checked.

        Raises:
            ValueError: if the text is no depth of this detector; the message shows the legal
                forms.
        """
        if isinstance(text, DepthConfig):
            return self._checked(text, text)
        if isinstance(text, bool) or not isinstance(text, str):
            raise ValueError(self._refusal(text))
        word = text.strip().lower()
        if word in ('full', 'base'):
            return self.full if word == 'full' else self.base
        match = _BITS.fullmatch(word)
        if match is None or not self._dash_fits(match['bits']):
            raise ValueError(self._refusal(text))
        decoder = int(match['decoder']) if match['decoder'] else self.decoder_layers
        if match['decoder'] and self.decoder_layers is None:
            raise ValueError(self._refusal(text))
        bits = match['bits'].replace('-', '')
        return self._checked(DepthConfig(tuple(bit == '1' for bit in bits), decoder), text)

    def format(self, depth: DepthConfig) -> str:
        """Canonical text of a depth, always bits: ``1111-0011`` or ``1111-1d6``."""
        depth = self._checked(depth, depth)
        bits = ''.join('1' if stage else '0' for stage in depth.stages)
        text = '-'.join(filter(None, (bits[: self.backbone_stages], bits[self.backbone_stages :])))
        return text if depth.decoder_layers is None else f'{text}d{depth.decoder_layers}'

    def all(self) -> Iterator[DepthConfig]:
        """Every combination of stage flags, at all evaluated decoder layers."""
        for flags in itertools.product((True, False), repeat=len(self.stages)):
            yield DepthConfig(flags, self.decoder_layers)

    def ends_and_halves(self) -> list[DepthConfig]:
        """Full, backbone refinements only, neck refinements only, and base."""
        backbone = tuple(index < self.backbone_stages for index in range(len(self.stages)))
        neck = tuple(not flag for flag in backbone)
        halves = [DepthConfig(flags, self.decoder_layers) for flags in (backbone, neck)]
        return [self.full, *halves, self.base]

    def _dash_fits(self, bits: str) -> bool:
        return '-' not in bits or bits.index('-') == self.backbone_stages

    def _checked(self, depth: DepthConfig, given: object) -> DepthConfig:
        layers_fit = (
            depth.decoder_layers is None
            if self.decoder_layers is None
            else depth.decoder_layers is not None
            and 1 <= depth.decoder_layers <= (self.most_decoder_layers or 0)
        )
        if len(depth.stages) != len(self.stages) or not layers_fit:
            raise ValueError(self._refusal(given))
        return depth

    def _refusal(self, given: object) -> str:
        example = '-'.join(
            filter(
                None, ('1' * self.backbone_stages, '0' * (len(self.stages) - self.backbone_stages))
            )
        )
        decoder = ''
        if self.decoder_layers is not None:
            example += f'd{self.decoder_layers}'
            decoder = f', then d and 1 to {self.most_decoder_layers} decoder layers'
        return (
            f"depth {given!r} is not legal: use 'full', 'base' or {len(self.stages)} bits "
            f'like {example!r} '
            f'(1 runs the refinement; order {", ".join(self.stages)}{decoder})'
        )


@dataclass(frozen=True)
class OperatingPoint:
    """A depth together with an input size.

    Attributes:
        depth: the depth.
        image_size: (height, width) of the network input in pixels.
        metrics: figures measured for this point, for example ``{'AP': 0.61, 'AP50': 0.92,
            'multiply_adds': 1.1e9}``.
    """

    depth: DepthConfig
    image_size: tuple[int, int]
    metrics: tuple[tuple[str, float], ...] = ()


def nearest(points: Sequence[OperatingPoint], wanted: OperatingPoint) -> OperatingPoint:
    """Return the point that is most like the wanted one, of equals the cheaper.

    The distance adds up the share of the stages that differ, the share of the decoder layers and
    the logarithm of the ratio of the input areas.

    Args:
        points: operating points of one detector, at least one.
        wanted: operating point of the same detector.
    """

    def distance(point: OperatingPoint) -> tuple[float, int]:
        mine, other = point.depth, wanted.depth
        stages = sum(a != b for a, b in zip(mine.stages, other.stages)) / len(other.stages)
        layers = (mine.decoder_layers or 0) - (other.decoder_layers or 0)
        area = math.log(math.prod(point.image_size) / math.prod(wanted.image_size))
        share = abs(layers) / (other.decoder_layers or 1)
        return round(stages + share + abs(area), 9), sum(mine.stages)

    return min(points, key=distance)


@dataclass(frozen=True)
class Ladder:
    """The operating points of a bundle, cheapest first; an integer depth is an index into it."""

    space: DepthSpace
    points: tuple[OperatingPoint, ...]

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, level: int) -> OperatingPoint:
        return self.points[level]

    def parse(
        self, depth: int | str | DepthConfig, default_size: tuple[int, int]
    ) -> OperatingPoint:
        """Turn what a user gives as depth into an operating point.

        A level (an integer, or its decimal text when that is no bit string) selects the ladder's
        point with its input size; a text depth runs at ``default_size``.

        Raises:
            ValueError: if the level or the text is not legal; the message lists what is.
        """
        level = self._level(depth)
        if level is None:
            try:
                config = self.space.parse(depth)  # type: ignore[arg-type]
            except ValueError as error:
                raise ValueError(f'{error}, or a ladder level 0 to {len(self) - 1}') from None
            return self._point_of(config, default_size)
        if not 0 <= level < len(self):
            raise ValueError(
                f'depth {depth!r} is not legal: the ladder has the levels 0 (cheapest) to '
                f'{len(self) - 1} (dearest); '
                f"or use 'full', 'base' or bits like {self.space.format(self.space.full)!r}"
            )
        return self.points[level]

    def level_of(self, point: OperatingPoint) -> int | None:
        """Return the index of the point with the same depth and size, None if there is none."""
        for level, mine in enumerate(self.points):
            if (mine.depth, mine.image_size) == (point.depth, point.image_size):
                return level
        return None

    def _level(self, depth: int | str | DepthConfig) -> int | None:
        if isinstance(depth, bool):
            return None
        if isinstance(depth, int):
            return depth
        if not isinstance(depth, str) or not re.fullmatch(r'-?\d{1,3}', depth.strip()):
            return None
        bits = len(depth.strip()) == len(self.space.stages) and set(depth.strip()) <= {'0', '1'}
        return None if bits else int(depth)

    def _point_of(self, config: DepthConfig, size: tuple[int, int]) -> OperatingPoint:
        for point in self.points:
            if point.depth == config and point.image_size == size:
                return point
        return OperatingPoint(config, size)
