"""Detectors: model, losses and postprocess; this package itself imports no torch."""
