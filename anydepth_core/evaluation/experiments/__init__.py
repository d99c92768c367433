"""Experiments: the method against its baselines and against itself with parts left out."""
