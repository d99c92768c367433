"""Pascal VOC annotations: what is read, what is refused by line, and that nothing is expanded."""

from __future__ import annotations

import json
from pathlib import Path
import struct

import cv2
from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from anydepth_core.data.coco import CocoDataset
from anydepth_core.data.importers.annotations import Refused, to_coco
from anydepth_core.data.importers.voc import parse_voc, read_voc, VocOptions

pytest.importorskip('tqdm', reason='importing needs tqdm')

PATH = Path('a.xml')


def one(name: str = 'car', corners=(10, 20, 30, 40), more: str = '') -> str:
    box = ''.join(
        f'<{tag}>{value}</{tag}>' for tag, value in zip(('xmin', 'ymin', 'xmax', 'ymax'), corners)
    )
    return f'<object>\n<name>{name}</name>{more}<bndbox>{box}</bndbox></object>\n'


def xml(*objects: str, size: tuple[int, int] | None = (60, 80), name: str = 'a.png') -> str:
    stated = '' if size is None else f'<size><width>{size[1]}</width><height>{size[0]}</height>'
    stated += '' if size is None else '<depth>3</depth></size>'
    return f'<annotation>\n<filename>{name}</filename>{stated}\n{"".join(objects)}</annotation>'


def parse(text: str, **options):
    return parse_voc(text.encode(), PATH, **options)


def write(folder: Path, name: str, text: str, size: tuple[int, int] = (60, 80)) -> None:
    (folder / 'Annotations').mkdir(parents=True, exist_ok=True)
    (folder / 'JPEGImages').mkdir(exist_ok=True)
    (folder / 'Annotations' / f'{name}.xml').write_text(text)
    cv2.imwrite(str(folder / 'JPEGImages' / f'{name}.png'), np.zeros((*size, 3), np.uint8))


def boxes(imported) -> dict[str, list[tuple]]:
    return {
        image.path.name: [
            (imported.names[box.category], *box.xyxy_px, box.crowd) for box in image.boxes
        ]
        for image in imported.images
    }


def test_objects_are_read_with_name_corners_and_line():
    file = parse(xml(one(), one('bus', (1.5, 2, 3, 4), '<difficult>1</difficult>')))
    assert [(o.name, o.xyxy_px, o.difficult, o.line) for o in file.objects] == [
        ('car', (10, 20, 30, 40), False, 3),
        ('bus', (1.5, 2, 3, 4), True, 5),
    ]
    assert file.size == (60, 80) and file.file_name == 'a.png' and not file.problems


def test_the_original_files_count_from_one_and_name_the_last_pixel():
    (item,) = parse(xml(one(corners=(1, 1, 80, 60))), first_pixel=1).objects
    assert item.xyxy_px == (0, 0, 80, 60)


def test_parts_of_an_object_are_no_objects():
    part = '<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>'
    (item,) = parse(xml(one(more=part))).objects
    assert item.name == 'car' and item.xyxy_px == (10, 20, 30, 40)


@pytest.mark.parametrize(
    ('wrong', 'reason'),
    [
        ('<object><bndbox/></object>', 'the object has no name'),
        ('<object><name> </name></object>', 'the object has no name'),
        ('<object><name>car</name></object>', "'car' has no bndbox"),
        ('<object><name>car</name><bndbox><xmin>1</xmin></bndbox></object>', 'bndbox has no ymin'),
        (one(corners=('x', 1, 2, 3)), "'x' is no number"),
        (one(corners=(1, 1, 'nan', 3)), "'nan' is no finite number"),
        (one(corners=(30, 1, 20, 3)), "'car' ends before it begins"),
    ],
)
def test_an_object_that_cannot_be_used_is_refused_with_its_line(wrong, reason):
    file = parse(xml(one(), wrong, one('bus')))
    assert [item.name for item in file.objects] == ['car', 'bus']
    (problem,) = file.problems
    assert problem.line == 5 and problem.text.startswith(reason)
    assert str(problem).startswith('a.xml:5: ')


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (b'', 'no XML'),
        (b'<annotation><object></annotation>', 'no XML: mismatched tag: line 1'),
        (b'<html/>', "the outermost element is 'html', not annotation"),
        (b'\xff\xfe\x00', 'no XML'),
        (b'<?xml version="1.0" encoding="klingon"?><annotation/>', 'no XML'),
        (b'0 0.5 0.5 0.1 0.1', 'no XML'),
    ],
)
def test_a_file_that_is_no_annotation_is_refused(content, reason):
    with pytest.raises(Refused, match=reason):
        parse_voc(content, PATH)


