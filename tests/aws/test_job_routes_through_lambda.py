"""The routes of jobs through the function's entry; see `test_routes_through_lambda`. They have a fleet of their own."""

from __future__ import annotations

from tests.planes.control_plane import test_jobs
from tests.planes.home import StagedHome
from tests.support.through_lambda import take_over, through_lambda  # noqa: F401 - fixtures are found by being here

take_over(globals(), test_jobs)


def test_requests_go_through_the_function(fleet: StagedHome, request):
    assert "/cameras" in request.getfixturevalue("through_lambda")
