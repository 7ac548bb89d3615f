"""The container: what its program does in the place of systemd, and what its files promise.

No image is built here. The program that a container runs is started as it is, with the real daemon and client.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.house.source import ROOT

CONTAINER = ROOT / "service" / "container"
SERVE = CONTAINER / "serve.py"
START_S = 30.0
SCENE = "--camera synthetic:?script=quiet:3600 --resolution 320x240 --framerate 10 --rotation 0 --thing-name garden"
DOCKERFILE = (CONTAINER / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((CONTAINER / "compose.yaml").read_text(encoding="utf-8"))
PROGRAMS = ("client", "camera")


def wait_until(is_so: Callable[[], bool], timeout_s: float = START_S) -> bool:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


class Container:
    """What Docker would start, with a folder in the place of its volume."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "config"
        self.config.mkdir()
        self.run = folder / "run"
        self.process: subprocess.Popen[bytes] | None = None
        self.output = folder / "output.txt"
        self.told = {"PINTHESKY_CONFIG": str(self.config), "PINTHESKY_RUN": str(self.run)}

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, **self.told}

    def write_flags(self, more: str = SCENE) -> None:
        files = "".join(
            f" --{name} {self.config / name}.json"
            for name in ("event-input", "event-output", "configure-input", "configure-output")
        )
        flags = f"{more} --state-dir {self.config / 'state'}{files}"
        (self.config / "pinthesky.env").write_text(f'# Flags of the daemon.\nPINTHESKY_FLAGS="{flags}"\n')
        for name in ("event-input", "configure-output"):
            (self.config / f"{name}.json").touch()

    def start(self, *arguments: str, folder: Path = ROOT) -> None:
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(SERVE), *arguments],
                cwd=folder,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def is_healthy(self) -> bool:
        command = [sys.executable, str(SERVE), "health"]
        return subprocess.run(command, env=self.environment, check=False, timeout=30).returncode == 0

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(START_S)

    def ended(self) -> tuple[int, str]:
        assert self.process is not None
        return self.process.wait(START_S), self.output.read_text()


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    one = Container(tmp_path)
    yield one
    if one.process is not None and one.process.poll() is None:
        one.process.kill()
        one.process.wait()


def test_the_daemon_runs_is_healthy_and_stops_in_order(container: Container):
    container.write_flags()
    assert not container.is_healthy()
    container.start("camera", "--framerate", "12")
    assert wait_until((container.run / "alive").exists), container.output.read_text()
    assert container.is_healthy()
    assert container.stop() == 0, container.output.read_text()


def test_a_program_that_falls_silent_is_ended_so_that_docker_starts_it_again(container: Container, tmp_path: Path):
    silent = tmp_path / "pinthesky"
    silent.mkdir()
    (silent / "__main__.py").write_text(
        "import os, socket, time\n"
        "with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:\n"
        "    s.sendto(b'READY=1', os.environ['NOTIFY_SOCKET'])\n"
        "time.sleep(float(os.environ['FOR_S']))\n"
    )
    container.write_flags()
    container.told |= {"PINTHESKY_WATCHDOG_S": "1", "FOR_S": "60"}
    # `python -m` looks into the current folder first.
    container.start(folder=tmp_path)
    assert wait_until((container.run / "alive").exists), container.output.read_text()
    code, said = container.ended()
    assert code == 70
    assert "says nothing any more" in said
    assert not container.is_healthy()


