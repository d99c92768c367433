"""The launch file, with a recording double everywhere and with the real launch where it is.

The double keeps what the file declares and what each node is given; ``test_processes.py`` starts
the command line that a real ``ros2 launch`` makes of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
import importlib.util
import json
import os
from pathlib import Path
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml

from anydepth_ros.parameters import DECLARATIONS

ROOT = Path(__file__).resolve().parents[2]
LAUNCH_FILE = ROOT / 'launch' / 'detector.launch.py'
ARGUMENTS = {
    'namespace',
    'image_topic',
    'image_transport',
    'model',
    'depth',
    'backend',
    'cameras',
    'controller',
    'controller_params_file',
    'params_file',
    'autostart',
    'use_sim_time',
    'log_level',
    'source',
    'rate',
}


@dataclass
class Recorded:
    """A launch action: its class name and arguments."""

    kind: str
    positional: tuple[Any, ...] = ()
    named: dict[str, Any] = field(default_factory=dict)


def text(value: str) -> Recorded:
    """Return a parameter that stays text, whatever it looks like."""
    return Recorded('ParameterValue', (value,), {'value_type': str})


def load_launch_file() -> ModuleType:
    spec = importlib.util.spec_from_file_location('detector_launch', LAUNCH_FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def launch_file(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Load the launch file with the double in place of the real packages."""
    names = {
        'launch': ['LaunchContext', 'LaunchDescription'],
        'launch.actions': ['DeclareLaunchArgument', 'OpaqueFunction'],
        'launch_ros': [],
        'launch_ros.actions': ['LifecycleNode', 'Node'],
        'launch_ros.parameter_descriptions': ['ParameterValue'],
    }
    for name, members in names.items():
        module = ModuleType(name)
        for member in members:
            setattr(module, member, type(member, (), {'__new__': made_by(member)}))
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(
        'ament_index_python.packages.get_package_share_directory', lambda _: str(ROOT)
    )
    return load_launch_file()


def made_by(kind: str) -> Callable[..., Recorded]:
    """Return a ``__new__`` that records; the names must be classes, annotations mention them."""
    return lambda _, *positional, **named: Recorded(kind, positional, named)


def actions(launch_file: ModuleType) -> list[Recorded]:
    (result,) = launch_file.generate_launch_description().positional
    return result


def launch(launch_file: ModuleType, **given: str) -> list[Recorded]:
    """Return the nodes that start with these arguments on the command line."""
    declared = [a for a in actions(launch_file) if a.kind == 'DeclareLaunchArgument']
    values = {action.positional[0]: action.named['default_value'] for action in declared}
    assert set(given) <= set(values), 'undeclared launch argument'
    (opaque,) = [a for a in actions(launch_file) if a.kind == 'OpaqueFunction']
    context = SimpleNamespace(launch_configurations={**values, **given})
    return opaque.named['function'](context)


def test_every_argument_has_a_description_and_a_text_default(launch_file: ModuleType) -> None:
    declared = [a for a in actions(launch_file) if a.kind == 'DeclareLaunchArgument']
    assert {argument.positional[0] for argument in declared} == ARGUMENTS
    for argument in declared:
        assert len(argument.named['description']) > 10
        assert isinstance(argument.named['default_value'], str)


def test_without_arguments_everything_is_as_in_the_parameter_file(launch_file: ModuleType) -> None:
    (detector,) = launch(launch_file)
    assert detector.kind == 'LifecycleNode'
    assert detector.named['executable'] == 'detector_node' and detector.named['name'] == 'detector'
    assert detector.named['package'] == 'anydepth_ros' and detector.named['namespace'] == ''
    assert detector.named['parameters'] == [str(ROOT / 'config' / 'detector.yaml'), {}]
    assert detector.named['remappings'] == [('image', 'image')]
    assert Path(detector.named['parameters'][0]).is_file()


def test_a_controller_is_started_on_demand_and_owns_the_depth(launch_file: ModuleType) -> None:
    detector, controller = launch(launch_file, controller='true', model='/b', namespace='robot1')
    assert detector.named['parameters'][1]['depth_mode'] == 'auto'
    assert controller.kind == 'Node' and controller.named['executable'] == 'controller_node'
    assert (controller.named['name'], controller.named['namespace']) == ('controller', 'robot1')
    file, own = controller.named['parameters']
    assert file == str(ROOT / 'config' / 'controller.yaml') and Path(file).is_file()
    assert own == {'model': Recorded('ParameterValue', ('/b',), {'value_type': str})}


