"""What a handler is: it writes one torch function as ONNX nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch

from anydepth_core.export.graph import GraphWriter


class Writer(Protocol):
    """What a handler needs of the recorder."""

    graph: GraphWriter
    sampling: str

    def value(self, operand: Any) -> str:
        """Name of a tensor or number in the graph."""

    def sizes(self, sizes: Sequence[int], reshaped: torch.Tensor | None = None) -> str:
        """Name of an int64 vector of sizes."""


Handler = Callable[..., 'str | list[str]']
"""Called as ``handler(to, result, *args, **kwargs)``; returns the names of what torch returns."""