def test_an_exit_code_is_that_of_the_program(container: Container):
    container.write_flags("--framerate 0")
    container.start()
    code, said = container.ended()
    assert code == 2
    assert "framerate" in said


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["camera"], "no .*pinthesky.env: mount the folder there that `pits-hub add-camera"),
        (["client"], "no .*device-client.json: mount the folder"),
        (["shell"], "knows camera .* client and health, not shell"),
    ],
)
def test_what_a_person_has_to_change_is_said_in_one_line(container: Container, arguments: list[str], says: str):
    container.start(*arguments)
    code, said = container.ended()
    assert code == 2
    assert re.search(says, said)
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "text, says", [("OTHER=1\n", "has no line PINTHESKY_FLAGS="), ('PINTHESKY_FLAGS="--a\n', "cannot be read")]
)
def test_a_file_of_flags_that_holds_none_is_said(container: Container, text: str, says: str):
    (container.config / "pinthesky.env").write_text(text)
    container.start()
    code, said = container.ended()
    assert code == 2
    assert says in said


# The image's files


def stages() -> list[list[str]]:
    """The instructions of each stage, continued lines joined."""
    lines = re.sub(r"\\\n\s*", "", DOCKERFILE).splitlines()
    found: list[list[str]] = []
    for line in lines:
        if line.startswith("FROM"):
            found.append([])
        if found and line and not line.startswith("#"):
            found[-1].append(line)
    return found


def test_the_base_is_pinned_by_its_tag():
    bases = re.findall(r"^FROM (?:--platform=\$BUILDPLATFORM )?(\S+)", DOCKERFILE, re.MULTILINE)
    assert set(bases) == {"python:${PYTHON}-slim-trixie"}
    assert "ARG PYTHON=3.13" in DOCKERFILE


def test_nothing_runs_for_another_machine_while_the_image_is_made():
    libraries, final = stages()
    assert libraries[0].startswith("FROM --platform=$BUILDPLATFORM")
    assert not [line for line in final if line.startswith("RUN")]


def test_the_image_runs_as_nobody_in_particular():
    assert "USER 1000:1000" in stages()[-1]
    assert not [line for line in stages()[-1] if "root" in line.lower()]


def test_health_entry_and_volume_name_what_is_there():
    final = "\n".join(stages()[-1])
    assert 'ENTRYPOINT ["python3", "/opt/pinthesky/serve.py"]' in final
    assert 'CMD ["python3", "/opt/pinthesky/serve.py", "health"]' in final
    assert "VOLUME /config" in final
    for source in re.findall(r"^COPY (?!--from)(\S+)", DOCKERFILE, re.MULTILINE):
        assert source.startswith("dist/") or (ROOT / source).exists(), source


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_container_may_write_its_folder_and_nothing_else(name: str):
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert [volume.rpartition(":")[2] for volume in service["volumes"]] == ["/config"]
    assert "privileged" not in service


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_container_starts_again_and_has_time_to_stop(name: str):
    service = COMPOSE["services"][name]
    assert service["restart"] == "unless-stopped"
    assert service["stop_grace_period"] == "35s"
    assert service["command"][0] == name