def test_each_camera_has_a_controller_of_its_own(launch_file: ModuleType) -> None:
    _, front, rear = launch(launch_file, controller='true', cameras='front,rear')
    assert [one.named['name'] for one in (front, rear)] == ['controller_front', 'controller_rear']
    assert [one.named['parameters'][1] for one in (front, rear)] == [
        {'camera': 'front'},
        {'camera': 'rear'},
    ]


def test_arguments_reach_the_detector_with_their_types(launch_file: ModuleType) -> None:
    (detector,) = launch(
        launch_file,
        namespace='robot1',
        image_topic='/camera/image_raw',
        image_transport='compressed',
        model='/b',
        depth='1111-0011',
        backend='onnxruntime',
        cameras='',
        autostart='false',
        use_sim_time='True',
        log_level='debug',
    )
    chosen = detector.named['parameters'][1]
    assert chosen == {
        'use_sim_time': True,
        'autostart': False,
        'image_transport': text('compressed'),
        'model': text('/b'),
        'depth': text('1111-0011'),
        'backend': text('onnxruntime'),
    }
    assert set(chosen) - {'use_sim_time'} <= {d.name for d in DECLARATIONS}
    assert detector.named['namespace'] == 'robot1'
    assert detector.named['remappings'] == [('image', '/camera/image_raw')]
    assert detector.named['arguments'] == ['--ros-args', '--log-level', 'debug']


@pytest.mark.parametrize(
    ('depth', 'expected'), [('2', 2), ('full', text('full')), ('11110011', text('11110011'))]
)
def test_a_depth_is_a_level_or_text(launch_file: ModuleType, depth: str, expected: object) -> None:
    (detector,) = launch(launch_file, depth=depth)
    assert detector.named['parameters'][1]['depth'] == expected


@pytest.mark.parametrize(
    ('image_topic', 'front', 'rear'),
    [
        ('image', 'front/image', 'rear/image'),
        ('image_raw', 'front/image_raw', 'rear/image_raw'),
        ('/sensors/{camera}/image_raw', '/sensors/front/image_raw', '/sensors/rear/image_raw'),
        ('{camera}_raw', 'front_raw', 'rear_raw'),
    ],
)
def test_each_camera_has_its_own_image_topic(
    launch_file: ModuleType, image_topic: str, front: str, rear: str
) -> None:
    (detector,) = launch(launch_file, cameras='front, rear', image_topic=image_topic)
    assert detector.named['parameters'][1] == {'cameras': ['front', 'rear']}
    assert 'cameras' in {d.name for d in DECLARATIONS}
    assert detector.named['remappings'] == [('front/image', front), ('rear/image', rear)]


def test_one_absolute_topic_serves_one_named_camera_only(launch_file: ModuleType) -> None:
    (detector,) = launch(launch_file, cameras='front', image_topic='/camera/image_raw')
    assert detector.named['remappings'] == [('front/image', '/camera/image_raw')]
    with pytest.raises(ValueError, match='one topic for 2 cameras: put {camera} where'):
        launch(launch_file, cameras='front,rear', image_topic='/camera/image_raw')


def test_a_camera_placeholder_without_cameras_is_refused(launch_file: ModuleType) -> None:
    with pytest.raises(ValueError, match='give cameras:=front,rear'):
        launch(launch_file, image_topic='/{camera}/image_raw')


def test_a_source_starts_the_video_source_on_the_same_topic(launch_file: ModuleType) -> None:
    _, player = launch(launch_file, source='0', namespace='cam0', image_topic='raw', rate='5')
    assert player.named['executable'] == 'video_source_node'
    assert player.named['name'] == 'video_source'
    assert player.named['namespace'] == 'cam0' and player.named['remappings'] == [('image', 'raw')]
    (parameters,) = player.named['parameters']
    assert parameters == {'rate': 5.0, 'source': text('0')}


def test_with_several_cameras_each_has_a_video_source(launch_file: ModuleType) -> None:
    _, front, rear = launch(
        launch_file, cameras='front,rear', source='/clips/{camera}.mp4', use_sim_time='true'
    )
    assert front.named['name'] == 'video_source_front'
    assert front.named['remappings'] == [('image', 'front/image')]
    assert rear.named['name'] == 'video_source_rear'
    (parameters,) = rear.named['parameters']
    assert parameters['source'] == text('/clips/rear.mp4') and parameters['use_sim_time'] is True


