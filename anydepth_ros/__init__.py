"""The ROS 2 side: nodes, parameters and message conversions. Importing this package imports no ROS."""
