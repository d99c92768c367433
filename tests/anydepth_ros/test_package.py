"""The package as ROS tools see it: one version, true dependencies, real entry points."""

from __future__ import annotations

import ast
from importlib import import_module
import json
import os
from pathlib import Path
import re
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
SCRIPTS = {
    'detector_node',
    'controller_node',
    'video_source_node',
    'detect_bag',
    'anydepth',
    'anydepth_demo',
}
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


def test_package_xml_is_valid_to_the_last_letter() -> None:
    parser = pytest.importorskip('catkin_pkg.package', reason='catkin_pkg is not installed')
    warnings: list[str] = []
    content = (ROOT / 'package.xml').read_text(encoding='utf-8')
    parser.parse_package_string(content, warnings=warnings)
    assert not warnings


ROS_PACKAGE = re.compile(
    'rclpy|launch|launch_ros|ament_index_python|cv_bridge|.*_(msgs|srvs|interfaces)'
)


def ros_packages_imported(folder: str) -> set[str]:
    """Return the ROS packages that the files of a folder import, also inside functions."""
    modules: set[str] = set()
    for path in (ROOT / folder).rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Import):
                modules |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module)
    return {m.partition('.')[0] for m in modules if ROS_PACKAGE.fullmatch(m.partition('.')[0])}


def test_package_xml_names_exactly_the_ros_packages_that_are_imported() -> None:
    tree = ElementTree.parse(ROOT / 'package.xml')
    named = {str(element.text) for element in tree.findall('exec_depend')}
    imported = ros_packages_imported('anydepth_ros') | ros_packages_imported('launch')
    assert imported == {name for name in named if not name.startswith('python3-')}


SHOW_SCRIPTS = """
import json, setuptools, distutils.core
setup = distutils.core.run_setup('setup.py', stop_after='init')
print(json.dumps(setup.entry_points['console_scripts']))
"""


def test_every_console_script_can_be_called() -> None:
    command = [sys.executable, '-W', 'ignore', '-c', SHOW_SCRIPTS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    scripts = dict(line.split(' = ') for line in json.loads(done.stdout))
    assert set(scripts) == SCRIPTS
    for target in scripts.values():
        module, _, function = target.partition(':')
        assert callable(getattr(import_module(module), function))


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


def colcon(*words: str, bases: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run a verb of this environment's colcon, its results below ``bases``; or skip."""
    path = Path(sys.executable).parent / 'colcon'
    found = str(path) if path.is_file() else shutil.which('colcon')
    if found is None:
        pytest.skip('colcon is not installed')
    return subprocess.run(
        [found, '--log-base', str(bases / 'log'), *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, 'PYTHONWARNINGS': 'ignore', **changes},
    )


def test_colcon_sees_an_ament_python_package(tmp_path: Path) -> None:
    done = colcon('list', '--base-paths', '.', bases=tmp_path)
    assert done.stdout.split() == ['anydepth_ros', '.', '(ros.ament_python)'], done.stderr


def folders(bases: Path) -> list[str]:
    """Return the arguments of ``colcon build`` and ``test`` that keep the checkout clean."""
    words = ['--base-paths', '.', '--build-base', str(bases / 'build')]
    return [*words, '--install-base', str(bases / 'install')]


@pytest.fixture(scope='module')
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the package with colcon and return the folder that holds build and install."""
    bases = tmp_path_factory.mktemp('colcon')
    done = colcon('build', *folders(bases), bases=bases)
    assert done.returncode == 0, done.stderr
    return bases


@pytest.mark.slow
def test_colcon_build_installs_everything_a_robot_needs(built: Path) -> None:
    prefix = built / 'install' / 'anydepth_ros'
    share = prefix / 'share' / 'anydepth_ros'
    for file in (
        'package.xml',
        'launch/detector.launch.py',
        'config/detector.yaml',
        'config/fastdds_shm.xml',
        'config/foxglove/anydepth.json',
        'config/media/fod_clip.mp4',
        'config/models/default/bundle.yaml',
        'config/models/default/master.onnx',
        'config/models/default/norms.npz',
    ):
        assert (share / file).is_file(), file
    marker = prefix / 'share' / 'ament_index' / 'resource_index' / 'packages' / 'anydepth_ros'
    assert marker.is_file()
    scripts = {path.name for path in (prefix / 'lib' / 'anydepth_ros').iterdir()}
    assert scripts == SCRIPTS


WITHOUT_TRAINING = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {training}:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)

sys.meta_path.insert(0, Absent())
"""
SELECTION = [
    '--pytest-args',
    'tests/anydepth_core/runtime',
    'tests/anydepth_core/data',
    'tests/anydepth_core/test_depth.py',
    'tests/anydepth_ros/test_newest.py',
]
TRAINING = (
    'torch',
    'torchvision',
    'safetensors',
    'dacite',
    'scipy',
    'faster_coco_eval',
    'pycocotools',
    'transformers',
    'rosbags',
    'psutil',
)


@pytest.fixture
def without_training(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a process that finds nothing that only training needs."""
    (tmp_path / 'sitecustomize.py').write_text(WITHOUT_TRAINING.format(training=TRAINING))
    return {'PYTHONPATH': str(tmp_path)}


def test_every_test_file_of_a_robot_loads_without_training(
    without_training: dict[str, str],
) -> None:
    command = [sys.executable, '-m', 'pytest', '--collect-only', '-q', '-p', 'no:cacheprovider']
    environment = {**os.environ, 'PYTEST_DISABLE_PLUGIN_AUTOLOAD': '1', **without_training}
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.slow
def test_colcon_test_passes_where_nothing_for_training_is_installed(
    built: Path, without_training: dict[str, str]
) -> None:
    done = colcon('test', *folders(built), *SELECTION, bases=built, **without_training)
    assert done.returncode == 0, done.stderr
    results = built / 'build' / 'anydepth_ros'
    told = colcon('test-result', '--verbose', '--test-result-base', str(results), bases=built)
    assert told.returncode == 0, told.stdout
    (suite,) = ElementTree.parse(results / 'pytest.xml').getroot().iter('testsuite')
    assert int(suite.get('tests', 0)) > 100
