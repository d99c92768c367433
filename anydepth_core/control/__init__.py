"""Control: which level to run, from what the robot measures. No clock, no input or output."""
