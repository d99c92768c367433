"""Measure the running detector node from outside, as its own process."""
