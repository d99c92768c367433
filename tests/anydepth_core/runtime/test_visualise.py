from __future__ import annotations

import numpy as np
import pytest

from anydepth_core.runtime.visualise import colour, draw
from anydepth_core.structures import Detections


def detections(*boxes, labels=None, scores=None):
    count = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(count, 4),
        np.array(scores or [0.5] * count, np.float32),
        np.array(labels or [0] * count, np.int64),
    )


def test_a_new_image_comes_back_and_the_old_one_stays():
    image = np.full((300, 300, 3), 90, np.uint8)
    drawn = draw(image, detections((50, 60, 200, 220)), ['bolt'], 'full')
    assert drawn.shape == image.shape and drawn.dtype == np.uint8
    assert (image == 90).all() and not np.shares_memory(drawn, image)


def test_nothing_found_and_no_caption_leaves_the_picture_alone():
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    assert np.array_equal(draw(image, Detections.empty(), []), image)


def test_the_box_has_the_colour_of_its_label_and_lies_where_it_should():
    drawn = draw(
        np.zeros((300, 300, 3), np.uint8), detections((50, 60, 200, 220), labels=[3]), ['a'] * 4
    )
    assert tuple(drawn[140, 50]) == tuple(drawn[220, 125]) == colour(3)
    assert (drawn[140:180, 100:150] == 0).all()


def test_the_label_is_legible_dark_on_light_or_light_on_dark():
    for label in range(31):
        back = colour(label)
        drawn = draw(
            np.full((300, 300, 3), 128, np.uint8),
            detections((50, 100, 250, 200), labels=[label]),
            ['x'] * 31,
        )
        plate = drawn[84:97, 50:100].reshape(-1, 3)
        ink = plate[np.abs(plate.astype(int) - back).sum(axis=1).argmax()]
        weights = np.array([0.114, 0.587, 0.299])
        assert abs(ink @ weights - back @ weights) > 100


def test_line_width_and_text_grow_with_the_image():
    def changed(side):
        box = np.array([0.2, 0.3, 0.8, 0.9]) * side
        return np.count_nonzero(
            draw(np.zeros((side, side, 3), np.uint8), detections(box), ['bolt'])
        )

    assert changed(1080) > 5 * changed(300)


def test_neighbouring_labels_have_different_colours():
    colours = [np.array(colour(label)) for label in range(80)]
    assert min(np.abs(one - two).max() for one, two in zip(colours, colours[1:])) > 60
    assert len({tuple(value) for value in colours}) == 80


@pytest.mark.parametrize('shape', [(1, 1), (2, 400), (400, 2), (31, 33)])
def test_tiny_pictures_and_boxes_at_the_edge_are_drawn(shape):
    found = detections((0, 0, shape[1], shape[0]), (shape[1], shape[0], shape[1], shape[0]))
    assert draw(
        np.zeros((*shape, 3), np.uint8), found, ['a long class name'], 'a caption'
    ).shape == (*shape, 3)


def test_a_label_without_a_name_and_a_view_of_an_image_are_drawn():
    image = np.zeros((200, 200, 3), np.uint8)[::-1, ::-1]
    assert draw(image, detections((20, 40, 90, 90), labels=[7]), []).any()


def test_what_is_no_image_is_refused():
    with pytest.raises(ValueError, match='the image'):
        draw(np.zeros((4, 4), np.uint8), Detections.empty(), [])
