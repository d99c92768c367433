"""Annotations of other formats, read for conversion to COCO json: YOLO text, Pascal VOC XML."""
