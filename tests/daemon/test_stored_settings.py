"""Settings that were taken over earlier and that the camera, at the next start, does not take: the daemon goes on."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pinthesky.device import flags
from pinthesky.device.cameras.synthetic import SyntheticCamera
from pinthesky.device.daemon import Daemon
from pinthesky.device.ports import DEFAULT_PICTURE, CameraDescription
from pinthesky.errors import InvalidInput
from pinthesky.model.settings import CameraSettings, PictureSettings, Polygon
from tests.support.daemon_process import DaemonProcess, eventually, running

pytestmark = pytest.mark.needs_av

SCENE = ("--resolution", "160x120", "--framerate", "10", "--encoding-bitrate", "150000", "--rotation", "0")


def store(state: Path, **overrides: dict[str, Any]) -> None:
    """Leave settings behind as an earlier run does."""
    state.mkdir(parents=True)
    stored = {"fingerprint": "that of an earlier run", "overrides": overrides, "applied": sorted(overrides)}
    (state / "settings.json").write_text(json.dumps(stored))


def test_a_stored_section_that_this_camera_has_no_use_for_is_rejected_and_the_rest_holds(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path, "synthetic:?script=quiet:3600", *SCENE)
    store(daemon.state, picture={"brightness": 0.5}, health={"interval": 77})
    with running(daemon):
        daemon.wait_log("Watching synthetic: 160x120 at 10 fps")
        report = eventually(lambda: reported(daemon.configure_input), "the report")
        assert daemon.stop() == 0
    assert report["sync"]["applied"] == ["health"]
    assert list(report["sync"]["rejected"]) == ["picture.brightness"]
    assert report["picture"]["brightness"] is None
    assert report["health"]["interval"] == 77


class NewSensor(SyntheticCamera):
    """Put in the place of another, it gives small pictures only."""

    def open(
        self,
        settings: CameraSettings,
        privacy_masks: Sequence[Polygon],
        *,
        picture: PictureSettings = DEFAULT_PICTURE,
    ) -> CameraDescription:
        """As the port says."""
        if settings.resolution != "160x120":
            raise InvalidInput("camera.resolution", f"this sensor gives 160x120, got {settings.resolution}")
        return super().open(settings, privacy_masks, picture=picture)


@pytest.fixture
def logging_restored() -> Iterator[None]:
    """The daemon of this process sets logging up for itself."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_stored_resolution_that_a_new_camera_does_not_have_gives_way_to_that_of_the_flags(
    tmp_path: Path, logging_restored: None
) -> None:
    state = tmp_path / "state"
    store(state, camera={"resolution": "1280x720"})
    options = flags.parse(
        ["--camera", "synthetic:?script=quiet:3600", "--state-dir", str(state), "--spool-min-free", "0", *SCENE], {}
    )
    daemon = Daemon(options, camera=NewSensor("synthetic:?script=quiet:3600"))
    assert daemon.start()
    try:
        report = eventually(lambda: reported(options.configure_input), "the report")
        eventually(lambda: daemon._camera.description, "the camera is opened")
    finally:
        daemon.stop()
    assert (daemon.exit_code, daemon.late) == (0, [])
    assert report["camera"]["resolution"] == "160x120"
    assert list(report["sync"]["rejected"]) == ["camera.resolution"]
    assert "resolution" not in json.loads((state / "settings.json").read_bytes())["overrides"].get("camera", {})


def reported(path: Path) -> dict[str, Any] | None:
    """The daemon's report, when it says what was rejected."""
    report = json.loads(path.read_bytes() or b"{}") if path.exists() else {}
    return report if report.get("sync", {}).get("rejected") else None
