"""Engines built on this device, kept between runs: a plan and a record of how it was built.

TensorRT runs what is in a plan, so only a directory that nobody else can write to is used, and a
plan must have the hash that its record states. A record is written after its plan, both as a whole
or not at all: a builder that dies at any moment leaves nothing that is taken for an engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
import fcntl
import hashlib
import json
import logging
import os
from pathlib import Path
import stat
from typing import Any

from anydepth_core.depth import OperatingPoint
from anydepth_core.export.bundle import Bundle
from anydepth_core.files import write_atomically
from anydepth_core.runtime.tensorrt.cuda import Cuda
from anydepth_core.version import __version__

logger = logging.getLogger(__name__)

FORMAT = 1


@dataclass(frozen=True)
class Environment:
    """What an engine is tied to.

    Attributes:
        tensorrt: version of TensorRT.
        gpu: name of the GPU.
        compute_capability: of the GPU, for example ``8.7``.
        cuda: version of the CUDA runtime.
    """

    tensorrt: str
    gpu: str
    compute_capability: str
    cuda: str

    @classmethod
    def of(cls, trt: Any, cuda: Cuda) -> Environment:
        """Return that of this process and device."""
        capability = '.'.join(map(str, cuda.compute_capability))
        return cls(str(trt.__version__), cuda.name, capability, cuda.runtime_version)

    def digest(self) -> str:
        """Short hash for file names."""
        return _digest(asdict(self))


@dataclass(frozen=True)
class EngineKey:
    """What must be equal for an engine to be used again.

    Attributes:
        model: SHA-256 of the master ONNX, with the norms of the operating point where it has its
            own; of preprocessing the name of the resize.
        depth: canonical text of the depth, '' for preprocessing.
        image_size: (height, width) of the network input.
        precision: ``fp32`` or ``fp16``.
        environment: what the engine is tied to.
        camera_size: (height, width) of the images that preprocessing takes, None for a network.
        anydepth: version of this software, which makes the graph from the master.
    """

    model: str
    depth: str
    image_size: tuple[int, int]
    precision: str
    environment: Environment
    camera_size: tuple[int, int] | None = None
    anydepth: str = __version__

    @classmethod
    def of(
        cls, bundle: Bundle, point: OperatingPoint, precision: str, environment: Environment
    ) -> EngineKey:
        """Return the key of an operating point of a bundle."""
        depth = bundle.space.format(point.depth)
        weights = bundle.weights_sha256(point.depth, point.image_size)
        return cls(weights, depth, point.image_size, precision, environment)

    @classmethod
    def of_preprocessing(
        cls,
        bundle: Bundle,
        camera_size: tuple[int, int],
        network_size: tuple[int, int],
        environment: Environment,
    ) -> EngineKey:
        """Return the key of what makes a network input of an image."""
        return cls(bundle.resize, '', network_size, 'fp32', environment, camera_size)

    @property
    def name(self) -> str:
        """Name for people, such as ``1111-0011@320x320 fp16``."""
        what = self.depth
        if self.camera_size is not None:
            what = f'{self.model} {self.camera_size[0]}x{self.camera_size[1]}'
        return f'{what}@{self.image_size[0]}x{self.image_size[1]} {self.precision}'

    @property
    def identity(self) -> str:
        """Start of the file names: everything but the environment and our own version."""
        facts = {'model': self.model, 'depth': self.depth, 'size': list(self.image_size)}
        if self.camera_size is not None:
            facts['camera_size'] = list(self.camera_size)
        return f'{self.name.replace(" ", "-")}-{_digest({**facts, "precision": self.precision})}'

    @property
    def stem(self) -> str:
        """File name without suffix."""
        return f'{self.identity}-{_digest(self.to_dict())}'

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        camera_size = None if self.camera_size is None else list(self.camera_size)
        return {
            **asdict(self),
            'image_size': list(self.image_size),
            'camera_size': camera_size,
        }


@dataclass(frozen=True)
class Record:
    """How an engine was built and what its check said.

    Attributes:
        plan_sha256: hash of the plan, None where the engine failed its check and was dropped.
        plan_bytes: its size.
        verdict: result of the accuracy check, see ``gate.py``.
        build: facts about the build: seconds, date, memory.
    """

    plan_sha256: str | None
    plan_bytes: int
    verdict: Mapping[str, Any]
    build: Mapping[str, Any]

    @property
    def passed(self) -> bool:
        """Whether the engine may be used."""
        return self.plan_sha256 is not None and self.verdict.get('passed') is True


def default_directory() -> Path:
    """Return the user's own cache: ``$XDG_CACHE_HOME/anydepth/engines``, or under ``~/.cache``."""
    given = os.environ.get('XDG_CACHE_HOME', '')
    base = Path(given) if given.startswith('/') else Path.home() / '.cache'
    return base / 'anydepth' / 'engines'


