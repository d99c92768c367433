"""How message types are described in a bag."""

from __future__ import annotations

from typing import Any

import pytest
from vision_msgs.msg import Detection2DArray

interfaces = pytest.importorskip(
    'rosbags.interfaces', reason='bags need rosbags: pip install rosbags'
)

from anydepth_ros.bag.definitions import Definitions, type_name  # noqa: E402

HASHES = {
    'vision_msgs/msg/Detection2DArray': (
        '214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968'
    ),
    'vision_msgs/msg/LabelInfo': (
        '3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783'
    ),
    'sensor_msgs/msg/Image': 'd31d41a9a4c4bc8eae9be757b0beed306564f7526c88ea6a4588fb9582527d47',
}


@pytest.mark.parametrize('msgtype', HASHES)
def test_type_hashes_are_those_of_ros(msgtype: str) -> None:
    assert Definitions().of(msgtype).type_hash == f'RIHS01_{HASHES[msgtype]}'


def recorded(msgtype: str, text: str, digest: str = '') -> Any:
    kind = (
        interfaces.MessageDefinitionFormat.MSG if text else interfaces.MessageDefinitionFormat.NONE
    )
    extra = interfaces.ConnectionExtRosbag2('cdr', [])
    return interfaces.Connection(
        1, '/t', msgtype, interfaces.MessageDefinition(kind, text), digest, 1, extra, None
    )


def test_a_recorded_definition_is_kept_and_its_hash_completed() -> None:
    msgtype = 'vision_msgs/msg/LabelInfo'
    definitions = Definitions()
    known = definitions.of(msgtype)
    assert definitions.recorded(recorded(msgtype, known.text)) == known
    assert definitions.recorded(recorded(msgtype, '')) == known
    own = definitions.recorded(recorded('my_msgs/msg/Pair', 'float32 a\nmy_msgs/Half b\n', 'x'))
    assert (own.text, own.type_hash) == ('float32 a\nmy_msgs/Half b\n', 'x')


def test_an_unknown_type_is_refused_in_one_sentence() -> None:
    with pytest.raises(ValueError, match='source the workspace that has my_msgs$'):
        Definitions().recorded(recorded('my_msgs/msg/Pair', ''))


def test_a_recorded_definition_with_a_gap_is_refused_in_one_sentence() -> None:
    with pytest.raises(ValueError, match='the bag describes my_msgs/msg/Pair in a way that'):
        Definitions().recorded(recorded('my_msgs/msg/Pair', 'my_msgs/Half b\n'))


def test_a_class_names_its_type() -> None:
    assert type_name(Detection2DArray) == 'vision_msgs/msg/Detection2DArray'
