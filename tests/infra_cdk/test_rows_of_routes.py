"""Every route and action of the planes again, through the functions: each row that is touched is held against a role.

The tests are those of the planes. What is asked here is only that no role is too narrow for them.
"""

from __future__ import annotations

import pytest

from tests.planes import test_authorization_table
from tests.planes.home import VIEWER, ask_for
from tests.support.policies.rows import (  # noqa: F401 - fixtures are found by being here
    RowsUnderRoles,
    asking,
    rows_under_roles,
    serving_as,
)
from tests.support.through_lambda import (  # noqa: F401 - the same
    sockets_through_lambda,
    take_over,
    through_lambda,
)

pytestmark = [pytest.mark.soak, pytest.mark.usefixtures("sockets_through_lambda")]

take_over(globals(), test_authorization_table)


def test_a_row_that_is_none_of_a_functions_is_noticed(asking, home):  # noqa: F811 - fixtures
    rows = RowsUnderRoles(asking)
    ask_for(home, VIEWER, "POST", "/tokens")
    table = rows.of(home.table)
    serving_as("presence", lambda: table.query("ticket"))()
    serving_as("http", lambda: table.query("ticket"))()
    assert [said.partition(":")[0] for said in rows.refused] == ["presence"]
    assert rows.asked == 2
