"""Servers that answer as AWS does."""

from tests.planes.conftest import fleet, home  # noqa: F401 - the same
from tests.support.aws_fixtures import (  # noqa: F401 - fixtures are found by being here
    bucket,
    credentials_server,
    data_plane,
    endpoint,
    moto_port,
    s3,
    session,
)
from tests.support.aws_planes import clients  # noqa: F401 - the same
