"""What the homes of this folder stand on."""

from tests.support.aws_fixtures import moto_port
from tests.support.cloud_template import cloud, clouds

__all__ = ["cloud", "clouds", "moto_port"]
