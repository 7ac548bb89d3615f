"""Templates of the cloud home for every test here."""

from tests.support.cloud_template import cloud, clouds, full_cloud

__all__ = ["cloud", "clouds", "full_cloud"]
