"""The three claims of the paper (arXiv 2605.09407), its figures and ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean

from anydepth_core.evaluation.experiments.results import paired, spread

ApBySeed = Callable[[str, str], dict[int, float]]
"""AP by seed of a variant at a depth."""


@dataclass(frozen=True)
class Claim:
    """One AP is not below another by more than a margin.

    Attributes:
        text: the claim.
        published: what its authors measured.
        first: variant and depth.
        second: variant and depth it is compared with.
        margin: AP that ``first`` may be lower.
    """

    text: str
    published: str
    first: tuple[str, str]
    second: tuple[str, str]
    margin: float = 0.0


CLAIMS = (
    Claim(
        'full is not worse than the full network trained alone',
        'RT-DETR R50 53.1 against 53.1, R101 54.6 against 54.3 (COCO); YOLOv12-S 35.1 against '
        '35.2 (BDD100K)',
        ('any_depth', 'full'),
        ('full_only', 'full'),
    ),
    Claim(
        'base is not worse than the small network trained alone',
        'not among the logs that were published',
        ('any_depth', 'base'),
        ('base_only', 'base'),
    ),
    Claim(
        'base loses at most 0.020 against full',
        'R101 54.6 to 52.6, R50 53.1 to 50.5, YOLOv12-L 53.8 to 52.0, S 47.9 to 45.1 (COCO)',
        ('any_depth', 'base'),
        ('any_depth', 'full'),
        margin=0.02,
    ),
)


def claims_table(ap: ApBySeed) -> str:
    """Return claims, published figures, ours and whether it holds, as a Markdown table."""
    lines = [
        '| claim | published AP, % | difference here | holds? |',
        '| --- | --- | --- | --- |',
    ]
    for claim in CLAIMS:
        differences = paired(ap(*claim.first), ap(*claim.second))
        ours = spread(differences, signed=True)
        cells = [claim.text, claim.published, ours, verdict(differences, claim.margin)]
        lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join(lines)


def verdict(differences: list[float], margin: float) -> str:
    """Say whether a claim holds on average, and with how many seeds.

    Differences count as they are shown, to 0.001.
    """
    if not differences:
        return 'not measured'
    good = [round(one, 3) >= -margin for one in differences]
    word = 'yes' if round(fmean(differences), 3) >= -margin else 'no'
    return f'{word} ({sum(good)} of {len(good)} seeds)'
