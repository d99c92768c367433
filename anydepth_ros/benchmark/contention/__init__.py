"""Measure the closed loop of detector and controller while other processes take the processor."""
