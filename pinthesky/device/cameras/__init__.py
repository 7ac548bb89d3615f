"""Adapters of the Camera port."""