class EngineCache:
    """A directory of engines; several processes may use it at the same time."""

    def __init__(self, directory: Path | None = None) -> None:
        """Make the directory if it is not there.

        Args:
            directory: None for the user's cache.

        Raises:
            RuntimeError: if others could write to it, or it cannot be made.
        """
        self.directory = default_directory() if directory is None else Path(directory)
        try:
            self.directory.parent.mkdir(parents=True, exist_ok=True)
            self.directory.mkdir(mode=0o700, exist_ok=True)
            _check_trust(self.directory)
        except OSError as error:
            raise RuntimeError(
                f'the engine cache {self.directory} cannot be used ({error}): '
                'give another directory with engine_cache or --cache'
            ) from None

    def find(self, key: EngineKey) -> Record | None:
        """Return the record of an engine; None, with the reason logged, if it must be built."""
        path = self._record_path(key)
        if not path.exists():
            logger.info('engine %s must be built: %s', key.name, self._why_missing(key))
            return None
        try:
            record = _read_record(path, key)
            if record.passed:
                self._checked_plan(key, record)
        except (ValueError, OSError) as error:
            self.discard(key, str(error))
            return None
        return record

    def plan(self, key: EngineKey, record: Record) -> bytes:
        """Return a plan that has the hash its record states.

        Raises:
            ValueError: if it has not.
            OSError: if it cannot be read.
        """
        return self._checked_plan(key, record)

    def store(
        self,
        key: EngineKey,
        plan: bytes,
        verdict: Mapping[str, Any],
        build: Mapping[str, Any],
    ) -> None:
        """Keep an engine; of one that failed its check only the verdict is kept."""
        passed = verdict.get('passed') is True
        if passed:
            write_atomically(self._plan_path(key), plan)
        content = {
            'format': FORMAT,
            'key': key.to_dict(),
            'plan_sha256': hashlib.sha256(plan).hexdigest() if passed else None,
            'plan_bytes': len(plan),
            'verdict': dict(verdict),
            'build': dict(build),
        }
        write_atomically(self._record_path(key), json.dumps(content, indent=1).encode())

    def discard(self, key: EngineKey, reason: str) -> None:
        """Delete an engine that cannot be used; the record goes first."""
        logger.warning('engine %s is deleted and built again: %s', key.name, reason)
        self._record_path(key).unlink(missing_ok=True)
        self._plan_path(key).unlink(missing_ok=True)

    def record_path(self, key: EngineKey) -> Path:
        """Return the file that holds the record of an engine."""
        return self._record_path(key)

    def timing_path(self, environment: Environment) -> Path:
        """Return the file of kernel timings that all builds of an environment share."""
        return self.directory / f'timing-{environment.digest()}.cache'

    @contextmanager
    def building(self) -> Iterator[None]:
        """Hold the only place at the builder; what a killed one left half written goes."""
        with open(self.directory / 'lock', 'w', encoding='ascii') as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # the kernel lets go of it when the process dies
            for left in self.directory.glob('.*'):
                left.unlink(missing_ok=True)
            yield

    def _record_path(self, key: EngineKey) -> Path:
        return self.directory / f'{key.stem}.json'

    def _plan_path(self, key: EngineKey) -> Path:
        return self.directory / f'{key.stem}.plan'

    def _checked_plan(self, key: EngineKey, record: Record) -> bytes:
        path = self._plan_path(key)
        _check_trust(path)
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != record.plan_sha256:
            raise ValueError('its plan is damaged: the hash is not the recorded one')
        return content

    def _why_missing(self, key: EngineKey) -> str:
        """Name what has changed since the engine was built, if it ever was."""
        reasons = []
        for path in sorted(self.directory.glob(f'{key.identity}-*.json')):
            try:
                other = json.loads(path.read_text('utf-8'))['key']
                reasons.append(_changes(other, key.to_dict()))
            except (ValueError, KeyError, TypeError, AttributeError, OSError):
                continue
        return min(reasons, key=len, default='it is not in the cache')


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    pairs = {'anydepth': (before['anydepth'], now['anydepth'])}
    for field in fields(Environment):
        pairs[field.name] = (before['environment'][field.name], now['environment'][field.name])
    changed = [f'{name} {old} became {new}' for name, (old, new) in pairs.items() if old != new]
    return f'since it was built, {", ".join(changed)}'


def _read_record(path: Path, key: EngineKey) -> Record:
    """Read a record.

    Raises:
        ValueError: if it is not one, or of another engine.
    """
    _check_trust(path)
    try:
        content = json.loads(path.read_text('utf-8'))
    except ValueError as error:
        raise ValueError(f'its record is damaged ({error})') from None
    names = {'format', 'key', 'plan_sha256', 'plan_bytes', 'verdict', 'build'}
    if not isinstance(content, dict) or set(content) != names or content['format'] != FORMAT:
        raise ValueError('its record is of another format')
    if content['key'] != key.to_dict():
        raise ValueError('its record belongs to another engine')
    if not isinstance(content['verdict'], dict) or not isinstance(content['build'], dict):
        raise ValueError('its record is of another format')
    return Record(*(content[field.name] for field in fields(Record)))


def _check_trust(path: Path) -> None:
    """Refuse what somebody else could have written.

    Raises:
        RuntimeError: if so; the message says how to mend it.
    """
    state = path.stat()
    if state.st_uid not in (0, os.geteuid()):
        raise RuntimeError(
            f'{path} is not owned by the user that runs this: engines may hold code, so use a '
            'directory of your own (engine_cache, --cache)'
        )
    if state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise RuntimeError(
            f"others may write to {path}: engines may hold code, so run 'chmod go-w {path}'"
        )


def _digest(content: object) -> str:
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
