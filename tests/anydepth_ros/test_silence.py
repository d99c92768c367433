"""Why no image is answered: every cause, its words, and the remedy."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
import pytest

from anydepth_ros.silence import COMPRESSED, Publisher, RAW, stamp_problem, TopicView, why_silent
from anydepth_ros.tally import Tally, TallyReport

DAY_MS = 86_400_000.0
DRIVER = Publisher('/cam/driver', RAW, 'best_effort', 'volatile')
VIEW = TopicView(
    topic='/cam/image_raw',
    type=RAW,
    reliability='best_effort',
    durability='volatile',
    publishers=(),
    others=(),
    fragile=False,
)
NOTHING = replace(Tally(lambda: 0.0).report(), waiting_s=3.0, unanswered_s=3.0)
ARRIVING = replace(NOTHING, received=90, received_hz=30.0, received_ago_s=0.03, waiting_s=0.03)
GONE = replace(
    NOTHING, received=90, answered=90, received_ago_s=12.3, answered_ago_s=12.25, waiting_s=12.3
)
STOPPED = replace(GONE, received_ago_s=2.1, answered_ago_s=2.05, received_hz=17.4)


# Images arrive


def test_rejected_images_are_the_cause_with_the_last_reason() -> None:
    report = replace(
        ARRIVING, rejected=90, reason="image encoding '32FC1' is not supported", reason_age_s=0.02
    )
    assert why_silent(replace(VIEW, publishers=(DRIVER,)), report) == (
        'images arrive on /cam/image_raw (30.0 Hz) but all are rejected, 90 so far: '
        "image encoding '32FC1' is not supported"
    )


@pytest.mark.parametrize(
    ('age_ms', 'words'),
    [
        (3_600_000.0, ['3600.0 s old', 'NTP or chrony', 'use_sim_time:=true', 'max_image_age_ms']),
        (350.0, ['350 ms old', 'NTP or chrony', 'raise max_image_age_ms']),
        (-5000.0, ['5000 ms in the future', 'NTP or chrony']),
        (20_000 * DAY_MS, ['zero', '20000.0 days old', 'header.stamp', 'use_sim_time:=true']),
        (-20_000 * DAY_MS, ['in the future', 'use_sim_time:=false', '/clock']),
    ],
)
def test_images_skipped_because_of_their_age_are_the_cause(
    age_ms: float, words: list[str]
) -> None:
    report = replace(ARRIVING, too_old=88, too_old_ago_s=0.03, last_age_ms=age_ms)
    text = why_silent(VIEW, report)
    assert text.startswith('images arrive on /cam/image_raw (30.0 Hz) but all are skipped ')
    assert 'because of their age, 88 so far: ' in text
    assert [word for word in words if word not in text] == []


@pytest.mark.parametrize(('rejected_ago_s', 'word'), [(0.1, 'rejected'), (0.5, 'age')])
def test_the_latest_loss_is_the_cause(rejected_ago_s: float, word: str) -> None:
    report = replace(
        ARRIVING,
        rejected=1,
        reason='bad',
        reason_age_s=rejected_ago_s,
        too_old=1,
        too_old_ago_s=0.2,
        last_age_ms=900.0,
    )
    assert word in why_silent(VIEW, report).split(':')[0]


def test_a_loss_before_the_last_answer_is_no_cause() -> None:
    report = replace(
        ARRIVING,
        answered=60,
        answered_ago_s=4.0,
        unanswered_s=4.0,
        rejected=1,
        reason='bad',
        reason_age_s=60.0,
        too_old=1,
        too_old_ago_s=30.0,
        last_age_ms=20.0,
    )
    assert why_silent(VIEW, report) == (
        'images arrive on /cam/image_raw (30.0 Hz) but none was answered for 4.0 s: the model is '
        'still at work on one of them, choose a cheaper depth or raise image_timeout_s'
    )


def test_images_that_arrive_count_before_the_graph_shows_their_publisher() -> None:
    report = replace(ARRIVING, rejected=2, reason='bad', reason_age_s=0.02)
    assert 'rejected' in why_silent(replace(VIEW, publishers=()), report)


def test_images_that_were_rejected_until_the_camera_died_do_not_arrive() -> None:
    report = replace(STOPPED, answered_ago_s=None, rejected=9, reason='bad', reason_age_s=2.1)
    assert why_silent(VIEW, report).startswith('nobody publishes /cam/image_raw any more')


def test_a_slow_camera_arrives_between_its_images() -> None:
    report = replace(
        ARRIVING, received_hz=0.4, received_ago_s=2.4, rejected=2, reason='bad', reason_age_s=2.4
    )
    assert 'all are rejected' in why_silent(VIEW, report)


# Nobody publishes


def test_without_any_image_topic_the_driver_does_not_run() -> None:
    view = replace(VIEW, others=(('/rosout', 'rcl_interfaces/msg/Log'),))
    assert why_silent(view, NOTHING) == (
        'nobody publishes /cam/image_raw and there is no other image topic: start the camera '
        'driver, or look whether it runs in another ROS_DOMAIN_ID or network'
    )


def test_the_nearest_image_topic_is_named_with_how_to_use_it() -> None:
    view = replace(
        VIEW,
        topic='/camera/image_raw',
        others=(
            ('/camera/camera_info', 'sensor_msgs/msg/CameraInfo'),
            ('/arm/depth', RAW),
            ('/camera/color/image_raw', RAW),
        ),
    )
    assert why_silent(view, NOTHING) == (
        'nobody publishes /camera/image_raw, the nearest image topics are '
        '/camera/color/image_raw, /arm/depth: start with image_topic:=/camera/color/image_raw '
        '(or -r image:=/camera/color/image_raw)'
    )


@pytest.mark.parametrize(
    ('expected', 'other', 'nearest'),
    [
        ('/cam/imag_raw', '/d', '/cam/image_raw'),
        ('/image', '/d', '/very/long/name/of/robot/front/image'),
        ('/front/image', '/image', '/front/image_raw'),
    ],
)
def test_a_name_is_near_as_a_whole_or_by_its_end(expected: str, other: str, nearest: str) -> None:
    others = tuple((name, RAW) for name in ('/a', '/b', '/c', other, nearest))
    text = why_silent(replace(VIEW, topic=expected, others=others), NOTHING)
    assert f'image_topic:={nearest} ' in text


def test_at_most_three_topics_are_named() -> None:
    others = tuple((f'/cam{index}/image_raw', RAW) for index in range(9))
    text = why_silent(replace(VIEW, others=others), NOTHING)
    assert text.split('nearest image topics are ')[1].split(':')[0].count(',') == 2


def test_topics_of_the_expected_type_come_first() -> None:
    view = replace(VIEW, others=(('/cam/image_raw2', COMPRESSED), ('/front', RAW)))
    assert 'topics are /front, /cam/image_raw2: start with image_topic:=/front ' in why_silent(
        view, NOTHING
    )


def test_the_compressed_form_of_the_topic_is_found() -> None:
    view = replace(
        VIEW, others=(('/cam/image_rect', RAW), ('/cam/image_raw/compressed', COMPRESSED))
    )
    text = why_silent(view, NOTHING)
    assert text.endswith(
        'start with image_topic:=/cam/image_raw '
        '(or -r image/compressed:=/cam/image_raw/compressed) and image_transport:=compressed'
    )


def test_the_raw_form_of_a_compressed_topic_is_found() -> None:
    view = replace(
        VIEW,
        topic='/cam/image_raw/compressed',
        type=COMPRESSED,
        others=(('/cam/image_raw', RAW),),
    )
    assert why_silent(view, NOTHING).endswith(
        'start with image_topic:=/cam/image_raw (or -r image:=/cam/image_raw) '
        'and image_transport:=raw'
    )


def test_a_compressed_topic_without_the_suffix_is_reached_by_remapping() -> None:
    view = replace(
        VIEW,
        topic='/image/compressed',
        type=COMPRESSED,
        others=(('/phone/jpeg', COMPRESSED),),
    )
    assert why_silent(view, NOTHING).endswith('start with -r image/compressed:=/phone/jpeg')


def test_one_of_several_cameras_is_reached_by_remapping_its_own_name() -> None:
    view = replace(
        VIEW, topic='/front/image', name='front/image', others=(('/front/image_raw', RAW),)
    )
    assert why_silent(view, NOTHING).endswith('start with -r front/image:=/front/image_raw')


def test_a_camera_that_is_gone_is_said_to_be_gone_since_when() -> None:
    assert why_silent(VIEW, GONE) == (
        'nobody publishes /cam/image_raw any more, the last image came 12.3 s ago: restart the '
        'camera driver'
    )
    just_now = replace(STOPPED, received_ago_s=0.5, answered_ago_s=0.4)
    assert 'the last image came 0.5 s ago: restart' in why_silent(VIEW, just_now)
    view = replace(VIEW, others=(('/rear/image_raw', RAW),))
    assert why_silent(view, GONE).endswith(
        'restart the camera driver, or use another image topic: /rear/image_raw'
    )


# Wrong type


def test_compressed_images_on_the_topic_ask_for_the_compressed_transport() -> None:
    view = replace(
        VIEW, topic='/cam/image_raw/compressed', publishers=(replace(DRIVER, type=COMPRESSED),)
    )
    assert why_silent(view, NOTHING) == (
        '/cam/image_raw/compressed is published by /cam/driver as '
        'sensor_msgs/msg/CompressedImage but sensor_msgs/msg/Image is expected: start with '
        'image_topic:=/cam/image_raw (or -r image/compressed:=/cam/image_raw/compressed) and '
        'image_transport:=compressed'
    )


def test_raw_images_on_a_compressed_topic_ask_for_the_raw_transport() -> None:
    view = replace(VIEW, topic='/cam/small', type=COMPRESSED, publishers=(DRIVER,))
    text = why_silent(view, NOTHING)
    assert 'published by /cam/driver as sensor_msgs/msg/Image but' in text
    assert text.endswith(
        'start with image_topic:=/cam/small (or -r image:=/cam/small) and image_transport:=raw'
    )


def test_another_type_names_the_nearest_image_topics() -> None:
    info = replace(DRIVER, type='sensor_msgs/msg/CameraInfo')
    view = replace(VIEW, topic='/cam/info', publishers=(info,), others=(('/cam/image_raw', RAW),))
    text = why_silent(view, NOTHING)
    assert 'as sensor_msgs/msg/CameraInfo but sensor_msgs/msg/Image is expected' in text
    assert 'start with image_topic:=/cam/image_raw ' in text
    assert why_silent(replace(view, others=()), NOTHING).endswith('start the camera driver')


def test_one_publisher_of_the_right_type_is_enough() -> None:
    view = replace(VIEW, publishers=(replace(DRIVER, type=COMPRESSED), DRIVER))
    assert 'is expected' not in why_silent(view, NOTHING)


# Incompatible QoS


def test_a_best_effort_camera_does_not_serve_a_reliable_subscription() -> None:
    view = replace(VIEW, reliability='reliable', publishers=(DRIVER,))
    assert why_silent(view, NOTHING) == (
        '/cam/driver publishes /cam/image_raw with incompatible QoS RELIABILITY, it offers '
        'best_effort and reliable is asked for: set image_reliability:=best_effort'
    )


def test_a_volatile_camera_does_not_serve_a_transient_local_subscription() -> None:
    view = replace(VIEW, durability='transient_local', publishers=(DRIVER,))
    text = why_silent(view, NOTHING)
    assert 'incompatible QoS DURABILITY, it offers volatile and transient_local' in text
    assert text.endswith('qos_overrides./cam/image_raw.subscription.durability:=volatile')


@pytest.mark.parametrize(
    ('ours', 'theirs'),
    [
        (('best_effort', 'volatile'), ('best_effort', 'volatile')),
        (('best_effort', 'volatile'), ('reliable', 'transient_local')),
        (('reliable', 'transient_local'), ('reliable', 'transient_local')),
        (('reliable', 'transient_local'), ('unknown', 'unknown')),
        (('reliable', 'transient_local'), ('system_default', 'system_default')),
        (('system_default', 'system_default'), ('best_effort', 'volatile')),
    ],
)
def test_compatible_and_unknown_qos_is_no_cause(
    ours: tuple[str, str], theirs: tuple[str, str]
) -> None:
    publisher = Publisher('/cam/driver', RAW, *theirs)
    view = replace(VIEW, reliability=ours[0], durability=ours[1], publishers=(publisher,))
    assert 'incompatible' not in why_silent(view, NOTHING)


def test_one_compatible_publisher_is_enough() -> None:
    reliable = replace(DRIVER, node='/bag', reliability='reliable')
    view = replace(VIEW, reliability='reliable', publishers=(DRIVER, reliable))
    assert why_silent(view, NOTHING).startswith('/bag publishes /cam/image_raw and fits')


# Everything fits


def test_big_best_effort_images_over_fast_dds_are_suspected() -> None:
    view = replace(VIEW, fragile=True, publishers=(DRIVER,))
    text = why_silent(view, NOTHING)
    assert text.startswith(
        '/cam/driver publishes /cam/image_raw and fits, but no image arrives: best-effort images '
        'above 512 KiB do not pass the default shared memory of Fast DDS, set '
        'image_reliability:=reliable or export FASTDDS_DEFAULT_PROFILES_FILE='
    )
    assert 'share/anydepth_ros/config/fastdds_shm.xml' in text


def test_a_camera_that_is_there_but_sends_nothing_has_stopped() -> None:
    view = replace(VIEW, publishers=(DRIVER,))
    assert why_silent(view, NOTHING) == (
        '/cam/driver publishes /cam/image_raw and fits, but no image arrives: the camera has '
        'stopped, restart its driver, or its messages do not pass the network or firewall'
    )
    assert why_silent(view, STOPPED).startswith(
        '/cam/driver still publishes /cam/image_raw but the last image came 2.1 s ago: the camera'
    )


def test_a_camera_that_stopped_may_send_images_that_became_too_big() -> None:
    text = why_silent(replace(VIEW, publishers=(DRIVER,), fragile=True), STOPPED)
    assert 'the last image came 2.1 s ago: best-effort images above 512 KiB' in text
    assert 'smaller the camera has stopped, or raise image_timeout_s if it is that slow' in text


# Stamps


@pytest.mark.parametrize(
    ('age_ms', 'limit_ms'),
    [(None, 0.0), (0.0, 0.0), (150.0, 0.0), (9000.0, 0.0), (150.0, 200.0), (-15.0, 200.0)],
)
def test_good_stamps_are_no_problem(age_ms: float | None, limit_ms: float) -> None:
    assert stamp_problem(replace(ARRIVING, age_ms=age_ms), limit_ms) == ''


def test_images_above_the_limit_are_a_problem_with_age_and_limit() -> None:
    assert stamp_problem(replace(ARRIVING, age_ms=250.0), 200.0) == (
        'the images are 250 ms old by their stamps, the limit is 200 ms: synchronise the clocks '
        'of camera and detector (NTP or chrony), set use_sim_time:=true for a simulation or '
        'recording, raise max_image_age_ms if images take that long'
    )


def test_very_old_images_are_a_problem_without_a_limit() -> None:
    text = stamp_problem(replace(ARRIVING, age_ms=2 * DAY_MS), 0.0)
    assert text.startswith('the images are 2.0 days old by their stamps: synchronise')
    assert 'max_image_age_ms' not in text


@pytest.mark.parametrize('age_ms', [-120.0, None])
def test_stamps_in_the_future_are_a_problem(age_ms: float | None) -> None:
    report = replace(ARRIVING, age_ms=age_ms, last_age_ms=-120.0)
    assert stamp_problem(report, 0.0) == (
        'the stamps of the images are 120 ms in the future: synchronise the clocks of camera and '
        'detector (NTP or chrony)'
    )


@pytest.mark.parametrize('limit_ms', [0.0, 200.0])
def test_zero_stamps_and_the_wrong_time_are_told_from_clocks_that_differ(limit_ms: float) -> None:
    zero = stamp_problem(replace(ARRIVING, age_ms=20_781 * DAY_MS), limit_ms)
    assert 'zero or not of this clock (20781.0 days old)' in zero
    future = stamp_problem(replace(ARRIVING, age_ms=-20_781 * DAY_MS), limit_ms)
    assert 'set use_sim_time:=false, or make the simulation or recording publish /clock' in future


# Any input

TEXT = st.text(max_size=30)
TYPE = st.sampled_from([RAW, COMPRESSED, 'std_msgs/msg/String', ''])
POLICY = st.sampled_from(['reliable', 'best_effort', 'volatile', 'transient_local', 'unknown', ''])
PUBLISHERS = st.lists(st.builds(Publisher, TEXT, TYPE, POLICY, POLICY), max_size=3).map(tuple)
OTHERS = st.lists(st.tuples(TEXT, TYPE), max_size=5).map(tuple)
VIEWS = st.builds(TopicView, TEXT, TYPE, POLICY, POLICY, PUBLISHERS, OTHERS, st.booleans(), TEXT)
REPORTS = st.builds(TallyReport, too_old_ago_s=..., unanswered_s=...)


@given(VIEWS, REPORTS)
def test_there_is_always_one_line_that_says_why(view: TopicView, report: TallyReport) -> None:
    text = why_silent(view, report)
    assert text
    assert len(text.splitlines()) == 1


@given(REPORTS, st.floats())
def test_stamps_never_raise_and_fit_on_one_line(report: TallyReport, limit_ms: float) -> None:
    assert len(stamp_problem(report, limit_ms).splitlines()) <= 1
