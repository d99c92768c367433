"""Checkpoints: reading, writing and conversion of published weights; nothing here unpickles."""

from __future__ import annotations

from anydepth_core.checkpoint.convert import convert_state_dict
from anydepth_core.checkpoint.io import load_checkpoint, read_metadata, save_checkpoint

__all__ = ['convert_state_dict', 'load_checkpoint', 'read_metadata', 'save_checkpoint']
