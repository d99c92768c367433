"""Norms of single operating points: read back as written or refused, and used at their point."""

from __future__ import annotations

from collections.abc import Callable
import io
from pathlib import Path
from typing import Any
import zipfile

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import yaml

from anydepth_core.commands.bundle import torch_detect
from anydepth_core.depth import DepthConfig, DepthSpace, OperatingPoint
from anydepth_core.evaluation.recalibrate import statistics_at
from anydepth_core.evaluation.torch_predict import detector_of_bundle, torch_predict
from anydepth_core.export import verify
from anydepth_core.export.bundle import Bundle, load_bundle
from anydepth_core.export.master import initializers
from anydepth_core.export.onnx_export import with_norms
from anydepth_core.export.point_norms import Norms, norms_file, parse_norms, PointNorms
from anydepth_core.export.reference import place_errors, Reference
from anydepth_core.export.specialise import specialise
from anydepth_core.export.verify import check, TOLERANCE, verify_cases
from anydepth_core.models.detector import Detector
from anydepth_core.models.postprocess import DEFAULT
from anydepth_core.runtime.backends import RuntimeSettings
from anydepth_core.runtime.level_graphs import LevelGraphs
from anydepth_core.runtime.onnx_runtime import OnnxRuntime
from anydepth_core.runtime.tensorrt.cache import EngineKey, Environment
from tests.anydepth_core.support.bundle_files import edit, refusal, replace_file
from tests.anydepth_core.support.toy_bundle import (
    DETR_LADDER,
    DETR_SPACE,
    IMAGE_SIZE,
    LADDER,
    SPACE,
    toy_master,
    write_toy_bundle,
    write_toy_detr_bundle,
)

ENVIRONMENT = Environment('10.3.0', 'Orin', '8.7', '12.6')
MEAN, VARIANCE = 'c4.norm_base.running_mean', 'c4.norm_base.running_var'
OWN = {
    MEAN: np.array([0.2, 0.0, 0.1], np.float32),
    VARIANCE: np.array([0.5, 1.0, 2.0], np.float32),
}
KEY = (SPACE.base, IMAGE_SIZE)
POINT = LADDER[1]
OTHERS = (*LADDER[::2], OperatingPoint(SPACE.parse('10-0'), IMAGE_SIZE))
SHAPES = {tensor.name: tuple(tensor.dims) for tensor in initializers(toy_master().graph)}
FILE = Path('somewhere', 'norms.npz')
LONGEST = 700  # letters of a refusal
SIZE = (64, 64)


@pytest.fixture
def plain(tmp_path: Path) -> Bundle:
    return write_toy_bundle(tmp_path / 'plain')


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_toy_bundle(tmp_path / 'own', norms={KEY: OWN})


def master_with(master: onnx.ModelProto, norms: Norms) -> onnx.ModelProto:
    """Return a master that holds such statistics itself."""
    changed = onnx.ModelProto()
    changed.CopyFrom(master)
    for tensor in initializers(changed.graph):
        if tensor.name in norms:
            tensor.CopyFrom(onnx.numpy_helper.from_array(norms[tensor.name], tensor.name))
    return changed


def assert_same_norms(found: PointNorms, expected: PointNorms) -> None:
    assert {key: sorted(own) for key, own in found.items()} == {
        key: sorted(own) for key, own in expected.items()
    }
    for key, own in expected.items():
        for name, values in own.items():
            assert found[key][name].dtype == np.float32
            np.testing.assert_array_equal(found[key][name], values)


# The file


@pytest.mark.parametrize('space', [SPACE, DETR_SPACE])
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_what_is_written_is_read_back(space: DepthSpace, data: st.DataObject) -> None:
    sides = st.integers(1, 256).map(lambda number: 32 * number)
    keys = st.tuples(st.sampled_from([*space.all(), space.base]), st.tuples(sides, sides))
    values = st.lists(st.floats(0, 2.0**100, width=32), min_size=3, max_size=3)
    own = st.dictionaries(
        st.sampled_from([MEAN, VARIANCE]),
        values.map(lambda x: np.array(x, np.float32)),
        min_size=1,
    )
    norms = data.draw(st.dictionaries(keys, own, max_size=4))
    assert_same_norms(parse_norms(FILE, norms_file(space, norms), space, SHAPES), norms)


