"""The demo: depth by hand, then the controller at a latency budget and in simulated heat."""
