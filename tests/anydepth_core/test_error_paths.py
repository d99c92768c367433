"""What goes wrong outside of the program: one sentence, a status, nothing half written."""

from __future__ import annotations

import errno
import os
from pathlib import Path
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import cv2
import pytest

from anydepth_core import cli
from anydepth_core.errors import sentence
from anydepth_core.export import bundle as bundle_module
from anydepth_core.files import write_atomically
from tests.anydepth_core.support.toy_bundle import picture, write_toy_bundle


def no_space(*arguments: Any, **others: Any) -> None:
    raise OSError(errno.ENOSPC, 'No space left on device')


def run_failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    """Run a command that ends with this error."""

    def run(args: object) -> int:
        raise error

    real = cli.import_module

    def load(name: str) -> Any:
        module = real(name)
        if not name.endswith('.sensors'):
            return module
        return SimpleNamespace(HELP=module.HELP, add_arguments=module.add_arguments, run=run)

    monkeypatch.setattr(cli, 'import_module', load)
    return cli.main(['sensors'])


@pytest.mark.parametrize(
    ('error', 'text'),
    [
        (FileNotFoundError(errno.ENOENT, 'No such file', 'a.png'), 'a.png does not exist: check'),
        (PermissionError(errno.EACCES, 'denied', 'a.png'), 'a.png may not be read or written: '),
        (OSError(errno.EROFS, 'read-only', 'a.png'), 'a.png is on a file system that is read-o'),
        (OSError(errno.ENOSPC, 'full', 'a.png'), 'a.png cannot be written, the disk is full: '),
        (OSError(errno.ENOSPC, 'full', 'a.png', None, 'b.png'), 'b.png cannot be written, the'),
        (IsADirectoryError(errno.EISDIR, 'directory', b'a'), 'a is a directory: give a file'),
        (OSError('two\nlines'), 'two lines'),
        (OSError(errno.ENOENT, 'No such device'), '[Errno 2] No such device'),
        (ValueError(), 'ValueError'),
    ],
)
def test_an_error_is_one_sentence(error: BaseException, text: str) -> None:
    assert sentence(error).startswith(text)
    assert '\n' not in sentence(error)


@pytest.mark.parametrize(
    ('error', 'status', 'text'),
    [
        (ValueError('x is wrong: give y'), 1, 'anydepth sensors: x is wrong: give y\n'),
        (ModuleNotFoundError("No module named 'cv3'", name='cv3'), 1, 'docs/install.md lists it'),
        (ImportError('needs z: pip install z'), 1, 'anydepth sensors: needs z: pip install z\n'),
        (MemoryError(), 1, 'anydepth sensors: not enough memory: close other programs\n'),
        (KeyboardInterrupt(), 130, 'anydepth sensors: interrupted\n'),
    ],
)
def test_a_command_ends_with_a_sentence_and_a_status(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
    text: str,
) -> None:
    assert run_failing(monkeypatch, error) == status
    found = capsys.readouterr().err
    assert text in found and found.count('\n') == 1


def test_a_wrong_command_line_has_a_status_of_its_own() -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(['bundle', 'frobnicate'])
    assert left.value.code == 2


def test_a_reader_that_has_seen_enough_gets_no_traceback(tmp_path: Path) -> None:
    bundle = write_toy_bundle(tmp_path / 'toy')
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, '-m', 'anydepth_core.cli', 'bundle', 'show', str(bundle.path)],
        stdout=writing,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        timeout=120,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b'')


def test_a_full_disk_is_told_with_the_file_that_was_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / 'result.json'
    target.write_bytes(b'old')
    monkeypatch.setattr(Path, 'write_bytes', no_space)
    with pytest.raises(OSError) as caught:
        write_atomically(target, b'new')
    assert sentence(caught.value).startswith(f'{target} cannot be written, the disk is full')
    assert [path.name for path in tmp_path.iterdir()] == ['result.json']
    assert target.read_bytes() == b'old'


@pytest.mark.skipif(os.geteuid() == 0, reason='root may write everywhere')
def test_a_folder_without_permission_is_told_with_the_file_that_was_wanted(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OSError) as caught:
        write_atomically(tmp_path / 'result.json', b'new')
    tmp_path.chmod(0o700)
    assert sentence(caught.value).startswith(f'{tmp_path / "result.json"} may not be')


def test_a_bundle_on_a_full_disk_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = write_toy_bundle(tmp_path / 'toy')
    before = (bundle.path / 'bundle.yaml').read_bytes()

    def copy(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, 'full', str(source), None, str(target))

    monkeypatch.setattr(bundle_module.shutil, 'copyfile', copy)
    with pytest.raises(OSError) as caught:
        write_toy_bundle(tmp_path / 'toy')
    assert 'toy-master.onnx' not in sentence(caught.value)
    assert (bundle.path / 'bundle.yaml').read_bytes() == before
    assert not list(tmp_path.glob('.toy-*'))


def test_a_checkpoint_on_a_full_disk_names_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip('torch', reason='checkpoints need torch')
    from anydepth_core.checkpoint.io import save_tensors

    monkeypatch.setattr(Path, 'write_bytes', no_space)
    with pytest.raises(OSError) as caught:
        save_tensors(tmp_path / 'a.safetensors', {'x': torch.zeros(1)}, {})
    assert sentence(caught.value).startswith(f'{tmp_path / "a.safetensors"} cannot be written')
    assert not list(tmp_path.iterdir())


def test_a_video_that_was_not_finished_is_an_error_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class FullDisk:
        """OpenCV's writer when nothing can be written: it does not say so."""

        fourcc = staticmethod(cv2.VideoWriter.fourcc)

        def __init__(self, *arguments: Any) -> None:
            pass

        def isOpened(self) -> bool:
            return True

        def write(self, frame: Any) -> None:
            pass

        def release(self) -> None:
            pass

    bundle = write_toy_bundle(tmp_path / 'toy')
    clip = tmp_path / 'clip.avi'
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*'MJPG'), 10, (96, 96))
    writer.write(picture((0, 0, 0)))
    writer.release()
    monkeypatch.setattr(cv2, 'VideoWriter', FullDisk)
    output = tmp_path / 'out'
    arguments = ['detect', str(clip), '--bundle', str(bundle.path), '--output', str(output)]
    assert cli.main(arguments) == 1
    assert 'clip.mp4 cannot be written as a whole: is the disk full?' in capsys.readouterr().err
    assert not list(output.iterdir())


def test_a_source_that_cannot_be_read_makes_no_output_folder(tmp_path: Path) -> None:
    bundle = write_toy_bundle(tmp_path / 'toy')
    (tmp_path / 'bad.jpg').write_bytes(b'nothing')
    output = tmp_path / 'out'
    arguments = ['detect', str(tmp_path / 'bad.jpg'), '--bundle', str(bundle.path)]
    assert cli.main([*arguments, '--output', str(output)]) == 1
    assert not output.exists()
