"""Which Raspberry Pi this is, as the kernel says."""

from __future__ import annotations

import pytest

from pinthesky.device.pi_model import pi_model


def test_the_name_is_read_without_the_zero_byte_behind_it(tmp_path):
    (tmp_path / "model").write_bytes(b"Raspberry Pi 4 Model B Rev 1.4\0")
    assert pi_model(tmp_path / "model") == "Raspberry Pi 4 Model B Rev 1.4"


def test_a_machine_without_a_device_tree_has_no_name(tmp_path):
    assert pi_model(tmp_path / "model") is None


@pytest.mark.parametrize("content", [b"", b"\0", b"a\nb\0", b"\x1b[2J"])
def test_a_name_that_says_nothing_is_none(tmp_path, content):
    (tmp_path / "model").write_bytes(content)
    assert pi_model(tmp_path / "model") is None
