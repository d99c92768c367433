"""The static graph of any operating point: what sessions and engines are built from."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING

from anydepth_core.depth import OperatingPoint
from anydepth_core.export.bundle import Bundle
from anydepth_core.export.manifest import check_size

if TYPE_CHECKING:
    import onnx

PRECISIONS = ('fp32', 'fp16')


class LevelGraphs:
    """Specialises the master of a bundle; it is read once, when the first graph is asked for.

    Any thread may ask at any time.
    """

    def __init__(self, bundle: Bundle) -> None:
        """Remember the bundle.

        Args:
            bundle: the verified bundle.
        """
        self._bundle = bundle
        self._master: onnx.ModelProto | None = None
        self._lock = threading.Lock()

    def graph(
        self, point: OperatingPoint, precision: str = 'fp32', gather: bool = False
    ) -> onnx.ModelProto:
        """Make the static graph of an operating point.

        Args:
            point: depth and input size.
            precision: ``fp32``, or ``fp16`` for half precision wherever that is safe; inputs and
                outputs stay float32.
            gather: replace GridSample nodes by index arithmetic.

        Returns:
            A new model with the input ``images`` (1, 3, H, W) and the outputs ``boxes`` (1, 4, A)
            and ``scores`` (1, C, A).

        Raises:
            ValueError: if depth, input size or precision is not legal, or the master has changed
                since the bundle was loaded.
        """
        from anydepth_core.export.specialise import specialise

        if precision not in PRECISIONS:
            raise ValueError(
                f'precision {precision!r} is not legal: use one of {", ".join(PRECISIONS)}'
            )
        depth = self._bundle.space.parse(point.depth)
        size = check_size(list(point.image_size), 'input size')
        norms = self._bundle.norms.get((depth, size))
        model = specialise(self._loaded(), depth.stages, size, depth.decoder_layers, norms=norms)
        if gather:
            from anydepth_core.export.gather_sampling import gather_sampling

            model = gather_sampling(model)
        if precision == 'fp32':
            return model

        from anydepth_core.export.precision import to_half

        return to_half(model)

    def _loaded(self) -> onnx.ModelProto:
        import onnx

        with self._lock:
            if self._master is None:
                content = self._bundle.master_path.read_bytes()
                if hashlib.sha256(content).hexdigest() != self._bundle.master_sha256:
                    raise ValueError(
                        f'{self._bundle.master_path} has changed since it was loaded: '
                        'load the bundle again'
                    )
                self._master = onnx.load_model_from_string(content)
            return self._master
