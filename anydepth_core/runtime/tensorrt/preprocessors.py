"""Which image sizes the GPU preprocesses; what a new one needs is made beside the frames."""

from __future__ import annotations

from collections.abc import Callable
import logging
import threading

from anydepth_core.errors import sentence

logger = logging.getLogger(__name__)

MOST = 8
_TOO_MANY = f'preprocessing on the GPU takes {MOST} pairs of image and input size, further ones'

Sizes = tuple[tuple[int, int], tuple[int, int]]
"""(height, width) of the images and of the network input."""


class Preprocessors:
    """Loads preprocessing for each pair of sizes when it is first asked for, one after another."""

    def __init__(self, load: Callable[[Sizes], None]) -> None:
        """Remember what loads one; it is called in a thread of its own."""
        self._load = load
        self._asked: set[Sizes] = set()
        self._ready: set[Sizes] = set()
        self._crowded = False
        self._closed = False
        self._lock = threading.Lock()

    def ready(self, sizes: Sizes) -> bool:
        """Whether it is there; if not, loading begins unless it has failed or there are many."""
        if sizes in self._ready or sizes in self._asked:
            return sizes in self._ready
        if self._admit(sizes):
            name = 'anydepth-preprocessing'
            threading.Thread(target=self._add, args=(sizes,), daemon=True, name=name).start()
        elif not self._crowded:
            self._crowded = True
            logger.warning('%s stay on the CPU', _TOO_MANY)
        return False

    def load(self, sizes: Sizes) -> None:
        """Load it now unless it is there.

        Raises:
            RuntimeError: if it cannot be built or loaded, or there are too many.
        """
        if not self._admit(sizes):
            raise RuntimeError(f'{_TOO_MANY} have no room: leave preprocessing to the CPU')
        self._load(sizes)
        self._ready.add(sizes)

    def close(self) -> None:
        """Say nothing of loads that the end of the runtime ends."""
        self._closed = True

    def _admit(self, sizes: Sizes) -> bool:
        with self._lock:
            if sizes not in self._asked and len(self._asked) < MOST:
                self._asked.add(sizes)
            return sizes in self._asked

    def _add(self, sizes: Sizes) -> None:
        (height, width), _ = sizes
        try:
            self.load(sizes)
        except Exception as error:  # frames go on without it
            level = logging.DEBUG if self._closed else logging.WARNING
            logger.log(
                level,
                'images of %dx%d are preprocessed on the CPU: %s',
                height,
                width,
                sentence(error),
            )
            return
        logger.info('images of %dx%d are preprocessed on the GPU', height, width)