def test_the_same_norms_give_the_same_bytes_at_any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    content = norms_file(SPACE, {KEY: OWN})
    later = zipfile.time.localtime(2e9)  # type: ignore[attr-defined]
    monkeypatch.setattr(zipfile.time, 'localtime', lambda *_: later)  # type: ignore[attr-defined]
    copies = {name: values.copy() for name, values in OWN.items()}
    assert norms_file(SPACE, {KEY: copies}) == content


def taken_or_refused(content: bytes) -> None:
    try:
        norms = parse_norms(FILE, content, SPACE, SHAPES)
    except ValueError as error:
        assert str(FILE) in str(error) and 'export the bundle again' in str(error)
        assert '\n' not in str(error) and len(str(error)) < LONGEST
        return
    for (depth, size), own in norms.items():
        assert SPACE.parse(depth) == depth and all(side % 32 == 0 for side in size)
        for name, values in own.items():
            assert name.endswith(('running_mean', 'running_var'))
            assert values.shape == SHAPES[name] and np.isfinite(values).all()


CONTENT = norms_file(SPACE, {KEY: OWN, (SPACE.full, (64, 32)): {'p3.norm.running_var': OWN[MEAN]}})


@settings(max_examples=300, deadline=None)
@given(cut=st.floats(0, 1), junk=st.binary(max_size=8), more=st.integers(-20, 20))
def test_an_altered_file_is_taken_or_refused(cut: float, junk: bytes, more: int) -> None:
    place = int(cut * len(CONTENT))
    taken_or_refused(CONTENT[:place] + junk + CONTENT[max(0, place + len(junk) + more) :])


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=100), start=st.sampled_from([b'', b'PK\x03\x04', b'\x93NUMPY']))
def test_garbage_is_refused(content: bytes, start: bytes) -> None:
    with pytest.raises(ValueError, match='holds no norms of this bundle'):
        parse_norms(FILE, start + content, SPACE, SHAPES)


@settings(max_examples=50, deadline=None)
@given(length=st.integers(0, len(CONTENT) - 1))
def test_a_truncated_file_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match='holds no norms of this bundle'):
        parse_norms(FILE, CONTENT[:length], SPACE, SHAPES)


@settings(max_examples=100, deadline=None)
@given(
    # zipfile ends a name at a zero byte, and refuses to write an empty one
    key=st.text(st.characters(exclude_categories=['Cs'], exclude_characters='\0'), max_size=20)
    | st.sampled_from([f'{depth}@{size}' for depth in ('11-1', '2') for size in ('64x64', '64')]),
    name=st.sampled_from(sorted(SHAPES)) | st.text('a/.', max_size=3000),
    member=st.binary(max_size=200),
)
def test_members_of_any_name_and_content_are_taken_or_refused(
    key: str, name: str, member: bytes
) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, 'w') as file:
        file.writestr(f'{key}/{name}.npy', member)
    taken_or_refused(content.getvalue())
    array = io.BytesIO()
    np.save(array, OWN[MEAN])
    with zipfile.ZipFile(content, 'w') as file:
        file.writestr(f'{key}/{name}.npy', array.getvalue())
    taken_or_refused(content.getvalue())


def test_a_name_without_end_is_refused_in_a_short_sentence() -> None:
    content = io.BytesIO()
    np.savez(content, **{f'00-0@96x96/{"a" * 60_000}': OWN[MEAN]})
    with pytest.raises(ValueError, match='holds no norms of this bundle') as caught:
        parse_norms(FILE, content.getvalue(), SPACE, SHAPES)
    assert len(str(caught.value)) < LONGEST


