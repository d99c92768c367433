"""Whether a run that goes on is still the same run: its recipe and its data."""

from __future__ import annotations

from collections.abc import Mapping
import hashlib
import json
from typing import Any

from anydepth_core.config import to_mapping
from anydepth_core.data.coco import CocoDataset
from anydepth_core.train.settings import TrainSettings

CHANGEABLE = (
    'epochs',
    'evaluate_every',
    'evaluate_depths',
    'patience',
    'save_minutes',
    'workers',
    'deterministic',
    'precision',
    'clip_norm',
    'optimizer.rate',
    'optimizer.backbone_rate',
)
"""Settings that may differ when a run goes on. ``batch_size`` and ``accumulate`` may if a step has
as many images as before, over all processes; ``init`` and ``data`` may, the images count."""

_UNCOMPARED = ('init', 'data', 'batch_size', 'accumulate')


def fingerprint(
    settings: TrainSettings, train_set: CocoDataset, val_set: CocoDataset, processes: int
) -> dict[str, Any]:
    """Return what a run is recognised by, as plain values."""
    return {
        'recipe': to_mapping(settings),
        'images per step': settings.batch_size * settings.accumulate * processes,
        'training images': _describe(train_set),
        'validation images': _describe(val_set),
    }


def check_same_run(stored: Mapping[str, Any], present: Mapping[str, Any]) -> list[str]:
    """Compare the fingerprint of a run with that of what shall go on.

    Returns:
        What differs and may, for example ``epochs 10 -> 20``.

    Raises:
        ValueError: if anything else differs; the message lists it.
    """
    before, now = _flat(stored['recipe']), _flat(present['recipe'])
    differing = {
        key: f'{key} {before[key]} -> {now[key]}'
        for key in now
        if key in before and before[key] != now[key] and key.split('.')[0] not in _UNCOMPARED
    }
    refused = [text for key, text in differing.items() if key not in CHANGEABLE]
    refused += [
        f'{key} {stored[key]} -> {present[key]}'
        for key in present
        if key != 'recipe' and stored[key] != present[key]
    ]
    if refused:
        raise ValueError(
            f'the run in the output folder is another one ({"; ".join(refused)}): give what it '
            'had, or start a new run in another --output, from its weights with --init'
        )
    return [text for key, text in differing.items() if key in CHANGEABLE]


def _describe(dataset: CocoDataset) -> str:
    """Return the number of images and a hash of their names, sizes and targets."""
    images = dataset.coco_dict['images'][: len(dataset)]
    names = [image['file_name'] for image in images]
    content = hashlib.sha256(
        json.dumps([names, dataset.image_sizes, dataset.class_names]).encode()
    )
    for index in range(len(dataset)):
        target = dataset.target(index)
        content.update(target.labels.tobytes())
        content.update(target.boxes_xyxy_px.tobytes())
    return f'{len(dataset)} ({content.hexdigest()[:12]})'


def _flat(mapping: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f'{prefix}{key}.')
        else:
            flat[f'{prefix}{key}'] = value
    return flat
