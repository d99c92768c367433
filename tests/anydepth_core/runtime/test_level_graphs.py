"""Static graphs of a bundle: the master is read once, as it was when the bundle was loaded."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import onnx
import pytest

from anydepth_core.depth import DepthConfig, OperatingPoint
from anydepth_core.export.bundle import Bundle
from anydepth_core.runtime.level_graphs import LevelGraphs
from tests.anydepth_core.support.toy_bundle import SPACE, write_toy_bundle

POINTS = [OperatingPoint(depth, (96, 96)) for depth in SPACE.all()]


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_toy_bundle(tmp_path / 'toy')


def shapes(values: object) -> dict[str, list[int]]:
    return {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in values  # type: ignore[attr-defined]
    }


def test_a_graph_keeps_the_contract_of_inputs_and_outputs(bundle: Bundle) -> None:
    model = LevelGraphs(bundle).graph(OperatingPoint(SPACE.full, (64, 96)))
    assert shapes(model.graph.input) == {'images': [1, 3, 64, 96]}
    assert shapes(model.graph.output) == {'boxes': [1, 4, 6], 'scores': [1, 3, 6]}


def test_the_master_is_read_once_whatever_asks(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, load = [], onnx.load_model_from_string

    def counted(content: bytes) -> onnx.ModelProto:
        read.append(1)
        return load(content)

    monkeypatch.setattr(onnx, 'load_model_from_string', counted)
    graphs = LevelGraphs(bundle)
    with ThreadPoolExecutor(4) as threads:
        made = [one.SerializeToString() for one in threads.map(graphs.graph, POINTS * 2)]
    assert len(read) == 1
    assert made[: len(POINTS)] == made[len(POINTS) :] and len(set(made)) == len(POINTS)


def test_a_master_that_changed_since_it_was_verified_is_refused(bundle: Bundle) -> None:
    graphs = LevelGraphs(bundle)
    bundle.master_path.write_bytes(bundle.master_path.read_bytes() + b' ')
    with pytest.raises(ValueError, match=r'master\.onnx has changed.*load the bundle again'):
        graphs.graph(POINTS[0])


def test_a_bundle_that_went_away_is_told_by_its_path(bundle: Bundle) -> None:
    graphs = LevelGraphs(bundle)
    bundle.master_path.unlink()
    with pytest.raises(FileNotFoundError, match=r'master\.onnx'):
        graphs.graph(POINTS[0])


@pytest.mark.parametrize(
    ('point', 'precision', 'words'),
    [
        (OperatingPoint(DepthConfig((True,) * 8), (96, 96)), 'fp32', '3 bits'),
        (OperatingPoint(SPACE.full, (33, 32)), 'fp32', 'multiples of 32'),
        (POINTS[0], 'int8', "precision 'int8' is not legal: use one of fp32, fp16"),
    ],
)
def test_what_is_not_legal_is_refused(
    bundle: Bundle, point: OperatingPoint, precision: str, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        LevelGraphs(bundle).graph(point, precision)
