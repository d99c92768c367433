"""``detect_bag``: detections of every image of a recorded bag, without a running ROS graph."""
