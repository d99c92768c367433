"""YOLO text labels: what is read, what is refused by line, and that garbage never ends it."""

from __future__ import annotations

import math
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from anydepth_core.data.importers.annotations import LabelledBox, Refused
from anydepth_core.data.importers.yolo import parse_label, read_labels

CLASSES = (0, 1, 2)
SIZE = (480, 640)

TEXT = st.text(st.characters(codec='utf-8'), max_size=60)
TOKENS = st.one_of(
    st.floats(-0.5, 1.5).map(str),
    st.floats().map(str),
    st.integers(-3, 1000).map(str),
    st.sampled_from(['nan', 'inf', '-0', '1e999', '0x1', '1_0', '٣', '', ',', '0,5']),
    TEXT,
)
SIDES = st.integers(1, 5000)


def read(tmp_path: Path, content: bytes | str, **options):
    path = tmp_path / 'a.txt'
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    boxes, problems = read_labels(path, SIZE, CLASSES, **options)
    return [(box.category, *box.xyxy_px) for box in boxes], [(p.line, p.text) for p in problems]


def test_a_box_is_its_centre_and_its_sides():
    category, corners = parse_label('2 0.5 0.25 0.2 0.5\n', CLASSES)
    assert category == 2 and corners == pytest.approx((0.4, 0, 0.6, 0.5))


def test_of_a_polygon_and_of_a_turned_box_the_bounding_box_is_taken():
    assert parse_label('0 .1 .2 .5 .1 .3 .6', CLASSES)[1] == (0.1, 0.1, 0.5, 0.6)
    assert parse_label('0 .5 .1 .9 .5 .5 .9 .1 .5', CLASSES)[1] == (0.1, 0.1, 0.9, 0.9)


def test_keypoints_after_the_box_are_passed_over():
    line = '1 .5 .5 .2 .2 .4 .4 2 .0 .0 0'
    assert parse_label(line, CLASSES, keypoints=True)[1] == pytest.approx((0.4, 0.4, 0.6, 0.6))


@pytest.mark.parametrize(
    ('line', 'reason'),
    [
        ('car 0.5 0.5 0.1 0.1', "'car' is no number"),
        ('0 0.5 0.5 0.1', '3 numbers after the class'),
        ('0', '0 numbers after the class'),
        ('0 0.5 0.5 0.1 0.1 0.93', '5 numbers after the class'),
        ('0 0.1 0.2 0.3 0.4 0.5 0.6 0.7', '7 numbers after the class'),
        ('3 0.5 0.5 0.1 0.1', 'class 3 has no name: classes go from 0 to 2'),
        ('-1 0.5 0.5 0.1 0.1', 'class -1 has no name'),
        ('0.5 0.5 0.5 0.1 0.1', "class '0.5' is no whole number"),
        ('0 320 240 50 60', '320 is not from 0 to 1'),
        ('0 0.5 nan 0.1 0.1', "'nan' is no finite number"),
        ('0 0.5 0.5 inf 0.1', "'inf' is no finite number"),
        ('0,0.5,0.5,0.1,0.1', "'0,0.5,0.5,0.1,0.1' is no number"),
        ('0 0.5 0.5 0 0.1', 'the box has no area in the image of 640x480 pixels'),
        ('0 0.5 0.5 -0.1 0.1', '-0.1 is not from 0 to 1'),
    ],
)
def test_a_line_that_is_no_label_is_refused_with_its_number(tmp_path, line, reason):
    boxes, problems = read(tmp_path, f'0 0.5 0.5 0.1 0.1\n\n{line}\n1 0.5 0.5 0.2 0.2\n')
    assert [box[0] for box in boxes] == [0, 1]
    ((number, text),) = problems
    assert number == 3 and text.startswith(reason)


def test_boxes_are_clipped_to_the_image(tmp_path):
    boxes, problems = read(tmp_path, '0 0.05 0.95 0.2 0.2')
    assert not problems
    assert boxes[0][1:] == pytest.approx((0, 0.85 * 480, 0.15 * 640, 480))


