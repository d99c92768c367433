"""What `anydepth benchmark --node` measures; no ROS."""

from __future__ import annotations

from dataclasses import dataclass
import os
import re

from anydepth_core.runtime.backends import RuntimeSettings

ENCODINGS = ('bgr8', 'rgb8', 'bgra8', 'rgba8', 'mono8')
RELIABILITIES = ('reliable', 'best_effort')


@dataclass(frozen=True)
class NodeSettings:
    """The options of one measurement.

    Attributes:
        image_size: one or more sizes of the camera's images, ``640x480,1280x720``
            (width x height); each is a run of its own.
        rate: images per second.
        overload: send so many times faster than the detector was seen to be, instead of ``rate``.
        seconds: length of a run after the warm-up.
        reliability: of the image topic, on both sides.
        profile: whether all processes use the shipped shared-memory profile.
        encoding: of the image messages.
        depth: the detector's depth.
        runtime: what runs the network.
        detections: have the detector publish up to this many for every image, with a very low
            threshold. None leaves its parameters alone.
        output: JSON file for the figures.
        contention: measure the closed loop with so many hogs, 0 for one per processor, instead of
            one depth without; ``seconds`` is the length of a phase then.
        deadline: of the closed loop, in milliseconds; None to derive it.
        rounds: of the closed loop.
    """

    image_size: str = '1280x720'
    rate: float = 30.0
    overload: float | None = None
    seconds: float = 20.0
    reliability: str = 'reliable'
    profile: bool = False
    encoding: str = 'bgr8'
    depth: str = 'full'
    runtime: RuntimeSettings = RuntimeSettings(threads=1)
    detections: int | None = None
    output: str | None = None
    contention: int | None = None
    deadline: float | None = None
    rounds: int = 3

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: if one is not legal; the message says what is.
        """
        for name in ('rate', 'overload', 'seconds', 'detections', 'deadline', 'rounds'):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 100_000:
                raise ValueError(f'--{name} {value} is not legal: give a number above 0')
        for name, legal in (('reliability', RELIABILITIES), ('encoding', ENCODINGS)):
            if getattr(self, name) not in legal:
                raise ValueError(
                    f'--{name} {getattr(self, name)!r} is not legal: use one of {", ".join(legal)}'
                )
        if self.contention is not None and self.contention < 0:
            raise ValueError(f'--contention {self.contention} is not legal: give 0 or more')
        if len(self.sizes()) > 1 and self.contention is not None:
            raise ValueError(
                f'--image-size {self.image_size} is not legal with --contention: give one size'
            )

    def sizes(self) -> list[tuple[int, int]]:
        """Return the image sizes as (width, height).

        Raises:
            ValueError: if the text is no such list.
        """
        words = self.image_size.split(',')
        found = [re.fullmatch(r'([1-9]\d{0,4})x([1-9]\d{0,4})', word.strip()) for word in words]
        if not all(found):
            raise ValueError(
                f'--image-size {self.image_size!r} is not legal: give width x height, such as '
                '1280x720 or 640x480,1280x720'
            )
        return [(int(match[1]), int(match[2])) for match in found if match]

    def hogs(self) -> int:
        """Return the number of hogs."""
        return self.contention or processors()

    def depth_parameter(self) -> int | str:
        """Return the depth as the node's parameter wants it: a level is a whole number."""
        return int(self.depth) if self.depth.isdecimal() and len(self.depth) < 4 else self.depth


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0))
