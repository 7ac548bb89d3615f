"""What the owner of a Pi did wrong gets one line and exit code 2, and never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.daemon.conftest import SCENE
from tests.support.aws_servers import CertificateAuthority
from tests.support.daemon_process import DaemonProcess, running

pytestmark = pytest.mark.needs_av


def refusal(daemon: DaemonProcess) -> str:
    """The one line that a daemon with a wrong configuration says."""
    with running(daemon):
        code = daemon.wait(30)
    assert code == 2, daemon.log
    lines = [line for line in daemon.log if line.startswith("pinthesky:")]
    assert len(lines) == 1, daemon.log
    assert not any("Traceback" in line for line in daemon.log)
    return lines[0]


@pytest.mark.parametrize(
    "flags,expected",
    [
        (("--framerate", "0"), "--framerate: must be a whole number from 1 to 120, got '0'"),
        (("--resolution", "641x480"), "--resolution: must be WxH, both even"),
        (("--rotation", "45"), "--rotation: must be one of 0, 90, 180, 270, got '45'"),
        (("--recording-window", "8-8"), "--recording-window: must be HH-HH"),
        (("--spool-max-bytes", "many"), "--spool-max-bytes: must be a number of bytes"),
        (("--allow-destination", "moon=x"), "--allow-destination: must be KIND=VALUE"),
        (("--thing-cert", "x.pem"), "--thing-key: must be given together with --thing-cert"),
        (("--nonsense",), "--nonsense"),
    ],
)
def test_a_wrong_flag_is_named_with_its_bound(tmp_path: Path, flags: tuple[str, ...], expected: str) -> None:
    assert expected in refusal(DaemonProcess(tmp_path, "synthetic", *flags))


@pytest.mark.parametrize(
    "camera,expected",
    [
        ("nowhere.mp4", "--camera"),
        ("gopher://camera", "--camera"),
        ("synthetic:?script=dance:3", "--camera: script: 'dance'"),
        ("picamera2", "--camera"),
    ],
)
def test_an_unknown_camera_is_refused(tmp_path: Path, camera: str, expected: str) -> None:
    assert expected in refusal(DaemonProcess(tmp_path, camera))


def test_a_file_that_holds_no_video_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "letter.mp4"
    text.write_text("Dear camera, " * 1000)
    assert "--camera" in refusal(DaemonProcess(tmp_path, str(text)))


def test_a_state_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("not a folder")
    assert "--state-dir" in refusal(DaemonProcess(tmp_path, "synthetic"))


def test_a_folder_for_the_shared_files_that_is_missing_is_refused(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path, "synthetic", "--event-output", str(tmp_path / "no" / "such" / "file.json"))
    assert "--event-output" in refusal(daemon)


@pytest.mark.parametrize("which", ["--thing-cert", "--thing-key", "--ca-cert"])
@pytest.mark.parametrize("fault", ["missing", "garbage"])
def test_a_certificate_that_cannot_be_used_is_refused(tmp_path: Path, which: str, fault: str) -> None:
    authority = CertificateAuthority(tmp_path)
    thing = authority.issue("garden")
    files = {"--thing-cert": thing.cert, "--thing-key": thing.key, "--ca-cert": authority.cert}
    broken = tmp_path / "broken.pem"
    if fault == "garbage":
        broken.write_text("-----BEGIN NOTHING-----")
    files[which] = broken
    flags = [part for flag, path in files.items() for part in (flag, str(path))]
    daemon = DaemonProcess(tmp_path, "synthetic", *flags, "--credentials-endpoint", "localhost:1", "--role-alias", "r")
    assert which in refusal(daemon)


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path)
    one, other = authority.issue("garden"), authority.issue("porch")
    daemon = DaemonProcess(
        tmp_path,
        "synthetic",
        *("--thing-cert", str(one.cert), "--thing-key", str(other.key), "--ca-cert", str(authority.cert)),
        *("--credentials-endpoint", "localhost:1", "--role-alias", "uploads"),
    )
    assert "--thing-key" in refusal(daemon)


def test_two_daemons_do_not_share_a_state_folder(tmp_path: Path) -> None:
    first = DaemonProcess(tmp_path, "synthetic:?script=quiet:600", *SCENE)
    with running(first):
        first.wait_ready()
        second = DaemonProcess(tmp_path, "synthetic:?script=quiet:600", *SCENE)
        assert "in use by another daemon" in refusal(second)
        assert first.is_running
        assert first.stop() == 0


def test_a_stream_that_is_away_is_reported_and_retried(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path, "rtsp://owner:secret@127.0.0.1:9/stream")
    with running(daemon):
        daemon.wait_ready()
        daemon.wait_log("The camera gives no pictures: .*127.0.0.1")
        assert daemon.is_running
        assert not any("secret" in line for line in daemon.log)
        assert daemon.stop() == 0
