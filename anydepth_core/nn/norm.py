"""Normalisation as all any-depth YOLO blocks use it."""

from __future__ import annotations

from torch import nn


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Batch normalisation with the YOLO constants (eps 1e-3, momentum 0.03)."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.03)
