"""Parameters: declared once, the same in the YAML file, read-only where they must be."""

from __future__ import annotations

from pathlib import Path

import pytest
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter
import yaml

from anydepth_ros.parameters import changed, DECLARATIONS, declare
from tests.anydepth_ros.conftest import Graph

ROOT = Path(__file__).resolve().parents[2]


def node_with(**overrides: object) -> Node:
    values = [Parameter(name, value=value) for name, value in overrides.items()]
    return Node('bearer', parameter_overrides=values)


def test_the_yaml_file_lists_every_parameter_with_its_default() -> None:
    content = yaml.safe_load((ROOT / 'config' / 'detector.yaml').read_text())
    assert list(content) == ['/**']
    assert content['/**']['ros__parameters'] == {d.name: d.default for d in DECLARATIONS}


def test_every_parameter_is_described_to_the_tools(graph: Graph) -> None:
    node = graph.add(node_with())
    declare(node)
    for declaration in DECLARATIONS:
        descriptor = node.describe_parameter(declaration.name)
        assert descriptor.description and declaration.change in descriptor.additional_constraints
        assert descriptor.read_only == (declaration.change == 'start')
        assert bool(descriptor.floating_point_range or descriptor.integer_range) == bool(
            declaration.limits
        )


@pytest.mark.parametrize('depth', ['base', 2, '1111-0011'])
def test_a_depth_may_be_a_number_or_text(graph: Graph, depth: int | str) -> None:
    assert declare(graph.add(node_with(depth=depth))).depth == depth


@pytest.mark.parametrize(
    ('overrides', 'error'),
    [
        ({'depth': 1.5}, ValueError),
        ({'depth': True}, ValueError),
        ({'image_reliability': 'best'}, ValueError),
        ({'confidence_threshold': 1}, InvalidParameterTypeException),
        ({'confidence_threshold': 1.01}, InvalidParameterValueException),
        ({'max_detections': 0}, InvalidParameterValueException),
    ],
)
def test_a_wrong_start_value_is_refused(
    graph: Graph, overrides: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error, match=next(iter(overrides))):
        declare(graph.add(node_with(**overrides)))


def test_a_change_gives_a_new_snapshot_and_leaves_the_old_one(graph: Graph) -> None:
    before = declare(graph.add(node_with()))
    after = changed(
        before, [Parameter('depth', value=0), Parameter('use_sim_time', value=True)], True
    )
    assert (before.depth, after.depth) == ('full', 0)
    assert after.settings() == before.settings()


def test_the_bundle_may_change_only_while_unconfigured(graph: Graph) -> None:
    before = declare(graph.add(node_with()))
    change = [Parameter('bundle', value='/elsewhere')]
    assert changed(before, change, configured=False).bundle == '/elsewhere'
    with pytest.raises(ValueError, match='bundle may change only while the node is unconfigured'):
        changed(before, change, configured=True)
    assert changed(before, [Parameter('bundle', value='default')], configured=True) == before
