"""The demo: video source -> detector -> topics, with a depth that changes while it runs."""
