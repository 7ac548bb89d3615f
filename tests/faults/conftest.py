"""Fixtures for tests of what the whole daemon does when something around it fails."""

from __future__ import annotations

from tests.daemon.conftest import client_of  # noqa: F401 - fixtures are found by being here
from tests.support.aws_fixtures import (  # noqa: F401 - fixtures are found by being here
    bucket,
    credentials_server,
    data_plane,
    moto_port,
    s3,
)
