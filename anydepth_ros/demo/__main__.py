"""``python -m anydepth_ros.demo``: decide the ROS environment first, then load the rest."""

from __future__ import annotations

from collections.abc import Sequence
import os

from anydepth_ros.isolation import isolate


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return the exit status."""
    isolate(os.environ)
    try:
        from anydepth_ros.demo.run import run_demo  # loads rclpy, which reads the environment
    except KeyboardInterrupt:
        return 130
    return run_demo(arguments)


if __name__ == '__main__':
    raise SystemExit(main())
