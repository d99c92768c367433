"""From a trained detector to a bundle: master ONNX, specialised graphs, the bundle directory."""
