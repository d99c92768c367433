"""Evaluation: COCO statistics of detections."""
