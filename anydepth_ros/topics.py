"""The topics of the detector and the keys of its per-frame figures, declared in this one file."""

from __future__ import annotations

from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Detection2DArray, LabelInfo

from anydepth_ros.qos import DEBUG, image_qos, LATCHED, OUTPUT


@dataclass(frozen=True)
class Topic:
    """One topic; of a named camera it is under the name of the camera.

    Attributes:
        name: relative name.
        message: type of its messages.
        profile: quality of service unless ``qos_overrides`` say otherwise.
        description: what it carries.
    """

    name: str
    message: type
    profile: QoSProfile
    description: str


IMAGE = Topic(
    'image',
    Image,
    image_qos('best_effort'),
    'the images (in), with image_transport raw; the reliability is image_reliability',
)
COMPRESSED = Topic(
    'image/compressed',
    CompressedImage,
    image_qos('best_effort'),
    'JPEG or PNG images (in), with image_transport compressed; the name follows image: '
    'remapping image to /camera/image_raw listens to /camera/image_raw/compressed',
)
DETECTIONS = Topic(
    'detections',
    Detection2DArray,
    OUTPUT,
    'one message per processed image, empty ones too; array and every detection carry the header '
    'of the image; boxes in pixels of the received image; class_id is the decimal index in '
    'label_info, or the name with class_id_format name; id is empty (nothing is tracked)',
)
LABEL_INFO = Topic(
    'label_info',
    LabelInfo,
    LATCHED,
    'names of the classes and the lowest score that is published; again when that changes',
)
STATS = Topic(
    'stats',
    DiagnosticArray,
    OUTPUT,
    'figures of each image, with its stamp, so that they join with detections',
)
DEBUG_IMAGE = Topic(
    'debug_image',
    Image,
    DEBUG,
    'bgr8 image with boxes, depth and latency; drawn in a thread of its own, only while someone '
    'subscribes',
)
DIAGNOSTICS = Topic(
    '/diagnostics',
    DiagnosticArray,
    OUTPUT,
    'health of the node, every diagnostics_period_s, in every lifecycle state',
)
INPUTS = (IMAGE, COMPRESSED)
OUTPUTS = (DETECTIONS, LABEL_INFO, STATS, DEBUG_IMAGE)
TOPICS = (*INPUTS, *OUTPUTS, DIAGNOSTICS)

# A DiagnosticArray carries them: it is standard everywhere, its header can hold the stamp of the
# image, and its keys can grow. An own message type would need a second, compiled package.
STATS_KEYS = {
    'camera': 'name of the camera, empty for the only one',
    'depth': 'depth the image was processed with, as bits',
    'level': 'its place on the ladder, empty if it has none',
    'image_size': 'input size of the network, height x width',
    'wanted_depth': 'depth that was asked for; another one serves while it is being built',
    'depth_mode': 'manual or auto',
    'wait_ms': 'from the entry of the callback to the start of the work',
    'preprocess_ms': 'decoding the message, scaling, normalising',
    'inference_ms': 'the network',
    'postprocess_ms': 'selection and suppression of boxes',
    'publish_ms': 'making and publishing the detections',
    'total_ms': 'from the entry of the callback to the return of publish',
    'overhead_ms': 'total_ms without inference_ms',
    'received_age_ms': 'age of the image by its stamp when the callback was entered',
    'age_ms': 'age of the image by its stamp when publish returned',
    'detections': 'how many were published',
    'dropped': 'images left out for a newer one, or lost on their way, since configure',
    'too_old': 'images over max_image_age_ms, since configure',
    'errors': 'images that could not be read or processed, since configure',
}
