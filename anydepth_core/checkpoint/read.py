"""Read any checkpoint as a detector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
import hashlib
from pathlib import Path
from typing import Any

from anydepth_core.checkpoint.convert import fit
from anydepth_core.checkpoint.identify import identify
from anydepth_core.checkpoint.io import is_checkpoint, load_checkpoint, read_metadata
from anydepth_core.checkpoint.report import Report
from anydepth_core.checkpoint.source import read_source
from anydepth_core.models.build import build_detector
from anydepth_core.models.detector import Detector


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that has been read.

    Attributes:
        detector: the detector with all its weights, in evaluation mode.
        form: what kind of file it was, in words.
        report: how its weights became the detector's.
        metadata: facts to store with the weights; ``class_names`` only where the file has them.
    """

    detector: Detector
    form: str
    report: Report
    metadata: Mapping[str, Any] = field(default_factory=dict)


def read_checkpoint(
    path: str | Path, name: str | None = None, variant: str | None = None
) -> Detector:
    """Read a checkpoint of any known form; nothing that is pickled in it is run.

    Known are our own, published AnyDepth-DETR and AnyDepth-YOLO, official RT-DETR and YOLOv12
    turbo, and Hugging Face ``RTDetrForObjectDetection`` (the directory, or its safetensors file).

    Args:
        path: the file, or the directory of a Hugging Face model.
        name: model name that is wanted; None for the usual one of the weights. (Official YOLOv12 l
            and x are also the any-depth ones.)
        variant: block layout that is wanted; None for that of the weights, or the usual one.

    Returns:
        The detector that the names and shapes of the weights tell, in evaluation mode.

    Raises:
        ValueError: if the file cannot be read, is of another form or model, or its weights do not
            fit; the message says which keys are missing, unexpected or misshaped.
    """
    return open_checkpoint(path, name, variant).detector


def open_checkpoint(
    path: str | Path, name: str | None = None, variant: str | None = None
) -> Checkpoint:
    """Read a checkpoint as :func:`read_checkpoint` does, with what it says about itself.

    Raises:
        ValueError: as :func:`read_checkpoint`.
    """
    if is_checkpoint(path):
        return _own(path, name, variant)
    source = read_source(path)
    try:
        found = identify({key: tuple(tensor.shape) for key, tensor in source.tensors.items()})
        if name not in (None, *found.names):
            raise ValueError(f'these are weights of {found.name}, not of {name}')
        detector = build_detector(name or found.name, variant or found.variant, found.num_classes)
        weights, report = fit(source.tensors, detector)
    except ValueError as error:
        raise ValueError(f'{source.path}: {error}') from None
    detector.load_state_dict(weights)
    names = source.class_names
    if names is not None and len(names) != found.num_classes:
        raise ValueError(
            f'{source.path} names {len(names)} classes, its weights are for {found.num_classes}'
        )
    metadata = {} if names is None else {'class_names': list(names)}
    origin = {'file': source.path.name, 'sha256': _sha256(source.path), 'form': source.form}
    return Checkpoint(
        detector.eval(), source.form, report, {**metadata, 'source': {**origin, **source.facts}}
    )


def _own(path: str | Path, name: str | None, variant: str | None) -> Checkpoint:
    detector = load_checkpoint(path)
    if name not in (None, detector.name) or variant not in (None, detector.variant):
        raise ValueError(
            f'{path} holds {detector.name} ({detector.variant}), '
            f'not {name or detector.name} ({variant or detector.variant})'
        )
    report = Report(True, len(detector.state_dict()))
    return Checkpoint(detector, 'checkpoint of anydepth', report, read_metadata(path))


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
