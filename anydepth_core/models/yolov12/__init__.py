"""Any-depth YOLOv12."""
