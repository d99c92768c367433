"""Sine and cosine embedding of the position in a map."""

from __future__ import annotations

import torch


def sincos_position(
    width: int, height: int, channels: int, device: torch.device | None = None
) -> torch.Tensor:
    """Embedding of all cells of a map, as published RT-DETR checkpoints were trained with.

    The channels are [sin x, cos x, sin y, cos y] at ``channels / 4`` frequencies each. The cells
    are counted column by column although tokens run row by row: on a square map that is the
    embedding of the transposed map, on any other it is shifted. Weights depend on it.

    Args:
        width: columns of the map.
        height: rows of the map.
        channels: length of the embedding, a multiple of 4.
        device: where to make it.

    Returns:
        (1, height * width, channels) float32; always computed in float32, so that a detector in
        another precision sees the same values.
    """
    steps = torch.arange(channels // 4, dtype=torch.float32, device=device) / (channels // 4)
    frequencies = 1.0 / 10000**steps
    columns = torch.arange(width, dtype=torch.float32, device=device)
    rows = torch.arange(height, dtype=torch.float32, device=device)
    grid_x, grid_y = torch.meshgrid(columns, rows, indexing='ij')
    angles_x, angles_y = (grid.reshape(1, -1, 1) * frequencies for grid in (grid_x, grid_y))
    waves = (angles_x.sin(), angles_x.cos(), angles_y.sin(), angles_y.cos())
    return torch.cat(waves, -1)
