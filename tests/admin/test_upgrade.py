"""The way of an upgrade, and what may happen on it."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
import zipfile
from pathlib import Path

import pytest

from pinthesky.admin import upgrade as upgrade_module
from pinthesky.admin.requests import Upgrade
from pinthesky.admin.upgrade import ATTEMPTS_MAX, Upgrader
from pinthesky.admin.upgrade_record import UpgradeOutcome, Wish
from pinthesky.machine import pinned
from tests.support.made_up_pi import DIES, GOOD, MadeUpPi, wait_for_child

LIST = f"amd64-python{sys.version_info[0]}.{sys.version_info[1]}.txt"


@pytest.fixture
def pi(tmp_path: Path) -> MadeUpPi:
    return MadeUpPi(tmp_path)


def upgrade(pi: MadeUpPi, request: Upgrade) -> UpgradeOutcome:
    assert pi.record.ask(request)
    outcome = Upgrader(pi.installation, pause=lambda _: None).run()
    assert outcome is not None
    assert pi.record.wish() is None
    assert pi.record.outcome() == outcome
    return outcome


def test_without_a_wish_nothing_is_done(pi: MadeUpPi):
    assert Upgrader(pi.installation).run() is None
    assert pi.links() == ("1.0.0", "1.0.0")


def test_a_wheel_that_stays_up_takes_over_and_the_version_before_is_kept(pi: MadeUpPi):
    outcome = upgrade(pi, pi.request(pi.wheel("1.1.0")))
    assert outcome.succeeded
    assert outcome.text == "1.1.0 runs in place of 1.0.0 and stayed up for 0 s"
    assert (pi.links(), pi.versions.present()) == (("1.1.0", "1.1.0"), ["1.0.0", "1.1.0"])
    assert not list((pi.installation.state / "incoming").iterdir())


def test_of_three_versions_the_oldest_goes(pi: MadeUpPi):
    upgrade(pi, pi.request(pi.wheel("1.1.0")))
    upgrade(pi, pi.request(pi.wheel("1.2.0"), identity="wish-2"))
    assert pi.versions.present() == ["1.1.0", "1.2.0"]


def test_a_failed_upgrade_costs_none_of_the_versions_that_were_kept(pi: MadeUpPi):
    upgrade(pi, pi.request(pi.wheel("1.1.0")))
    assert not upgrade(pi, pi.request(pi.wheel("1.2.0", DIES), identity="wish-2")).succeeded
    assert pi.versions.present() == ["1.0.0", "1.1.0"]


def test_a_version_that_does_not_start_is_taken_back_with_its_last_words(pi: MadeUpPi):
    outcome = upgrade(pi, pi.request(pi.wheel("1.1.0", DIES)))
    assert (outcome.succeeded, outcome.refused) == (False, False)
    assert "1.1.0 is not used: pinthesky.service did not stay up" in outcome.text
    assert "its last words: no camera here" in outcome.text
    assert outcome.text.endswith("went back to 1.0.0, which runs")
    assert (pi.links(), pi.versions.present()) == (("1.0.0", "1.0.0"), ["1.0.0"])


def test_it_says_so_when_the_version_before_does_not_run_either(pi: MadeUpPi):
    (pi.versions.folder_of("1.0.0") / "bin" / "pinthesky").write_text(f"#!/bin/sh\n{DIES}\n")
    outcome = upgrade(pi, pi.request(pi.wheel("1.1.0", DIES)))
    assert "went back to 1.0.0, which does not stay up either: pinthesky.service" in outcome.text
    assert pi.links() == ("1.0.0", "1.0.0")


def test_a_version_that_dies_while_it_is_watched_is_taken_back(pi: MadeUpPi):
    installation = pi.with_settings(settle_s=5.0)
    assert pi.record.ask(pi.request(pi.wheel("1.1.0")))
    seconds = iter(range(100))

    def dies_in_the_pause(_seconds: float) -> None:
        if pi.links()[0] == "1.1.0":
            (pi.home / "up-pits-device-client.service").unlink(missing_ok=True)

    outcome = Upgrader(installation, monotonic=lambda: float(next(seconds)), pause=dies_in_the_pause).run()
    assert outcome is not None
    assert "1.1.0 is not used: pits-device-client.service did not stay up: inactive (dead)" in outcome.text
    assert pi.links() == ("1.0.0", "1.0.0")


def test_a_service_that_was_stopped_on_purpose_stays_stopped(pi: MadeUpPi):
    for path in pi.home.glob("up-*"):
        path.unlink()
    outcome = upgrade(pi, pi.request(pi.wheel("1.1.0", DIES)))
    assert (outcome.succeeded, "no service was running, so none was tried" in outcome.text) == (True, True)
    assert "restart" not in pi.asked()


def test_a_service_that_falls_over_and_over_is_what_an_upgrade_may_mend(pi: MadeUpPi):
    (pi.home / "up-pinthesky.service").unlink()
    (pi.home / "down-pinthesky.service").touch()
    assert upgrade(pi, pi.request(pi.wheel("1.1.0"))).succeeded
    assert (pi.home / "up-pinthesky.service").exists()


def test_the_version_that_runs_is_a_success_without_a_restart(pi: MadeUpPi):
    wheel = pi.wheel("1.1.0")
    upgrade(pi, pi.request(wheel))
    (pi.home / "asked").unlink()
    outcome = upgrade(pi, pi.request(wheel, identity="wish-2"))
    assert (outcome.succeeded, outcome.text) == (True, "1.1.0 is what runs already")
    assert "restart" not in pi.asked()


def test_a_version_that_was_installed_by_hand_counts_as_what_runs(pi: MadeUpPi):
    (pi.versions.folder_of("1.0.0") / "wheel.sha256").unlink()
    outcome = upgrade(pi, pi.request(pi.wheel("1.0.0")))
    assert (outcome.succeeded, outcome.text) == (True, "1.0.0 is what runs already")


def test_another_wheel_of_the_same_version_is_refused(pi: MadeUpPi):
    outcome = upgrade(pi, pi.request(pi.wheel("1.0.0")))
    assert (outcome.refused, "another wheel of 1.0.0 is installed" in outcome.text) == (True, True)


def test_an_older_version_needs_the_permission(pi: MadeUpPi):
    older = pi.wheel("0.9.0")
    refused = upgrade(pi, pi.request(older))
    assert (refused.refused, refused.text) == (
        True,
        "nothing was changed: version: 0.9.0 is older than 1.0.0, and a downgrade was not asked for",
    )
    assert upgrade(pi, pi.request(older, identity="wish-2", allow_downgrade=True)).succeeded
    assert pi.links() == ("0.9.0", "0.9.0")


def test_wrong_bytes_are_not_installed(pi: MadeUpPi):
    wheel = pi.wheel("1.1.0")
    request = pi.request(wheel)
    wheel.write_bytes(wheel.read_bytes() + b"x")
    outcome = upgrade(pi, request)
    assert (outcome.refused, "has SHA-256" in outcome.text) == (True, True)
    assert pi.versions.present() == ["1.0.0"]
    assert not list((pi.installation.state / "incoming").iterdir())


@pytest.mark.parametrize(
    "options, words",
    [({"name": "numpy"}, "holds 'numpy', not pinthesky"), ({"says": "9.9.9"}, "pinthesky --version of 1.1.0 says")],
)
def test_a_wheel_that_is_not_what_it_seems_is_refused(pi: MadeUpPi, options: dict[str, str], words: str):
    outcome = upgrade(pi, pi.request(pi.wheel("1.1.0", GOOD, **options)))
    assert (outcome.refused, words in outcome.text) == (True, True), outcome
    assert (pi.links(), pi.versions.present()) == (("1.0.0", "1.0.0"), ["1.0.0"])


def test_a_wheel_whose_programs_cannot_be_started_is_refused(pi: MadeUpPi):
    wheel = pi.wheel("1.1.0")
    text = "#!/bin/sh\necho 'ImportError: no such thing' >&2; exit 1\n"
    with upgrade_zip(wheel) as folder:
        (folder / "bin" / "pinthesky-admin").write_text(text)
    outcome = upgrade(pi, pi.request(wheel))
    assert "pinthesky-admin --version of 1.1.0 fails: ImportError: no such thing" in outcome.text


class upgrade_zip:  # noqa: N801 - reads as a verb where it is used
    """Unpacks a wheel into a folder for the time of a `with`, and packs it again."""

    def __init__(self, wheel: Path) -> None:
        self._wheel = wheel
        self._folder = wheel.with_suffix(".unpacked")

    def __enter__(self) -> Path:
        shutil.unpack_archive(self._wheel, self._folder, "zip")
        return self._folder

    def __exit__(self, *_: object) -> None:
        shutil.make_archive(str(self._wheel), "zip", self._folder)
        Path(f"{self._wheel}.zip").replace(self._wheel)
        shutil.rmtree(self._folder)


def test_a_full_disk_changes_nothing_and_leaves_nothing(pi: MadeUpPi):
    (pi.home / "disk-full").touch()
    outcome = upgrade(pi, pi.request(pi.wheel("1.1.0")))
    assert (outcome.refused, "No space left on device" in outcome.text) == (False, True)
    assert (pi.links(), pi.versions.present()) == (("1.0.0", "1.0.0"), ["1.0.0"])


def test_too_little_room_is_said_before_anything_is_installed(pi: MadeUpPi, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(upgrade_module, "FREE_MIN", 2**62)
    outcome = upgrade(pi, pi.request(pi.wheel("1.1.0")))
    assert "MiB of the disk are free" in outcome.text


def test_extras_and_a_wheelhouse_reach_pip_and_no_index_is_asked(pi: MadeUpPi):
    (pi.installation.state / "wheelhouse").mkdir()
    python = pi.home / "programs" / "python"
    python.write_text(python.read_text().replace("shift\n", f'echo "$*" >> {pi.home}/python-asked\nshift\n', 1))
    upgrade(pi, pi.request(pi.wheel("1.1.0")))
    asked = (pi.home / "python-asked").read_text()
    assert f"--no-index --find-links {pi.installation.wheelhouse}" in asked
    assert "pinthesky-1.1.0-py3-none-any.whl[client]\n" in asked
    assert "-m venv --system-site-packages --without-pip" in asked


@pytest.mark.parametrize("unpinned", [[], ["msgspec>=0.19,<1"]], ids=["all", "all but one"])
def test_libraries_are_those_whose_hashes_the_wheel_brings(pi, unpinned: list[str], monkeypatch: pytest.MonkeyPatch):
    python = pi.home / "programs" / "python"
    python.write_text(python.read_text().replace("shift\n", f'echo "$*" >> {pi.home}/python-asked\nshift\n', 1))
    monkeypatch.setattr(pinned, "architecture_here", lambda: "amd64")
    monkeypatch.setattr(pinned, "elsewhere", lambda *_: [pinned.Elsewhere(one, None) for one in unpinned])
    wheel = pi.wheel("1.1.0")
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr(f"pinthesky-1.1.0.data/data/share/pinthesky/requirements/{LIST}", "six==1.17.0\n")
    outcome = upgrade(pi, pi.request(wheel))
    asked = [line.partition(" install ")[2] for line in (pi.home / "python-asked").read_text().splitlines()]
    installs = [line.partition("--retries 3 ")[2] for line in asked if line]
    assert outcome.succeeded, outcome.text
    assert installs[0] == f"--require-hashes --no-deps --requirement {pi.installation.state}/scratch/requirements.txt"
    assert installs[1:-1] == unpinned
    assert installs[-1].startswith("--no-deps --no-index ")


def test_a_list_that_is_longer_than_any_list_is_refused(pi: MadeUpPi, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pinned, "architecture_here", lambda: "amd64")
    wheel = pi.wheel("1.1.0")
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr(f"pinthesky-1.1.0.data/data/share/pinthesky/requirements/{LIST}", b"#" * 300_000)
    outcome = upgrade(pi, pi.request(wheel))
    assert (outcome.refused, "is longer than" in outcome.text) == (True, True)


def test_what_was_cut_off_too_often_before_anything_was_changed_is_given_up(pi: MadeUpPi):
    pi.record.ask(pi.request(pi.wheel("1.1.0")))
    wish = pi.record.wish()
    assert wish is not None
    pi.record.keep(Wish(wish.request, attempts=ATTEMPTS_MAX))
    outcome = Upgrader(pi.installation).run()
    assert outcome is not None
    assert f"cut off {ATTEMPTS_MAX} times" in outcome.text


def test_a_version_that_brings_the_machine_down_again_and_again_is_taken_back(pi: MadeUpPi):
    request = pi.request(pi.wheel("1.1.0"))
    pi.add_version("1.1.0")
    pi.versions.point("current", "1.1.0")
    pi.record.ask(request)
    pi.record.keep(Wish(request, "switched", ATTEMPTS_MAX, "1.1.0", "1.0.0", ("pinthesky",)))
    outcome = Upgrader(pi.installation).run()
    assert outcome is not None
    assert f"cut off {ATTEMPTS_MAX} times before it had stayed up; went back to 1.0.0, which runs" in outcome.text
    assert pi.links() == ("1.0.0", "1.0.0")


def test_a_wish_that_cannot_be_read_is_dropped_and_what_it_began_is_taken_back(pi: MadeUpPi):
    pi.add_version("1.1.0")
    pi.versions.point("current", "1.1.0")
    (pi.installation.state / "upgrade.json").write_text("{")
    assert Upgrader(pi.installation).run() is None
    assert (pi.links(), pi.record.wish()) == (("1.0.0", "1.0.0"), None)


def test_a_wish_that_was_switched_has_its_versions():
    with pytest.raises(ValueError, match="without its versions"):
        Wish(Upgrade("a.whl", "a" * 64, "wish-1"), "back")


def test_an_outcome_that_cannot_be_read_stands_in_nobody_s_way(pi: MadeUpPi):
    (pi.installation.state / "upgrade-outcome.json").write_text("{")
    assert upgrade(pi, pi.request(pi.wheel("1.1.0"))).succeeded


def test_what_the_first_version_wrote_can_be_read(pi: MadeUpPi):
    request = (
        '{"verb":"upgrade","source":"pinthesky-1.1.0-py3-none-any.whl","sha256":"' + "a" * 64 + '","identity":"wish-1"}'
    )
    (pi.installation.state / "upgrade.json").write_text(
        f'{{"request":{request},"stage":"switched","attempts":1,"version":"1.1.0","before":"1.0.0",'
        '"services":["pinthesky","pits-device-client"],"connected":true,"reason":""}'
    )
    wish = pi.record.wish()
    assert wish is not None
    assert (wish.stage, wish.version, wish.services, wish.connected) == (
        "switched",
        "1.1.0",
        ("pinthesky", "pits-device-client"),
        True,
    )


def connects(pi: MadeUpPi, text: str) -> None:
    """What the device client says of itself."""
    (pi.home / "status-pits-device-client.service").write_text(text)


def test_a_client_that_was_connected_has_to_be_connected_again(pi: MadeUpPi):
    connects(pi, "connected to hub.local:8883")
    outcome = upgrade(pi, pi.request(pi.wheel("1.1.0")))
    assert outcome.text == "1.1.0 runs in place of 1.0.0 and stayed up for 0 s and is connected"


def test_a_version_whose_client_does_not_connect_any_more_is_taken_back(pi: MadeUpPi):
    connects(pi, "connected to hub.local:8883")
    assert pi.record.ask(pi.request(pi.wheel("1.1.0")))
    seconds = iter(range(1000))

    def connects_no_more(_seconds: float) -> None:
        connects(pi, "cannot connect to hub.local:8883: nothing listens")

    upgrader = Upgrader(pi.with_settings(settle_s=5.0), monotonic=lambda: float(next(seconds)), pause=connects_no_more)
    outcome = upgrader.run()
    assert outcome is not None
    assert not outcome.succeeded
    assert "1.1.0 is not used: pits-device-client.service stays up, and was connected before" in outcome.text
    assert "but is 'cannot connect to hub.local:8883: nothing listens'" in outcome.text
    assert outcome.text.endswith("went back to 1.0.0, which runs")


def test_a_client_that_connects_late_is_waited_for(pi: MadeUpPi):
    connects(pi, "connected to hub.local:8883")
    assert pi.record.ask(pi.request(pi.wheel("1.1.0")))
    seconds = iter(range(1000))
    words = iter(["not connected to hub.local:8883"] * 5 + ["connected to hub.local:8883"] * 1000)
    upgrader = Upgrader(
        pi.with_settings(settle_s=3.0),
        monotonic=lambda: float(next(seconds)),
        pause=lambda _: connects(pi, next(words)),
    )
    outcome = upgrader.run()
    assert outcome is not None
    assert outcome.succeeded, outcome.text


def test_an_installation_without_a_current_version_is_not_upgraded(pi: MadeUpPi):
    (pi.installation.versions / "current").unlink()
    assert "there is no" in upgrade(pi, pi.request(pi.wheel("1.1.0"))).text


def test_it_goes_back_even_if_the_disk_has_no_room_to_write_that_down(pi: MadeUpPi, monkeypatch: pytest.MonkeyPatch):
    upgrader = Upgrader(pi.installation)
    keep = upgrader._record.keep

    def keep_while_there_is_room(wish: Wish) -> Wish:
        if wish.stage == "back":
            raise OSError(28, "No space left on device")
        return keep(wish)

    monkeypatch.setattr(upgrader._record, "keep", keep_while_there_is_room)
    pi.record.ask(pi.request(pi.wheel("1.1.0", DIES)))
    assert upgrader.run() is not None
    assert pi.links() == ("1.0.0", "1.0.0")


def test_a_second_wish_is_not_taken_while_there_is_one(pi: MadeUpPi):
    wheel = pi.wheel("1.1.0")
    assert pi.record.ask(pi.request(wheel))
    assert not pi.record.ask(pi.request(wheel, identity="wish-2"))
    wish = pi.record.wish()
    assert wish is not None
    assert wish.request.identity == "wish-1"


# Kill -9 at every step: whatever changes the disk or starts a program is a step, seen by Python's own audit events.

STEPS = ("os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate", "subprocess.Popen")


NEED_ROOM = ("os.link", "os.mkdir", "os.symlink")


def with_disk_full_from(pi: MadeUpPi, step: int) -> bool:
    """Carry the wish out in a child for which the disk is full from its `step`th write on. False if it has fewer."""
    pid = os.fork()
    if pid == 0:
        seen = 0

        def watch(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal seen
            writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
            if (event in NEED_ROOM or writes) and not str(arguments[0]).startswith("/dev/"):
                seen += 1
                if seen >= step:
                    os.close(os.open(pi.home, os.O_RDONLY))
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        sys.addaudithook(watch)
        try:
            Upgrader(pi.installation, pause=lambda _: None).run()
        finally:
            os._exit(1 if seen >= step else 0)
    return os.waitstatus_to_exitcode(wait_for_child(pid)) == 1


@pytest.mark.parametrize("start", [GOOD, DIES], ids=["that stays up", "that does not"])
def test_a_disk_that_is_full_from_any_write_on_leaves_a_version_that_runs(tmp_path: Path, start: str):
    step = 0
    while True:
        step += 1
        pi = MadeUpPi(tmp_path / f"{step}")
        assert pi.record.ask(pi.request(pi.wheel("1.1.0", start)))
        if not with_disk_full_from(pi, step):
            break
        assert pi.current_is_whole(), f"full from write {step}"
        Upgrader(pi.installation, pause=lambda _: None).run()
        outcome = pi.record.outcome()
        assert outcome is not None
        assert not (outcome.succeeded and start == DIES), f"full from write {step}: {outcome}"
        version = "1.1.0" if outcome.succeeded else "1.0.0"
        assert (pi.links(), pi.record.wish()) == ((version, version), None), f"full from write {step}: {outcome}"
        assert pi.versions.present() == sorted({"1.0.0", version})
        shutil.rmtree(pi.home)
    assert step > 10


def run_and_die_at(pi: MadeUpPi, step: int) -> bool:
    """Carry the wish out in a child that is killed right before its `step`th effect. False if it has fewer."""
    pid = os.fork()
    if pid == 0:
        seen = 0

        def watch(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal seen
            writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
            if event in STEPS or writes:
                seen += 1
                if seen == step:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        try:
            Upgrader(pi.installation, pause=lambda _: None).run()
        finally:
            os._exit(0)
    status = wait_for_child(pid)
    return os.WIFSIGNALED(status)


def check_every_kill(folder: Path, start: str, *, every: int) -> int:
    """Kill at every `every`th step of an upgrade, begin again, and look; returns how many kills there were."""
    step = kills = 0
    while True:
        step += 1 if step == 0 else every
        pi = MadeUpPi(folder / f"{step}")
        assert pi.record.ask(pi.request(pi.wheel("1.1.0", start)))
        if not run_and_die_at(pi, step):
            return kills
        kills += 1
        assert pi.current_is_whole(), f"killed at step {step}"
        assert pi.links()[1] is not None
        Upgrader(pi.installation, pause=lambda _: None).run()
        outcome = pi.record.outcome()
        assert outcome is not None
        version = "1.1.0" if start == GOOD else "1.0.0"
        assert (outcome.succeeded, pi.links()) == (start == GOOD, (version, version)), (
            f"killed at step {step}: {outcome}"
        )
        assert pi.record.wish() is None
        assert not (set(pi.versions.present()) - {"1.0.0", version})
        shutil.rmtree(pi.home)


@pytest.mark.parametrize("start", [GOOD, DIES], ids=["that stays up", "that does not"])
def test_killed_at_any_step_an_upgrade_leaves_a_version_that_runs_and_comes_to_its_end(tmp_path: Path, start: str):
    assert check_every_kill(tmp_path, start, every=7) >= 5


@pytest.mark.soak
@pytest.mark.parametrize("start", [GOOD, DIES], ids=["that stays up", "that does not"])
def test_killed_at_every_step_an_upgrade_leaves_a_version_that_runs(tmp_path: Path, start: str):
    assert check_every_kill(tmp_path, start, every=1) >= 40