def test_an_image_has_no_libraries_for_32_bit_machines(tmp_path: Path):
    script = CONTAINER / "libraries.sh"
    finished = subprocess.run(
        ["sh", script, "arm", "3.13", tmp_path, tmp_path, "x.whl"], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 2
    assert "no image for arm" in finished.stderr


# What starts it at boot, and what builds it: with a docker that writes down how it was called


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """A `docker` first on the PATH; returns what reads its calls. A call that FAILS names fails."""
    programs = tmp_path / "bin"
    programs.mkdir()
    calls = tmp_path / "calls.txt"
    program = programs / "docker"
    program.write_text(
        f'#!/bin/sh\necho "$*" >>{calls}\ncase " $* " in *" ${{FAILS:-nothing}} "*) exit 1 ;; esac\n'
        f'case "$1" in login) cat >>{calls} ;; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return lambda: calls.read_text().splitlines() if calls.exists() else []


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the owner has put compose.yaml and its script."""
    folder = tmp_path / "place"
    folder.mkdir()
    for name in ("start.sh", "compose.yaml"):
        shutil.copy(CONTAINER / name, folder / name)
    return folder


def start(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", place / "start.sh", *arguments], capture_output=True, text=True, check=False, timeout=30
    )


def test_at_boot_nothing_is_fetched_unless_the_owner_wants_it(docker, place: Path):
    assert start(place).returncode == 0
    assert docker() == ["compose up --detach --remove-orphans"]


def test_at_boot_a_newer_image_is_fetched_first_where_the_owner_wants_it(docker, place: Path):
    (place / ".env").write_text("PINTHESKY_PULL=yes\n")
    assert start(place).returncode == 0
    assert docker() == ["compose pull --quiet", "compose up --detach --remove-orphans", "image prune --force"]


def test_at_boot_without_a_network_the_image_that_is_there_is_started(docker, place: Path, monkeypatch):
    (place / ".env").write_text("PINTHESKY_PULL=yes\n")
    monkeypatch.setenv("FAILS", "pull")
    started = start(place)
    assert started.returncode == 0
    assert "no newer image could be fetched" in started.stdout
    assert "compose up --detach --remove-orphans" in docker()


def test_the_timer_does_nothing_unless_the_owner_wants_it(docker, place: Path):
    assert start(place, "update").returncode == 0
    assert docker() == []


def build(tmp_path: Path, version: str, **told: str) -> subprocess.CompletedProcess[str]:
    tools = tmp_path / "checkout" / "tools"
    tools.mkdir(parents=True)
    shutil.copy(ROOT / "tools" / "build_image.sh", tools)
    (tools.parent / "dist").mkdir()
    (tools.parent / "dist" / f"pinthesky-{version}-py3-none-any.whl").touch()
    return subprocess.run(
        ["sh", tools / "build_image.sh"],
        env={**os.environ, **told},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_an_image_of_the_checkout_has_its_version_and_stays_here(docker, tmp_path: Path):
    assert build(tmp_path, "1.2.0.dev0").returncode == 0
    assert docker() == [
        "buildx build --file service/container/Dockerfile --tag pinthesky:1.2.0.dev0 --tag pinthesky:latest --load .",
    ]


def test_an_image_of_a_release_is_pushed_for_both_machines_and_its_password_is_no_argument(docker, tmp_path: Path):
    told = {"IMAGE": "registry.example/Pi", "PLATFORMS": "linux/arm64,linux/amd64", "PUSH": "yes"}
    secret = {"REGISTRY_USER": "anna", "REGISTRY_PASSWORD": "s3cret", "FAILS": "inspect"}
    finished = build(tmp_path, "1.2.0", **told, **secret)
    assert finished.returncode == 0, finished.stderr
    calls = docker()
    assert calls[0] == "login registry.example --username anna --password-stdin"
    assert calls[1].startswith("s3cret")
    assert "buildx create --name pinthesky" in calls[-2]
    assert (
        "--tag registry.example/pi:1.2.0 --tag registry.example/pi:latest --platform linux/arm64,linux/amd64"
        in calls[-1]
    )
    assert calls[-1].endswith("--provenance true --sbom true --push .")


def test_an_image_that_is_pushed_before_its_release_is_not_the_latest(docker, tmp_path: Path):
    assert build(tmp_path, "1.2.0rc1", PUSH="yes").returncode == 0
    assert "--tag pinthesky:1.2.0rc1 --builder" in docker()[-1]


def test_docker_sees_what_the_image_takes_and_no_more():
    ignored, *admitted = (CONTAINER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()[1:]
    taken = re.findall(r"^COPY (?!--from)(\S+)", DOCKERFILE, re.MULTILINE)
    assert ignored == "*"
    assert admitted == [f"!{path}" for path in (taken[2], taken[0], taken[1], taken[3])]


def test_units_name_the_script_that_is_there():
    for unit in CONTAINER.glob("*.service"):
        text = unit.read_text(encoding="utf-8")
        assert "/opt/pinthesky-container/start.sh" in text
        assert "WorkingDirectory=/opt/pinthesky-container" in text
