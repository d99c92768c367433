"""Published AnyDepth-YOLO key names to ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from anydepth_core.checkpoint.report import check_keys
from anydepth_core.models.detector import Detector
from anydepth_core.nn.stage import Stage

_LAYERS = {
    'backbone.stem.0': 'model.0',
    'backbone.stem.1': 'model.1',
    'backbone.stages.0.block': 'model.2',
    'backbone.stages.1.down': 'model.3',
    'backbone.stages.1.block': 'model.4',
    'backbone.stages.2.down': 'model.5',
    'backbone.stages.2.block': 'model.6',
    'backbone.stages.3.down': 'model.7',
    'backbone.stages.3.block': 'model.8',
    'neck.stages.0.block': 'model.11',
    'neck.stages.1.block': 'model.14',
    'neck.stages.2.down': 'model.15',
    'neck.stages.2.block': 'model.17',
    'neck.stages.3.down': 'model.18',
    'neck.stages.3.block': 'model.20',
    'head.box': 'model.21.cv2',
    'head.cls': 'model.21.cv3',
    'head.dfl': 'model.21.dfl',
}
_WORDS = {'norm': 'bn', 'norm_base': 'bn_skip', 'conv_base': 'conv_skip'}


def convert_state_dict(
    state_dict: Mapping[str, Any], detector: Detector
) -> dict[str, torch.Tensor]:
    """Turn a state dict with published key names into one for ``detector.load_state_dict``.

    Args:
        state_dict: published names (``model.4.m.0.cv1.conv.weight``) to tensors or arrays.
        detector: the detector that the weights are for.

    Returns:
        All of the detector's keys, with the given tensors.

    Raises:
        ValueError: if keys are missing, unexpected or misshaped; the message lists them.
    """
    names = published_names(detector)
    own = detector.state_dict()
    expected = {names[key]: tuple(value.shape) for key, value in own.items()}
    check_keys(expected, {k: tuple(v.shape) for k, v in state_dict.items()}, _describe(detector))
    return {key: torch.as_tensor(state_dict[names[key]]) for key in own}


def published_names(detector: Detector) -> dict[str, str]:
    """Map every key of the detector's state dict to its published name."""
    return {key: _published(key, detector) for key in detector.state_dict()}


def _published(key: str, detector: Detector) -> str:
    layer = next(name for name in _LAYERS if key.startswith(f'{name}.'))
    words = [_LAYERS[layer]]
    module = detector.get_submodule(layer)
    rest = iter(key[len(layer) + 1 :].split('.'))
    for word in rest:
        if isinstance(module, Stage) and word in ('essential', 'refinement'):
            index = int(next(rest))
            offset = len(module.essential) if word == 'refinement' else 0
            words += ['m', str(index + offset)]
            module = getattr(module, word)[index]
        else:
            words.append(_WORDS.get(word, word))
            module = getattr(module, word)
    return '.'.join(words)


def _describe(detector: Detector) -> str:
    return f'{detector.name} ({detector.variant}, {detector.num_classes} classes)'
