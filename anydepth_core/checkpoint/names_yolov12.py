"""Names of published AnyDepth-YOLO and official YOLOv12 weights."""

from __future__ import annotations

from anydepth_core.checkpoint.blocks import numbered_blocks
from anydepth_core.models.detector import Detector

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


def published_name(key: str, detector: Detector) -> str:
    """Return the published name of a key of a YOLOv12's state dict."""
    layer = next(layer for layer in _LAYERS if key.startswith(f'{layer}.'))
    rest = numbered_blocks(key, detector, 'm')[len(layer) + 1 :].split('.')
    return '.'.join((_LAYERS[layer], *(_WORDS.get(word, word) for word in rest)))
