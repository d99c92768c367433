"""The TensorRT back end: engines built on the device, one per operating point."""
