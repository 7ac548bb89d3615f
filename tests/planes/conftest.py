"""A home for each test of the planes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.planes.home import StagedHome, make_fleet, make_home


@pytest.fixture
def home(tmp_path: Path) -> Iterator[StagedHome]:
    """An empty home with people of every role."""
    made = make_home(tmp_path)
    yield made
    made.database.close()


@pytest.fixture
def fleet(home: StagedHome) -> StagedHome:
    """The home with three cameras: garden and gate outside, hall inside."""
    make_fleet(home)
    return home
