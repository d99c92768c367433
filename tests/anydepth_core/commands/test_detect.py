from __future__ import annotations

import argparse
import json

import cv2
import numpy as np
import pytest

from anydepth_core.commands import detect
from tests.anydepth_core.support.toy_bundle import (
    CLASS_NAMES,
    picture,
    write_toy_bundle,
    write_toy_detr_bundle,
)


@pytest.fixture
def bundle(tmp_path):
    return write_toy_bundle(tmp_path / 'toy')


@pytest.fixture
def start(bundle, tmp_path):
    """Run the command with the toy bundle and one thread; the results go to tmp_path / 'out'."""

    def run(*arguments):
        parser = argparse.ArgumentParser()
        detect.add_arguments(parser)
        common = (
            '--bundle',
            str(bundle.path),
            '--threads',
            '1',
            '--output',
            str(tmp_path / 'out'),
        )
        return detect.run(parser.parse_args([*common, *map(str, arguments)]))

    return run


def results(tmp_path):
    return json.loads((tmp_path / 'out/detections.json').read_text())


def write_video(path, frames):
    writer = cv2.VideoWriter(
        str(path), cv2.VideoWriter.fourcc(*'MJPG'), 12.5, frames[0].shape[1::-1]
    )
    assert writer.isOpened()
    for frame in frames:
        writer.write(frame)
    writer.release()


def test_an_image_is_annotated_and_its_detections_are_listed(start, tmp_path, capsys):
    cv2.imwrite(str(tmp_path / 'one.png'), picture((1, 2, 0)))
    assert start(tmp_path / 'one.png', '--depth', '01-1') == 0
    found = results(tmp_path)
    assert (
        found['depth'] == '01-1'
        and found['class_names'] == list(CLASS_NAMES)
        and found['model'] == 'toy'
    )
    (row,) = found['images']
    assert (row['file'], row['height'], row['width']) == ('one.png', 96, 96)
    (detection,) = row['detections']
    assert detection['class'] == 'red' and detection['label'] == 0 and 0.9 < detection['score'] < 1
    assert detection['box_xyxy_px'] == [56, 24, 96, 72]
    annotated = cv2.imread(str(tmp_path / 'out/one.png'))
    assert annotated.shape == (96, 96, 3) and not np.array_equal(annotated, picture((1, 2, 0)))
    assert '1 detections in 1 images' in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == [
        'detections.json',
        'one.png',
    ]


def test_an_image_without_objects_is_listed_too(start, tmp_path):
    cv2.imwrite(str(tmp_path / 'none.png'), picture())
    assert start(tmp_path / 'none.png') == 0
    assert results(tmp_path)['images'][0]['detections'] == []


def test_a_level_runs_at_its_input_size(start, tmp_path):
    cv2.imwrite(str(tmp_path / 'one.png'), picture((0, 0, 0)))
    assert start(tmp_path / 'one.png', '--depth', '0') == 0
    assert results(tmp_path)['depth'] == '00-0' and results(tmp_path)['image_size'] == [64, 64]


def test_a_model_with_a_decoder_runs_as_its_bundle_says(start, tmp_path):
    detr = write_toy_detr_bundle(tmp_path / 'detr')
    image = np.repeat(picture((1, 0, 0), (1, 1, 0)), 2, 1)
    cv2.imwrite(str(tmp_path / 'wide.png'), image)
    arguments = ('--bundle', detr.path, '--depth', '0000-0d1')
    assert start(tmp_path / 'wide.png', *arguments) == 0
    assert results(tmp_path)['depth'] == '0000-0d1'
    boxes = [found['box_xyxy_px'] for found in results(tmp_path)['images'][0]['detections']]
    assert sorted(boxes) == [[0, 24, 80, 72], [48, 24, 144, 72]]


def test_a_folder_goes_on_after_an_unreadable_image_and_the_exit_code_says_so(
    start, tmp_path, capsys
):
    folder = tmp_path / 'in'
    folder.mkdir()
    cv2.imwrite(str(folder / 'a.png'), picture((0, 0, 0)))
    (folder / 'b.jpg').write_text('this is no picture')
    (folder / 'c.jpg').write_bytes(b'')
    cv2.imwrite(str(folder / 'd.JPG'), picture((0, 0, 1), size=(33, 51)))
    (folder / 'notes.txt').write_text('not an image by name')
    assert start(folder) == 1
    assert [row['file'] for row in results(tmp_path)['images']] == ['a.png', 'd.JPG']
    assert (tmp_path / 'out/d.JPG').exists()
    errors = capsys.readouterr().err.splitlines()
    assert (
        len(errors) == 2
        and 'b.jpg cannot be read as an image' in errors[0]
        and 'c.jpg' in errors[1]
    )


def test_a_video_becomes_an_annotated_mp4(start, tmp_path):
    write_video(tmp_path / 'clip.avi', [picture((0, 0, 0)), picture(), picture((2, 1, 2))])
    assert start(tmp_path / 'clip.avi') == 0
    rows = results(tmp_path)['images']
    assert [[found['class'] for found in row['detections']] for row in rows] == [
        ['red'],
        [],
        ['blue'],
    ]
    assert [(row['frame'], row['time_s']) for row in rows] == [(0, 0.0), (1, 0.08), (2, 0.16)]
    written = cv2.VideoCapture(str(tmp_path / 'out/clip.mp4'))
    assert written.get(cv2.CAP_PROP_FRAME_COUNT) == 3 and written.get(cv2.CAP_PROP_FPS) == 12.5
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == [
        'clip.mp4',
        'detections.json',
    ]


@pytest.mark.parametrize(
    ('name', 'content'), [('bad.jpg', b'nothing'), ('bad.mp4', b'nothing'), ('bad', b'')]
)
def test_an_unreadable_source_is_answered_in_one_sentence(start, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f'{name} cannot be read as an image') as refusal:
        start(tmp_path / name)
    assert '\n' not in str(refusal.value)
    assert not (tmp_path / 'out/detections.json').exists()


def test_a_source_that_does_not_exist_or_holds_no_image_is_refused(start, tmp_path):
    with pytest.raises(ValueError, match='does not exist'):
        start(tmp_path / 'nothing.jpg')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ValueError, match='holds no image'):
        start(tmp_path / 'empty')


def test_the_source_is_never_overwritten(start, tmp_path):
    (tmp_path / 'out').mkdir()
    cv2.imwrite(str(tmp_path / 'out/one.png'), picture())
    before = (tmp_path / 'out/one.png').read_bytes()
    for source in (tmp_path / 'out', tmp_path / 'out/one.png'):
        with pytest.raises(ValueError, match='nothing is overwritten'):
            start(source)
    assert (tmp_path / 'out/one.png').read_bytes() == before


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (('--depth', 'deep'), 'full'),
        (('--depth', '9'), 'levels 0'),
        (('--confidence', '2'), 'confidence'),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_written(start, tmp_path, arguments, words):
    cv2.imwrite(str(tmp_path / 'one.png'), picture())
    with pytest.raises(ValueError, match=words):
        start(tmp_path / 'one.png', *arguments)
    assert not (tmp_path / 'out').exists()


def test_an_output_that_is_a_file_is_refused(start, tmp_path):
    cv2.imwrite(str(tmp_path / 'one.png'), picture())
    (tmp_path / 'out').write_text('x')
    with pytest.raises(ValueError, match='is a file'):
        start(tmp_path / 'one.png')
