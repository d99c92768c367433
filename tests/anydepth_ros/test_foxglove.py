"""The Foxglove layout shows what the detector publishes; the program itself is not run here."""

from __future__ import annotations

from collections.abc import Iterator
import json
from pathlib import Path
import re
from typing import Any

from anydepth_ros.topics import STATS_KEYS, TOPICS

LAYOUT = json.loads(
    (Path(__file__).resolve().parents[2] / 'config' / 'foxglove' / 'anydepth.json').read_text()
)
STATS_PATH = re.compile(r'/stats\.status\[0\]\.values\[:\]\{key=="(\w+)"\}\.value')


def panels(place: Any) -> Iterator[str]:
    """List the panels of a part of the screen."""
    if isinstance(place, str):
        yield place
    else:
        yield from panels(place['first'])
        yield from panels(place['second'])


def values(tree: Any, name: str) -> Iterator[str]:
    """List every value with a name, however deep."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            if key == name:
                yield value
            yield from values(value, name)
    elif isinstance(tree, list):
        for value in tree:
            yield from values(value, name)


def test_every_panel_on_the_screen_is_configured() -> None:
    shown = list(panels(LAYOUT['layout']))
    assert sorted(shown) == sorted(LAYOUT['configById']) and len(set(shown)) == len(shown)


def test_every_topic_is_one_of_the_detector() -> None:
    known = {topic.name if topic.name.startswith('/') else f'/{topic.name}' for topic in TOPICS}
    named = {*values(LAYOUT, 'imageTopic'), *values(LAYOUT, 'topicToRender')}
    assert named == {'/debug_image', '/diagnostics'} and named <= known


def test_every_curve_is_a_figure_of_stats() -> None:
    paths = list(values(LAYOUT['configById'], 'value'))
    matches = [STATS_PATH.fullmatch(path) for path in paths]
    keys = [match.group(1) for match in matches if match]
    assert len(keys) == len(paths) > 8
    assert set(keys) <= set(STATS_KEYS)
