"""The suite of the data plane again, every opening, message and end as an event of a WebSocket API."""

from __future__ import annotations

import pytest

from tests.planes.data_plane import test_endpoint
from tests.support.through_lambda import (  # noqa: F401 - fixtures are found by being here
    sockets_through_lambda,
    take_over,
    through_lambda,
)

pytestmark = pytest.mark.usefixtures("sockets_through_lambda")

take_over(globals(), test_endpoint)
