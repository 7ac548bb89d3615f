"""Installing into a root file system, again, and taking it back."""

from __future__ import annotations

from pitsctl.steps import Verdict
from tests.pitsctl.conftest import Installation, Installed
from tests.support.pretend_root import PretendRoot


def test_it_is_installed_whole_and_a_second_time_there_is_nothing_to_do(pi: PretendRoot, installation: Installation):
    outcome = installation.install()
    assert outcome.is_complete, installation.heard.lines
    assert {item.found.verdict for item in installation.look().items} == {Verdict.DONE}
    assert installation.install().done == ()


def test_removing_leaves_nothing(installed: Installed, installed_pi: PretendRoot):
    installation = Installation(installed_pi)
    assert installation.remove().is_complete, installation.heard.lines
    assert installed_pi.tree() == installed.bare
