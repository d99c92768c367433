from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import onnx
from onnx import helper, TensorProto
import pytest

from anydepth_core.evaluation.peer import fill, parse_peer, parse_peers, Peer, PeerFile
from anydepth_core.runtime.backends import RuntimeSettings
from tests.anydepth_core.support.peer_model import write_model

SETTINGS = RuntimeSettings(threads=1)
IMAGE = np.full((48, 64, 3), (0, 0, 255), np.uint8)  # red, in BGR
SIZE = (96, 128)


def an_input(name, kind, *shape):
    return SimpleNamespace(name=name, type=f'tensor({kind})', shape=list(shape))


def test_shapes_are_those_of_the_file_and_open_ones_the_size(tmp_path):
    path = write_model(
        tmp_path / 'peer.onnx',
        ('images', TensorProto.FLOAT, ['N', 3, 'H', 64]),
        ('orig_target_sizes', TensorProto.INT64, ['N', 2]),
        ('threshold', TensorProto.FLOAT, []),
    )
    peer = Peer(PeerFile('peer', path), SETTINGS, IMAGE, SIZE)
    assert peer.inputs == {
        'images': (1, 3, 96, 64),
        'orig_target_sizes': (1, 2),
        'threshold': (),
    }
    timing = peer()
    assert timing.inference_ms > 0 and timing.preprocess_ms == timing.postprocess_ms == 0


def test_inputs_are_filled_by_type_and_shape():
    found = fill(
        [
            an_input('im_shape', 'float', 'N', 2),
            an_input('scale_factor', 'float', None, 2),
            an_input('image', 'uint8', 1, 'H', 'W', 3),
            an_input('score', 'float', 1),
            an_input('most', 'int64'),
            an_input('mask', 'bool', 1, -1),
        ],
        IMAGE,
        SIZE,
    )
    assert found['im_shape'].tolist() == [[128.0, 96.0]]
    assert found['scale_factor'].tolist() == [[1.0, 1.0]]
    assert found['image'].shape == (1, 96, 128, 3) and found['image'].dtype == np.uint8
    assert found['image'][0, 5, 5].tolist() == [255, 0, 0]
    assert found['score'].tolist() == [0.5] and found['score'].dtype == np.float32
    assert found['most'] == 1 and found['most'].shape == ()
    assert found['mask'].tolist() == [[True]]


def test_sizes_are_those_of_the_network_input_also_where_it_fixes_them():
    inputs = [an_input('sizes', 'int64', 1, 2), an_input('x', 'float16', 1, 3, 32, 64)]
    found = fill(inputs, IMAGE, SIZE)
    assert found['sizes'].tolist() == [[64, 32]] and found['x'].dtype == np.float16


@pytest.mark.parametrize(
    ('inputs', 'words'),
    [
        (
            [an_input('x', 'float', 1, 2)],
            r'none of its inputs \(x \[1, 2\]\) takes an image .*: give a detector',
        ),
        ([], r'none of its inputs \(\) takes an image'),
        ([an_input('x', 'float', 8, 3, 32, 32)], 'takes 8 images at once: export it for one'),
        ([an_input('x', 'float', 1, 1, 32, 32)], 'takes 1 channels, but images have 3'),
        ([an_input('x', 'string', 1)], r'x is a tensor\(string\), which cannot be filled'),
    ],
)
def test_inputs_that_cannot_be_filled_are_named(inputs, words):
    with pytest.raises(ValueError, match=words):
        fill(inputs, IMAGE, SIZE)


def test_a_file_that_is_no_model_is_refused_in_one_sentence(tmp_path):
    path = tmp_path / 'peer.onnx'
    path.write_bytes(b'this is no model')
    with pytest.raises(
        RuntimeError, match='ONNX Runtime cannot open it .*give a whole'
    ) as refusal:
        Peer(PeerFile('peer', path), SETTINGS, IMAGE, SIZE)
    assert '\n' not in str(refusal.value) and 'peer.onnx' in str(refusal.value)


def test_a_model_that_does_not_run_is_refused_with_what_it_was_given(tmp_path):
    graph = helper.make_graph(
        [helper.make_node('Reshape', ['images', 'shape'], ['out'])],
        'peer',
        [helper.make_tensor_value_info('images', TensorProto.FLOAT, [1, 3, 'H', 'W'])],
        [helper.make_tensor_value_info('out', TensorProto.FLOAT, [7])],
        [helper.make_tensor('shape', TensorProto.INT64, [1], [7])],
    )
    opset = [helper.make_opsetid('', 18)]
    path = tmp_path / 'peer.onnx'
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    words = 'cannot run it with images 1x3x96x128 .*: give another --compare-size where'
    with pytest.raises(RuntimeError, match=words) as refusal:
        Peer(PeerFile('peer', path), SETTINGS, IMAGE, SIZE)
    assert '\n' not in str(refusal.value)


def test_name_and_ap_stand_around_the_file(tmp_path):
    path = tmp_path / 'm.onnx'
    path.touch()
    odd = tmp_path / 'a=b:0.5'
    odd.touch()
    assert parse_peer(str(path)) == PeerFile('m', path)
    assert parse_peer(f'DEIM v2={path}:0.25') == PeerFile('DEIM v2', path, 0.25)
    assert parse_peer(f'{path}:1') == PeerFile('m', path, 1.0)
    assert parse_peer(str(odd)) == PeerFile('a=b:0', odd)
    assert parse_peer(f'x={odd}:0.1') == PeerFile('x', odd, 0.1)


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('{}:33.9', '33.9 is no AP, give a number from 0 to 1 such as 0.339'),
        ('{}:nan', 'nan is no AP'),
        ('{}:good', 'good is no AP'),
        ('{}-not', r'there is no file .*-not, give \[NAME=\]FILE\[:AP\]'),
        ('', 'there is no file'),
    ],
)
def test_what_cannot_be_meant_is_refused(text, words, tmp_path):
    path = tmp_path / 'm.onnx'
    path.touch()
    with pytest.raises(ValueError, match=words):
        parse_peer(text.format(path))


def test_two_peers_of_one_name_are_refused(tmp_path):
    path = tmp_path / 'm.onnx'
    path.touch()
    with pytest.raises(ValueError, match='two are called m, give names'):
        parse_peers([str(path), f'{path}:0.5'])
    assert len(parse_peers([str(path), f'other={path}'])) == 2