class Armed:
    """What must never be unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ('it was unpickled',)


def archive(**arrays: Any) -> bytes:
    content = io.BytesIO()
    np.savez_compressed(content, **{f'00-0@96x96/{key}': each for key, each in arrays.items()})
    return content.getvalue()


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (archive(**{MEAN: np.array([Armed()] * 3)}), 'allow_pickle=False'),
        (archive(**{'c9.norm.running_mean': OWN[MEAN]}), "'c9.norm.running_mean' is no norm"),
        (archive(**{'head.bias': OWN[MEAN]}), "'head.bias' is no norm"),
        (archive(**{'c4.norm_base.weight': OWN[MEAN]}), "'c4.norm_base.weight' is no norm"),
        (archive(**{MEAN: np.zeros(4, np.float32)}), 'not of its shape'),
        (archive(**{MEAN: np.float32(0)}), 'not of its shape'),
        (archive(**{MEAN: np.zeros(3)}), 'is no norm'),
        (archive(**{MEAN: OWN[MEAN].astype('>f4')}), 'is no norm'),
        (archive(**{MEAN: np.array(['a', 'b', 'c'])}), 'is no norm'),
        (archive(**{MEAN: OWN[MEAN] * np.float32(np.nan)}), 'no statistics'),
        (archive(**{VARIANCE: np.full(3, np.inf, np.float32)}), 'no statistics'),
        (archive(**{VARIANCE: np.array([1, -1e-6, 1], np.float32)}), 'no statistics'),
        (norms_file(DepthSpace(('a',), 1), {(DepthConfig((True,)), (96, 96)): OWN}), "depth '1'"),
        (norms_file(SPACE, {(SPACE.base, (96, 33)): OWN}), '33'),
    ],
)
def test_what_is_no_norm_of_the_bundle_is_refused(
    bundle: Bundle, content: bytes, words: str
) -> None:
    replace_file(bundle, 'norms.npz', content)
    sentence = refusal(bundle)
    assert words in sentence and 'norms.npz holds no norms of this bundle' in sentence


def test_a_mean_may_be_negative(bundle: Bundle) -> None:
    replace_file(bundle, 'norms.npz', norms_file(SPACE, {KEY: {MEAN: -OWN[MEAN]}}))
    np.testing.assert_array_equal(load_bundle(bundle.path).norms[KEY][MEAN], -OWN[MEAN])


# The bundle


def test_a_bundle_has_the_norms_that_it_was_written_with(bundle: Bundle) -> None:
    loaded = load_bundle(bundle.path)
    assert_same_norms(bundle.norms, {KEY: OWN})
    assert_same_norms(loaded.norms, {KEY: OWN})
    assert loaded == bundle
    assert yaml.safe_load((bundle.path / 'bundle.yaml').read_text())['norms'] == 'norms.npz'
    assert sorted(loaded.files) == ['labels.txt', 'master.onnx', 'norms.npz']


def test_depths_with_decoder_layers_keep_their_norms(tmp_path: Path) -> None:
    norms = {(point.depth, point.image_size): OWN for point in DETR_LADDER[:2]}
    assert_same_norms(write_toy_detr_bundle(tmp_path / 'detr', norms=norms).norms, norms)


def test_two_bundles_are_equal_only_with_the_same_norms(bundle: Bundle, tmp_path: Path) -> None:
    other = {KEY: {**OWN, MEAN: OWN[MEAN] + 1}}
    before = load_bundle(bundle.path)
    assert write_toy_bundle(bundle.path, norms=other) != before
    assert write_toy_bundle(bundle.path, norms={KEY: OWN}) == before


def test_a_bundle_without_norms_says_nothing_of_them_and_loads(plain: Bundle) -> None:
    assert 'norms' not in yaml.safe_load((plain.path / 'bundle.yaml').read_text())
    assert load_bundle(plain.path).norms == {}
    assert sorted(path.name for path in plain.path.iterdir()) == [
        'bundle.yaml',
        'labels.txt',
        'master.onnx',
    ]


def test_norms_of_an_older_bundle_do_not_stay_beside_a_newer_one(bundle: Bundle) -> None:
    newer = write_toy_bundle(bundle.path)
    assert newer.norms == {} and not (bundle.path / 'norms.npz').exists()


def test_norms_that_do_not_fit_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='holds no norms of this bundle'):
        write_toy_bundle(tmp_path / 'toy', norms={KEY: {MEAN: np.zeros(4, np.float32)}})
    assert [path.name for path in tmp_path.iterdir()] == ['toy-master.onnx']


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (lambda value: value['files'].pop('norms.npz'), "does not list 'norms.npz'"),
        (lambda value: value.update(norms='other.npz'), "does not list 'other.npz'"),
        (lambda value: value.update(norms='../norms.npz'), "does not list '../norms.npz'"),
        (lambda value: value.update(norms=None), "the field 'norms' is None"),
        (lambda value: value.update(norms=''), "the field 'norms' is ''"),
        (lambda value: value.update(norms='labels.txt'), 'labels.txt holds no norms'),
    ],
)
def test_a_manifest_that_names_no_norms_file_is_refused(
    bundle: Bundle, change: Callable[[dict[str, Any]], Any], words: str
) -> None:
    edit(bundle, change)
    assert words in refusal(bundle)


def test_norms_with_another_hash_or_gone_are_refused(bundle: Bundle) -> None:
    path = bundle.path / 'norms.npz'
    path.write_bytes(path.read_bytes() + b' ')
    assert 'norms.npz has the wrong SHA-256' in refusal(bundle)
    path.unlink()
    assert 'norms.npz is missing' in refusal(bundle)


# What is made of it


def test_the_weights_of_its_point_alone_have_another_hash(bundle: Bundle, plain: Bundle) -> None:
    assert bundle.master_sha256 == plain.master_sha256
    for point in OTHERS:
        assert bundle.weights_sha256(point.depth, point.image_size) == plain.master_sha256
    hashes = {plain.master_sha256, bundle.weights_sha256(*KEY)}
    for name, values in (
        (MEAN, OWN[MEAN] + 1),
        (VARIANCE, OWN[VARIANCE] + 1),
        ('c2.norm_base.running_mean', OWN[MEAN]),
    ):
        changed = write_toy_bundle(plain.path, norms={KEY: {**OWN, name: values}})
        hashes.add(changed.weights_sha256(*KEY))
    assert len(hashes) == 5
    assert load_bundle(bundle.path).weights_sha256(*KEY) == bundle.weights_sha256(*KEY)


def test_engines_of_its_point_alone_are_other_ones(bundle: Bundle, plain: Bundle) -> None:
    one, other = (
        [EngineKey.of(each, point, 'fp16', ENVIRONMENT) for point in (POINT, *OTHERS)]
        for each in (bundle, plain)
    )
    assert [a == b for a, b in zip(one, other)] == [False, True, True, True]


def graphs_of(bundle: Bundle, precision: str = 'fp32') -> list[bytes]:
    graphs = LevelGraphs(bundle)
    return [
        graphs.graph(point, precision).SerializeToString(deterministic=True)
        for point in (POINT, *OTHERS)
    ]


@pytest.mark.parametrize('precision', ['fp32', 'fp16'])
def test_the_graph_of_its_point_is_that_of_a_master_with_these_norms(
    bundle: Bundle, plain: Bundle, tmp_path: Path, precision: str
) -> None:
    master = master_with(toy_master(), OWN)
    expected = graphs_of(write_toy_bundle(tmp_path / 'expected', master=master), precision)
    before, found = graphs_of(plain, precision), graphs_of(bundle, precision)
    assert found[0] == expected[0] != before[0]
    assert found[1:] == before[1:]
    assert graphs_of(bundle, precision) == found
    assert_same_norms(bundle.norms, {KEY: OWN})


def test_onnx_runtime_serves_its_norms_at_its_point_alone(
    bundle: Bundle, plain: Bundle, tmp_path: Path
) -> None:
    master = master_with(toy_master(), OWN)
    bundles = (bundle, plain, write_toy_bundle(tmp_path / 'expected', master=master))
    own, trained, expected = (OnnxRuntime(each, RuntimeSettings(threads=1)) for each in bundles)
    for point in (POINT, *OTHERS):
        images = np.random.default_rng(0).random((1, 3, *point.image_size), np.float32)
        found = own.run(images, point)[1]
        served = expected if point is POINT else trained
        np.testing.assert_array_equal(found, served.run(images, point)[1])
    images = np.random.default_rng(0).random((1, 3, *IMAGE_SIZE), np.float32)
    assert np.abs(own.run(images, POINT)[1] - trained.run(images, POINT)[1]).max() > 0.01


# Compared with torch


def altered(detector: Detector) -> dict[str, np.ndarray]:
    """Return statistics a little off those of every norm of a detector."""
    rng = np.random.default_rng(0)
    norms: dict[str, np.ndarray] = {}
    for name, values in detector.state_dict().items():
        spread = rng.uniform(0.8, 1.2, values.shape).astype(np.float32)
        if name.endswith('running_mean'):
            norms[name] = values.numpy() + (spread - 1)
        elif name.endswith('running_var'):
            norms[name] = values.numpy() * spread
    return norms


@pytest.fixture(scope='module')
def points(detector: Detector) -> list[OperatingPoint]:
    """Return a ladder of which the second point has its own norms."""
    space = detector.depth_space
    return [OperatingPoint(depth, SIZE) for depth in (space.base, space.parse('1111-0000'))] + [
        OperatingPoint(space.parse('1111-0000'), (96, 96))
    ]


@pytest.fixture(scope='module')
def yolo(
    detector: Detector,
    master: onnx.ModelProto,
    points: list[OperatingPoint],
    tmp_path_factory: pytest.TempPathFactory,
) -> Bundle:
    return write_toy_bundle(
        tmp_path_factory.mktemp('norms') / 'yolo',
        master=master,
        model_name=detector.name,
        variant=detector.variant,
        space=detector.depth_space,
        class_names=list('abcde'),
        ladder=points,
        norms={(points[1].depth, SIZE): altered(detector)},
    )


def test_every_graph_computes_what_torch_does_with_the_norms_of_its_point(
    yolo: Bundle, points: list[OperatingPoint]
) -> None:
    graphs, trained = LevelGraphs(yolo), detector_of_bundle(yolo)
    for level, point in enumerate(points):
        reference = Reference(
            with_norms(trained, yolo.norms.get((point.depth, point.image_size), {})), TOLERANCE
        )
        case = reference.case(point.depth, point.image_size, 0)
        session = onnxruntime.InferenceSession(graphs.graph(point).SerializeToString())
        boxes, scores = session.run(['boxes', 'scores'], {'images': case.images})
        errors = reference.errors({'boxes': boxes, 'scores': scores}, case.outputs)
        assert max(errors.values()) < TOLERANCE
        before = Reference(trained, TOLERANCE).case(point.depth, point.image_size, 0)
        assert (place_errors(before.outputs, case.outputs)['scores'] > 0.01) == (level == 1)


def test_the_torch_detector_of_verify_has_the_norms_of_its_point(
    yolo: Bundle, points: list[OperatingPoint]
) -> None:
    image = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    detect, trained = torch_detect(yolo), detector_of_bundle(yolo)
    own = with_norms(trained, yolo.norms[points[1].depth, SIZE])

    def scores(detector: Detector, point: OperatingPoint) -> list[float]:
        predict = torch_predict(detector, point.depth, point.image_size, DEFAULT)
        return predict([image])[0].scores.tolist()

    for level, point in enumerate(points):
        found = detect(image, point).scores.tolist()
        assert found and found == scores(own if level == 1 else trained, point)
    assert scores(own, points[1]) != scores(trained, points[1])


@pytest.mark.parametrize('family', ['', 'rtdetr_'])
@pytest.mark.parametrize('stages', ['full', 'base', 'mixed'])
def test_what_is_estimated_at_any_depth_is_in_the_master(
    family: str, stages: str, request: pytest.FixtureRequest
) -> None:
    its_detector: Detector = request.getfixturevalue(family.rstrip('_') or 'detector')
    graph = request.getfixturevalue(f'{family}master').graph
    space = its_detector.depth_space
    mixed = DepthConfig(tuple(index % 2 == 0 for index in range(len(space.stages))), 2)
    depth = {'full': space.full, 'base': space.base}.get(
        stages, mixed if space.decoder_layers else space.parse('1010-1010')
    )
    norms = {(depth, SIZE): statistics_at(its_detector, [torch.rand(4, 3, *SIZE)], depth)}
    shapes = {tensor.name: tuple(tensor.dims) for tensor in initializers(graph)}
    assert_same_norms(parse_norms(FILE, norms_file(space, norms), space, shapes), norms)
    assert len(norms[depth, SIZE]) > 50


def test_verification_takes_norms_of_its_point_alone(
    detector: Detector, master: onnx.ModelProto, rtdetr: Detector, rtdetr_master: onnx.ModelProto
) -> None:
    for each, its_master in ((detector, master), (rtdetr, rtdetr_master)):
        space = each.depth_space
        before = {name: value.clone() for name, value in each.state_dict().items()}
        cases = [(space.base, SIZE), (space.base, (64, 96))]
        norms = {cases[0]: altered(each)}
        differences = verify_cases(each, its_master, cases, norms=norms)
        check(differences)
        # the master itself has other norms at the first one
        compared = {(entry.graph, entry.image_size) for entry in differences}
        assert compared == {('specialised', SIZE), ('specialised', (64, 96)), ('master', (64, 96))}
        assert all(value.equal(before[name]) for name, value in each.state_dict().items())


def test_verification_fails_where_the_graph_has_other_norms(
    detector: Detector, master: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deaf(*args: Any, norms: Norms | None) -> onnx.ModelProto:
        return specialise(*args)

    monkeypatch.setattr(verify, 'specialise', deaf)
    case = (detector.depth_space.base, SIZE)
    with pytest.raises(RuntimeError, match='specialised'):
        check(verify_cases(detector, master, [case], norms={case: altered(detector)}))