@pytest.mark.parametrize(
    'declaration',
    [
        '<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">',
        '<!ENTITY b SYSTEM "file:///etc/passwd">',
        '<!ENTITY % b SYSTEM "http://localhost/x.dtd"> %b;',
    ],
)
def test_entities_are_refused_where_they_are_declared(declaration):
    text = (
        f'<!DOCTYPE annotation [{declaration}]><annotation><filename>&b;</filename></annotation>'
    )
    with pytest.raises(Refused, match='^it declares an entity'):
        parse_voc(text.encode(), PATH)


def test_an_outside_document_type_is_not_read():
    text = '<!DOCTYPE annotation SYSTEM "file:///etc/passwd"><annotation/>'
    assert parse_voc(text.encode(), PATH).objects == ()


FRAGMENTS = st.sampled_from(
    ['<annotation>', '</annotation>', '<object>', '</object>', '<name>', '</name>', '<bndbox>']
    + ['</bndbox>', '<xmin>', '</xmin>', '1', 'nan', '&amp;', '<!--', '-->', '<size>', '</size>']
    + ['<![CDATA[', ']]>', '<width>', '</width>', '<?xml?>', '\n', '<part/>', '\x00', 'é']
)


@given(st.binary(max_size=200) | st.lists(FRAGMENTS, max_size=30).map(''.join).map(str.encode))
@settings(max_examples=300, deadline=None)
def test_any_content_is_an_annotation_or_refused(content):
    try:
        file = parse_voc(content, PATH)
    except Refused as error:
        assert str(error)
    else:
        assert isinstance(file.objects, tuple)


NAMES = st.text(st.characters(codec='utf-8', exclude_categories=('C', 'Z')), min_size=1)
CORNERS = st.tuples(*[st.integers(0, 40)] * 2, *[st.integers(41, 200)] * 2)


@given(st.lists(st.tuples(NAMES, CORNERS), max_size=6), st.sampled_from([0, 1]))
@settings(max_examples=100, deadline=None)
def test_objects_written_as_xml_are_read_back(objects, first_pixel):
    from xml.sax.saxutils import escape

    file = parse(xml(*(one(escape(n), c) for n, c in objects)), first_pixel=first_pixel)
    assert not file.problems
    assert [item.name for item in file.objects] == [name for name, _ in objects]
    for item, (_, corners) in zip(file.objects, objects):
        assert item.xyxy_px == tuple(np.subtract(corners, (first_pixel, first_pixel, 0, 0)))


def test_a_folder_is_read_with_the_classes_of_all_its_splits(tmp_path):
    write(tmp_path, 'a', xml(one('car'), one('bus', (70, 50, 90, 70))))
    write(tmp_path, 'b', xml(one('axle', (1, 1, 9, 9), '<difficult>1</difficult>'), one('car')))
    write(tmp_path, 'c', xml())
    lists = tmp_path / 'ImageSets' / 'Main'
    lists.mkdir(parents=True)
    (lists / 'train.txt').write_text('a\nc -1\n')
    found = read_voc(tmp_path, 'train')
    assert found.names == {0: 'axle', 1: 'bus', 2: 'car'} and not found.problems
    assert boxes(found) == {
        'a.png': [('car', 10, 20, 30, 40, False), ('bus', 70, 50, 80, 60, False)],
        'c.png': [],
    }
    everything = read_voc(tmp_path, options=VocOptions(skip_difficult=True))
    assert boxes(everything)['b.png'][0] == ('axle', 1, 1, 9, 9, True)
    assert boxes(read_voc(tmp_path))['b.png'][0] == ('axle', 1, 1, 9, 9, False)
    with pytest.raises(ValueError, match=r'has no ImageSets/Main/val\.txt'):
        read_voc(tmp_path, 'val')


def test_classes_given_are_used_and_others_refused(tmp_path):
    write(tmp_path, 'a', xml(one('car'), one('bus')))
    found = read_voc(tmp_path, names={0: 'bus'})
    assert boxes(found) == {'a.png': [('bus', 10, 20, 30, 40, False)]}
    (problem,) = found.problems
    assert problem.line == 3 and "class 'car' is not among the names given" in problem.text


