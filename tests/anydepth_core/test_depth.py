"""Depth text, spaces and ladders."""

from hypothesis import given
from hypothesis import strategies as st
import pytest

from anydepth_core.depth import DepthConfig, DepthSpace, Ladder, nearest, OperatingPoint

YOLO = DepthSpace(tuple(f'stage{i}' for i in range(8)), backbone_stages=4)
DETR = DepthSpace(('layer1', 'layer2', 'layer3', 'layer4', 'neck'), 4, decoder_layers=6)
FLAT = DepthSpace(('a', 'b'), backbone_stages=2)


def ladder():
    texts = ('base', '1111-0000', 'full')
    return Ladder(YOLO, tuple(OperatingPoint(YOLO.parse(text), (320, 320)) for text in texts))


@given(st.tuples(*[st.booleans()] * 8))
def test_text_form_round_trips(flags):
    depth = DepthConfig(flags)
    text = YOLO.format(depth)
    assert YOLO.parse(text) == depth
    assert YOLO.parse(text.replace('-', '')) == depth
    assert text.count('-') == 1 and len(text) == 9


@given(st.tuples(*[st.booleans()] * 5), st.integers(1, 6))
def test_text_form_with_decoder_layers_round_trips(flags, layers):
    depth = DepthConfig(flags, layers)
    assert DETR.parse(DETR.format(depth)) == depth


def test_full_and_base_are_named():
    assert YOLO.format(YOLO.parse('full')) == '1111-1111'
    assert YOLO.format(YOLO.parse(' Base ')) == '0000-0000'
    assert DETR.format(DETR.full) == '1111-1d6'
    assert DETR.format(DETR.base) == '0000-0d4'
    assert DETR.parse('0000-0') == DepthConfig((False,) * 5, 6)
    assert FLAT.format(FLAT.full) == '11'


def test_all_lists_every_depth_once():
    depths = list(YOLO.all())
    assert len(depths) == len(set(depths)) == 256
    assert depths[0] == YOLO.full and depths[-1] == YOLO.base


@pytest.mark.parametrize(
    'wrong',
    [
        '',
        'deep',
        '1111',
        '1111-111',
        '11111-111',
        '1111-11111',
        '1111_1111',
        '1111-1111d6',
        '1121-1111',
        None,
        3,
        True,
    ],
)
def test_wrong_depth_is_refused_with_the_legal_form(wrong):
    with pytest.raises(ValueError, match="'full', 'base' or 8 bits like '1111-0000'"):
        YOLO.parse(wrong)


@pytest.mark.parametrize('wrong', ['1111-1d0', '1111-1d7', '1111-1d', DepthConfig((True,) * 5)])
def test_wrong_decoder_layers_are_refused(wrong):
    with pytest.raises(ValueError, match='1 to 6 decoder layers'):
        DETR.parse(wrong)


@given(st.text(max_size=12))
def test_any_text_is_a_depth_or_a_value_error(text):
    try:
        depth = YOLO.parse(text)
    except ValueError:
        return
    assert len(depth.stages) == 8


def test_ladder_resolves_levels_and_texts():
    points = ladder()
    assert points.parse(0, (320, 320)) is points[0]
    assert points.parse('2', (320, 320)) is points[2]
    assert points.parse('full', (320, 320)) is points[2]
    other = points.parse('1111-0011', (320, 320))
    assert YOLO.format(other.depth) == '1111-0011' and points.level_of(other) is None
    assert points.level_of(points.parse('1111-0000', (320, 320))) == 1
    assert points.level_of(points.parse('1111-0000', (640, 640))) is None


def test_bits_of_a_short_detector_are_not_taken_for_a_level():
    points = Ladder(
        FLAT, (OperatingPoint(FLAT.base, (32, 32)), OperatingPoint(FLAT.full, (32, 32)))
    )
    assert points.parse('11', (32, 32)) is points[1]
    assert points.parse('1', (32, 32)) is points[1]


@pytest.mark.parametrize('wrong', [-1, 3, '7', 11111111])
def test_level_beyond_the_ladder_is_refused_with_the_levels(wrong):
    with pytest.raises(ValueError, match=r'levels 0 \(cheapest\) to 2 \(dearest\)'):
        ladder().parse(wrong, (320, 320))


@pytest.mark.parametrize('wrong', ['deep', True, 1.5])
def test_ladder_refuses_what_is_no_depth(wrong):
    with pytest.raises(ValueError, match='or a ladder level 0 to 2'):
        ladder().parse(wrong, (320, 320))


def point(text: str, size: int = 320, space: DepthSpace = YOLO) -> OperatingPoint:
    return OperatingPoint(space.parse(text), (size, size))


@pytest.mark.parametrize(
    ('points', 'wanted', 'expected'),
    [
        (['full', 'base'], '1111-0111', 'full'),
        (['full', 'base'], '0000-0001', 'base'),
        (['full', 'base'], '1111-0000', 'base'),  # equally far: the cheaper
        (['0000-1111', 'base'], '0100-1111', '0000-1111'),
    ],
)
def test_the_nearest_point_differs_in_the_fewest_stages(points, wanted, expected):
    assert nearest([point(text) for text in points], point(wanted)) == point(expected)


def test_the_nearest_point_has_a_similar_input_size():
    points = [point('full', 640), point('0111-1111', 256)]
    assert nearest(points, point('full', 320)) == points[1]


def test_the_nearest_point_has_a_similar_number_of_decoder_layers():
    points = [point('1111-1d1', space=DETR), point('1111-1d5', space=DETR)]
    assert nearest(points, point('1111-1d6', space=DETR)) == points[1]


@given(st.data())
def test_a_point_is_nearest_to_itself(data):
    flags = st.tuples(*[st.booleans()] * 8)
    points = [
        OperatingPoint(DepthConfig(data.draw(flags)), (size, size)) for size in (224, 320, 640)
    ]
    wanted = data.draw(st.sampled_from(points))
    assert nearest(points, wanted) == wanted
