"""Precision of what half precision would spoil: boxes, sampling places, losses."""

from __future__ import annotations

import torch


def at_least_float32(x: torch.Tensor) -> torch.Tensor:
    """Turn half precision into float32; any other precision stays."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
