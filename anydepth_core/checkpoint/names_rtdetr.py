"""Names of published AnyDepth-DETR and official RT-DETR weights.

Both name neck and decoder alike (but for the neck's input projection); their backbones differ. The
official files have no second norms; those of ``rtdetr_*`` get names in the any-depth manner.
"""

from __future__ import annotations

from collections.abc import Sequence

from anydepth_core.checkpoint.blocks import numbered_blocks
from anydepth_core.models.detector import Detector

_NECK = {
    'transformer': 'encoder.0.layers.0',
    'lateral': 'lateral_convs',
    'top_down': 'fpn_blocks',
    'down': 'downsample_convs',
    'bottom_up': 'pan_blocks',
    'block': 'bottlenecks',
    'conv3x3': 'conv1',
    'conv1x1': 'conv2',
    'norm_base': 'norm_skippable',
    'norm1_base': 'norm1_skippable',
    'norm2_base': 'norm2_skippable',
}
_DECODER_HEADS = {'score_head': 'dec_score_head', 'box_head': 'dec_bbox_head'}


def published_name(key: str, detector: Detector) -> str:
    """Return the published name of a key of an RT-DETR's state dict."""
    part, *words = numbered_blocks(key, detector, 'block').split('.')
    official = not detector.name.startswith('anydepth_')
    if part == 'backbone':
        return '.'.join(('backbone', *(_official if official else _any_depth)(words)))
    if part == 'neck':
        return '.'.join(('encoder', *_neck(words, official)))
    return '.'.join(('decoder', *_decoder(words)))


def _official(words: Sequence[str]) -> list[str]:
    if words[0] == 'stem':
        _, index, *rest = words
        return ['conv1', f'conv1_{int(index) + 1}', *rest]
    _, stage, _, number, branch, kind, leaf = words
    kind = _NECK.get(kind, kind)
    block = ['res_layers', stage, 'blocks', number]
    if branch == 'shortcut':
        return [*block, *(['short'] if stage == '0' else ['short', 'conv']), kind, leaf]
    return [*block, f'branch2{"abc"[int(branch[-1]) - 1]}', kind, leaf]


def _any_depth(words: Sequence[str]) -> list[str]:
    norms = {'norm': 'bn{}', 'norm_base': 'bn{}_skip', 'conv': 'conv{}'}
    if words[0] == 'stem':
        _, _, kind, leaf = words
        return [norms[kind].format(1), leaf]
    _, stage, _, number, branch, kind, leaf = words
    block = [f'layer{int(stage) + 1}', number]
    if branch == 'shortcut':
        # module 0 of the later stages' shortcuts is the pool
        return [*block, 'downsample', str((kind == 'norm') + (stage != '0')), leaf]
    return [*block, norms[kind].format(branch[-1]), leaf]


def _neck(words: Sequence[str], official: bool) -> list[str]:
    names = [_NECK.get(word, word) for word in words]
    if words[0] == 'input_proj' and official:  # a plain sequence in the official files
        names[2] = {'conv': '0', 'norm': '1'}.get(names[2], names[2])
    return names


def _decoder(words: Sequence[str]) -> list[str]:
    if words[0] == 'query_pos':
        return ['query_pos_head', *words[1:]]
    if words[0] == 'input_proj':  # one set of norms in published files
        return ['norm' if word == 'norm_base' else word for word in words]
    if words[0] != 'layers':
        return list(words)
    _, number, part, *rest = words
    if part in _DECODER_HEADS:
        return [_DECODER_HEADS[part], number, *rest]
    return ['decoder', 'layers', number, part, *rest]
