"""Checkpoint files."""

import json
import pickle

import pytest
from safetensors.torch import load_file, save_file
import torch

from anydepth_core import build_detector
from anydepth_core.checkpoint import load_checkpoint, read_metadata, save_checkpoint
from anydepth_core.checkpoint.io import load_weights, read_tensors, save_tensors


@pytest.fixture(scope='module')
def detector():
    torch.manual_seed(0)
    return build_detector('anydepth_yolov12n', variant='switch', num_classes=4)


def test_checkpoint_round_trips(detector, tmp_path):
    path = tmp_path / 'sub' / 'model.safetensors'
    save_checkpoint(path, detector, {'class_names': ['a', 'b', 'c', 'd'], 'image_size': [64, 64]})
    loaded = load_checkpoint(path)
    assert (loaded.name, loaded.variant, loaded.num_classes) == ('anydepth_yolov12n', 'switch', 4)
    assert not loaded.training
    state = loaded.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in detector.state_dict().items())
    assert read_metadata(path)['class_names'] == ['a', 'b', 'c', 'd']
    assert [p.name for p in path.parent.iterdir()] == ['model.safetensors']


def test_failed_write_leaves_the_old_file(detector, tmp_path):
    path = tmp_path / 'model.safetensors'
    save_checkpoint(path, detector, {'epoch': 1})
    with pytest.raises(TypeError):
        save_checkpoint(path, detector, {'epoch': object()})
    assert read_metadata(path)['epoch'] == 1
    assert len(list(tmp_path.iterdir())) == 1


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ('the file was unpickled',))


def test_no_file_is_unpickled(tmp_path):
    path = tmp_path / 'evil.pt'
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match='no readable safetensors file'):
        load_checkpoint(path)


def test_missing_truncated_and_foreign_files_are_refused(detector, tmp_path):
    with pytest.raises(ValueError, match='does not exist'):
        load_checkpoint(tmp_path / 'none.safetensors')
    path = tmp_path / 'model.safetensors'
    save_checkpoint(path, detector, {})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match='no readable safetensors file'):
        load_checkpoint(path)
    save_file({'x': torch.zeros(1)}, str(path))
    with pytest.raises(ValueError, match='holds format None'):
        load_checkpoint(path)


@pytest.mark.parametrize('place', [0.3, 0.7, 1.0])
def test_one_flipped_bit_is_noticed(detector, tmp_path, place):
    path = tmp_path / 'model.safetensors'
    save_checkpoint(path, detector, {})
    content = bytearray(path.read_bytes())
    content[int((len(content) - 1) * place)] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match='is damaged'):
        load_checkpoint(path)


def test_every_kind_of_tensor_is_hashed(tmp_path):
    tensors = {
        'none': torch.zeros(0, 3),
        'scalar': torch.tensor(3),
        'half': torch.ones(2, 3, dtype=torch.bfloat16),
        'turned': torch.arange(6.0).reshape(2, 3).T,
        'channels last': torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last),
        'flags': torch.tensor([True, False]),
    }
    path = tmp_path / 'tensors.safetensors'
    save_tensors(path, tensors, {'format': 'mine'})
    found, _ = read_tensors(path, expected_format='mine')
    assert all(torch.equal(found[name], value) for name, value in tensors.items())


def test_a_file_without_a_hash_is_read(detector, tmp_path):
    path = tmp_path / 'old.safetensors'
    save_checkpoint(path, detector, {'epoch': 3})
    text = json.dumps(read_metadata(path))
    save_file(load_file(path), str(path), metadata={'anydepth': text})
    loaded = load_checkpoint(path).state_dict()
    assert all(torch.equal(value, loaded[key]) for key, value in detector.state_dict().items())


def test_weights_of_another_architecture_are_listed(detector):
    other = build_detector('anydepth_yolov12n', variant='orig', num_classes=4).state_dict()
    with pytest.raises(ValueError) as caught:
        load_weights(detector, other)
    message = str(caught.value)
    assert 'do not fit anydepth_yolov12n (switch, 4 classes)' in message
    assert 'missing (' in message and 'unexpected (' in message and 'more)' in message


def test_weights_for_other_classes_are_misshaped(detector):
    other = build_detector('anydepth_yolov12n', variant='switch', num_classes=7).state_dict()
    with pytest.raises(
        ValueError, match=r'head.cls.0.2.weight \(7, 80, 1, 1\) instead of \(4,|misshaped'
    ):
        load_weights(detector, other)
