"""The hub that is attacked: in this process, served over HTTP on this machine, with everything in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pinthesky.hub import control_plane_site
from tests.support.planes_at_hub import HubOfPlanes


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubOfPlanes]:
    """Attackers are one address here, so what one may ask for in a minute has no limit but where that is tested."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(control_plane_site, "STRANGERS_PER_MINUTE", 1_000_000)
        made = HubOfPlanes(tmp_path_factory.mktemp("attacked"))
    yield made
    made.close()
