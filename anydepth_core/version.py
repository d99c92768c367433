"""The one version number of the project (package.xml repeats it; a test compares them)."""

__version__ = '0.1.0'
