from __future__ import annotations

from dataclasses import replace
import hashlib
import sys

import numpy as np
import onnx
import pytest

from anydepth_core.depth import DepthConfig, DepthSpace, OperatingPoint
from anydepth_core.export import bundle as bundle_module
from anydepth_core.export.bundle import default_bundle_path, load_bundle
from tests.anydepth_core.support.bundle_files import refusal, replace_file
from tests.anydepth_core.support.toy_bundle import (
    CLASS_NAMES,
    DETR_LADDER,
    DETR_SPACE,
    LADDER,
    SPACE,
    toy_master,
    write_toy_bundle,
    write_toy_detr_bundle,
)


@pytest.fixture
def bundle(tmp_path):
    return write_toy_bundle(tmp_path / 'toy')


@pytest.fixture
def detr_bundle(tmp_path):
    return write_toy_detr_bundle(tmp_path / 'detr')


def test_what_is_written_is_read_back(bundle):
    loaded = load_bundle(bundle.path)
    assert loaded == bundle
    assert loaded == load_bundle(str(bundle.path))
    assert (loaded.model_name, loaded.variant, loaded.space) == ('toy', 'orig', SPACE)
    assert loaded.class_names == CLASS_NAMES and loaded.image_size == (96, 96)
    assert loaded.ladder.points == LADDER
    assert loaded.metadata == {'licence': 'Apache-2.0'}
    assert loaded.master_path.read_bytes() == toy_master().SerializeToString()


def test_resize_suppression_and_decoder_are_read_back(detr_bundle):
    loaded = load_bundle(detr_bundle.path)
    assert loaded == detr_bundle
    assert (loaded.resize, loaded.suppression) == ('stretch', 'none')
    assert loaded.space == DETR_SPACE and loaded.ladder.points == DETR_LADDER


def test_depths_and_class_names_survive_yaml(tmp_path):
    space = DepthSpace(('a', 'b'), 2)
    points = [
        OperatingPoint(depth, (64, 64))
        for depth in (space.base, DepthConfig((False, True)), space.full)
    ]
    names = ('Größe', 'no', '0x1: #')
    written = write_toy_bundle(
        tmp_path / 'b', space=space, ladder=points, class_names=names, master=toy_master(space)
    )
    loaded = load_bundle(written.path)
    assert loaded.ladder.points == tuple(points) and loaded.class_names == names


def test_numpy_figures_become_plain_numbers(tmp_path):
    points = [
        replace(LADDER[0], metrics=(('AP', np.float64(0.5)), ('multiply_adds', np.int64(7))))
    ]
    loaded = load_bundle(write_toy_bundle(tmp_path / 'b', ladder=points).path)
    assert loaded.ladder[0].metrics == (('AP', 0.5), ('multiply_adds', 7.0))


def test_a_newer_bundle_takes_the_place_of_an_older_one_and_other_files_stay(bundle):
    (bundle.path / 'README.md').write_text('model card')
    newer = write_toy_bundle(bundle.path, metadata={'epochs': 3})
    assert load_bundle(bundle.path) == newer and newer.metadata == {'epochs': 3}
    assert (bundle.path / 'README.md').read_text() == 'model card'
    leftovers = [path.name for path in bundle.path.parent.iterdir()]
    assert sorted(leftovers) == ['toy', 'toy-master.onnx']


def test_a_bundle_that_would_be_wrong_is_not_written(bundle):
    before = {path.name: path.read_bytes() for path in bundle.path.iterdir()}
    for wrong in (
        {'class_names': ('one', 'two')},
        {'class_names': ('red', 'green', '')},
        {'class_names': ('red', ' green', 'blue')},
        {'ladder': LADDER[::-1]},
        {'image_size': (100, 96)},
        {'space': DepthSpace(('c2', 'c4', 'p4'), 2)},
        {'metadata': {'when': object()}},
        {'resize': 'crop'},
        {'suppression': 'soft'},
        {'space': DETR_SPACE, 'ladder': DETR_LADDER},
    ):
        with pytest.raises(ValueError):
            write_toy_bundle(bundle.path, **wrong)
        assert {path.name: path.read_bytes() for path in bundle.path.iterdir()} == before
    assert len(list(bundle.path.parent.iterdir())) == 2


