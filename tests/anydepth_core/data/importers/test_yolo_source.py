"""Where YOLO data sets keep images, labels and names: the layouts that are found."""

from __future__ import annotations

from pathlib import Path

import pytest

from anydepth_core.data.importers.yolo_source import open_yolo, read_names


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def described(folder: Path, text: str, name: str = 'data.yaml') -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return folder


def names_of(source) -> list[str]:
    return [path.name for path in source.images]


@pytest.mark.parametrize('entry', ['images/train', './images/train/', '[images/train]'])
def test_a_yaml_file_names_folder_and_classes(tmp_path, entry):
    described(tmp_path, f'train: {entry}\nval: images/val\nnames: {{0: nut, 2: bolt}}\n')
    image = tmp_path / 'images' / 'train' / 'sub' / 'a.JPG'
    touch(image, tmp_path / 'images' / 'val' / 'b.png', tmp_path / 'labels' / 'train' / 'x.txt')
    for source in (tmp_path, tmp_path / 'data.yaml'):
        found = open_yolo(source)
        assert found.images == (image,) and found.names == {0: 'nut', 2: 'bolt'}
        assert found.label_file(image) == tmp_path / 'labels' / 'train' / 'sub' / 'a.txt'
    assert names_of(open_yolo(tmp_path, 'val')) == ['b.png']


def test_folders_of_another_machine_and_of_exporters_are_found_beside_the_file(tmp_path):
    text = 'path: /home/someone/data\ntrain: ../train/images\nnames: [nut]\nkpt_shape: [17, 3]\n'
    described(tmp_path / 'set', text)
    touch(tmp_path / 'set' / 'train' / 'images' / 'a.jpg')
    touch(tmp_path / 'set' / 'train' / 'labels' / 'a.txt')
    found = open_yolo(tmp_path / 'set')
    assert names_of(found) == ['a.jpg'] and found.keypoints
    assert found.label_file(found.images[0]) == tmp_path / 'set' / 'train' / 'labels' / 'a.txt'


def test_a_text_file_lists_images(tmp_path):
    described(tmp_path, 'train: train.txt\nnames: [nut]\n')
    touch(tmp_path / 'images' / 'a.jpg', tmp_path / 'images' / 'b.jpg')
    (tmp_path / 'train.txt').write_text('./images/b.jpg\n\n')
    assert names_of(open_yolo(tmp_path)) == ['b.jpg']
    (tmp_path / 'train.txt').write_text('images/b.jpg\nimages/c.jpg\n')
    with pytest.raises(ValueError, match=r'train\.txt lists 1 images that do not exist.*c\.jpg'):
        open_yolo(tmp_path)


@pytest.mark.parametrize(
    ('image', 'split'),
    [('images/a.jpg', None), ('images/val/a.jpg', 'val'), ('val/images/a.jpg', 'val')],
)
def test_without_yaml_the_usual_folders_are_tried(tmp_path, image, split):
    touch(tmp_path / image, tmp_path / 'notes.txt')
    (tmp_path / 'classes.txt').write_text('nut\nbolt\n')
    found = open_yolo(tmp_path, split)
    assert names_of(found) == ['a.jpg'] and found.names == {0: 'nut', 1: 'bolt'}
    # there is no folder of labels
    assert found.label_file(found.images[0]) == (tmp_path / image).with_suffix('.txt')


def test_the_innermost_folder_of_images_has_its_labels_beside_it(tmp_path):
    folder = tmp_path / 'images' / 'set'
    touch(folder / 'images' / 'a.jpg', folder / 'labels' / 'a.txt', tmp_path / 'labels' / 'x.txt')
    (folder / 'classes.txt').write_text('nut')
    found = open_yolo(folder)
    assert found.label_file(found.images[0]) == folder / 'labels' / 'a.txt'


def test_names_given_win(tmp_path):
    described(tmp_path, 'train: .\nnames: [nut]\n')
    touch(tmp_path / 'a.png')
    (tmp_path / 'mine.txt').write_text('\ufeffscrew\n\n  cap \n', encoding='utf-8')
    assert open_yolo(tmp_path, names_file=tmp_path / 'mine.txt').names == {0: 'screw', 1: 'cap'}


@pytest.mark.parametrize(
    ('names', 'message'),
    [
        ('[]', 'has no class names'),
        ('[nut, nut]', 'class name nut twice'),
        ('[yes, no]', 'need quotes'),
        ('nut', 'must be a list of class names'),
        ('{a: nut}', 'must be a list of class names'),
        ('{-1: nut}', 'must be a list of class names'),
        ('[[nut]]', 'must be a list of class names'),
    ],
)
def test_wrong_names_are_refused(tmp_path, names, message):
    described(tmp_path, f'train: .\nnames: {names}\n')
    with pytest.raises(ValueError, match=f'data.yaml.*{message}'):
        open_yolo(tmp_path)


@pytest.mark.parametrize(
    ('text', 'split', 'message'),
    [
        ('train: [1]\nnames: [a]', 'train', "no folder of images under 'train'"),
        ('train: images\nnames: [a]', 'val', "no folder of images under 'val'.*train"),
        ('train: nowhere\nnames: [a]', 'train', 'names nowhere, which does not exist'),
        ('train: empty\nnames: [a]', 'train', "no image under 'train'"),
        ('names: [a]', 'train', 'no images found; looked in: .*images'),
        ('train: [', 'train', 'cannot read the YAML file'),
    ],
)
def test_what_is_not_found_is_named(tmp_path, text, split, message):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ValueError, match=message):
        open_yolo(described(tmp_path, text), split)


def test_sources_without_anything_are_refused(tmp_path):
    with pytest.raises(ValueError, match='does not exist: give a folder or a data.yaml'):
        open_yolo(tmp_path / 'none')
    touch(tmp_path / 'images' / 'a.jpg')
    with pytest.raises(ValueError, match='has no class names: give --names FILE'):
        open_yolo(tmp_path)


def test_a_file_of_names_must_be_text(tmp_path):
    path = tmp_path / 'names'
    path.write_bytes(b'\xff\xfe\x00n')
    with pytest.raises(ValueError, match='is no text in UTF-8'):
        read_names(path)
