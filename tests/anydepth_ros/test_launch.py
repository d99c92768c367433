"""The launch file, read with a small recording double of launch and launch_ros.

The double keeps what the file declares and what each node is given; a real ``ros2 launch`` turns
exactly that into the command line that ``test_processes.py`` starts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
import importlib.util
from pathlib import Path
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from anydepth_ros.parameters import DECLARATIONS

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Recorded:
    """A launch action: its class name and arguments."""

    kind: str
    positional: tuple[Any, ...] = ()
    named: dict[str, Any] = field(default_factory=dict)


def recorder(kind: str) -> Callable[..., Recorded]:
    return lambda *positional, **named: Recorded(kind, positional, named)


@pytest.fixture
def launch_file(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Load the launch file with the double in place of the real packages."""
    names = {
        'launch': ['LaunchDescription'],
        'launch.actions': ['DeclareLaunchArgument', 'OpaqueFunction'],
        'launch_ros': [],
        'launch_ros.actions': ['LifecycleNode', 'Node'],
        'launch_ros.parameter_descriptions': ['ParameterValue'],
    }
    for name, members in names.items():
        module = ModuleType(name)
        for member in members:
            setattr(module, member, recorder(member))
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(
        'ament_index_python.packages.get_package_share_directory', lambda _: str(ROOT)
    )
    spec = importlib.util.spec_from_file_location(
        'detector_launch', ROOT / 'launch' / 'detector.launch.py'
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def launch(launch_file: ModuleType, **given: str) -> list[Recorded]:
    """Return the nodes that start with these arguments on the command line."""
    (actions,) = launch_file.generate_launch_description().positional
    declared = [action for action in actions if action.kind == 'DeclareLaunchArgument']
    values = {action.positional[0]: action.named['default_value'] for action in declared}
    assert set(given) <= set(values), 'undeclared launch argument'
    (opaque,) = [action for action in actions if action.kind == 'OpaqueFunction']
    context = SimpleNamespace(launch_configurations={**values, **given})
    return opaque.named['function'](context)


def test_every_argument_has_a_description_and_a_text_default(launch_file: ModuleType) -> None:
    (actions,) = launch_file.generate_launch_description().positional
    arguments = [action for action in actions if action.kind == 'DeclareLaunchArgument']
    assert {a.positional[0] for a in arguments} >= {
        'namespace',
        'image_topic',
        'bundle',
        'depth',
        'log_level',
    }
    for argument in arguments:
        assert len(argument.named['description']) > 10
        assert isinstance(argument.named['default_value'], str)


def test_without_arguments_only_the_detector_starts_with_the_parameter_file(
    launch_file: ModuleType,
) -> None:
    (detector,) = launch(launch_file)
    assert detector.kind == 'LifecycleNode'
    assert detector.named['executable'] == 'detector_node' and detector.named['name'] == 'detector'
    assert detector.named['package'] == 'anydepth_ros'
    assert detector.named['parameters'] == [
        str(ROOT / 'config' / 'detector.yaml'),
        {'use_sim_time': False},
    ]
    assert detector.named['remappings'] == [('image', 'image')]
    assert Path(detector.named['parameters'][0]).is_file()


def test_arguments_reach_the_detector_with_their_types(launch_file: ModuleType) -> None:
    given = {
        'namespace': 'cam0',
        'image_topic': '/camera/image_raw',
        'bundle': '/b',
        'depth': '1111-0011',
    }
    (detector,) = launch(
        launch_file, **given, autostart='false', use_sim_time='True', log_level='debug'
    )
    chosen = detector.named['parameters'][1]
    text = {'value_type': str}
    assert chosen == {
        'use_sim_time': True,
        'autostart': False,
        'bundle': Recorded('ParameterValue', ('/b',), text),
        'depth': Recorded('ParameterValue', ('1111-0011',), text),
    }
    assert set(chosen) - {'use_sim_time'} <= {d.name for d in DECLARATIONS}
    assert detector.named['namespace'] == 'cam0'
    assert detector.named['remappings'] == [('image', '/camera/image_raw')]
    assert detector.named['arguments'] == ['--ros-args', '--log-level', 'debug']


@pytest.mark.parametrize(
    ('depth', 'expected'),
    [
        ('2', 2),
        ('full', Recorded('ParameterValue', ('full',), {'value_type': str})),
        ('11110011', Recorded('ParameterValue', ('11110011',), {'value_type': str})),
    ],
)
def test_a_depth_is_a_level_or_text(launch_file: ModuleType, depth: str, expected: object) -> None:
    (detector,) = launch(launch_file, depth=depth)
    assert detector.named['parameters'][1]['depth'] == expected


def test_a_source_starts_the_video_source_on_the_same_topic(launch_file: ModuleType) -> None:
    _, player = launch(launch_file, source='0', namespace='cam0', image_topic='raw', rate='5')
    assert (
        player.named['executable'] == 'video_source_node'
        and player.named['name'] == 'video_source'
    )
    assert player.named['namespace'] == 'cam0' and player.named['remappings'] == [('image', 'raw')]
    (parameters,) = player.named['parameters']
    assert parameters['rate'] == 5.0
    assert parameters['source'] == Recorded('ParameterValue', ('0',), {'value_type': str})


def test_a_flag_that_is_neither_true_nor_false_is_refused(launch_file: ModuleType) -> None:
    with pytest.raises(ValueError, match='use true or false'):
        launch(launch_file, autostart='maybe')
