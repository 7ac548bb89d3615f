"""The version, in its one place: setup.py reads it from here without importing the package."""

__version__ = "1.0.0.dev0"
