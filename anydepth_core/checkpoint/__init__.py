"""Checkpoints: reading, writing and conversion; nothing here runs what is pickled in a file."""

from __future__ import annotations

from anydepth_core.checkpoint.convert import convert_state_dict
from anydepth_core.checkpoint.io import load_checkpoint, read_metadata, save_checkpoint
from anydepth_core.checkpoint.read import read_checkpoint

__all__ = [
    'convert_state_dict',
    'load_checkpoint',
    'read_checkpoint',
    'read_metadata',
    'save_checkpoint',
]
