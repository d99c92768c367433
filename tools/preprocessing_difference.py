"""What preprocessing as a graph changes in the detections, against preprocessing on the CPU.

The graph that TensorRT runs on a GPU runs in ONNX Runtime here, in front of the network:

    .venv/bin/python tools/preprocessing_difference.py default FOLDER --count 100
"""

from __future__ import annotations

import argparse
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnxruntime

from anydepth_core.data.pictures import read_pictures
from anydepth_core.data.preprocess import place
from anydepth_core.depth import OperatingPoint
from anydepth_core.evaluation.same_detections import compare_all
from anydepth_core.export.preprocessing import IMAGE, preprocessing_graph
from anydepth_core.models.postprocess import postprocess
from anydepth_core.runtime.backends import RuntimeSettings
from anydepth_core.runtime.pipeline import load_pipeline, Pipeline
from anydepth_core.structures import Detections


class GraphPipeline:
    """A pipeline with the graph in place of its preprocessing."""

    def __init__(self, pipeline: Pipeline) -> None:
        """Take everything else from a pipeline."""
        self._pipeline = pipeline
        self._session = lru_cache(maxsize=256)(self._open)

    def __call__(self, image_bgr: np.ndarray, point: OperatingPoint) -> Detections:
        """Detect objects in one image."""
        pipeline, size = self._pipeline, (image_bgr.shape[0], image_bgr.shape[1])
        (images,) = self._session(size, point.image_size).run(None, {IMAGE: image_bgr})
        boxes, scores = pipeline.runtime.run(images, point)
        geometry = place(size, point.image_size, pipeline.bundle.resize)
        return postprocess(boxes, scores, geometry, pipeline.settings, pipeline.bundle.suppression)

    def _open(
        self, size: tuple[int, int], network_size: tuple[int, int]
    ) -> onnxruntime.InferenceSession:
        model = preprocessing_graph(size, network_size, self._pipeline.bundle.resize)
        return onnxruntime.InferenceSession(
            model.SerializeToString(), providers=['CPUExecutionProvider']
        )


def main() -> None:
    """Print, level by level, how far the detections are apart."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('bundle', help="bundle directory, or 'default'")
    parser.add_argument('images', type=Path, help='folder of images, or video')
    parser.add_argument('--count', type=int, default=100, metavar='N', help='(%(default)s)')
    options = parser.parse_args()
    pipeline = load_pipeline(options.bundle, RuntimeSettings(threads=1))
    images = list(read_pictures(options.images, options.count))
    sides = {
        'CPU': lambda image, point: pipeline(image, point)[0],
        'graph': GraphPipeline(pipeline),
    }
    ladder = pipeline.bundle.ladder
    for point, one, other, comparison in compare_all(sides, ladder.points, images):
        level = ladder.level_of(point)
        print(f'level {level}, {one} and {other}, {len(images)} images: {comparison}', flush=True)


if __name__ == '__main__':
    main()
