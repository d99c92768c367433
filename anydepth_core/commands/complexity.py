"""``anydepth complexity``: parameters and multiply-adds of a model, and what each stage saves."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from anydepth_core.depth import DepthConfig, DepthSpace
from anydepth_core.text_table import aligned

if TYPE_CHECKING:
    from anydepth_core.models.detector import Detector

HELP = 'count parameters and multiply-adds of a model at several depths'


@dataclass(frozen=True)
class Cost:
    """What one depth costs.

    Attributes:
        parameters: parameters of the detector fused for the depth.
        plain: multiply-adds of one image by the plain rule.
        published: the same by the published rule.
    """

    parameters: int
    plain: int
    published: int

    def __sub__(self, other: Cost) -> Cost:
        """Return the difference of every figure."""
        return Cost(*(mine - its for mine, its in zip(self.figures, other.figures)))

    @property
    def figures(self) -> tuple[int, int, int]:
        """Parameters, plain, published."""
        return self.parameters, self.plain, self.published


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument('name', metavar='NAME', help='model, for example anydepth_rtdetr_r50')
    parser.add_argument('--variant', help='block layout; default: the usual one of the model')
    parser.add_argument(
        '--size', default='640', help='input size: 640 or 384x640, height x width (%(default)s)'
    )
    parser.add_argument(
        '--depths',
        help='comma-separated: full, base or bits like 1111-0d4; '
        'default: full, backbone refinements only, neck refinements only, base',
    )
    parser.add_argument(
        '--classes', type=int, default=80, metavar='N', help='number of classes (%(default)s)'
    )


def run(args: argparse.Namespace) -> int:
    """Count and print both tables.

    Raises:
        ValueError: if model, variant, size, depths or number of classes is not legal.
        RuntimeError: if torch is missing.
    """
    try:
        import torch

        from anydepth_core.evaluation.counting import RULES
        from anydepth_core.models.build import build_detector
    except ImportError as error:
        raise RuntimeError(
            f'complexity needs torch ({error}): see "Training" in the README'
        ) from None
    from anydepth_core.commands.export import parse_size

    size = parse_size(args.size)
    with torch.device('meta'):  # shapes are enough
        detector = build_detector(args.name, args.variant, args.classes)
    space = detector.depth_space
    shown, shorter = _depths(space, args.depths, size), left_out(space)
    counted = {space.full, *shown, *shorter.values()}
    costs = {depth: cost_of(detector, depth, size) for depth in counted}
    full = costs[space.full]
    parameters = sum(weight.numel() for weight in detector.parameters())
    print(
        f'{detector.name} ({detector.variant}), {detector.num_classes} classes, '
        f'{size[0]}x{size[1]}; {parameters:,} parameters serve every depth\n'
        'parameters: those left when the detector is fused for the depth\n'
        'multiply-adds: billions for one image, before fusing, by two rules'
    )
    print('\n'.join(f'  {name}: {rule}' for name, rule in RULES.items()))
    table = {space.format(depth): costs[depth] for depth in shown}
    print(f'\n{format_costs("depth", table, full)}')
    saved = {name: full - costs[depth] for name, depth in shorter.items()}
    print(f'\n{format_costs("saved without", saved, full)}')
    return 0


def cost_of(detector: Detector, depth: DepthConfig, size: tuple[int, int]) -> Cost:
    """Count one depth at an input of (height, width) pixels."""
    from anydepth_core.evaluation.counting import count_multiply_adds, count_parameters

    counts = count_multiply_adds(detector, depth, size)
    return Cost(count_parameters(detector, depth), counts['plain'], counts['published'])


def left_out(space: DepthSpace) -> dict[str, DepthConfig]:
    """Full depth without one refinement, by stage, and without its last decoder layer."""
    full = space.full
    depths = {
        stage: replace(full, stages=tuple(i != index for i in range(len(full.stages))))
        for index, stage in enumerate(space.stages)
    }
    if full.decoder_layers is not None and full.decoder_layers > 1:
        depths['one decoder layer'] = replace(full, decoder_layers=full.decoder_layers - 1)
    return depths


def format_costs(heading: str, costs: Mapping[str, Cost], full: Cost) -> str:
    """Return one aligned line per cost, under a heading."""
    lines = [(heading, 'parameters', 'plain', 'published', 'plain/full')]
    for name, cost in costs.items():
        billions = (f'{cost.plain / 1e9:.3f}', f'{cost.published / 1e9:.3f}')
        share = f'{cost.plain / full.plain:.3f}'
        lines.append((name, f'{cost.parameters:,}', *billions, share))
    return aligned(lines, left=1)


def _depths(space: DepthSpace, text: str | None, size: tuple[int, int]) -> list[DepthConfig]:
    from anydepth_core.commands.evaluate import split_depths
    from anydepth_core.commands.export import parse_ladder

    if text is None:
        return [point.depth for point in parse_ladder(space, None, size)]
    return [space.parse(word) for word in split_depths(text)]
