"""The daemon that runs on a camera."""