def test_images_are_found_by_the_name_of_the_annotation_then_as_it_says(tmp_path):
    write(tmp_path, 'a', xml(one(), name='old.png'))
    write(tmp_path, 'b', xml(one(), name='C:\\data\\picture.png'))
    (tmp_path / 'JPEGImages' / 'b.png').rename(tmp_path / 'JPEGImages' / 'picture.png')
    write(tmp_path, 'gone', xml(one(), name='a.png'))
    (tmp_path / 'JPEGImages' / 'gone.png').unlink()
    found = read_voc(tmp_path)
    assert sorted(boxes(found)) == ['a.png', 'picture.png']
    assert len(found.images) == 2
    # gone.xml says a.png, but that one has an annotation of its own
    assert [problem.path.name for problem in found.problems] == ['gone.xml']


def test_images_of_the_same_name_belong_to_the_nearest_annotation(tmp_path):
    for part in ('day', 'night'):
        write(tmp_path / part, 'a', xml(one(part)))
    found = read_voc(tmp_path)
    for image in found.images:
        assert [found.names[box.category] for box in image.boxes] == [image.path.parts[-3]]


def test_files_that_do_not_fit_are_left_out_and_named(tmp_path):
    write(tmp_path, 'a', xml(one(), size=(100, 80)))
    write(tmp_path, 'b', xml(one()))
    (tmp_path / 'JPEGImages' / 'b.png').write_bytes(b'broken')
    write(tmp_path, 'c', '<annotation>')
    write(tmp_path, 'd', xml(one(corners=(90, 1, 99, 9))))
    write(tmp_path, 'e', xml(one(), name='none.png'))
    (tmp_path / 'JPEGImages' / 'e.png').unlink()
    write(tmp_path, 'f', xml(one(), size=None))
    write(tmp_path, 'g', xml(one(), size=(0, 0)))
    found = read_voc(tmp_path)
    assert sorted(boxes(found)) == ['d.png', 'f.png', 'g.png'] and boxes(found)['d.png'] == []
    said = {problem.path.name: problem.text for problem in found.problems}
    assert said['a.xml'] == 'it states 80x100 pixels, a.png has 80x60: the boxes would not fit'
    assert said['b.png'] == 'no readable image' and said['c.xml'].startswith('no XML')
    assert said['d.xml'].startswith('the box has no area') and said['e.xml'].startswith('no image')
    assert len(said) == len(found.problems) == 5


def test_labels_made_before_an_image_was_turned_keep_their_size(tmp_path):
    """As the data set opens such images."""
    write(tmp_path, 'a', xml(one(corners=(1, 2, 50, 70)), size=(80, 60)))
    write(tmp_path, 'b', xml(one(), size=(60, 80)))
    write(tmp_path, 'c', xml(one(), size=(80, 60)))  # swapped, but not turned
    folder = tmp_path / 'JPEGImages'
    for name in ('a', 'b'):
        (folder / f'{name}.png').unlink()
        (folder / f'{name}.jpg').write_bytes(turned_jpeg((80, 60)))
    found = read_voc(tmp_path)
    assert [(image.path.name, image.size) for image in found.images] == [
        ('a.jpg', (80, 60)),
        ('b.jpg', (60, 80)),
    ]
    assert found.images[0].boxes[0].xyxy_px == (1, 2, 50, 70)
    assert [problem.path.name for problem in found.problems] == ['c.xml']
    coco = to_coco(found.images, found.names, folder)
    (tmp_path / 'out.json').write_text(json.dumps(coco))
    dataset = CocoDataset(tmp_path / 'out.json', folder)
    assert [dataset.image(index).shape[:2] for index in (0, 1)] == [(80, 60), (60, 80)]


def turned_jpeg(size: tuple[int, int]) -> bytes:
    """A JPEG of (height, width) that a viewer turns by a quarter (EXIF orientation 6)."""
    content = cv2.imencode('.jpg', np.zeros((*size, 3), np.uint8))[1].tobytes()
    entry = struct.pack('<HHIHH', 0x0112, 3, 1, 6, 0)
    exif = b'Exif\x00\x00II*\x00' + struct.pack('<IH', 8, 1) + entry + struct.pack('<I', 0)
    return content[:2] + b'\xff\xe1' + struct.pack('>H', len(exif) + 2) + exif + content[2:]


def test_a_folder_without_annotations_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r'has no annotation \*\.xml'):
        read_voc(tmp_path)
