"""What an engine is made from, and what it must compute to be used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, TYPE_CHECKING

import cv2
import numpy as np

from anydepth_core.data.pictures import read_pictures
from anydepth_core.data.preprocess import preprocess
from anydepth_core.depth import OperatingPoint
from anydepth_core.export.bundle import Bundle
from anydepth_core.runtime.level_graphs import LevelGraphs
from anydepth_core.runtime.tensorrt.cache import EngineKey, Environment
from anydepth_core.runtime.tensorrt.engine import NETWORK, PREPROCESSING, Role
from anydepth_core.runtime.tensorrt.gate import drawn, judge, judge_pixels, Outputs, sample_images
from anydepth_core.runtime.tensorrt.library import grid_sample_is_faulty

if TYPE_CHECKING:
    import onnx

IMAGES = 16  # compared after each build

Run = Callable[[np.ndarray], tuple[np.ndarray, ...]]


class Product(Protocol):
    """An engine that can be built."""

    @property
    def key(self) -> EngineKey:
        """What it is kept under."""
        ...

    @property
    def role(self) -> Role:
        """What it is for."""
        ...

    def graph(self) -> onnx.ModelProto:
        """Make the ONNX graph it is built from."""
        ...

    def check(self, run: Run) -> dict[str, Any]:
        """Compare an engine with what is computed on the CPU; return the verdict."""
        ...


class Network:
    """The network at one operating point."""

    role = NETWORK

    def __init__(
        self,
        bundle: Bundle,
        point: OperatingPoint,
        precision: str,
        environment: Environment,
        images: Path | None,
    ) -> None:
        """Take what :class:`EngineKey` takes, and what to check on, None for drawn scenes."""
        self.key = EngineKey.of(bundle, point, precision, environment)
        self._point = point
        self._resize = bundle.resize
        self._graphs = LevelGraphs(bundle)
        self._gather = grid_sample_is_faulty(environment.tensorrt)
        self._images = images

    def graph(self) -> onnx.ModelProto:
        """Specialise the master; replace what this TensorRT computes wrong."""
        return self._graphs.graph(self._point, self.key.precision, self._gather)

    def check(self, run: Run) -> dict[str, Any]:
        """Compare with ONNX Runtime and the float32 graph."""
        images = sample_images(self._images, IMAGES, self._point.image_size, self._resize)
        reference = reference_of(self._graphs, self._point)

        def outputs(image: np.ndarray) -> Outputs:
            boxes, scores = run(image)
            return boxes, scores

        return judge(reference, outputs, images).to_dict()


class Preprocessing:
    """What makes a network input of an image of one size."""

    role = PREPROCESSING

    def __init__(
        self,
        bundle: Bundle,
        camera_size: tuple[int, int],
        network_size: tuple[int, int],
        environment: Environment,
        images: Path | None,
    ) -> None:
        """Take what the key takes, and what to check on, None for drawn scenes."""
        self.key = EngineKey.of_preprocessing(bundle, camera_size, network_size, environment)
        self._camera_size = camera_size
        self._network_size = network_size
        self._resize = bundle.resize
        self._images = images

    def graph(self) -> onnx.ModelProto:
        """Write resize, padding, order of channels and scale as a graph."""
        from anydepth_core.export.preprocessing import preprocessing_graph

        return preprocessing_graph(self._camera_size, self._network_size, self._resize)

    def check(self, run: Run) -> dict[str, Any]:
        """Compare with :func:`anydepth_core.data.preprocess.preprocess`."""

        def reference(picture: np.ndarray) -> np.ndarray:
            return preprocess(picture, self._network_size, self._resize)[0][0]

        verdict = judge_pixels(reference, lambda picture: run(picture)[0], self._pictures())
        return verdict.to_dict()

    def _pictures(self) -> Iterator[np.ndarray]:
        height, width = self._camera_size
        if self._images is None:
            yield from drawn(IMAGES, self._camera_size)
            return
        for picture in read_pictures(self._images, IMAGES):
            yield cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def reference_of(graphs: LevelGraphs, point: OperatingPoint) -> Callable[[np.ndarray], Outputs]:
    """Return what ONNX Runtime computes with the float32 graph of a point."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # the node beside this process needs the other cores
    session = onnxruntime.InferenceSession(
        graphs.graph(point).SerializeToString(), options, providers=['CPUExecutionProvider']
    )

    def run(image: np.ndarray) -> Outputs:
        boxes, scores = session.run(['boxes', 'scores'], {'images': image})
        return boxes[0], scores[0]

    return run
