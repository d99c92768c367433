"""Detect with a torch detector, as the trainer's evaluation does."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import torch

from anydepth_core.data.preprocess import preprocess
from anydepth_core.depth import DepthConfig, OperatingPoint
from anydepth_core.export.bundle import Bundle
from anydepth_core.export.onnx_export import load_master_weights, with_norms
from anydepth_core.models.build import build_detector
from anydepth_core.models.detector import Detector
from anydepth_core.models.postprocess import (
    DEFAULT,
    EVALUATION,
    postprocess,
    PostprocessSettings,
)
from anydepth_core.structures import Detections


def torch_predict(
    detector: Detector,
    depth: DepthConfig | str,
    image_size: tuple[int, int],
    settings: PostprocessSettings | None = None,
    precision: torch.dtype | None = None,
) -> Callable[[list[np.ndarray]], Sequence[Detections]]:
    """Return a function from a list of images to their detections.

    Images are resized, and boxes suppressed, as the detector wants it.

    Args:
        detector: detector in evaluation mode.
        depth: depth to run at.
        image_size: (height, width) of the network input.
        settings: postprocessing, None for that of COCO evaluation.
        precision: autocast precision, None for float32.
    """
    device = next(detector.parameters()).device
    resize, suppression = detector.resize, detector.suppression
    limits = settings or EVALUATION[suppression]

    @torch.no_grad()
    def predict(images_bgr: list[np.ndarray]) -> list[Detections]:
        tensors, geometries = zip(*(preprocess(image, image_size, resize) for image in images_bgr))
        images = torch.from_numpy(np.concatenate(tensors)).to(device)
        with torch.autocast(device.type, dtype=precision, enabled=precision is not None):
            raw = detector(images, depth)
        decoded = raw.decoded.float().cpu().numpy()
        return [
            postprocess(one[:4], one[4:], geometry, limits, suppression)
            for one, geometry in zip(decoded, geometries)
        ]

    return predict


def detector_of_bundle(bundle: Bundle) -> Detector:
    """Build the torch detector of a bundle, in evaluation mode, with the weights of its master.

    Raises:
        ValueError: if there is no such detector, or the weights do not fit it.
    """
    detector = build_detector(bundle.model_name, bundle.variant, len(bundle.class_names))
    load_master_weights(detector, onnx.load(bundle.master_path))
    return detector.eval()


def detect_with_torch(
    bundle: Bundle, device: str = 'cpu', precision: torch.dtype | None = None
) -> Callable[[np.ndarray, OperatingPoint], Detections]:
    """Return what runs the torch detector of a bundle on an image at an operating point.

    Args:
        bundle: the bundle; its points run with the norms that they have of their own.
        device: torch device.
        precision: autocast precision, None for float32.
    """
    trained = detector_of_bundle(bundle).to(device)
    own = {key: with_norms(trained, norms) for key, norms in bundle.norms.items()}

    def detect(image_bgr: np.ndarray, point: OperatingPoint) -> Detections:
        detector = own.get((point.depth, point.image_size), trained)
        predict = torch_predict(detector, point.depth, point.image_size, DEFAULT, precision)
        return predict([image_bgr])[0]

    return detect
