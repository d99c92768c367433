"""The package as ROS tools see it: one version, real entry points, messages that other machines "
"understand."""

from __future__ import annotations

from importlib import import_module
import os
from pathlib import Path
import shlex
import shutil
import subprocess
import sys
from xml.etree import ElementTree

import pytest
import rclpy
from vision_msgs.msg import Detection2DArray

from anydepth_core.version import __version__
from tests.anydepth_ros.conftest import Graph, wait_until

ROOT = Path(__file__).resolve().parents[2]
# Type hash of the vision_msgs 4.1.1 that Humble, Jazzy and Kilted ship.
DETECTION_2D_ARRAY = '214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968'


def setup_py(*arguments: str) -> str:
    command = [sys.executable, 'setup.py', '-q', *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_there_is_one_version() -> None:
    tree = ElementTree.parse(ROOT / 'package.xml')
    assert tree.findtext('version') == __version__
    assert setup_py('--version').splitlines()[-1] == __version__


def test_package_xml_and_setup_py_agree() -> None:
    tree = ElementTree.parse(ROOT / 'package.xml')
    assert tree.getroot().get('format') == '3'
    assert tree.findtext('export/build_type') == 'ament_python'
    assert setup_py('--name', '--license').splitlines()[-2:] == [
        tree.findtext('name'),
        tree.findtext('license'),
    ]
    assert setup_py('--description').splitlines()[-1] == tree.findtext('description')
    assert (ROOT / 'resource' / 'anydepth_ros').is_file()


def test_every_entry_point_can_be_called() -> None:
    from importlib.metadata import entry_points

    ours = [e for e in entry_points(group='console_scripts') if e.value.startswith('anydepth_')]
    assert {e.name for e in ours} >= {
        'detector_node',
        'video_source_node',
        'anydepth',
        'anydepth_demo',
    }
    for entry in ours:
        assert callable(getattr(import_module(entry.module), entry.attr))


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        ([], []),
        (['MODEL=runs/my bundle'], ['--bundle', 'runs/my bundle']),
        (['ARGS=--seconds 3 --source 0'], ['--seconds', '3', '--source', '0']),
        (['MODEL=runs/a', 'ARGS=--seconds 3'], ['--bundle', 'runs/a', '--seconds', '3']),
    ],
)
def test_make_run_passes_model_and_arguments_to_the_demo(
    given: list[str], expected: list[str]
) -> None:
    from anydepth_ros.demo.run import parse_arguments

    decided = ('MAKEFLAGS', 'MFLAGS', 'MAKELEVEL', 'MODEL', 'ARGS')
    environment = {name: value for name, value in os.environ.items() if name not in decided}
    command = ['make', '--dry-run', '--no-print-directory', 'run', *given]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True, env=environment
    )
    line = shlex.split(done.stdout.splitlines()[-1])
    assert line[1:3] == ['-m', 'anydepth_ros.demo'] and line[3:] == expected
    assert parse_arguments(line[3:]).bundle == (
        expected[1] if 'MODEL' in str(given) else 'default'
    )


def test_the_core_imports_no_ros() -> None:
    code = (
        'import pkgutil, importlib, sys, anydepth_core.runtime.pipeline, anydepth_core.cli;'
        "ros = {'rclpy', 'vision_msgs', 'sensor_msgs'} & set(sys.modules); assert not ros, ros"
    )
    subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True)


def test_detections_have_the_type_hash_of_the_released_message(graph: Graph) -> None:
    if rclpy.get_rmw_implementation_identifier() != 'rmw_fastrtps_cpp':
        pytest.skip('type hashes are read through Fast DDS here')
    node = graph.add(rclpy.create_node('publisher'))
    node.create_publisher(Detection2DArray, 'detections', 1)
    (info,) = wait_until(lambda: node.get_publishers_info_by_topic('/detections'))
    if not hasattr(info, 'topic_type_hash'):
        pytest.skip('this rclpy does not tell type hashes')
    assert bytes(info.topic_type_hash.value).hex() == DETECTION_2D_ARRAY


def colcon() -> str:
    """Return the colcon of this environment, or skip."""
    path = Path(sys.executable).parent / 'colcon'
    found = str(path) if path.is_file() else shutil.which('colcon')
    if found is None:
        pytest.skip('colcon is not installed')
    return found


def test_colcon_sees_an_ament_python_package(tmp_path: Path) -> None:
    command = [colcon(), '--log-base', str(tmp_path), 'list', '--base-paths', '.']
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ['anydepth_ros', '.', '(ros.ament_python)']


@pytest.mark.slow
def test_colcon_builds_the_package(tmp_path: Path) -> None:
    bases = {'log': 'log', 'build': 'build', 'install': 'install'}
    paths = {name: str(tmp_path / folder) for name, folder in bases.items()}
    command = [
        colcon(),
        '--log-base',
        paths['log'],
        'build',
        '--base-paths',
        '.',
        '--build-base',
        paths['build'],
    ]
    command += ['--install-base', paths['install']]
    environment = {**os.environ, 'PYTHONWARNINGS': 'ignore'}
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    prefix = tmp_path / 'install' / 'anydepth_ros'
    share = prefix / 'share' / 'anydepth_ros'
    for file in (
        'package.xml',
        'launch/detector.launch.py',
        'config/detector.yaml',
        'config/media/fod_clip.mp4',
    ):
        assert (share / file).is_file(), file
    assert (
        prefix / 'share' / 'ament_index' / 'resource_index' / 'packages' / 'anydepth_ros'
    ).is_file()
    scripts = {path.name for path in (prefix / 'lib' / 'anydepth_ros').iterdir()}
    assert {'detector_node', 'video_source_node', 'anydepth'} <= scripts