def test_a_folder_with_other_files_is_not_overwritten(tmp_path):
    (tmp_path / 'home').mkdir()
    (tmp_path / 'home' / 'thesis.txt').write_text('x')
    with pytest.raises(ValueError, match='not empty and no bundle'):
        write_toy_bundle(tmp_path / 'home')
    assert (tmp_path / 'home' / 'thesis.txt').exists()


@pytest.mark.parametrize('name', ['master.onnx', 'labels.txt'])
def test_a_wrong_hash_names_file_expected_and_found(bundle, name):
    path = bundle.path / name
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    sentence = refusal(bundle)
    assert name in sentence and hashlib.sha256(content).hexdigest() in sentence
    assert hashlib.sha256(path.read_bytes()).hexdigest() in sentence
    assert 'download or export the bundle again' in sentence


@pytest.mark.parametrize('name', ['master.onnx', 'labels.txt', 'bundle.yaml'])
def test_a_missing_file_is_named(bundle, name):
    (bundle.path / name).unlink()
    assert name in refusal(bundle)


def test_every_listed_file_is_verified(bundle):
    replace_file(bundle, 'notes.txt', b'something')
    load_bundle(bundle.path)
    (bundle.path / 'notes.txt').write_text('changed')
    assert 'notes.txt' in refusal(bundle)


def test_what_is_no_directory_is_no_bundle(tmp_path):
    (tmp_path / 'file').write_text('x')
    for path in (tmp_path / 'file', tmp_path / 'nothing'):
        with pytest.raises(ValueError, match=f'{path} is no bundle.*bundle.yaml'):
            load_bundle(path)


def test_labels_have_one_name_a_line(bundle):
    replace_file(bundle, 'labels.txt', b'red\r\ngreen\r\nblue\r\n')
    assert load_bundle(bundle.path).class_names == CLASS_NAMES
    replace_file(bundle, 'labels.txt', b'red\n\nblue\n')
    assert 'labels.txt line 2 is empty' in refusal(bundle)
    replace_file(bundle, 'labels.txt', b'red\ngr\xfcn\nblue\n')
    assert 'UTF-8' in refusal(bundle)


def test_the_number_of_labels_must_be_the_number_of_scores(bundle):
    replace_file(bundle, 'labels.txt', b'red\ngreen\n')
    assert 'master.onnx does not belong to the bundle: expected num_classes 2, found 3' in refusal(
        bundle
    )


def test_the_master_must_belong_to_the_bundle(bundle):
    replace_file(
        bundle, 'master.onnx', toy_master(DepthSpace(('c2', 'c4'), 2)).SerializeToString()
    )
    sentence = refusal(bundle)
    assert "expected stages ['c2', 'c4', 'p3'], found ['c2', 'c4']" in sentence


def test_the_scores_must_have_one_row_a_label(bundle):
    model = toy_master()
    model.graph.output[1].type.tensor_type.shape.dim[1].dim_value = 2
    replace_file(bundle, 'master.onnx', model.SerializeToString())
    assert (
        'expected scores float32 [batch, 3, anchors], found float32 [batch, 2, anchors]'
        in refusal(bundle)
    )


@pytest.mark.parametrize('fact', ['name', 'variant', 'num_classes', 'backbone_stages'])
def test_a_master_that_states_something_else_is_refused(bundle, fact):
    model = toy_master()
    entry = next(entry for entry in model.metadata_props if entry.key == f'anydepth.{fact}')
    entry.value = '1'
    replace_file(bundle, 'master.onnx', model.SerializeToString())
    assert f'expected {fact} ' in refusal(bundle)
    model.metadata_props.remove(entry)
    replace_file(bundle, 'master.onnx', model.SerializeToString())
    assert f'expected {fact} ' in refusal(bundle)


