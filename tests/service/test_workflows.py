"""The workflows call targets of the Makefile and nothing else, and may do no more than they need."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.house.source import ROOT
from tools import check_release

FOLDER = ROOT / ".github" / "workflows"
NAMES = ("image", "release", "tests")
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
ACTIONS = {
    "actions/checkout@v4",
    "actions/upload-artifact@v4",
    "actions/download-artifact@v4",
    "pypa/gh-action-pypi-publish@release/v1",
}


def workflow(name: str) -> dict[str, Any]:

    found: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yml").read_text(encoding="utf-8"))
    return found


def steps(name: str) -> list[dict[str, Any]]:
    return [step for job in workflow(name)["jobs"].values() for step in job.get("steps", [])]


def test_there_are_three():
    assert sorted(path.stem for path in FOLDER.iterdir()) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_command_is_a_target_of_the_makefile(name: str):
    commands = [step["run"] for step in steps(name) if "run" in step]
    assert commands or name == "release"
    for command in commands:
        words = command.split()
        assert words[0] == "make"
        assert words[1] in TARGETS
        assert all(re.fullmatch(r"[A-Z]+=[a-z]+", word) for word in words[2:])


@pytest.mark.parametrize("name", NAMES)
def test_no_other_actions_are_used_and_none_keeps_the_credentials(name: str):
    used = [step for step in steps(name) if "uses" in step]
    assert {step["uses"] for step in used} <= ACTIONS
    checkouts = [step for step in used if step["uses"].startswith("actions/checkout")]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


@pytest.mark.parametrize("name", NAMES)
def test_a_workflow_may_read_and_no_more(name: str):
    assert workflow(name)["permissions"] == {"contents": "read"}


def test_the_few_jobs_that_may_more_are_these():
    extra = {
        (name, job): described["permissions"]
        for name in NAMES
        for job, described in workflow(name)["jobs"].items()
        if "permissions" in described
    }
    assert extra == {
        ("image", "image"): {"contents": "read", "packages": "write"},
        ("release", "publish"): {"id-token": "write"},
    }


def test_what_publishes_runs_nothing_of_the_project_and_waits_for_a_person():
    publish = workflow("release")["jobs"]["publish"]
    assert publish["environment"] == "release"
    assert publish["needs"] == "build"
    assert not [step for step in publish["steps"] if "run" in step or "checkout" in step["uses"]]
    assert publish["steps"][-1]["with"] == {"attestations": True}


def test_a_release_is_tested_first():
    jobs = workflow("release")["jobs"]
    assert jobs["tests"]["uses"] == "./.github/workflows/tests.yml"
    assert jobs["build"]["needs"] == "tests"


@pytest.mark.parametrize("name", NAMES)
def test_every_job_ends(name: str):
    assert all("timeout-minutes" in job or "uses" in job for job in workflow(name)["jobs"].values())


@pytest.mark.parametrize("name", NAMES)
def test_nobody_elses_text_becomes_a_command(name: str):
    assert not [step for step in steps(name) if "${{" in step.get("run", "")]


# What `make release` asks


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    """A checkout of version 1.2.3 with a wheel that holds everything."""
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## [Unreleased]\n\n## [1.2.3] - 2026-12-01\n")
    write_wheel(tmp_path / "dist", check_release.SHIPPED)
    return tmp_path


def write_wheel(folder: Path, names: tuple[str, ...]) -> None:
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / "pinthesky-1.2.3-py3-none-any.whl", "w") as archive:
        for name in names:
            archive.writestr(f"pinthesky-1.2.3.data/data/share/pinthesky/{name}", b"")


def test_a_whole_release_is_let_through(dist: Path):
    assert check_release.complaints("v1.2.3", "1.2.3", dist) == []


@pytest.mark.parametrize(
    "tag, version, says",
    [
        ("v1.2.4", "1.2.3", "expected v1.2.3"),
        ("", "1.2.3", "the tag is missing"),
        ("v1.3.0.dev0", "1.3.0.dev0", "is no version to be released"),
        ("v1.3.0", "1.3.0", "CHANGELOG.md has no part [1.3.0]"),
    ],
)
def test_a_tag_that_promises_something_else_is_refused(dist: Path, tag: str, version: str, says: str):
    assert says in "\n".join(check_release.complaints(tag, version, dist))


def test_a_wheel_without_the_console_is_refused(dist: Path):
    write_wheel(dist / "dist", check_release.SHIPPED[1:])
    assert check_release.complaints("v1.2.3", "1.2.3", dist) == ["the wheel lacks console/index.html"]


def test_what_an_earlier_build_has_left_is_not_uploaded(dist: Path):
    (dist / "dist" / "pinthesky-1.2.2-py3-none-any.whl").touch()
    assert "dist/ holds" in check_release.complaints("v1.2.3", "1.2.3", dist)[0]


def test_the_checkout_itself_says_what_is_missing(capsys):
    assert check_release.main(["v0.0.0"]) == 1
    assert "release: the tag is v0.0.0" in capsys.readouterr().err
