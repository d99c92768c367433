"""A device, a TensorRT and a bundle for the tests of the back end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
import gc
import json
from pathlib import Path
import sys
from typing import Any

import numpy as np

from anydepth_core.depth import OperatingPoint
from anydepth_core.export.bundle import Bundle
from anydepth_core.runtime.backends import RuntimeSettings
from anydepth_core.runtime.onnx_runtime import OnnxRuntime
from anydepth_core.runtime.tensorrt.build_process import Building, Job
from anydepth_core.runtime.tensorrt.runtime import TensorRtRuntime
from tests.anydepth_core.runtime.tensorrt.fake_cudart import FakeCudart
from tests.anydepth_core.runtime.tensorrt.fake_tensorrt import Behaviour, make_tensorrt

ROOT = str(Path(__file__).parents[4])
COMMAND = (
    sys.executable,
    '-c',
    f'import sys; sys.path.insert(0, {ROOT!r}); '
    'from tests.anydepth_core.runtime.tensorrt.fake_builder import run; run()',
)
NO_BUILDER = (sys.executable, '-c', 'raise SystemExit("the test wants no build")')


@dataclass
class Rig:
    """One machine: a GPU, a version of TensorRT, a bundle and an engine cache."""

    bundle: Bundle
    cache: Path
    flavour: str = '10.3'
    behaviour: Behaviour = Behaviour()
    cudart: FakeCudart = field(default_factory=FakeCudart)

    @property
    def settings(self) -> RuntimeSettings:
        return RuntimeSettings('tensorrt', precision='fp16', engine_cache=self.cache)

    @property
    def environment(self) -> str:
        """What the fake builder is told."""
        cudart = {'name': self.cudart.name, 'version': self.cudart.version}
        return json.dumps(
            {'flavour': self.flavour, 'behaviour': asdict(self.behaviour), 'cudart': cudart}
        )

    def trt(self) -> Any:
        return make_tensorrt(self.flavour, self.cudart, self.behaviour)

    def job(self, point: OperatingPoint, precision: str = 'fp16', **changes: Any) -> Job:
        depth = self.bundle.space.format(point.depth)
        job = Job(str(self.bundle.path), depth, point.image_size, precision, 0, str(self.cache))
        return replace(job, **changes)

    def build(self, *points: OperatingPoint, precision: str = 'fp16') -> None:
        """Put engines into the cache, without a process."""
        for point in points:
            cudart = FakeCudart(name=self.cudart.name, version=self.cudart.version)
            trt = make_tensorrt(self.flavour, cudart, self.behaviour)
            Building(self.job(point, precision), trt, cudart, lambda text: None).run()
            assert cudart.misuse == []

    def build_preprocessing(self, camera: tuple[int, int], *points: OperatingPoint) -> None:
        """Put into the cache what makes network inputs of images of a size."""
        for point in points:
            cudart = FakeCudart(name=self.cudart.name, version=self.cudart.version)
            trt = make_tensorrt(self.flavour, cudart, self.behaviour)
            job = self.job(point, 'fp32', camera_size=camera)
            Building(job, trt, cudart, lambda text: None).run()
            assert cudart.misuse == []

    @contextmanager
    def runtime(
        self, builder: tuple[str, ...] = NO_BUILDER, **changes: Any
    ) -> Iterator[TensorRtRuntime]:
        """Open the back end; nothing may be left on the device afterwards."""
        settings = replace(self.settings, **changes)
        runtime = TensorRtRuntime(self.bundle, settings, self.trt(), self.cudart, builder)
        try:
            yield runtime
        finally:
            runtime.close()
        gc.collect()
        assert self.cudart.misuse == []
        if not self.cudart.lost:
            assert self.cudart.leaks == {} and self.cudart.used == 0


def random_images(point: OperatingPoint, seed: int = 0) -> np.ndarray:
    """Noise over cells that are red, green, blue or black: objects of the toy detector."""
    random = np.random.default_rng(seed)
    height, width = point.image_size
    cells = np.eye(4)[random.integers(0, 4, (height // 32, width // 32))][..., :3]
    image = np.kron(cells.transpose(2, 0, 1), np.ones((1, 32, 32)))
    noise = random.random(image.shape)
    return (0.95 * image + 0.05 * noise)[None].astype(np.float32)


def assert_same(found: Any, expected: Any, boxes: float = 0.5, scores: float = 0.01) -> None:
    np.testing.assert_allclose(found[0], expected[0], atol=boxes)
    np.testing.assert_allclose(found[1], expected[1], atol=scores)


def reference(bundle: Bundle) -> OnnxRuntime:
    return OnnxRuntime(bundle, RuntimeSettings(threads=1))