def test_a_master_with_a_decoder_must_take_its_layers_and_others_must_not(bundle, detr_bundle):
    model = toy_master(DETR_SPACE)
    model.graph.input.pop()
    replace_file(detr_bundle, 'master.onnx', model.SerializeToString())
    expected = 'expected the inputs decoder_layers, depth_mask, images, found depth_mask, images'
    assert expected in refusal(detr_bundle)
    model = toy_master()
    model.graph.input.append(toy_master(DETR_SPACE).graph.input[2])
    replace_file(bundle, 'master.onnx', model.SerializeToString())
    assert 'found decoder_layers, depth_mask, images' in refusal(bundle)


@pytest.mark.parametrize('fact', ['decoder_layers', 'max_decoder_layers'])
def test_a_master_with_another_decoder_is_refused(detr_bundle, fact):
    model = toy_master(DETR_SPACE)
    next(e for e in model.metadata_props if e.key == f'anydepth.{fact}').value = '2'
    replace_file(detr_bundle, 'master.onnx', model.SerializeToString())
    wanted = {'decoder_layers': 3, 'max_decoder_layers': 4}[fact]
    assert f'expected {fact} {wanted}, found 2' in refusal(detr_bundle)


def test_another_onnx_is_no_master(bundle):
    model = toy_master()
    model.graph.input[0].name = 'pixels'
    replace_file(bundle, 'master.onnx', model.SerializeToString())
    assert 'no master ONNX' in refusal(bundle) and 'pixels' in refusal(bundle)
    model = toy_master()
    del model.metadata_props[:]
    replace_file(bundle, 'master.onnx', model.SerializeToString())
    assert 'master.onnx' in refusal(bundle)


@pytest.mark.parametrize(
    'content', [b'', b'not a model at all', onnx.ModelProto().SerializeToString()]
)
def test_what_is_no_onnx_is_refused(bundle, content):
    replace_file(bundle, 'master.onnx', content)
    assert 'master.onnx' in refusal(bundle)


def test_the_default_bundle_is_found_under_an_ament_prefix(bundle, tmp_path, monkeypatch):
    place = tmp_path / 'prefix/share/anydepth_ros/config/models/default'
    place.parent.mkdir(parents=True)
    bundle.path.rename(place)
    monkeypatch.setattr(
        bundle_module, '__file__', str(tmp_path / 'lib/site/anydepth_core/export/bundle.py')
    )
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'/nothing:{tmp_path / "prefix"}')
    assert default_bundle_path() == place
    assert load_bundle('default').path == place


def test_the_default_bundle_is_found_above_the_installed_package(bundle, tmp_path, monkeypatch):
    place = tmp_path / 'share/anydepth_ros/config/models/default'
    place.parent.mkdir(parents=True)
    bundle.path.rename(place)
    monkeypatch.delenv('AMENT_PREFIX_PATH', raising=False)
    module = tmp_path / 'lib/python3/site-packages/anydepth_core/export/bundle.py'
    monkeypatch.setattr(bundle_module, '__file__', str(module))
    assert default_bundle_path() == place


def test_without_a_default_bundle_the_error_says_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.delenv('AMENT_PREFIX_PATH', raising=False)
    monkeypatch.setattr(bundle_module, '__file__', str(tmp_path / 'a/b/c/d.py'))
    monkeypatch.setattr(bundle_module.sys, 'prefix', str(tmp_path / 'nowhere'))
    with pytest.raises(ValueError, match='default bundle.*AMENT_PREFIX_PATH'):
        load_bundle('default')


def test_a_missing_onnx_is_said_with_what_to_install(bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnx', None)
    with pytest.raises(RuntimeError, match="onnx is not installed: run 'pip install onnx'"):
        load_bundle(bundle.path)
