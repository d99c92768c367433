"""What torch makes of an image, and how far rounding alone can move it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from anydepth_core.depth import DepthConfig
from anydepth_core.models.detector import Detector

# Measured on random RT-DETRs: ONNX Runtime is 0.3 to 2 times as far from float64 as torch is.
_FACTOR = 10
_TRIES = 8
_LARGEST_ROUNDING = 2e-4
_ALIKE = 1e-9

Outputs = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """An image and what an exact detector makes of it.

    Attributes:
        images: (1, 3, H, W) float32.
        outputs: boxes (1, 4, A) and scores (1, C, A).
        tolerance: the largest error that rounding explains.
    """

    images: np.ndarray
    outputs: Outputs
    tolerance: float


def place_errors(actual: Outputs, expected: Outputs) -> dict[str, float]:
    """Max |actual - expected| / max |expected| of each output, place by place."""
    return {name: _error(actual[name], value, value) for name, value in expected.items()}


def query_errors(actual: Outputs, expected: Outputs) -> dict[str, float]:
    """Max |actual - expected| / max |expected| of each output, every query with its nearest.

    Queries come in the order of the scores of their tokens, in which rounding can swap two at
    will. So every query of either side is compared with the query of the other side whose box and
    scores together are nearest; a query that only one side has is far from all.
    """
    shapes = [[outputs[name].shape for name in expected] for outputs in (actual, expected)]
    if shapes[0] != shapes[1]:
        return dict.fromkeys(expected, float('inf'))
    rows, wanted = (
        np.concatenate([outputs[n][0].T / np.abs(expected[n]).max() for n in expected], 1)
        for outputs in (actual, expected)
    )
    distances = np.stack([np.abs(rows - row).max(1) for row in wanted])
    order = np.arange(len(wanted))
    pairs = np.append(order, distances.argmin(0)), np.append(distances.argmin(1), order)
    return {
        name: _error(actual[name][:, :, pairs[1]], value[:, :, pairs[0]], value)
        for name, value in expected.items()
    }


class Reference:
    """A detector in torch, as the reference for its exported graphs.

    Detectors that predict at fixed places are compared place by place with torch in float32. For
    detectors that select queries, the reference is torch in float64: their decoder amplifies
    rounding, by how much depends on weights and image. The tolerance then also admits a few times
    the error of torch itself in float32. Images on which rounding decides which tokens become
    queries, or moves the outputs far, are replaced by others; torch alone decides that.

    Args:
        detector: the detector in float32, with the weights of the graph.
        tolerance: the largest error to accept where rounding does not explain more.
    """

    def __init__(self, detector: Detector, tolerance: float) -> None:
        self._detector, self._tolerance = detector, tolerance
        queries = detector.depth_space.decoder_layers is not None
        self._exact = deepcopy(detector).double() if queries else None
        self.errors: Callable[[Outputs, Outputs], dict[str, float]] = (
            query_errors if queries else place_errors
        )

    def case(self, depth: DepthConfig, size: tuple[int, int], seed: int) -> Case:
        """Return a random image of a size (height, width) and the outputs at a depth.

        Raises:
            RuntimeError: if rounding alone changes the queries, or moves the outputs of torch too
                far, on every image.
        """
        if self._exact is None:
            images = _random(size, seed, 0)
            outputs, _ = _run(self._detector, images, depth)
            return Case(images, outputs, self._tolerance)
        for attempt in range(_TRIES):
            images = _random(size, seed, attempt)
            exact, exact_choices = _run(self._exact, images.astype(np.float64), depth)
            rounded, choices = _run(self._detector, images, depth)
            rounding = max(self.errors(rounded, exact).values())
            if rounding <= _LARGEST_ROUNDING and _all_clear(choices, exact_choices):
                return Case(images, exact, max(self._tolerance, _FACTOR * rounding))
        raise RuntimeError(
            f'rounding alone changes the queries or moves the outputs by {rounding:.1e} on all '
            f'{_TRIES} images of {size[0]}x{size[1]} (at most {_LARGEST_ROUNDING:.0e} can be '
            'compared), so an export of this detector cannot be verified: train it, or another one'
        )


class _Choices(TorchFunctionMode):
    """Notes what ``topk`` chooses from while a forward pass runs."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[tuple[np.ndarray, int]] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run a torch function."""
        if getattr(func, '__name__', '') == 'topk':
            values, count = args[:2]
            self.made += [(row.double().numpy(), count) for row in values]
        return func(*args, **(kwargs or {}))


def _all_clear(
    choices: Sequence[tuple[np.ndarray, int]], exact: Sequence[tuple[np.ndarray, int]]
) -> bool:
    """Whether rounding can change none of the choices."""
    return all(
        _clear(rounded, values, count) for (rounded, _), (values, count) in zip(choices, exact)
    )


def _clear(rounded: np.ndarray, exact: np.ndarray, count: int) -> bool:
    """Whether the ``count`` largest values stay the same when each is a bit rounded.

    Equal values do not matter: those are tokens too near to the border, which are all alike.
    """
    if count == len(exact):
        return True
    ordered = np.sort(exact)
    threshold = ordered[-count - 1 : len(ordered) - count + 1].mean()
    distances = np.abs(exact - threshold)
    alike = _ALIKE * np.abs(exact).max()
    noise = np.abs(rounded - exact).max()
    return bool(np.all((distances <= alike) | (distances > _FACTOR * noise)))


def _run(
    detector: Detector, images: np.ndarray, depth: DepthConfig
) -> tuple[Outputs, list[tuple[np.ndarray, int]]]:
    with torch.no_grad(), _Choices() as choices:
        outputs = detector(torch.from_numpy(images), depth).outputs
    return {name: tensor.numpy() for name, tensor in outputs.items()}, choices.made


def _random(size: tuple[int, int], seed: int, attempt: int) -> np.ndarray:
    generator = np.random.default_rng((seed, attempt, *size))
    return generator.random((1, 3, *size), dtype=np.float32)


def _error(actual: np.ndarray, expected: np.ndarray, whole: np.ndarray) -> float:
    if actual.shape != expected.shape:
        return float('inf')
    return float(np.abs(actual - expected).max() / np.abs(whole).max())
