"""Stand-ins for the modules that depth rules: while recorded, they write every depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from anydepth_core.export.recorder import Recorder
from anydepth_core.models.detector import Detector


def insert_switches(detector: Detector, recorder: Recorder) -> None:
    """Replace the modules of a detector that depth rules, in place.

    A forward pass at full depth with all decoder layers then records every depth.
    """
    for index, module in detector.switched_modules():
        name = detector.depth_space.stages[index]
        _replace(detector, module, _BothDepths(module, name, index, recorder))
    layers = detector.decoder_modules()
    for index, layer in enumerate(layers[1:], 1):
        heads = [layer.get_submodule('score_head') for layer in layers[: index + 1]]
        _replace(detector, layer, _OptionalLayer(layer, heads, index, recorder))


class _BothDepths(nn.Module):
    """Stands in for a module of a stage: whatever depth it is called with, both are recorded."""

    def __init__(self, module: nn.Module, name: str, index: int, recorder: Recorder) -> None:
        super().__init__()
        self.module = module
        self._name, self._index, self._recorder = name, index, recorder

    def forward(self, *arguments: Any) -> Any:
        """Record the module for its maps; its last argument, the depth bit, is ignored."""
        *maps, _ = arguments
        results = self._recorder.switch(
            self._recorder.stage_runs(self._index),
            {
                f'{self._name}/full': lambda: self._run(maps, True),
                f'{self._name}/base': lambda: self._run(maps, False),
            },
        )
        return results[0] if len(results) == 1 else tuple(results)

    def _run(self, maps: Sequence[torch.Tensor], full: bool) -> Sequence[torch.Tensor]:
        result = self.module(*maps, full)
        return (result,) if isinstance(result, torch.Tensor) else result


class _OptionalLayer(nn.Module):
    """Stands in for a decoder layer: it hands on queries and boxes where it does not run."""

    def __init__(
        self, layer: nn.Module, score_heads: Sequence[nn.Module], index: int, recorder: Recorder
    ) -> None:
        super().__init__()
        self.layer = layer
        self.score_head = _ScoreHead(score_heads, recorder)
        self._index, self._recorder = index, recorder

    def forward(
        self, queries: torch.Tensor, boxes: torch.Tensor, *rest: Any
    ) -> tuple[torch.Tensor, torch.Tensor, None]:
        """Record the layer; what it returns behind queries and boxes is for training only."""
        queries, boxes = self._recorder.switch(
            self._recorder.layer_runs(self._index),
            {
                f'decoder.layer{self._index}/runs': lambda: self.layer(queries, boxes, *rest)[:2],
                f'decoder.layer{self._index}/left_out': lambda: (queries, boxes),
            },
        )
        return queries, boxes, None


class _ScoreHead(nn.Module):
    """Stands in for the score head of the last layer: that of the last layer that runs."""

    def __init__(self, heads: Sequence[nn.Module], recorder: Recorder) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)
        self._recorder = recorder

    def forward(self, queries: torch.Tensor) -> torch.Tensor:
        """Map (B, Q, C) to logits (B, Q, num_classes)."""
        return self._of_last(queries, len(self.heads) - 1)

    def _of_last(self, queries: torch.Tensor, index: int) -> torch.Tensor:
        """Apply the head of a layer if that layer runs, else the one of the last that does."""
        if index == 0:
            return self.heads[0](queries)
        (logits,) = self._recorder.switch(
            self._recorder.layer_runs(index),
            {
                f'decoder.score_head{index}': lambda: (self.heads[index](queries),),
                'before': lambda: (self._of_last(queries, index - 1),),
            },
        )
        return logits


def _replace(root: nn.Module, old: nn.Module, new: nn.Module) -> None:
    parent, name = next(
        (module, name)
        for module in root.modules()
        for name, child in module.named_children()
        if child is old
    )
    setattr(parent, name, new)
