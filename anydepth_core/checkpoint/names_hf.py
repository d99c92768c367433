"""Hugging Face ``RTDetrForObjectDetection`` names to official RT-DETR names."""

from __future__ import annotations

from collections.abc import Mapping
import re
from typing import Any

import torch

_MARK = 'model.backbone.model.embedder.'

# in order, each wherever it fits
_RENAMES = [
    *(
        (rf'^model\.backbone\.model\.embedder\.embedder\.{i}\.', f'backbone.conv1.conv1_{i + 1}.')
        for i in range(3)
    ),
    (
        r'^model\.backbone\.model\.encoder\.stages\.(\d)\.layers\.',
        r'backbone.res_layers.\1.blocks.',
    ),
    *((rf'\.layer\.{i}\.', f'.branch2{letter}.') for i, letter in enumerate('abc')),
    (r'\.shortcut\.1\.', '.short.conv.'),
    (r'\.shortcut\.', '.short.'),
    (r'\.convolution\.', '.conv.'),
    (r'\.normalization\.', '.norm.'),
    (r'^model\.encoder_input_proj\.', 'encoder.input_proj.'),
    (r'^model\.decoder_input_proj\.(\d)\.0\.', r'decoder.input_proj.\1.conv.'),
    (r'^model\.decoder_input_proj\.(\d)\.1\.', r'decoder.input_proj.\1.norm.'),
    (r'^model\.encoder\.(encoder|aifi)\.', 'encoder.encoder.'),
    (r'^model\.encoder\.', 'encoder.'),
    (r'^(model\.decoder\.)?class_embed\.', 'decoder.dec_score_head.'),
    (r'^(model\.decoder\.)?bbox_embed\.', 'decoder.dec_bbox_head.'),
    (r'^model\.decoder\.layers\.', 'decoder.decoder.layers.'),
    (r'^model\.decoder\.', 'decoder.'),
    (r'^model\.', 'decoder.'),
    (r'\.self_attn_layer_norm\.', '.norm1.'),
    (r'\.encoder_attn_layer_norm\.', '.norm2.'),
    (r'^(encoder\..*)\.final_layer_norm\.', r'\1.norm2.'),
    (r'\.final_layer_norm\.', '.norm3.'),
    (r'\.encoder_attn\.', '.cross_attn.'),
    (r'\.(mlp\.)?fc([12])\.', r'.linear\2.'),
    (r'\.self_attn\.o_proj\.', '.self_attn.out_proj.'),
]
_PROJECTION = re.compile(r'(.*\.self_attn\.)q_proj\.(weight|bias)')


def is_hugging_face(names: Mapping[str, object]) -> bool:
    """Whether these are names of a Hugging Face RT-DETR."""
    return any(name.startswith(_MARK) for name in names)


def official_names(state_dict: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename the weights of a ``RTDetrForObjectDetection`` and join its query, key and value.

    What has no official name keeps its own.
    """
    tensors = {_rename(name): value for name, value in state_dict.items()}
    for name in list(tensors):
        match = _PROJECTION.fullmatch(name)
        parts = [name.replace('q_proj', f'{letter}_proj') for letter in 'qkv'] if match else []
        if match and all(part in tensors for part in parts):
            joined = torch.cat([tensors.pop(part) for part in parts])
            tensors[f'{match[1]}in_proj_{match[2]}'] = joined
    return tensors


def _rename(name: str) -> str:
    for pattern, replacement in _RENAMES:
        name = re.sub(pattern, replacement, name)
    return name


# Settings that no weight shows; RT-DETR has these values.
_SETTINGS: Mapping[str, Any] = {
    'model_type': 'rt_detr',
    'normalize_before': False,
    'activation_function': 'silu',
    'encoder_activation_function': 'gelu',
    'decoder_activation_function': 'relu',
    'encoder_attention_heads': 8,
    'decoder_attention_heads': 8,
    'num_queries': 300,
    'num_feature_levels': 3,
    'encode_proj_layers': [2],
    'feat_strides': [8, 16, 32],
    'positional_encoding_temperature': 10000,
    'learn_initial_query': False,
    'with_box_refine': True,
    'batch_norm_eps': 1e-5,
    'layer_norm_eps': 1e-5,
}


def check_config(config: Mapping[str, Any]) -> None:
    """Refuse a model whose arithmetic is not that of RT-DETR.

    Args:
        config: content of ``config.json``; what it leaves out is taken as usual.

    Raises:
        ValueError: naming the setting, its value and the one that is needed.
    """
    for name, value in _SETTINGS.items():
        if config.get(name, value) != value:
            raise ValueError(
                f'config.json has {name} {config[name]!r}; only {value!r} is supported'
            )
