"""Whatever a bundle holds, it is served or refused with a ValueError in one short sentence."""

from __future__ import annotations

from collections.abc import Callable
import os
from pathlib import Path
import shutil
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
import onnx
import pytest
import yaml

from anydepth_core.export.bundle import Bundle, load_bundle
from anydepth_core.export.manifest import parse_manifest
from tests.anydepth_core.support.bundle_files import edit, refusal, replace_file
from tests.anydepth_core.support.toy_bundle import toy_master, write_toy_bundle

LONGEST = 3000  # letters of a refusal


@pytest.fixture(scope='module')
def toy(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    directory: Path = tmp_path_factory.mktemp('fuzz') / 'toy'
    return write_toy_bundle(directory)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_toy_bundle(tmp_path / 'toy')


PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(10**300, 10**400),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(['full', '11-1', '../x', 'master.onnx', 'letterbox', 96, [96, 96], 64 * 'a']),
)
ANYTHING = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=4)
    ),
    max_leaves=8,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Return every container of a parsed YAML with each of its keys."""
    keys = list(value) if isinstance(value, dict) else range(len(value))
    inner = [value[key] for key in keys if isinstance(value[key], (dict, list))]
    return [(value, key) for key in keys] + [place for one in inner for place in places(one)]


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_value_in_any_place_is_taken_or_refused_by_name(
    toy: Bundle, data: st.DataObject
) -> None:
    value = yaml.safe_load((toy.path / 'bundle.yaml').read_text())
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(places(value)))
        what = data.draw(st.sampled_from(['change', 'remove', 'add']))
        if what == 'change':
            container[key] = data.draw(ANYTHING)
        elif what == 'remove':
            del container[key]
        elif isinstance(container, dict):
            container[data.draw(st.text(max_size=8))] = data.draw(ANYTHING)
        else:
            container.append(data.draw(ANYTHING))
    try:
        manifest = parse_manifest(value)
    except ValueError as error:
        assert len(str(error)) < LONGEST
    else:
        assert parse_manifest(manifest.to_dict()) == manifest


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_text_is_taken_or_refused_in_one_sentence(
    toy: Bundle, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp('text') / 'toy'
    shutil.copytree(toy.path, folder)
    content = bytearray((folder / 'bundle.yaml').read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        end = min(len(content), start + data.draw(st.integers(0, 12)))
        content[start:end] = data.draw(
            st.binary(max_size=6)
            | st.sampled_from(
                [b'!!int', b'!!timestamp x', b'&a', b'*a', b': ', b'- ', b'\t', b'[']
            )
        )
    (folder / 'bundle.yaml').write_bytes(content)
    try:
        load_bundle(folder)
    except ValueError as error:
        assert str(folder) in str(error) and '\n' not in str(error)


@pytest.mark.parametrize(
    'text',
    [
        '[' * 20_000,
        'format: &a [*a]',
        'format: !!int ""',
        'format: !!timestamp soon',
        '? [1, 2]\n: 3',
        'format: 1\nfiles: ' + '9' * 5000,
        'format: 1' + ' ' * 1_000_000,
    ],
    ids=['deep', 'loop', 'empty int', 'no time', 'list as a name', 'long number', 'long file'],
)
def test_yaml_that_breaks_readers_is_refused(bundle: Bundle, text: str) -> None:
    (bundle.path / 'bundle.yaml').write_text(text)
    assert len(refusal(bundle)) < LONGEST


def test_a_few_lines_that_stand_for_a_billion_values_are_refused_at_once(bundle: Bundle) -> None:
    lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]']
    for level in range(1, 12):
        lines.append(f'a{level}: &a{level} [{", ".join([f"*a{level - 1}"] * 10)}]')
    (bundle.path / 'bundle.yaml').write_text('\n'.join([*lines, 'format: *a11']))
    assert len(refusal(bundle)) < LONGEST


@pytest.mark.parametrize(
    'name', ['../labels.txt', '/etc/hostname', 'a/b', '..', '.', '', 'a\\b', 'x\x00y', 'x' * 5000]
)
def test_a_file_outside_the_bundle_is_never_read(bundle: Bundle, name: str) -> None:
    edit(bundle, lambda value: value['files'].update({name: 'a' * 64}))
    assert len(refusal(bundle)) < LONGEST + 5000


def test_a_link_serves_as_the_file_it_leads_to_if_that_has_the_right_content(
    bundle: Bundle, tmp_path: Path
) -> None:
    for name in ('master.onnx', 'labels.txt', 'bundle.yaml'):
        (bundle.path / name).rename(tmp_path / name)
        (bundle.path / name).symlink_to(tmp_path / name)
    assert load_bundle(bundle.path) == bundle
    (tmp_path / 'labels.txt').write_text('something\nelse\nhere\n')
    assert 'labels.txt has the wrong SHA-256' in refusal(bundle)


def loop(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize('make', [os.mkfifo, Path.mkdir, loop, lambda path: None])
@pytest.mark.parametrize('name', ['master.onnx', 'labels.txt', 'bundle.yaml'])
def test_what_is_no_regular_file_is_missing(
    bundle: Bundle, name: str, make: Callable[[Path], None]
) -> None:
    (bundle.path / name).unlink()
    make(bundle.path / name)
    assert 'missing' in refusal(bundle)


@pytest.mark.parametrize('share', [0.0, 0.5, 0.999])
@pytest.mark.parametrize('name', ['master.onnx', 'labels.txt'])
def test_a_truncated_file_is_refused(bundle: Bundle, name: str, share: float) -> None:
    content = (bundle.path / name).read_bytes()
    (bundle.path / name).write_bytes(content[: int(share * len(content))])
    assert f'{name} has the wrong SHA-256' in refusal(bundle)


@settings(max_examples=50, deadline=None)
@given(cut=st.floats(0, 1), junk=st.binary(max_size=8))
def test_a_master_of_any_bytes_with_the_right_hash_is_taken_or_refused(
    tmp_path_factory: pytest.TempPathFactory, toy: Bundle, cut: float, junk: bytes
) -> None:
    folder = tmp_path_factory.mktemp('master') / 'toy'
    shutil.copytree(toy.path, folder)
    content = toy_master().SerializeToString()
    place = int(cut * len(content))
    changed = content[:place] + junk + content[place + len(junk) :]
    replace_file(load_bundle(folder), 'master.onnx', changed)
    try:
        load_bundle(folder)
    except ValueError as error:
        assert str(folder) in str(error)


def test_files_that_are_not_listed_are_left_alone(bundle: Bundle) -> None:
    (bundle.path / 'README.md').write_text('model card')
    assert load_bundle(bundle.path) == bundle


# The contract of inputs and outputs


def test_weights_in_another_file_are_refused(bundle: Bundle) -> None:
    model = toy_master()
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key='location', value='../../secret')
    replace_file(bundle, 'master.onnx', model.SerializeToString())
    assert 'in another file: export the bundle again' in refusal(bundle)


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (
            lambda graph: setattr(graph.input[0].type.tensor_type, 'elem_type', 10),
            'expected images float32 [batch, 3, height, width], found float16 [batch, 3, ',
        ),
        (
            lambda graph: setattr(graph.input[0].type.tensor_type.shape.dim[2], 'dim_value', 96),
            'found float32 [batch, 3, 96, width]',
        ),
        (
            lambda graph: graph.output[0].type.tensor_type.shape.dim.pop(),
            'expected boxes float32 [batch, 4, anchors], found float32 [batch, 4]',
        ),
        (
            lambda graph: setattr(graph.input[1].type.tensor_type.shape.dim[0], 'dim_value', 4),
            'expected depth_mask bool [3], found bool [4]',
        ),
        (
            lambda graph: setattr(graph.output[1].type.tensor_type, 'elem_type', 99),
            'expected scores float32 [batch, 3, anchors], found type 99',
        ),
    ],
)
def test_a_master_that_breaks_the_contract_is_refused_with_expected_and_found(
    bundle: Bundle, change: Callable[[onnx.GraphProto], Any], words: str
) -> None:
    model = toy_master()
    change(model.graph)
    replace_file(bundle, 'master.onnx', model.SerializeToString())
    assert words in refusal(bundle)


@pytest.mark.parametrize('opset', [('', 21), ('com.example', 1)])
def test_other_operators_are_refused(bundle: Bundle, opset: tuple[str, int]) -> None:
    model = toy_master()
    if not opset[0]:
        del model.opset_import[:]
    model.opset_import.append(onnx.helper.make_opsetid(*opset))
    replace_file(bundle, 'master.onnx', model.SerializeToString())
    assert 'expected opset 18' in refusal(bundle)


def test_a_fixed_number_of_boxes_is_legal(bundle: Bundle) -> None:
    model = toy_master()
    for output in model.graph.output:
        output.type.tensor_type.shape.dim[2].dim_value = 9
    replace_file(bundle, 'master.onnx', model.SerializeToString())
    load_bundle(bundle.path)
