"""Files in the forms that other projects publish, with weights of ours."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
import gzip
import json
from pathlib import Path
import sys
from types import ModuleType
from typing import Any

import torch
from torch import nn

from anydepth_core.checkpoint.names import published_names, twin
from anydepth_core.models.detector import Detector

GOLDEN = Path(__file__).parents[2] / 'data' / 'golden'
_CLASSES = {
    'ultralytics.nn.tasks': ('DetectionModel', 'DetectionModelAnyDepth'),
    'ultralytics.nn.modules.conv': ('Conv', 'DWConv', 'Concat', 'SwitchableConv'),
    'ultralytics.nn.modules.block': ('C3k2', 'C3k', 'Bottleneck', 'A2C2f', 'ABlock', 'AAttn'),
    'ultralytics.nn.modules.head': ('Detect',),
    'ultralytics.utils': ('IterableSimpleNamespace',),
}


def golden_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a published checkpoint, as listed in ``tests/data/golden``."""
    path = GOLDEN / name
    if path.suffix == '.json':
        return {key: tuple(shape) for key, shape, _ in json.loads(path.read_text())}
    lines = gzip.decompress(path.read_bytes()).decode().split('\n')
    pairs = [line.partition(' ')[::2] for line in lines if line]
    return {key: tuple(int(size) for size in shape.split(',') if size) for key, shape in pairs}


def published_state_dict(detector: Detector, any_depth: bool = True) -> dict[str, torch.Tensor]:
    """Weights of a detector under their published names; without ``any_depth`` those of full."""
    names = published_names(detector)
    return {
        names[key]: value.clone()
        for key, value in detector.state_dict().items()
        if key == twin(key) or (any_depth and names[key] != names[twin(key)])
    }


@contextmanager
def fake_ultralytics() -> Iterator[dict[str, type]]:
    """Provide classes with the names of the ultralytics package while a file is written."""
    made: dict[str, type] = {}
    packages = ('ultralytics', 'ultralytics.nn', 'ultralytics.nn.modules')
    modules = {name: ModuleType(name) for name in (*packages, *_CLASSES)}
    for module_name, class_names in _CLASSES.items():
        for name in class_names:
            base = object if module_name == 'ultralytics.utils' else nn.Module
            made[name] = type(name, (base,), {'__module__': module_name})
            setattr(modules[module_name], name, made[name])
    assert not set(modules) & set(sys.modules)
    sys.modules.update(modules)
    try:
        yield made
    finally:
        for name in modules:
            del sys.modules[name]


def pickled_network(
    state_dict: Mapping[str, torch.Tensor],
    classes: Mapping[str, type],
    root: str = 'DetectionModel',
    **attributes: Any,
) -> nn.Module:
    """Build a network of strange classes that has exactly these tensors."""
    network = _empty(classes[root])
    activation = nn.SiLU()  # one object everywhere, as in the published files
    for name, value in state_dict.items():
        *path, leaf = name.split('.')
        module = network
        for word in path:
            if word not in module._modules:
                kind = {'conv': nn.Conv2d, 'bn': nn.BatchNorm2d, 'bn_skip': nn.BatchNorm2d}
                module._modules[word] = _empty(kind.get(word, classes['Conv']))
                module._modules['act'] = activation
            module = module._modules[word]
        if leaf.startswith(('running', 'num_batches')):
            module.register_buffer(leaf, value)
        else:
            module.register_parameter(leaf, nn.Parameter(value, requires_grad=False))
    network.register_buffer('passing', torch.zeros(1), persistent=False)
    vars(network).update(attributes)
    return network


def _empty(kind: type) -> nn.Module:
    module: nn.Module = kind.__new__(kind)
    nn.Module.__init__(module)
    return module


def save_yolo(
    path: Path, state_dict: Mapping[str, torch.Tensor], names: Any, **entries: Any
) -> Path:
    """Write a file as YOLOv12 is published: the whole network, pickled, in half precision."""
    half = {
        key: value.half() if value.is_floating_point() else value
        for key, value in state_dict.items()
    }
    with fake_ultralytics() as classes:
        settings = classes['IterableSimpleNamespace']()
        vars(settings).update(box=7.5, epochs=600)
        network = pickled_network(
            half,
            classes,
            names=names,
            args=settings,
            yaml={'scale': 'n', 'nc': len(names)},
            stride=torch.tensor([8.0, 16.0, 32.0]),
        )
        content = {
            'date': '2025-02-01T00:00:00',
            'version': '8.3.63',
            'license': 'AGPL-3.0',
            'epoch': -1,
            'model': network,
            'ema': None,
            'optimizer': None,
            'train_args': {'imgsz': 640, 'seen': {1, 2}},
            'train_metrics': OrderedDict(fitness=0.5),
        }
        torch.save({**content, **entries}, path)
    return path


def save_detr(path: Path, state_dict: Mapping[str, torch.Tensor], **entries: Any) -> Path:
    """Write a file as RT-DETR is published: averaged and last weights, and the optimiser."""
    last = {key: torch.zeros_like(value) for key, value in state_dict.items()}
    optimizer = {'state': {0: {'exp_avg': torch.zeros(3)}}, 'param_groups': [{'lr': 1e-4}]}
    content = {
        'model': OrderedDict(last),
        'date': '2024-05-01',
        'last_epoch': 67,
        'optimizer': optimizer,
        'ema': {'module': OrderedDict(state_dict), 'updates': 10, 'warmups': 2000},
    }
    torch.save({**content, **entries}, path)
    return path
