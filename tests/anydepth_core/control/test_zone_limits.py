"""Limits of single zones: what is given by hand goes before the device's own trip points."""

from hypothesis import given
from hypothesis import strategies as st
import pytest

from anydepth_core.control.controller import Controller
from anydepth_core.control.signals import Signals
from anydepth_core.control.targets import Targets
from anydepth_core.control.zone_limits import (
    limit_of_trips,
    parse_zone_limits,
    with_zone_limits,
    ZoneLimit,
)
from anydepth_core.sensing.thermal import TripPoints
from tests.anydepth_core.control.support import profile

JETSON = {'cpu-thermal': TripPoints(99.0, 104.5)}


def limits(targets, zone):
    return targets.soft_limit_c(zone), targets.hard_limit_c(zone)


@pytest.mark.parametrize(
    ('text', 'zone', 'limit'),
    [
        ('gpu-thermal:80:95', 'gpu-thermal', ZoneLimit(80.0, 95.0)),
        ('gpu:80.5:', 'gpu', ZoneLimit(80.5, None)),
        (' gpu::95 ', 'gpu', ZoneLimit(None, 95.0)),
        ('a:b c:80:95', 'a:b c', ZoneLimit(80.0, 95.0)),
    ],
)
def test_a_limit_is_zone_soft_hard(text, zone, limit):
    assert parse_zone_limits([text]) == {zone: limit}


@pytest.mark.parametrize(
    ('texts', 'words'),
    [
        (['gpu'], "'gpu' is not legal: write zone:soft:hard"),
        (['gpu:80'], 'write zone:soft:hard'),
        (['gpu::'], 'write zone:soft:hard'),
        (['gpu: : '], 'write zone:soft:hard'),
        ([':80:90'], 'write zone:soft:hard'),
        (['*:80:90'], 'write zone:soft:hard'),
        ([80], 'write zone:soft:hard'),
        (['gpu:hot:90'], "'hot' must be a number above 0 and at most 150"),
        (['gpu:nan:90'], "'nan' must be a number"),
        (['gpu:80:1e9'], "'1e9' must be a number"),
        (['gpu:-5:'], "'-5' must be a number"),
        (['gpu:90:80'], 'soft must be below hard'),
        (['gpu:80:', 'gpu::90'], "names 'gpu' twice"),
    ],
)
def test_a_wrong_limit_is_refused_in_a_sentence(texts, words):
    with pytest.raises(ValueError, match=words.replace('*', '[*]')) as caught:
        parse_zone_limits(texts)
    assert len(str(caught.value).splitlines()) == 1


@given(st.lists(st.text(alphabet='ab:*19.- \n'), max_size=3))
def test_any_text_is_a_limit_or_one_sentence(texts):
    try:
        found = parse_zone_limits(texts)
    except ValueError as error:
        assert 'zone_limits' in str(error)
        return
    assert all(one != ZoneLimit() for one in found.values())


@pytest.mark.parametrize(
    ('points', 'limit'),
    [
        (TripPoints(99.0, 104.5), ZoneLimit(89.5, 94.5)),
        (TripPoints(80.0, 110.0), ZoneLimit(75.0, 100.0)),
        (TripPoints(95.0, None), ZoneLimit(90.0, None)),
        (TripPoints(None, 105.0), ZoneLimit(90.0, 95.0)),
        (TripPoints(100.0, 90.0), ZoneLimit(75.0, 80.0)),
    ],
)
def test_limits_are_below_where_the_device_acts(points, limit):
    assert limit_of_trips(points) == limit


def test_trip_points_fill_what_is_not_given():
    filled = with_zone_limits(Targets(), {}, JETSON)
    assert limits(filled, 'cpu-thermal') == (89.5, 94.5)
    assert limits(filled, 'other') == (None, None)
    assert (filled.trip_soft, filled.trip_hard) == (('cpu-thermal',), ('cpu-thermal',))


@pytest.mark.parametrize(
    ('given_limits', 'own', 'expected', 'trips'),
    [
        ({'temperature_soft_c': 70.0}, {}, (70.0, 94.5), ((), ('cpu-thermal',))),
        ({'temperature_soft_c': 96.0}, {}, (96.0, None), ((), ())),
        ({'temperature_hard_c': 97.0}, {}, (89.5, 97.0), (('cpu-thermal',), ())),
        ({'temperature_hard_c': 60.0}, {}, (55.0, 60.0), ((), ())),
        ({}, {'cpu-thermal': ZoneLimit(80.0, 85.0)}, (80.0, 85.0), ((), ())),
        ({'temperature_soft_c': 70.0}, {'cpu-thermal': ZoneLimit(80.0)}, (80.0, 94.5), None),
    ],
)
def test_what_is_given_by_hand_goes_before_trip_points(given_limits, own, expected, trips):
    filled = with_zone_limits(Targets(**given_limits), own, JETSON)
    assert limits(filled, 'cpu-thermal') == expected
    assert trips is None or (filled.trip_soft, filled.trip_hard) == trips


def test_a_limit_of_one_zone_that_contradicts_that_of_all_is_refused():
    with pytest.raises(ValueError, match='zone gpu'):
        with_zone_limits(Targets(temperature_hard_c=80.0), {'gpu': ZoneLimit(85.0)}, {})


CELSIUS = st.none() | st.floats(40.0, 130.0)
BY_HAND = st.none() | st.floats(1.0, 150.0)


@given(BY_HAND, BY_HAND, CELSIUS, CELSIUS)
def test_trip_points_never_make_targets_illegal(soft_c, hard_c, throttle_c, shutdown_c):
    if soft_c is not None and hard_c is not None and soft_c >= hard_c:
        return
    targets = Targets(temperature_soft_c=soft_c, temperature_hard_c=hard_c)
    filled = with_zone_limits(targets, {}, {'cpu': TripPoints(throttle_c, shutdown_c)})
    soft, hard = limits(filled, 'cpu')
    assert soft_c is None or soft == soft_c
    assert hard_c is None or hard == hard_c
    assert soft is None or hard is None or soft < hard


@pytest.mark.parametrize(
    ('celsius', 'words'),
    [
        (92.0, 'cpu-thermal 92.0 C over 89.5 C soft limit by the trip points of the device'),
        (95.0, 'cpu-thermal 95.0 C at its 94.5 C hard limit by the trip points of the device'),
    ],
)
def test_a_reason_tells_that_a_limit_is_a_trip_point(celsius, words):
    controller = Controller(profile(), with_zone_limits(Targets(), {}, JETSON))
    decision = controller.decide(Signals(0.0, temperatures_c={'cpu-thermal': celsius}))
    assert decision.authority == 'safety' and decision.reason.endswith(words)


def test_a_reason_tells_nothing_of_trip_points_where_the_limit_was_given():
    targets = with_zone_limits(Targets(temperature_soft_c=80.0), {}, JETSON)
    decision = Controller(profile(), targets).decide(
        Signals(0.0, temperatures_c={'cpu-thermal': 85.0})
    )
    assert decision.reason.endswith('cpu-thermal 85.0 C over 80.0 C soft limit')
