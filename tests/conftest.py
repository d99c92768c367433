"""Decide the ROS environment before any test loads rclpy.

Nothing leaves this process unless a test says so.
"""

from __future__ import annotations

import os

os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'OFF'
os.environ['ROS_DOMAIN_ID'] = str(os.getpid() % 100 + 1)
os.environ.pop('ROS_LOCALHOST_ONLY', None)