def test_a_repeated_line_counts_once(tmp_path):
    boxes, problems = read(tmp_path, '0 .5 .5 .1 .1\n1 .5 .5 .1 .1\n0 0.50 0.5 0.1 0.1\n')
    assert [box[0] for box in boxes] == [0, 1] and problems == [(3, 'repeats line 1')]


@pytest.mark.parametrize('content', [b'', b'\n \n\t\r\n', b'\xef\xbb\xbf'])
def test_an_empty_file_has_no_objects(tmp_path, content):
    assert read(tmp_path, content) == ([], [])


def test_no_file_has_no_objects(tmp_path):
    assert read_labels(tmp_path / 'none.txt', SIZE, CLASSES) == ((), [])


def test_windows_files_and_float_classes_are_read(tmp_path):
    boxes, problems = read(tmp_path, b'\xef\xbb\xbf1.0 0.5 0.5 0.1 0.1\r\n2 .1 .1 .1 .1\r\n')
    assert [box[0] for box in boxes] == [1, 2] and not problems


@given(st.lists(TOKENS, max_size=12).map(' '.join), st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_line_is_a_legal_label_or_refused(line, keypoints):
    try:
        category, corners = parse_label(line or '0', CLASSES, keypoints)
    except Refused as error:
        assert str(error) and '\n' not in str(error)
    else:
        assert category in CLASSES and all(map(math.isfinite, corners))
        assert corners[0] <= corners[2] + 2e-3 and corners[1] <= corners[3] + 2e-3


@given(st.binary(max_size=200) | st.lists(TOKENS, max_size=40).map(' '.join).map(str.encode))
@settings(max_examples=200, deadline=None)
def test_any_file_gives_boxes_inside_the_image_and_names_every_line_it_refuses(
    tmp_path_factory, content
):
    path = tmp_path_factory.mktemp('labels') / 'a.txt'
    path.write_bytes(content)
    boxes, problems = read_labels(path, SIZE, CLASSES)
    for box in boxes:
        left, top, right, bottom = box.xyxy_px
        assert 0 <= left < right <= SIZE[1] and 0 <= top < bottom <= SIZE[0]
    lines = content.split(b'\n')
    numbers = [problem.line for problem in problems]
    assert len(set(numbers)) == len(numbers)
    assert all(number is not None and 1 <= number <= len(lines) for number in numbers)


BOXES = st.lists(
    st.tuples(
        st.sampled_from(CLASSES),
        st.tuples(st.integers(0, 600), st.integers(0, 440)),
        st.tuples(st.integers(1, 40), st.integers(1, 40)),
    ),
    max_size=12,
    unique=True,
)


@given(BOXES, st.booleans())
@settings(max_examples=100, deadline=None)
def test_boxes_written_as_labels_are_read_back(tmp_path_factory, boxes, as_polygons):
    expected, lines = [], []
    for category, (left, top), (width, height) in boxes:
        right, bottom = left + width, top + height
        expected.append(LabelledBox(category, (left, top, right, bottom)))
        if as_polygons:
            points = [left, top, right, top, right, bottom, left, bottom]
            values = [value / SIZE[1 - n % 2] for n, value in enumerate(points)]
        else:
            values = [(left + right) / 2 / SIZE[1], (top + bottom) / 2 / SIZE[0]]
            values += [width / SIZE[1], height / SIZE[0]]
        lines.append(' '.join([str(category), *(f'{value:.6f}' for value in values)]))
    path = tmp_path_factory.mktemp('labels') / 'a.txt'
    path.write_text('\n'.join(lines))
    found, problems = read_labels(path, SIZE, CLASSES)
    assert not problems
    assert [box.category for box in found] == [box.category for box in expected]
    for box, wanted in zip(found, expected):
        assert box.xyxy_px == pytest.approx(wanted.xyxy_px, abs=1e-3)
