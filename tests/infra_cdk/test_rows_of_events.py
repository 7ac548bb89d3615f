"""What arrives and what is due, again: each row that a function touches for it is held against its role.

The tests are those of the planes. What is asked here is only that no role is too narrow for them.
"""

from __future__ import annotations

from tests.planes import test_camera_removal, test_camera_silence
from tests.planes.conftest import fleet, home  # noqa: F401 - fixtures are found by being here
from tests.planes.ingest import test_device_events, test_media_events, test_presence_and_jobs, test_recognition
from tests.support.policies.rows import asking, rows_under_roles  # noqa: F401 - the same
from tests.support.through_lambda import take_over

take_over(
    globals(),
    test_camera_removal,
    test_camera_silence,
    test_device_events,
    test_media_events,
    test_presence_and_jobs,
    test_recognition,
)
