"""Bare H.264 streams become MP4 clips, for devices that cannot make them. Shared by AWS and the hub."""
