"""Parameters: declared once, the same in the YAML file, read-only where they must be."""

from __future__ import annotations

from pathlib import Path

import pytest
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter
import yaml

from anydepth_core.commands.runtime_options import node_parameters
from anydepth_core.runtime.backends import RuntimeSettings
from anydepth_ros.parameters import changed, DECLARATIONS, declare
from tests.anydepth_core.support.toy_bundle import CLASS_NAMES
from tests.anydepth_ros.conftest import Graph

ROOT = Path(__file__).resolve().parents[2]


def node_with(**overrides: object) -> Node:
    values = [Parameter(name, value=value) for name, value in overrides.items()]
    return Node('bearer', parameter_overrides=values)


def test_the_yaml_file_lists_every_parameter_with_its_default() -> None:
    content = yaml.safe_load((ROOT / 'config' / 'detector.yaml').read_text())
    assert list(content) == ['/**']
    defaults = {d.name: [''] if d.default == () else d.default for d in DECLARATIONS}
    assert content['/**']['ros__parameters'] == defaults


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


def test_what_runs_the_network_is_chosen_by_parameters(graph: Graph) -> None:
    asked = {'backend': 'tensorrt', 'precision': 'fp16', 'device': 1, 'max_ready_depths': 3}
    asked |= {'engine_cache': '~/engines', 'cpu_affinity': [0], 'gpu_preprocess': True}
    values = declare(graph.add(node_with(**asked)))
    assert values.runtime() == RuntimeSettings(
        backend='tensorrt',
        precision='fp16',
        device=1,
        max_points=3,
        engine_cache=Path.home() / 'engines',
        threads=1,
        preprocess='runtime',
    )


def test_the_defaults_are_those_of_the_core(graph: Graph) -> None:
    assert declare(graph.add(node_with())).runtime() == RuntimeSettings()


def test_a_command_can_start_a_node_with_what_it_was_told(graph: Graph) -> None:
    settings = RuntimeSettings(
        backend='tensorrt', provider='cuda', device=2, threads=3, preprocess='runtime'
    )
    node = graph.add(node_with(**node_parameters(settings)))
    assert declare(node).runtime() == settings


@pytest.mark.parametrize('depth', ['base', 2, '1111-0011'])
def test_a_depth_may_be_a_number_or_text(graph: Graph, depth: int | str) -> None:
    assert declare(graph.add(node_with(depth=depth))).depth == depth


@pytest.mark.parametrize(
    ('overrides', 'error'),
    [
        ({'depth': 1.5}, ValueError),
        ({'depth': True}, ValueError),
        ({'image_reliability': 'best'}, ValueError),
        ({'image_transport': 'theora'}, ValueError),
        ({'backend': 'tensorflow'}, ValueError),
        ({'provider': 'CUDAExecutionProvider'}, ValueError),
        ({'precision': 'int8'}, ValueError),
        ({'device': -1}, InvalidParameterValueException),
        ({'max_ready_depths': 1}, InvalidParameterValueException),
        ({'depth_mode': 'automatic'}, ValueError),
        ({'class_id_format': 'number'}, ValueError),
        ({'cameras': ['front', 'front']}, ValueError),
        ({'cameras': ['front left']}, ValueError),
        ({'cameras': [1]}, ValueError),
        ({'cpu_affinity': [-1]}, ValueError),
        ({'cpu_affinity': ['0']}, ValueError),
        ({'classes': [1.5]}, ValueError),
        ({'image_timeout_s': -1.0}, InvalidParameterValueException),
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
    assert after.settings(CLASS_NAMES) == before.settings(CLASS_NAMES)


def test_the_model_may_change_only_while_unconfigured(graph: Graph) -> None:
    before = declare(graph.add(node_with()))
    change = [Parameter('model', value='/elsewhere')]
    assert changed(before, change, configured=False).model == '/elsewhere'
    with pytest.raises(ValueError, match='model may change only while the node is unconfigured'):
        changed(before, change, configured=True)
    assert changed(before, [Parameter('model', value='default')], configured=True) == before


@pytest.mark.parametrize(
    ('classes', 'labels'),
    [
        ([], None),
        ([''], None),
        (['green'], (1,)),
        ('blue', (2,)),
        ([0, 2], (0, 2)),
        (2, (2,)),
        (['2', 'red', '2'], (2, 0)),
    ],
)
def test_classes_are_names_or_indices(
    graph: Graph, classes: object, labels: tuple[int, ...] | None
) -> None:
    parameters = declare(graph.add(node_with(classes=classes)))
    assert parameters.settings(CLASS_NAMES).classes == labels


@pytest.mark.parametrize('one', ['purple', 3, -1, '3'])
def test_a_class_that_the_model_has_not_is_refused_with_those_it_has(
    graph: Graph, one: int | str
) -> None:
    parameters = declare(graph.add(node_with(classes=[one])))
    with pytest.raises(ValueError, match='the model has red, green, blue'):
        parameters.settings(CLASS_NAMES)


def test_an_empty_list_in_a_parameter_file_is_empty(graph: Graph, tmp_path: Path) -> None:
    path = tmp_path / 'parameters.yaml'
    path.write_text('/**:\n  ros__parameters:\n    classes: []\n    cameras: []\n')
    node = graph.add(Node('bearer', cli_args=['--ros-args', '--params-file', str(path)]))
    parameters = declare(node)
    assert (parameters.classes, parameters.cameras) == ((), ())


def test_a_named_camera_has_a_depth_that_follows_unless_it_is_set(graph: Graph) -> None:
    before = declare(
        graph.add(node_with(cameras=['front', 'rear'], depth='base', **{'rear.depth': 2}))
    )
    assert [before.depth_of(camera) for camera in ('front', 'rear')] == ['base', 2]
    after = changed(before, [Parameter('depth', value=0)], True)
    assert [after.depth_of(camera) for camera in ('front', 'rear')] == [0, 2]
    after = changed(after, [Parameter('front.depth', value='1111-0011')], True)
    assert [after.depth_of(camera) for camera in ('front', 'rear')] == ['1111-0011', 2]
    with pytest.raises(ValueError, match='rear.depth 1.5 is not legal'):
        changed(after, [Parameter('rear.depth', value=1.5)], True)
