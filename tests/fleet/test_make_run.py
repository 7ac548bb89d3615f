"""`make run` as a person uses it: at a terminal, with Ctrl-C, again on the same data, and when something is wrong."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinthesky.hub.camera_folder import HubAddress
from tests.support.daemon_process import PROJECT, eventually
from tests.support.hub_process import free_ports
from tools import run_demo

pytestmark = pytest.mark.needs_av

QUICK = "synthetic:?script=quiet:2,walk:4,quiet:3600&speed=2"
SETTINGS = """
[listen]
address = "127.0.0.1"
console_port = {}
localhost_port = {}
device_port = {}
mqtt_ports = [{}]

[media]
min_free = "0"
"""
MAKE = ("make", "--no-print-directory", "--old-file=.venv/.ready", "run")
PROGRAM = (sys.executable, "-m", "tools.run_demo")
ENDS_WITHIN_S = 12.0


class Terminal:
    """A program at a terminal, and what is to be read there."""

    def __init__(self, *command: str, **environment: str) -> None:
        self.seen = ""
        self.code: int | None = None
        self._news = threading.Condition()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.chdir(PROJECT)
            os.execvpe(command[0], command, {**inherited, "COLUMNS": "200", **environment})
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def press_ctrl_c(self) -> None:
        """The key, so that the terminal sends the signal to all in the foreground."""
        os.write(self._terminal, b"\x03")

    def wait_for(self, pattern: str, timeout_s: float = 40.0) -> re.Match[str]:
        """Wait until something is to be read."""

        def found() -> re.Match[str] | None:
            return re.search(pattern, self.seen)

        with self._news:
            self._news.wait_for(lambda: found() or self.code is not None, timeout_s)
        match = found()
        assert match is not None, f"no {pattern!r}; seen:\n{self.seen}"
        return match

    def wait_end(self, timeout_s: float = ENDS_WITHIN_S) -> int:
        """Wait for the end. Returns the exit code, negative for a signal."""
        with self._news:
            assert self._news.wait_for(lambda: self.code is not None, timeout_s), f"it does not end:\n{self.seen}"
        assert self.code is not None
        return self.code

    def close(self) -> None:
        """End it whatever happens."""
        if self.code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self._reader.join(10.0)
        os.close(self._terminal)

    def _read(self) -> None:
        ended = False
        while not ended:
            ready = select.select([self._terminal], [], [], 0.2)[0]
            try:
                text = os.read(self._terminal, 65536).decode("utf-8", "replace") if ready else ""
                ended = bool(ready) and not text
            except OSError:
                text, ended = "", True
            with self._news:
                self.seen += text.replace("\r\n", "\n")
                self._news.notify_all()
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        with self._news:
            self.code = code
            self._news.notify_all()


class Desk:
    """A data folder whose hub has ports of its own, and the programs that are run on it."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.settings = self.data / "hub" / "hub.toml"
        self.settings.parent.mkdir(parents=True, mode=0o700)
        self.ports = free_ports(4)
        self.settings.write_text(SETTINGS.format(*self.ports))
        self._terminals: list[Terminal] = []

    def run(self, *command: str, **environment: str) -> Terminal:
        made = Terminal(*command, DATA=str(self.data), **environment)
        self._terminals.append(made)
        return made

    def processes(self) -> dict[int, str]:
        """All processes that have to do with the data folder, with their command lines."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                words = entry.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                if str(self.data) in words:
                    found[int(entry.parent.name)] = words
        return found

    def check_nothing_is_left(self) -> None:
        """No process, and every port free."""
        with contextlib.suppress(AssertionError):
            eventually(lambda: not self.processes(), "all have ended", ENDS_WITHIN_S)
        assert self.processes() == {}
        for port in self.ports:
            socket.create_server(("127.0.0.1", port)).close()

    def close(self) -> None:
        for terminal in self._terminals:
            terminal.close()
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def lived_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A desk on which several tests run a fleet, one after the other, as days go by."""
    made = Desk(tmp_path_factory.mktemp("lived-in"))
    yield made
    made.close()


