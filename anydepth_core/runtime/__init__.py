"""Run a bundle: back ends, the pipeline around them, drawing; nothing here imports torch."""
