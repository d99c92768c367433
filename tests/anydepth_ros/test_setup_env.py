"""The set-up tool: what it refuses and what it recognises as done; nothing is installed here."""

from __future__ import annotations

from collections.abc import Sequence
import importlib.util
import json
from pathlib import Path
import shutil
import sys
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / 'tools' / f'{name}.py')
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def setup_env() -> ModuleType:
    return load('setup_env')


@pytest.mark.parametrize('version', [(3, 9, 18), (3, 13, 0)])
def test_a_python_out_of_range_is_refused(
    setup_env: ModuleType, monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...]
) -> None:
    monkeypatch.setattr(setup_env.sys, 'version_info', version)
    with pytest.raises(setup_env.SetupError, match='Python 3.10 to 3.12 is needed'):
        setup_env.check_python()


def test_missing_tools_are_named_with_the_package_that_has_them(
    setup_env: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(setup_env.shutil, 'which', lambda tool: None)
    with pytest.raises(setup_env.SetupError, match='gcc and g.. not found.*build-essential'):
        setup_env.check_compiler()
    monkeypatch.setattr(setup_env.shutil, 'which', lambda tool: f'/usr/bin/{tool}')
    monkeypatch.setattr(setup_env.sysconfig, 'get_paths', lambda: {'include': str(tmp_path)})
    with pytest.raises(setup_env.SetupError, match=r'Python.h.*-dev'):
        setup_env.check_compiler()


def probes(
    setup_env: ModuleType, monkeypatch: pytest.MonkeyPatch, answers: Sequence[str | None]
) -> None:
    remaining = iter(answers)
    monkeypatch.setattr(setup_env, 'probe', lambda command: next(remaining))


def test_a_sourced_ros_is_used_and_decides_numpy(
    setup_env: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    probes(setup_env, monkeypatch, ['1.26.4', 'LabelInfo'])
    assert setup_env.find_ros() == '1.26.4'
    arguments = setup_env.requirements(setup_env.Setup(tmp_path), 'run', '1.26.4')
    assert not any('requirements-ros' in word for word in arguments)
    assert (tmp_path / 'constraints.txt').read_text() == 'numpy<2\n'
    assert '-c' not in setup_env.requirements(setup_env.Setup(tmp_path), 'run', '2.1.0')


def test_a_sourced_ros_that_cannot_be_used_is_explained(
    setup_env: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('ROS_DISTRO', 'jazzy')
    probes(setup_env, monkeypatch, [None])
    with pytest.raises(
        setup_env.SetupError, match='ROS 2 jazzy is sourced, but .* cannot import rclpy'
    ):
        setup_env.find_ros()
    probes(setup_env, monkeypatch, ['2.1.0', None])
    with pytest.raises(setup_env.SetupError, match='sudo apt install ros-jazzy-vision-msgs'):
        setup_env.find_ros()


def test_without_ros_it_comes_from_pypi(
    setup_env: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv('ROS_DISTRO', raising=False)
    probes(setup_env, monkeypatch, [None])
    assert setup_env.find_ros() is None
    arguments = setup_env.requirements(setup_env.Setup(tmp_path), 'test', None)
    assert [Path(word).name for word in arguments[1::2]] == [
        'requirements-run.txt',
        'requirements-test.txt',
        'requirements-ros.txt',
    ]


def test_no_torch_is_installed_to_run() -> None:
    for name in ('run', 'ros'):
        assert 'torch' not in '\n'.join(
            line
            for line in (ROOT / 'tools' / f'requirements-{name}.txt').read_text().splitlines()
            if line[0] != '#'
        )


def test_a_finished_environment_is_left_alone(
    setup_env: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(setup_env, 'find_ros', lambda: None)
    monkeypatch.setattr(setup_env, 'set_up', lambda options, ros: calls.append(options.purpose))
    for purpose in ('run', 'run', 'test', 'run'):
        assert setup_env.main(['--venv', str(tmp_path), '--for', purpose]) == 0
    assert calls == ['run', 'test']
    assert (
        setup_env.main(['--venv', str(tmp_path), '--for', 'test', '--torch', 'torch==2.11']) == 0
    )
    assert calls == ['run', 'test', 'test']


def test_the_key_changes_with_what_is_installed(
    setup_env: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tools = tmp_path / 'tools'
    shutil.copytree(ROOT / 'tools', tools, ignore=shutil.ignore_patterns('__pycache__'))
    monkeypatch.setattr(setup_env, 'TOOLS', tools)
    before = setup_env.state_key(None)
    assert before == setup_env.state_key(None)
    assert before != setup_env.state_key('1.26.4')
    (tools / 'vision_msgs' / 'Point2D.msg').write_text('float32 x\n')
    assert before != setup_env.state_key(None)


def test_another_environment_does_not_leak_into_the_new_one(
    setup_env: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('_ROS_WHEELS_BOOTSTRAP_COMPLETE', '1')
    monkeypatch.setenv('LD_LIBRARY_PATH', '/other/venv/lib')
    environment = setup_env.clean_environment()
    assert not {'_ROS_WHEELS_BOOTSTRAP_COMPLETE', 'LD_LIBRARY_PATH'} & set(environment)


def test_a_failing_step_shows_the_end_of_its_output(
    setup_env: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    setup = setup_env.Setup(tmp_path)
    with pytest.raises(setup_env.SetupError, match='no such package'):
        setup.run([sys.executable, '-c', "print('no such package'); raise SystemExit(1)"])
    assert 'no such package' in (tmp_path / 'setup.log').read_text()


def test_the_environment_does_without_what_is_optional(
    setup_env: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    setup = setup_env.Setup(tmp_path)
    done: list[str] = []
    setup.optional_step('builder', lambda: done.append('here'), 'nothing is skipped')
    setup.optional_step(
        'builder', lambda: setup.run([sys.executable, '-c', 'exit(1)']), 'its tests are skipped'
    )
    printed = capsys.readouterr().out
    assert done == ['here'] and 'nothing is skipped' not in printed
    assert f'not installed (see {tmp_path / "setup.log"}): its tests are skipped' in printed


def test_a_wrong_type_hash_stops_the_message_build(tmp_path: Path) -> None:
    builder = load('build_vision_msgs')
    workspace = builder.Workspace(tmp_path / 'build', tmp_path / 'prefix', tmp_path / 'module')
    folder = workspace.generated('rosidl_generator_type_description') / 'msg'
    folder.mkdir(parents=True)
    for name, expected in builder.TYPE_HASHES.items():
        entry = {'type_name': f'vision_msgs/msg/{name}', 'hash_string': f'RIHS01_{expected}'}
        (folder / f'{name}.json').write_text(json.dumps({'type_hashes': [entry]}))
    builder.check_type_hashes(workspace)
    (folder / 'Point2D.json').write_text(
        (folder / 'Point2D.json').read_text().replace('eab0', 'eab1')
    )
    with pytest.raises(RuntimeError, match='Point2D: type hash is RIHS01_eab1'):
        builder.check_type_hashes(workspace)
