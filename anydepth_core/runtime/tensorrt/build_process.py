"""The builder: a process that builds, checks and stores one engine, and tells how it goes.

It is a process of its own because a build takes minutes and much memory, and must neither hold up
nor endanger the node. Its one argument is a :class:`Job` as JSON; it writes one JSON object per
line to its standard output: ``progress`` with what it does now, at the end ``done`` or ``error``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
import json
import os
from pathlib import Path
import sys
import threading
import time
from typing import Any, TextIO

import numpy as np

from anydepth_core.depth import OperatingPoint
from anydepth_core.errors import sentence
from anydepth_core.export.bundle import Bundle, load_bundle
from anydepth_core.export.master import OPSET
from anydepth_core.export.opset import lower_opset
from anydepth_core.runtime.tensorrt.buffers import Buffers
from anydepth_core.runtime.tensorrt.build import build_plan, MIB, opset_for, workspace_bytes
from anydepth_core.runtime.tensorrt.cache import EngineCache, Environment
from anydepth_core.runtime.tensorrt.cuda import available_bytes, Cuda
from anydepth_core.runtime.tensorrt.engine import Engine
from anydepth_core.runtime.tensorrt.library import check_version, import_tensorrt, make_log
from anydepth_core.runtime.tensorrt.products import Network, Preprocessing, Product

TIMED_RUNS = 30
NICENESS = 10


@dataclass(frozen=True)
class Job:
    """What to build.

    Attributes:
        bundle: directory of the bundle.
        depth: canonical text of the depth, '' for preprocessing.
        image_size: (height, width) of the network input.
        precision: ``fp32`` or ``fp16``.
        device: number of the GPU.
        cache: directory of the engine cache.
        workspace_mb: scratch memory for the builder, None for what is free.
        images: folder of images or video to check the engine on, None for drawn scenes.
        camera_size: (height, width) of the images to preprocess, None for the network.
    """

    bundle: str
    depth: str
    image_size: tuple[int, int]
    precision: str
    device: int
    cache: str
    workspace_mb: int | None = None
    images: str | None = None
    camera_size: tuple[int, int] | None = None

    def to_json(self) -> str:
        """One line; :meth:`from_json` reads it back."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """Read what :meth:`to_json` wrote."""
        content = json.loads(text)
        sizes = {name: content[name] for name in ('image_size', 'camera_size')}
        return cls(**content | {name: size and tuple(size) for name, size in sizes.items()})


def main(arguments: Sequence[str] | None = None, trt: Any = None, cudart: Any = None) -> int:
    """Build one engine.

    Args:
        arguments: one, a :class:`Job` as JSON; the command line if None.
        trt: the module ``tensorrt``, imported if None.
        cudart: functions as those of ``libcudart``, loaded if None.

    Returns:
        0, or 1 after an error.
    """
    [text] = sys.argv[1:] if arguments is None else arguments
    answers = _claim_stdout()

    def tell(**fields: Any) -> None:
        print(json.dumps(fields), file=answers, flush=True)

    _yield_to_others()
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        Building(Job.from_json(text), trt, cudart, lambda doing: tell(progress=doing)).run()
    except Exception as error:  # whatever it is, the parent gets one sentence
        tell(error=sentence(error))
        return 1
    tell(done=True)
    return 0


class Building:
    """One build."""

    def __init__(self, job: Job, trt: Any, cudart: Any, progress: Callable[[str], None]) -> None:
        """Open bundle, cache and device.

        Raises:
            ValueError: if the job is not legal.
            RuntimeError: if TensorRT, CUDA or the cache cannot be used.
        """
        self._job = job
        self._progress = progress
        self._trt = import_tensorrt() if trt is None else trt
        check_version(self._trt)
        self._log = make_log(self._trt)
        self._cuda = Cuda(cudart, job.device)
        self._cache = EngineCache(Path(job.cache))
        self._environment = Environment.of(self._trt, self._cuda)
        self._product = _product(load_bundle(job.bundle), job, self._environment)
        self._key = self._product.key

    def run(self) -> None:
        """Build, check and store the engine, unless another process did so meanwhile.

        Raises:
            RuntimeError: if the engine cannot be built or run.
        """
        self._progress('waits for its turn')
        with self._cache.building():
            if self._cache.find(self._key) is not None:
                return
            started = time.monotonic()
            workspace = workspace_bytes(available_bytes(self._cuda), self._job.workspace_mb)
            plan = self._plan(workspace)
            seconds = time.monotonic() - started
            self._progress('is compared with the CPU')
            verdict, facts = self._check(plan)
            facts |= {
                'seconds': round(seconds, 1),
                'workspace_mb': workspace // MIB,
                'date': time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime()),
            }
            self._cache.store(self._key, plan, verdict, facts)

    def _plan(self, workspace: int) -> bytes:
        self._progress('is specialised')
        model = self._product.graph()
        opset = opset_for(self._trt, OPSET)
        if opset != OPSET:
            model = lower_opset(model, opset)
        self._progress('is built')
        return build_plan(
            self._trt,
            self._log,
            model.SerializeToString(),
            self._key.name,
            self._key.precision,
            workspace,
            self._cache.timing_path(self._environment),
        )

    def _check(self, plan: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the verdict on a plan, and the time and memory it takes."""
        role = self._product.role
        engine = Engine(self._trt, self._log, self._cuda, plan, self._key.name, role)
        buffers = Buffers(self._cuda, engine.sizes)
        stream = self._cuda.create_stream()
        try:
            engine.bind(buffers)

            def run(image: np.ndarray) -> tuple[np.ndarray, ...]:
                engine.feed(buffers, image)
                engine.upload(buffers, stream)
                engine.enqueue(stream)
                engine.download(buffers, stream)
                self._cuda.synchronize(stream)
                return engine.results(buffers)

            verdict = self._product.check(run)
            facts = {
                'gpu_ms': self._gpu_ms(engine, stream),
                'scratch_bytes': engine.sizes.scratch,
            }
        finally:
            engine.close()
            buffers.free()
            self._cuda.destroy_stream(stream)
        return verdict, facts

    def _gpu_ms(self, engine: Engine, stream: int) -> float:
        """Median time on the GPU, the copies that belong to the role included."""
        events = [self._cuda.create_event() for _ in range(TIMED_RUNS + 1)]
        try:
            self._cuda.record(events[0], stream)
            for event in events[1:]:
                engine.enqueue(stream)
                self._cuda.record(event, stream)
            self._cuda.synchronize(stream)
            times = [self._cuda.elapsed_ms(*pair) for pair in zip(events, events[1:])]
        finally:
            for event in events:
                self._cuda.destroy_event(event)
        return round(float(np.median(times)), 4)


def _product(bundle: Bundle, job: Job, environment: Environment) -> Product:
    images = None if job.images is None else Path(job.images)
    if job.camera_size is not None:
        return Preprocessing(bundle, job.camera_size, job.image_size, environment, images)
    point = OperatingPoint(bundle.space.parse(job.depth), job.image_size)
    return Network(bundle, point, job.precision, environment, images)


def _claim_stdout() -> TextIO:
    """Keep the standard output for answers; whatever libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), 'w', encoding='utf-8')
    os.dup2(2, 1)
    return answers


def _yield_to_others() -> None:
    """Take the processor last, and be the one that the kernel ends when memory runs out."""
    os.nice(NICENESS)
    with suppress(OSError):  # no Linux, or a sandbox
        Path('/proc/self/oom_score_adj').write_text('1000', encoding='ascii')


def _die_with_parent() -> None:
    """End this process when the parent has closed the pipe that it never writes to."""
    while os.read(0, 64):  # not sys.stdin: its lock would be held when Python shuts down
        pass
    os._exit(1)


if __name__ == '__main__':
    sys.exit(main())
