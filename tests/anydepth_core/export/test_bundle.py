from __future__ import annotations

from dataclasses import replace
import hashlib

import numpy as np
import onnx
import pytest
import yaml

from anydepth_core.depth import DepthConfig, DepthSpace, OperatingPoint
from anydepth_core.export import bundle as bundle_module
from anydepth_core.export.bundle import default_bundle_path, load_bundle
from tests.anydepth_core.support.toy_bundle import (
    CLASS_NAMES,
    LADDER,
    SPACE,
    toy_master,
    write_toy_bundle,
)


@pytest.fixture
def bundle(tmp_path):
    return write_toy_bundle(tmp_path / 'toy')


def edit(bundle, change):
    """Change the parsed bundle.yaml in place and write it back."""
    path = bundle.path / 'bundle.yaml'
    value = yaml.safe_load(path.read_text())
    change(value)
    path.write_text(yaml.safe_dump(value))


def refusal(bundle):
    """The sentence with which the bundle is refused."""
    with pytest.raises(ValueError) as caught:
        load_bundle(bundle.path)
    assert '\n' not in str(caught.value)
    assert str(bundle.path) in str(caught.value)
    return str(caught.value)


def replace_file(bundle, name, content):
    """Put a file with a matching hash into the bundle."""
    (bundle.path / name).write_bytes(content)
    edit(bundle, lambda value: value['files'].update({name: hashlib.sha256(content).hexdigest()}))


def test_what_is_written_is_read_back(bundle):
    loaded = load_bundle(bundle.path)
    assert loaded == bundle
    assert loaded == load_bundle(str(bundle.path))
    assert (loaded.model_name, loaded.variant, loaded.space) == ('toy', 'orig', SPACE)
    assert loaded.class_names == CLASS_NAMES and loaded.image_size == (96, 96)
    assert loaded.ladder.points == LADDER
    assert loaded.metadata == {'licence': 'Apache-2.0'}
    assert loaded.master_path.read_bytes() == toy_master().SerializeToString()


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


@pytest.mark.parametrize(
    'text',
    ['', 'just text', '[1, 2]', 'format: [', '\x00', 'a: b: c', '{1: 2}', '!!python/object:x {}'],
)
def test_a_corrupted_yaml_is_refused_in_one_sentence(bundle, text):
    (bundle.path / 'bundle.yaml').write_text(text)
    assert 'bundle.yaml' in refusal(bundle)


def test_a_yaml_that_is_not_utf8_is_refused(bundle):
    (bundle.path / 'bundle.yaml').write_bytes(b'format: \xff\xfe')
    assert 'bundle.yaml' in refusal(bundle)


FIELDS = [
    'model',
    'classes',
    'image_size',
    'preprocessing',
    'ladder',
    'files',
    'metadata',
    'format',
]


@pytest.mark.parametrize('field', FIELDS)
def test_a_missing_field_is_named(bundle, field):
    edit(bundle, lambda value: value.pop(field))
    assert f"'{field}' is missing" in refusal(bundle)


@pytest.mark.parametrize(
    'field', ['name', 'variant', 'stages', 'backbone_stages', 'decoder_layers']
)
def test_a_missing_model_field_is_named(bundle, field):
    edit(bundle, lambda value: value['model'].pop(field))
    assert f"'{field}' is missing in model" in refusal(bundle)


def test_unknown_fields_are_named_with_the_allowed_ones(bundle):
    edit(bundle, lambda value: value.update(colour='red'))
    sentence = refusal(bundle)
    assert "'colour'" in sentence and 'image_size' in sentence


def test_an_unknown_field_of_a_ladder_level_is_named(bundle):
    edit(bundle, lambda value: value['ladder'][1].update(speed=1))
    sentence = refusal(bundle)
    assert "'speed'" in sentence and 'ladder[1]' in sentence


def test_a_newer_format_asks_for_an_update(bundle):
    edit(bundle, lambda value: value.update(format=2, brand_new=True))
    assert 'update anydepth' in refusal(bundle)


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (lambda v: v.update(format='one'), "'format' is 'one'"),
        (lambda v: v.update(format=True), "'format' is True"),
        (lambda v: v.update(image_size=[100, 96]), 'image_size [100, 96]'),
        (lambda v: v.update(image_size=96), 'image_size 96'),
        (lambda v: v.update(image_size=[96.0, 96.0]), 'image_size [96.0, 96.0]'),
        (lambda v: v.update(classes=None), "'classes' is None"),
        (lambda v: v.update(classes='other.txt'), "'files' does not list 'other.txt'"),
        (lambda v: v.update(metadata=[]), "'metadata' is []"),
        (lambda v: v['preprocessing'].update(pad=0), "'preprocessing'"),
        (lambda v: v.update(model='n'), "'model' is 'n'"),
        (lambda v: v['model'].update(stages=[]), "'model.stages' is []"),
        (lambda v: v['model'].update(backbone_stages=4), "'model.backbone_stages' is 4"),
        (lambda v: v['model'].update(decoder_layers=0), "'model.decoder_layers' is 0"),
        (lambda v: v['model'].update(name=''), "'model.name' is ''"),
        (lambda v: v.update(ladder=[]), 'ladder is empty'),
        (lambda v: v.update(ladder='full'), "'ladder' is 'full'"),
        (lambda v: v['ladder'][0].update(depth='1111'), "'ladder[0].depth'"),
        (lambda v: v['ladder'][0].update(depth=11), "'ladder[0].depth'"),
        (lambda v: v['ladder'][0].update(image_size=[64]), 'ladder[0].image_size [64]'),
        (
            lambda v: v['ladder'][0].update(metrics={'AP': 'high'}),
            "'ladder[0].metrics.AP' is 'high'",
        ),
        (
            lambda v: v['ladder'][0].update(metrics={'AP': float('nan')}),
            "'ladder[0].metrics.AP' is nan",
        ),
        (lambda v: v['files'].update({'../x': 'a' * 64}), "lists '../x'"),
        (lambda v: v['files'].update({'labels.txt': 'abc'}), "'files.labels.txt' is 'abc'"),
        (lambda v: v['files'].pop('master.onnx'), "does not list 'master.onnx'"),
    ],
)
def test_a_wrong_value_is_named_with_its_field(bundle, change, words):
    edit(bundle, change)
    assert words in refusal(bundle)


@pytest.mark.parametrize(
    'reorder',
    [
        lambda ladder: ladder.reverse(),
        lambda ladder: ladder.insert(0, ladder[2]),
        lambda ladder: ladder.append(ladder[2]),
        lambda ladder: [
            point['metrics'].update(multiply_adds=cost) for point, cost in zip(ladder, (2, 1, 3))
        ],
    ],
)
def test_a_ladder_that_is_not_cheapest_first_is_refused(bundle, reorder):
    edit(bundle, lambda value: reorder(value['ladder']))
    assert 'cheapest first' in refusal(bundle)


def test_depths_that_do_not_contain_each_other_may_come_in_any_order(tmp_path):
    one, two = DepthConfig((True, False, False)), DepthConfig((False, True, True))
    for depths in ((one, two), (two, one)):
        points = [OperatingPoint(depth, (64, 64)) for depth in depths]
        assert len(write_toy_bundle(tmp_path / 'b', ladder=points).ladder) == 2


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
        "expected scores of shape [batch, 3, anchors], found ['batch', 2, 'anchors']"
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