def test_clips_arrive_by_the_path_of_a_pi_and_ctrl_c_ends_it_and_the_next_run_goes_on(lived_in: Desk):
    first = lived_in.run(*MAKE, f"CAMERA={QUICK}")
    first.wait_for(rf"console  https://127\.0\.0\.1:{lived_in.ports[0]} ")
    secret = first.wait_for(rf"on this machine +http://localhost:{lived_in.ports[1]}/\S*?(\S{{16}})\n")[1]
    first.wait_for(rf"Clips land in {lived_in.data}/hub/media")
    clip = Path(first.wait_for(r"yours  clip of [\d.]+ s, [\d.]+ MB, motion: (\S+)")[1])
    first.press_ctrl_c()
    begun = time.monotonic()
    first.wait_for("Ending")
    first.wait_end()
    assert time.monotonic() - begun < ENDS_WITHIN_S
    first.wait_for(r"clips? arrived. Look at the last one:\n +xdg-open ")
    assert not re.search("ERROR|WARNING|Traceback", first.seen), first.seen
    assert not [log for log in (lived_in.data / "logs").iterdir() if secret in log.read_text()], "a link is for the eye"
    lived_in.check_nothing_is_left()
    assert play(clip) > 2.0
    assert {path.name for path in lived_in.data.iterdir()} == {".lock", "hub", "cameras", "logs"}
    identity = (lived_in.data / "cameras/yours/certificates/private.key").read_bytes()

    second = lived_in.run(*PROGRAM, CAMERA=QUICK)
    log = lived_in.data / "logs" / "yours-client.log"
    eventually(lambda: "the session went on" in log.read_text(), "the client is connected")
    os.kill(second.pid, signal.SIGTERM)
    assert second.wait_end() == 0
    assert clip.is_file()
    assert (lived_in.data / "cameras/yours/certificates/private.key").read_bytes() == identity
    assert not re.search("ERROR|WARNING|Traceback", second.seen), second.seen
    lived_in.check_nothing_is_left()

    listed = subprocess.run(
        [sys.executable, "-m", "tools.show_clips", str(lived_in.data / "hub/media")],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert str(clip.relative_to(lived_in.data / "hub/media")) in listed


def play(file: Path) -> float:
    """Decode a clip; how many seconds it lasts."""
    import av

    with av.open(str(file)) as container:
        times = [picture.time for picture in container.decode(video=0)]
    return float(times[-1] - times[0])


def test_a_program_that_dies_is_named_and_ends_the_run(lived_in: Desk):
    run = lived_in.run(*PROGRAM)
    run.wait_for("Clips land in")
    wanted = f"{lived_in.data}/cameras/lawn/device-client.json"
    (client,) = eventually(
        lambda: [pid for pid, words in lived_in.processes().items() if wanted in words and "python" in words[:40]],
        "client",
    )
    os.kill(client, signal.SIGKILL)
    run.wait_for(rf"lawn client has ended by signal SIGKILL, and everything with it. The end of {lived_in.data}/logs/")
    assert run.wait_end() == run_demo.EXIT_FAILED
    lived_in.check_nothing_is_left()


def test_killed_it_leaves_nothing_behind(lived_in: Desk):
    run = lived_in.run(*PROGRAM)
    run.wait_for("Clips land in")  # now it starts the cameras, one of which it may be starting just then
    os.kill(run.pid, signal.SIGKILL)
    assert run.wait_end() == -signal.SIGKILL
    lived_in.check_nothing_is_left()


def test_a_taken_port_is_one_line_and_nothing_is_started(desk: Desk):
    with socket.create_server(("127.0.0.1", desk.ports[3])):
        run = desk.run(*PROGRAM)
        assert run.wait_end() == run_demo.EXIT_CONFIGURATION
    assert run.seen == (
        f"make run: port {desk.ports[3]} is taken by another program; end that one, or choose another port: "
        f"mqtt_ports in table [listen] of {desk.settings}\n"
    )
    assert not list((desk.data / "logs").iterdir())


def test_two_runs_do_not_share_a_folder(desk: Desk):
    places = run_demo.Places(desk.data)
    with places.held(), pytest.raises(run_demo.CannotRun, match="another `make run` is at work"), places.held():
        pass
    with places.held():
        pass


def test_a_folder_that_cannot_be_used_and_wrong_settings_are_one_line(desk: Desk, tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(run_demo.CannotRun, match=r"cannot use .*file \(Not a directory|File exists"):
        run_demo.Places(tmp_path / "file").held().__enter__()
    desk.settings.write_text("[listen]\nconsole_prot = 3\n")
    run = desk.run(*PROGRAM)
    assert run.wait_end() == run_demo.EXIT_CONFIGURATION
    assert run.seen.count("\n") == 1
    assert "did you mean console_port?" in run.seen


def test_a_camera_is_added_once_and_anew_with_what_it_kept_where_it_would_not_find_the_hub(desk: Desk):
    places = run_demo.Places(desk.data)

    def added() -> Path:
        settings, known = run_demo.lay_foundation(places)
        hub = HubAddress("localhost", settings.listen.mqtt_ports[0], settings.listen.device_port)
        return run_demo.add_camera(places, "lawn", hub, is_known="lawn" in known)

    def key_of(folder: Path) -> bytes:
        return (folder / "certificates" / "private.key").read_bytes()

    with places.held():
        folder = added()
        (folder / "state" / "kept").write_text("a clip that waits")
        keys = [key_of(folder)]
        assert key_of(added()) == keys[0]
        desk.settings.write_text(SETTINGS.format(*desk.ports[:3], 1883))
        keys.append(key_of(added()))
        shutil.rmtree(places.hub)
        keys.append(key_of(added()))
    assert len(set(keys)) == 3, "for other ports, and for another hub"
    assert (folder / "state" / "kept").read_text() == "a clip that waits"
    assert [path.name for path in places.cameras.iterdir()] == ["lawn"]


def test_the_users_own_camera_is_a_third_and_its_password_is_not_shown(tmp_path: Path):
    assert [camera.name for camera in run_demo.fleet_of({})] == ["scene", "lawn"]
    own = run_demo.fleet_of({"CAMERA": " rtsp://me:secret@camera.local/stream "})[-1]
    assert (own.name, own.address) == ("yours", "rtsp://me:secret@camera.local/stream")
    assert "secret" not in own.shown
    film = tmp_path / "film.mp4"
    film.touch()
    assert run_demo.fleet_of({"CAMERA": str(film)})[-1].address == f"{film}#loop", "a run does not end with a film"
