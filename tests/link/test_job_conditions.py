from __future__ import annotations

import platform

import pytest

from pinthesky.errors import InvalidInput
from pinthesky.link import job_conditions
from pinthesky.link.job_conditions import facts_of_this_machine, unmet
from pinthesky.model.jobs import Condition
from pinthesky.version import __version__

FACTS = {"operatingsystem": "debian", "model": "", "thingname": "garden"}


def judged(key: str, value: str | list[str], kind: str = "stringEqual") -> str | None:
    return unmet([Condition(key=key, value=value, type=kind)], FACTS)


@pytest.mark.parametrize("key", ["operatingSystem", "operating system", "Operating-System", "OPERATING_SYSTEM"])
def test_a_key_may_be_written_in_several_ways(key):
    assert judged(key, ["ubuntu", "Debian"]) is None


@pytest.mark.parametrize(
    "key, value, kind, reason",
    [
        ("operatingSystem", "debian", "stringEqual", None),
        ("operatingSystem", ["ubuntu", "plan9"], "stringEqual", "operatingSystem is debian, not ubuntu or plan9"),
        ("model", "Pi", "stringEqual", "model is not known, not Pi"),
        ("operatingSystem", ["ubuntu"], "stringNotEqual", None),
        ("operatingSystem", ["debian"], "stringNotEqual", "operatingSystem is debian"),
        ("any", ["/etc", "/proc"], "fileExists", None),
        ("any", ["/etc", "/no/such"], "fileExists", "/no/such does not exist"),
        ("any", "with\0nul", "fileExists", "with\0nul does not exist"),
        ("any", "/no/such", "fileAbsent", None),
        ("any", ["/no/such", "/etc"], "fileAbsent", "/etc exists"),
    ],
)
def test_a_condition_holds_or_says_why_not(key, value, kind, reason):
    assert judged(key, value, kind) == (None if reason is None else f"conditions[0]: {reason}")


def test_all_conditions_have_to_hold():
    conditions = [Condition(key="thing name", value="garden"), Condition(key="thing name", value="door")]
    assert unmet(conditions, FACTS) == "conditions[1]: thing name is garden, not door"
    assert unmet([], FACTS) is None


@pytest.mark.parametrize("key, kind, field", [("moon", "stringEqual", "key"), ("thingName", "regex", "type")])
def test_what_cannot_be_judged_is_refused_even_behind_one_that_does_not_hold(key, kind, field):
    with pytest.raises(InvalidInput) as caught:
        unmet([Condition(key="thingName", value="no"), Condition(key=key, value="x", type=kind)], FACTS)
    assert caught.value.field == f"conditions[1].{field}"


def test_the_facts_are_those_of_this_machine(tmp_path, monkeypatch):
    release, model = tmp_path / "os-release", tmp_path / "model"
    release.write_text('PRETTY_NAME="Debian"\nID=raspbian\nVERSION_ID="12"\n# a comment\n')
    model.write_bytes(b"Raspberry Pi 4 Model B\0")
    monkeypatch.setattr(job_conditions, "_OS_RELEASE", (tmp_path / "missing", release))
    monkeypatch.setattr(job_conditions, "_MODEL", model)
    assert facts_of_this_machine("garden") == {
        "operatingsystem": "raspbian",
        "operatingsystemversion": "12",
        "architecture": platform.machine(),
        "model": "Raspberry Pi 4 Model B",
        "clientversion": __version__,
        "thingname": "garden",
    }


def test_what_cannot_be_found_out_is_empty(tmp_path, monkeypatch):
    monkeypatch.setattr(job_conditions, "_OS_RELEASE", (tmp_path / "missing",))
    monkeypatch.setattr(job_conditions, "_MODEL", tmp_path / "missing")
    assert facts_of_this_machine("garden")["operatingsystem"] == ""
