"""The hand-written table of who may do what, through the functions' entries: every route, action, push and role."""

from __future__ import annotations

import pytest

from tests.planes import test_authorization_table
from tests.support.through_lambda import (  # noqa: F401 - fixtures are found by being here
    sockets_through_lambda,
    take_over,
    through_lambda,
)

pytestmark = pytest.mark.usefixtures("sockets_through_lambda")

take_over(globals(), test_authorization_table)
