"""``anydepth import``: files, report and refusals."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from anydepth_core.cli import main
from anydepth_core.data.coco import CocoDataset

pytest.importorskip('tqdm', reason='importing needs tqdm')

XML = (
    '<annotation><object><name>{}</name><difficult>1</difficult><bndbox><xmin>1</xmin>'
    '<ymin>2</ymin><xmax>21</xmax><ymax>22</ymax></bndbox></object></annotation>'
)


@pytest.fixture
def yolo(tmp_path: Path) -> Path:
    source = tmp_path / 'set'
    for folder in ('images', 'labels'):
        (source / folder).mkdir(parents=True)
    for number in range(10):
        picture = np.zeros((40, 60, 3), np.uint8)
        cv2.imwrite(str(source / 'images' / f'{number}.png'), picture)
        (source / 'labels' / f'{number}.txt').write_text(f'{number % 2} 0.5 0.5 0.5 0.5\n')
    (source / 'labels' / '9.txt').write_text('0 1 2 3\n' * 12)
    (source / 'data.yaml').write_text('names: [nut, bolt]\n')
    return source


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    source = tmp_path / 'voc'
    source.mkdir()
    for name in ('car', 'bus'):
        cv2.imwrite(str(source / f'{name}.png'), np.zeros((40, 60, 3), np.uint8))
        (source / f'{name}.xml').write_text(XML.format(name))
    return source


def test_the_report_names_classes_refused_lines_and_the_lines_for_the_recipe(
    yolo, tmp_path, capsys
):
    output = tmp_path / 'data' / 'train.json'
    assert main(['import', 'yolo', str(yolo), '--output', str(output)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[:3]] == [
        ['class', 'boxes', 'images'],
        ['nut', '5', '5'],
        ['bolt', '4', '4'],
    ]
    file = yolo / 'labels' / '9.txt'
    assert lines[3].startswith(f'refused: {file}:1: 3 numbers after the class')
    assert lines[12].startswith(f'refused: {file}:10: ')
    assert lines[13].startswith('refused: 2 more')
    assert lines[14] == f'{output}: 10 images, 1 of them without objects, 9 boxes'
    assert lines[15].endswith(
        f'--data {output.parent}:  data: {{train: train.json, train_images: ../set/images}}'
    )
    dataset = CocoDataset(output, output.parent / '../set/images')
    assert len(dataset) == 10 and dataset.target(0).boxes_xyxy_px.tolist() == [[15, 10, 45, 30]]


def test_images_are_divided_by_the_seed(yolo, tmp_path, capsys):
    def divide(seed: int) -> tuple[list[str], list[str]]:
        files = tmp_path / 'train.json', tmp_path / 'val.json'
        arguments = ['--output', str(files[0]), '--val', str(files[1]), '--val-share', '0.3']
        assert main(['import', 'yolo', str(yolo), *arguments, '--seed', str(seed)]) == 0
        train, val = (json.loads(file.read_text()) for file in files)
        assert train['categories'] == val['categories']
        names = tuple([image['file_name'] for image in part['images']] for part in (train, val))
        return names  # type: ignore[return-value]

    train, val = divide(0)
    assert (len(train), len(val)) == (7, 3) and not set(train) & set(val)
    assert divide(0) == (train, val) != divide(1)
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.endswith(
        'data: {train: train.json, train_images: set/images, '
        'val: val.json, val_images: set/images}'
    )


def test_strict_writes_nothing_where_something_is_refused(yolo, tmp_path, capsys):
    output, report = tmp_path / 'train.json', tmp_path / 'refused.txt'
    command = ['import', 'yolo', str(yolo), '--output', str(output), '--strict']
    assert main([*command, '--report', str(report)]) == 1
    assert not output.exists() and 'because of --strict' in capsys.readouterr().out
    assert len(report.read_text().splitlines()) == 12
    (yolo / 'labels' / '9.txt').write_text('')
    assert main(command) == 0 and output.exists()


def test_voc_options_reach_the_reader(voc, tmp_path):
    output = tmp_path / 'val.json'
    command = ['import', 'voc', str(voc), '--output', str(output)]
    assert main(command) == 0
    coco = json.loads(output.read_text())
    assert [category['name'] for category in coco['categories']] == ['bus', 'car']
    assert coco['annotations'][0]['bbox'] == [1, 2, 20, 20]
    assert coco['annotations'][0]['iscrowd'] == 0
    (tmp_path / 'names').write_text('car\nbus\n')
    options = ['--skip-difficult', '--first-pixel', '1', '--names', str(tmp_path / 'names')]
    assert main([*command, *options]) == 0
    coco = json.loads(output.read_text())
    assert [category['name'] for category in coco['categories']] == ['car', 'bus']
    assert coco['annotations'][0]['bbox'] == [0, 1, 21, 21]
    assert coco['annotations'][0]['iscrowd'] == 1


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--val-share', '1'], '--val-share is 1.0: give more than 0 and less than 1'),
        (['--val', 'o.json'], '--val and --output are both o.json'),
        (['--val', 'v.json', '--val-share', '0.01'], '10 images cannot be divided'),
        (['--names', 'none'], 'none does not exist'),
    ],
)
def test_options_that_do_not_fit_are_refused(
    yolo, tmp_path, monkeypatch, capsys, options, message
):
    monkeypatch.chdir(tmp_path)
    assert main(['import', 'yolo', str(yolo), '--output', 'o.json', *options]) == 1
    assert message in capsys.readouterr().err and not Path('o.json').exists()


def test_a_source_without_any_object_is_refused(yolo, tmp_path, capsys):
    for file in (yolo / 'labels').iterdir():
        file.write_text('')
    assert main(['import', 'yolo', str(yolo), '--output', str(tmp_path / 'o.json')]) == 1
    assert 'has no object that can be used' in capsys.readouterr().err
    assert not (tmp_path / 'o.json').exists()
