"""Frame sources: video, folder, and everything that is neither."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from anydepth_ros.frames import FOLDER_FPS, FrameSource


def write_video(path: Path, count: int = 3, fps: float = 12.0) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), fps, (64, 48))
    for index in range(count):
        writer.write(np.full((48, 64, 3), 80 * index, np.uint8))
    writer.release()
    return path


def write_folder(path: Path, count: int = 3) -> Path:
    path.mkdir()
    for index in range(count):
        cv2.imwrite(str(path / f'{index}.png'), np.full((8, 8, 3), index, np.uint8))
    (path / 'notes.txt').write_text('no image')
    return path


def test_a_video_gives_its_frames_at_its_rate_and_ends(tmp_path: Path) -> None:
    source = FrameSource(str(write_video(tmp_path / 'clip.mp4')))
    frames = [source.read() for _ in range(4)]
    assert source.fps == pytest.approx(12.0)
    assert frames[3] is None
    means = [frame.mean() for frame in frames[:3] if frame is not None]
    assert means == pytest.approx([0, 80, 160], abs=4)


def test_a_folder_gives_its_images_in_name_order(tmp_path: Path) -> None:
    source = FrameSource(str(write_folder(tmp_path / 'images')))
    assert source.fps == FOLDER_FPS
    frames = [source.read() for _ in range(4)]
    assert [None if frame is None else int(frame[0, 0, 0]) for frame in frames] == [0, 1, 2, None]


def test_looping_begins_anew(tmp_path: Path) -> None:
    for path in (write_folder(tmp_path / 'images', 2), write_video(tmp_path / 'clip.mp4', 2)):
        source = FrameSource(str(path), loop=True)
        frames = [source.read() for _ in range(5)]
        assert all(frame is not None for frame in frames)
        np.testing.assert_array_equal(frames[0], frames[4])


def test_an_unreadable_image_in_a_folder_is_skipped_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_folder(tmp_path / 'images', 1)
    (folder / '00.jpg').write_bytes(b'no jpeg')
    source = FrameSource(str(folder))
    assert source.read() is not None
    assert source.read() is None
    assert '00.jpg' in caplog.text


@pytest.mark.parametrize('source', ['', 'nowhere.mp4', 'rtsp://nowhere'])
def test_a_source_that_does_not_exist_is_refused(source: str) -> None:
    with pytest.raises(OSError, match='does not exist: give a video file'):
        FrameSource(source)


def test_files_without_a_frame_are_refused(tmp_path: Path) -> None:
    text = tmp_path / 'clip.mp4'
    text.write_bytes(b'no video')
    with pytest.raises(OSError, match='cannot be opened'):
        FrameSource(str(text))
    (tmp_path / 'void').mkdir()
    for loop in (False, True):
        with pytest.raises(OSError, match='holds no readable image'):
            FrameSource(str(tmp_path / 'void'), loop).read()


def test_a_missing_camera_is_refused() -> None:
    with pytest.raises(OSError, match='camera .97. cannot be opened'):
        FrameSource('97')
