"""The role runs pitsctl from its answers and tells Ansible what came of it; pitsctl is stood in for by its protocol."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pitsctl import answers_file, command, telling
from pitsctl.answers import Answers
from tests.support.house.source import ROOT

ROLES = ROOT / "service" / "ansible"

# Speaks as pitsctl does with --json: a host `broken` fails, `code` has to be let in, `done` has nothing to do.
FAKE = """#!{python}
import json, os, pathlib, sys
words = sys.argv[1:]
host = words[words.index("--host") + 1].rpartition("@")[2]
answers = pathlib.Path(words[words.index("--answers") + 1]).read_text()
log = pathlib.Path(__file__).with_name(host + ".json")
log.write_text(json.dumps({{"words": words, "answers": answers,
                            "password": os.environ.get("PITSCTL_SUDO_PASSWORD")}}))
def event(name, **fields):
    print(json.dumps({{"event": name, **fields}}), flush=True)
steps = [{{"name": "user", "title": "Make the user", "verdict": "done" if host == "done" else "needed", "what": "x"}}]
event("plan", steps=steps)
if "--dry-run" in words:
    sys.exit(0)
if host == "code":
    event("registration", user_code="BCDF-GHJK", address="https://hub.local:8443", fingerprint="AA:BB", expires_in_s=9)
error = "no such luck" if host == "broken" else None
done = [] if host in ("done", "broken") else ["user"]
event("result", changed=bool(done), done=done, failed="user" if error else None, error=error, left=[])
sys.exit(1 if error else 0)
"""


class Run:
    """One run of the playbook, and what pitsctl was told for each host."""

    def __init__(self, folder: Path, hosts: dict[str, dict[str, Any]], *flags: str) -> None:
        self._folder = folder
        answers = {name: {"pinthesky_answers": given} for name, given in hosts.items()}
        (folder / "inventory.yml").write_text(yaml.safe_dump({"cameras": {"hosts": answers}}))
        extra = {
            "pinthesky_pitsctl": str(folder / "pitsctl"),
            "ansible_user": "pi",
            "ansible_become_password": "s3cret",
            "pinthesky_timeout_s": 60,
        }
        (folder / "pitsctl").write_text(FAKE.format(python=sys.executable))
        (folder / "pitsctl").chmod(0o755)
        playbook = Path(sys.executable).with_name("ansible-playbook")
        finished = subprocess.run(
            [playbook, "-i", "inventory.yml", ROLES / "playbook.yml", "--extra-vars", json.dumps(extra), *flags],
            cwd=folder,
            env={
                "HOME": str(folder),
                "PATH": os.environ["PATH"],
                "LC_ALL": "C.UTF-8",
                "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
                "ANSIBLE_LOCALHOST_WARNING": "false",
                "ANSIBLE_FORKS": "4",
                "ANSIBLE_ASYNC_DIR": str(folder / "async"),
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        self.output = finished.stdout + finished.stderr
        lines = self.output.partition("PLAY RECAP")[2].splitlines()
        self.recap = {line.split(":")[0].strip(): line for line in lines if "ok=" in line}

    def told(self, host: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self._folder / f"{host}.json").read_text())
        return found


AT_AWS = {"home": {"kind": "aws"}, "camera": {"rotation": 180}}
AT_A_HUB = {"home": {"kind": "hub", "address": "https://hub.local:8443"}}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("ansible"), {"garden": AT_AWS, "done": AT_AWS, "broken": AT_AWS})


def test_pitsctl_is_given_the_host_and_the_answers(run: Run):
    told = run.told("garden")
    assert told["words"][0] == "install"
    assert told["words"][-4:] == ["--json", "--host", "pi@garden", "--yes"]
    assert yaml.safe_load(told["answers"]) == AT_AWS


def test_the_password_travels_in_the_environment_alone(run: Run):
    assert run.told("garden")["password"] == "s3cret"
    assert "s3cret" not in run.output


@pytest.mark.parametrize("host, counted", [("garden", "changed=1"), ("done", "changed=0"), ("broken", "failed=1")])
def test_what_came_of_it_is_what_ansible_counts(run: Run, host: str, counted: str):
    assert counted in run.recap[host], run.output


def test_a_failure_says_what_pitsctl_says(run: Run):
    assert "no such luck" in run.output


@pytest.mark.soak
def test_a_code_is_shown_while_the_installation_waits_for_it(tmp_path: Path):
    run = Run(tmp_path, {"code": AT_A_HUB, "done": AT_A_HUB, "broken": AT_A_HUB})
    assert "type BCDF-GHJK at https://hub.local:8443 and compare its key: AA:BB" in " ".join(run.output.split())
    assert "changed=1" in run.recap["code"], run.output
    assert "changed=0" in run.recap["done"]
    assert "failed=1" in run.recap["broken"]


@pytest.mark.soak
def test_a_check_looks_and_changes_nothing(tmp_path: Path):
    checked = Run(tmp_path, {"garden": AT_AWS, "done": AT_A_HUB}, "--check")
    assert checked.told("garden")["words"][-1] == "--dry-run"
    assert "changed=1" in checked.recap["garden"], checked.output
    assert "changed=0" in checked.recap["done"]


def test_pitsctl_knows_the_flags_that_the_role_uses():
    options = command.parser().parse_args(["install", "--answers", "a.yml", "--json", "--host", "pi@garden", "--yes"])
    assert (options.command, options.json, options.yes) == ("install", True, True)
    assert command.parser().parse_args(["install", "--dry-run"]).dry_run


def test_answers_on_a_pipe_are_read_once_however_often_they_are_asked_for():
    source, target = os.pipe()
    os.write(target, b"camera: {rotation: 180}\n")
    os.close(target)
    options = command.parser().parse_args(["install", "--answers", f"/dev/fd/{source}"])
    try:
        told = [telling.told(options, {}, under=Answers()).camera.rotation for _ in range(2)]
    finally:
        telling._piped.cache_clear()
        os.close(source)
    assert told == [180, 180]


def test_the_example_answers_what_pitsctl_asks(tmp_path: Path):
    inventory = yaml.safe_load((ROLES / "inventory.yml").read_text())["cameras"]
    assert set(inventory["hosts"]) == {"garden.local", "door.local"}
    path = tmp_path / "answers.yml"
    path.write_text(yaml.safe_dump({"home": inventory["vars"]["home"], "camera": {"device": "/dev/video0"}}))
    assert answers_file.read(path)["home.kind"] == "hub"
