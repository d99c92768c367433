"""``bundle.yaml``: what it says, what it may leave out, and how a wrong one is refused."""

from __future__ import annotations

import pytest
import yaml

from anydepth_core.depth import DepthConfig, OperatingPoint
from anydepth_core.export.bundle import load_bundle
from tests.anydepth_core.support.bundle_files import edit, refusal, replace_file
from tests.anydepth_core.support.toy_bundle import SPACE, toy_master, write_toy_bundle

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


@pytest.fixture
def bundle(tmp_path):
    return write_toy_bundle(tmp_path / 'toy')


def test_a_bundle_says_what_it_does_with_boxes_also_where_that_is_the_usual(bundle):
    value = yaml.safe_load((bundle.path / 'bundle.yaml').read_text())
    assert value['postprocessing'] == {'suppression': 'class_nms'}
    assert value['preprocessing'] == {
        'resize': 'letterbox',
        'interpolation': 'bilinear',
        'pad': 114,
        'channels': 'rgb',
        'scale': '1/255',
    }
    assert value['model']['max_decoder_layers'] is None
    assert (bundle.resize, bundle.suppression) == ('letterbox', 'class_nms')


def test_a_bundle_from_before_there_was_a_choice_is_a_letterbox_with_suppression(bundle):
    edit(
        bundle,
        lambda value: (value.pop('postprocessing'), value['model'].pop('max_decoder_layers')),
    )
    model = toy_master()
    entry = next(e for e in model.metadata_props if e.key == 'anydepth.max_decoder_layers')
    model.metadata_props.remove(entry)
    replace_file(bundle, 'master.onnx', model.SerializeToString())
    loaded = load_bundle(bundle.path)
    assert (loaded.resize, loaded.suppression) == ('letterbox', 'class_nms')
    assert loaded.space == SPACE


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
        (lambda v: v['preprocessing'].update(resize='stretch'), "'preprocessing'"),
        (lambda v: v.update(postprocessing=None), "'postprocessing' is None"),
        (lambda v: v.update(postprocessing={}), "'suppression' is missing in postprocessing"),
        (
            lambda v: v['postprocessing'].update(suppression='soft'),
            "'postprocessing.suppression' is 'soft', this version can only do class_nms or none",
        ),
        (
            lambda v: v['postprocessing'].update(suppression=[]),
            "'postprocessing.suppression' is []",
        ),
        (lambda v: v['postprocessing'].update(iou=0.5), "'iou' in postprocessing is unknown"),
        (lambda v: v['model'].update(max_decoder_layers=6), 'there is no decoder'),
        (
            lambda v: v['model'].update(decoder_layers=3, max_decoder_layers=2),
            "'model.max_decoder_layers' is 2, a whole number from 3",
        ),
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