def test_a_video_source_for_compressed_images_is_refused(launch_file: ModuleType) -> None:
    with pytest.raises(ValueError, match='leave out image_transport'):
        launch(launch_file, source='0', image_transport='compressed')


@pytest.mark.parametrize('flag', ['autostart', 'use_sim_time'])
def test_a_flag_that_is_neither_true_nor_false_is_refused(
    launch_file: ModuleType, flag: str
) -> None:
    with pytest.raises(ValueError, match='use true or false'):
        launch(launch_file, **{flag: 'maybe'})


NOTE_ARGUMENTS = """#!{python}
import json, os, pathlib, sys
words = sys.argv[1:]
files = [pathlib.Path(b).read_text() for a, b in zip(words, words[1:]) if a == '--params-file']
pathlib.Path({notes!r}, os.path.basename(sys.argv[0]) + '.json').write_text(
    json.dumps({{'words': words, 'files': files}})
)
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install executables that note what they are started with, and return where they note it."""
    prefix, notes = tmp_path / 'prefix', tmp_path / 'notes'
    scripts = prefix / 'lib' / 'anydepth_ros'
    marker = prefix / 'share' / 'ament_index' / 'resource_index' / 'packages' / 'anydepth_ros'
    for folder in (scripts, notes, marker.parent, prefix / 'share' / 'anydepth_ros'):
        folder.mkdir(parents=True)
    marker.touch()
    (prefix / 'share' / 'anydepth_ros' / 'config').symlink_to(ROOT / 'config')
    for name in ('detector_node', 'video_source_node'):
        script = scripts / name
        script.write_text(NOTE_ARGUMENTS.format(python=sys.executable, notes=str(notes)))
        script.chmod(0o755)
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(prefix), prepend=os.pathsep)
    return notes


def start_for_real(**given: str) -> None:
    """Launch the file with the real packages and wait for the end of its processes; or skip."""
    launch_package = pytest.importorskip('launch', reason='ROS 2 launch is not installed')
    if not hasattr(launch_package, 'LaunchDescription'):
        pytest.skip('the package launch that is installed is not that of ROS 2')
    pytest.importorskip('launch_ros', reason='launch_ros is not installed')
    from launch.actions import IncludeLaunchDescription
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    source = PythonLaunchDescriptionSource(str(LAUNCH_FILE))
    service = launch_package.LaunchService(noninteractive=True)
    service.include_launch_description(
        launch_package.LaunchDescription(
            [IncludeLaunchDescription(source, launch_arguments=given.items())]
        )
    )
    assert service.run() == 0


def command(notes: Path, executable: str) -> tuple[list[str], dict[str, Any]]:
    """Return the words a process was started with and the parameters of all its files."""
    noted = json.loads((notes / f'{executable}.json').read_text())
    parameters: dict[str, Any] = {}
    for content in noted['files']:
        for node in yaml.full_load(content).values():  # launch writes a list as !!python/tuple
            parameters.update(node['ros__parameters'])
    return noted['words'], parameters


def test_real_launch_starts_the_detector_with_the_arguments(installed: Path) -> None:
    start_for_real(
        namespace='robot1',
        cameras='front,rear',
        image_topic='/sensors/{camera}/image_raw',
        depth='1111',
        autostart='false',
        model='12',
        log_level='warn',
    )
    words, parameters = command(installed, 'detector_node')
    assert words[:3] == ['--ros-args', '--log-level', 'warn']
    for rule in (
        '__node:=detector',
        '__ns:=/robot1',
        'front/image:=/sensors/front/image_raw',
        'rear/image:=/sensors/rear/image_raw',
    ):
        assert words[words.index(rule) - 1] == '-r'
    given = {'cameras': ('front', 'rear'), 'depth': '1111', 'autostart': False, 'model': '12'}
    assert {name: parameters[name] for name in given} == given
    assert parameters['confidence_threshold'] == 0.25


def test_real_launch_starts_a_video_source(installed: Path) -> None:
    start_for_real(source='0', image_topic='/camera/image_raw', depth='2')
    assert command(installed, 'detector_node')[1]['depth'] == 2
    words, parameters = command(installed, 'video_source_node')
    assert 'image:=/camera/image_raw' in words and '__node:=video_source' in words
    assert parameters == {'source': '0', 'rate': 0.0}
