"""The service manager, as far as it may not answer at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinthesky.admin.services import Services
from pinthesky.errors import Unavailable
from tests.support.made_up_pi import MadeUpPi


def test_a_conversation_that_systemd_breaks_off_is_begun_again(tmp_path: Path):
    pi, pauses = MadeUpPi(tmp_path), list[float]()
    (tmp_path / "hiccup").write_text("2\n")
    assert Services(pi.installation, pause=pauses.append).state("pinthesky").is_up
    assert pauses == [0.2, 1.0]


def test_a_systemd_that_does_not_answer_at_all_is_named(tmp_path: Path):
    pi, pauses = MadeUpPi(tmp_path), list[float]()
    (tmp_path / "hiccup").write_text("9\n")
    with pytest.raises(Unavailable, match=r"systemctl show pinthesky\.service: .*Transport endpoint is not connected"):
        Services(pi.installation, pause=pauses.append).state("pinthesky")
    assert len(pauses) == 3
