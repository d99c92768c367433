"""What the device says about itself: heat, power, battery, load; read from sysfs."""
