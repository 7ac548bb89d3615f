"""The connection is lost in the middle, at every operation: the same command goes on, or takes it all back."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from pinthesky.errors import Unavailable
from pitsctl import places
from pitsctl.plan import Outcome
from tests.pitsctl.conftest import Installation, Installed
from tests.support.pretend_root import CutOff, PretendRoot, missing

OPERATIONS = 400
"""More than an installation has; an operation that does not come any more ends the loop."""
EACH = 1 if os.environ.get("SOAK", "long") == "long" else 37
pytestmark = pytest.mark.skipif(missing() is not None, reason=missing() or "")


def without_record(tree: dict[str, str]) -> dict[str, str]:
    return {path: what for path, what in tree.items() if path != str(places.RECORD_FILE)}


def tried(attempt: Callable[[], Outcome]) -> Outcome | None:
    """The outcome; None where the connection was lost before the first step."""
    try:
        return attempt()
    except Unavailable:
        return None


def check_cut_off_installation(installed: Installed, at: int, *, is_done: bool) -> bool:
    """Cut one off, go on, and take it back; whether it was cut off at all."""
    pi = PretendRoot()
    try:
        installation = Installation(pi)
        cut = CutOff(pi, at, is_done=is_done)
        outcome = tried(lambda: installation.install(cut))
        assert (outcome is not None and outcome.is_complete) != cut.is_lost
        again = installation.install()
        assert again.is_complete, (at, is_done, outcome, again, installation.heard.lines)
        assert without_record(pi.tree()) == without_record(installed.whole), (at, is_done)
        assert installation.remove().is_complete, (at, is_done)
        assert pi.tree() == installed.bare, (at, is_done)
        return cut.is_lost
    finally:
        pi.close()


def check_cut_off_removal(installed: Installed, at: int, *, is_done: bool) -> bool:
    pi = PretendRoot(installed.upper)
    try:
        installation = Installation(pi)
        cut = CutOff(pi, at, is_done=is_done)
        outcome = tried(lambda: installation.remove(cut))
        assert (outcome is not None and outcome.is_complete) != cut.is_lost
        assert installation.remove().is_complete, (at, is_done, outcome, installation.heard.lines)
        assert pi.tree() == installed.bare, (at, is_done)
        return cut.is_lost
    finally:
        pi.close()


@pytest.mark.parametrize("at", [9, 88, 121])
def test_an_installation_that_was_cut_off_goes_on_and_can_be_taken_back(installed: Installed, at: int):
    assert check_cut_off_installation(installed, at, is_done=at % 2 == 0)


@pytest.mark.parametrize("at", [40])
def test_a_removal_that_was_cut_off_goes_on(installed: Installed, at: int):
    assert check_cut_off_removal(installed, at, is_done=at % 2 == 0)


@pytest.mark.soak
@pytest.mark.no_cover
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
def test_an_installation_goes_on_wherever_it_was_cut_off(installed: Installed, is_done: bool):
    assert any(not check_cut_off_installation(installed, at, is_done=is_done) for at in range(1, OPERATIONS, EACH))


@pytest.mark.soak
@pytest.mark.no_cover
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
def test_a_removal_goes_on_wherever_it_was_cut_off(installed: Installed, is_done: bool):
    assert any(not check_cut_off_removal(installed, at, is_done=is_done) for at in range(1, OPERATIONS, EACH))
