"""Published weights to ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from anydepth_core.checkpoint.identify import identify, UnsupportedError
from anydepth_core.checkpoint.names import published_names, twin
from anydepth_core.checkpoint.names_hf import is_hugging_face, official_names
from anydepth_core.checkpoint.report import check_keys, Report, Shapes
from anydepth_core.models.detector import Detector

_COUNTER = 'num_batches_tracked'
_WEIGHTLESS = (_COUNTER, 'anchors', 'valid_mask')


def convert_state_dict(
    state_dict: Mapping[str, Any], detector: Detector
) -> dict[str, torch.Tensor]:
    """Turn a state dict with published key names into one for ``detector.load_state_dict``.

    Weights without a second set for the base depth (official YOLOv12 and RT-DETR, Hugging Face)
    become any-depth: every ``norm_base`` is a copy of its ``norm``, every ``conv_base`` of the
    first input channels of its ``conv``.

    Args:
        state_dict: published names (``model.4.m.0.cv1.conv.weight``) to tensors or arrays.
        detector: the detector that the weights are for.

    Returns:
        All of the detector's keys, in the detector's precision.

    Raises:
        ValueError: if keys are missing, unexpected or misshaped; the message lists them, or names
            the detector whose weights they are.
    """
    tensors = {name: torch.as_tensor(value) for name, value in state_dict.items()}
    if is_hugging_face(tensors):
        tensors = official_names(tensors)
    return fit(tensors, detector)[0]


def fit(
    tensors: Mapping[str, torch.Tensor], detector: Detector
) -> tuple[dict[str, torch.Tensor], Report]:
    """Convert as :func:`convert_state_dict` does, and report.

    Args:
        tensors: published or official names to tensors.
        detector: the detector that the weights are for.

    Raises:
        ValueError: as :func:`convert_state_dict`.
    """
    own = detector.state_dict()
    published = published_names(detector)
    base = [key for key, name in published.items() if name != published[twin(key)]]
    kinds = {_kind(key) for key in base if published[key] in tensors}
    twins = {key for key in published if _kind(key) not in kinds}
    origins = {key: published[twin(key) if key in twins else key] for key in published}
    copied = [key for key in own if twin(key) != key and origins[key] == origins[twin(key)]]
    expected = {origins[key]: tuple(own[key].shape) for key in own if key not in set(copied)}
    given = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    _check(expected, given, detector)
    weights = {key: _part(tensors.get(origins[key]), value) for key, value in own.items()}
    ignored = tuple(name for name in given if name not in expected)
    report = Report('norm' in kinds, len(given) - len(ignored), tuple(copied), ignored)
    return weights, report


def _kind(key: str) -> str:
    """Tell norms from convolutions: early any-depth files have no ``conv_base``, only norms."""
    return 'conv' if '.conv_base.' in key else 'norm'


def _part(given: torch.Tensor | None, own: torch.Tensor) -> torch.Tensor:
    """Return the first input channels, as many as the detector has; counters may be missing."""
    if given is None:
        return torch.zeros_like(own)
    return (given if given.dim() < 2 else given[:, : own.shape[1]]).to(own.dtype)


def _check(expected: Shapes, given: Shapes, detector: Detector) -> None:
    needed = {
        name: shape
        for name, shape in expected.items()
        if name in given or not name.endswith(_COUNTER)
    }
    weights = {
        name: shape
        for name, shape in given.items()
        if name in expected or name.rpartition('.')[2] not in _WEIGHTLESS
    }
    described = f'{detector.name} ({detector.variant}, {detector.num_classes} classes)'
    try:
        check_keys(needed, weights, described)
    except ValueError as error:
        raise ValueError(_other(given, detector) or str(error)) from None


def _other(given: Shapes, detector: Detector) -> str | None:
    """Say whose weights these are, if not the detector's."""
    try:
        found = identify(given)
    except UnsupportedError as error:
        return str(error)
    except ValueError:
        return None
    if detector.name in found.names and detector.num_classes == found.num_classes:
        return None
    return (
        f'these are weights of {found.name} with {found.num_classes} classes, '
        f'the detector is {detector.name} with {detector.num_classes} classes'
    )
