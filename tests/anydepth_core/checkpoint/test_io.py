"""Checkpoint files."""

import pickle

import pytest
import torch

from anydepth_core import build_detector
from anydepth_core.checkpoint import load_checkpoint, read_metadata, save_checkpoint
from anydepth_core.checkpoint.io import load_weights


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
    from safetensors.torch import save_file

    save_file({'x': torch.zeros(1)}, str(path))
    with pytest.raises(ValueError, match='holds format None'):
        load_checkpoint(path)


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
