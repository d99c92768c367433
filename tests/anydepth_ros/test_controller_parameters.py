"""Parameters of the controller: declared once, the same in the YAML file, checked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter
import yaml

from anydepth_core.sensing.thermal import TripPoints
from anydepth_ros.controller_parameters import (
    changed_controller,
    CONTROLLER_DECLARATIONS,
    declare_controller,
)
from tests.anydepth_ros.conftest import Graph

ROOT = Path(__file__).resolve().parents[2]


def test_the_yaml_file_lists_every_parameter_with_its_default() -> None:
    content = yaml.safe_load((ROOT / 'config' / 'controller.yaml').read_text())
    defaults = {d.name: [''] if d.default == () else d.default for d in CONTROLLER_DECLARATIONS}
    assert content == {'/**': {'ros__parameters': defaults}}


def test_zero_stands_for_no_target(graph: Graph) -> None:
    targets = declare_controller(graph.add(Node('bearer'))).targets(10.0)
    assert targets.deadline() is None and targets.mission_end_s is None
    assert targets.soft_limit_c('gpu') is None and targets.hard_limit_c('gpu') is None
    assert (targets.power_budget_w, targets.battery_reserve, targets.battery_wh) == (None,) * 3


def test_targets_have_the_units_of_their_names(graph: Graph) -> None:
    before = declare_controller(graph.add(Node('bearer')))
    values = {
        'deadline_ms': 50.0,
        'rate_fps': 10.0,
        'mission_s': 600.0,
        'battery_reserve': 0.2,
        'temperature_soft_c': 80.0,
    }
    now = changed_controller(before, [Parameter(name, value=one) for name, one in values.items()])
    targets = now.targets(100.0)
    assert targets.deadline() == 50.0 and targets.mission_end_s == 700.0
    assert targets.battery_reserve == 0.2 and targets.soft_limit_c('any') == 80.0
    assert before.deadline_ms == 0.0


def test_limits_of_zones_go_before_those_of_all_and_trip_points_fill_gaps(graph: Graph) -> None:
    before = declare_controller(graph.add(Node('bearer')))
    values = {'zone_limits': ['gpu:70:85', 'motor::60'], 'temperature_soft_c': 50.0}
    now = changed_controller(before, [Parameter(name, value=one) for name, one in values.items()])
    trips = {'cpu': TripPoints(95.0, 105.0)}
    targets = now.targets(0.0, trips)
    assert (targets.soft_limit_c('gpu'), targets.hard_limit_c('gpu')) == (70.0, 85.0)
    assert (targets.soft_limit_c('motor'), targets.hard_limit_c('motor')) == (50.0, 60.0)
    assert (targets.soft_limit_c('cpu'), targets.hard_limit_c('cpu')) == (50.0, 95.0)
    assert replace(now, trip_points=False).targets(0.0, trips).hard_limit_c('cpu') is None
    assert changed_controller(now, [Parameter('zone_limits', value=[''])]).zone_limits == ()


def test_a_named_camera_has_a_depth_of_its_own(graph: Graph) -> None:
    node = Node('bearer', parameter_overrides=[Parameter('camera', value='front')])
    assert declare_controller(graph.add(node)).depth_parameter() == 'front.depth'


@pytest.mark.parametrize(
    ('name', 'value', 'words'),
    [
        ('mode', 'fast', 'use one of deadline, tracking'),
        ('temperature_soft_c', 100.0, 'soft limit'),
        ('zone_limits', ['gpu'], 'write zone:soft:hard'),
        ('zone_limits', ['gpu:95:'], 'soft limit of zone gpu, 95.0 C, must be below the hard 90'),
        ('zone_limits', [80.0], 'write zone:soft:hard'),
    ],
)
def test_an_illegal_change_is_refused_in_a_sentence(
    graph: Graph, name: str, value: object, words: str
) -> None:
    start = [Parameter('temperature_hard_c', value=90.0)]
    current = declare_controller(graph.add(Node('bearer', parameter_overrides=start)))
    with pytest.raises(ValueError, match=words):
        changed_controller(current, [Parameter(name, value=value)])
