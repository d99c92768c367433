"""Layers: plain torch modules that know no configuration object."""
