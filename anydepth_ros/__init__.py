"""The ROS 2 side: nodes, parameters and conversions; importing this package imports no ROS."""
