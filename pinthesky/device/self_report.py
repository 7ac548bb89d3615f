"""What the daemon knows of itself, gathered for the health report, and sent when it is due or asked for."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, Optional

import msgspec

from pinthesky.device.health_reporter import DaemonFacts, HealthReporter
from pinthesky.device.internal_events import EventForCloud
from pinthesky.machine import durable_files
from pinthesky.model.events import HealthEnd
from pinthesky.model.identifiers import plain
from pinthesky.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from pinthesky.device.camera_thread import CameraThread
    from pinthesky.device.clip_spool import ClipSpool
    from pinthesky.device.event_output import WaitingEvents
    from pinthesky.device.event_reporter import Asker, EventReporter
    from pinthesky.device.timekeeping import TimeKeeper
    from pinthesky.device.uploader import Uploader, UploadStatus
    from pinthesky.model.health import UploadState
    from pinthesky.model.identifiers import ThingName
    from pinthesky.model.settings import HealthSettings

LAST_REPORT = "health.json"
"""In the state folder: the last report, and who has asked for it."""


class Parts(NamedTuple):
    """The parts that are asked."""

    camera: CameraThread
    spool: ClipSpool
    uploader: Uploader
    output: WaitingEvents
    reporter: EventReporter


class SelfReport:
    """Runs in the event thread; `commands_rejected` gives how many pieces of input were refused."""

    def __init__(
        self,
        parts: Parts,
        *,
        thing_name: ThingName,
        time_keeper: TimeKeeper,
        settings: HealthSettings,
        disk: Path,
        state: Path,
        post: Callable[[object], object],
        commands_rejected: Callable[[], int],
    ) -> None:
        self._parts = parts
        self._thing_name = thing_name
        self._file = state / LAST_REPORT
        self._post = post
        self._commands_rejected = commands_rejected
        self._health = HealthReporter(time_keeper, self._facts, settings, version=__version__, disk=disk)
        self.configure = self._health.configure
        self.due_in = self._health.due_in

    def send(self, asker: Asker) -> None:
        """Report now; the interval begins anew."""
        report = self._health.report().as_document()
        self._leave(asker.capture_id, report)
        self._post(
            EventForCloud(
                HealthEnd(
                    thing_name=self._thing_name,
                    capture_id=asker.capture_id,
                    connection=asker.connection,
                    report=report,
                )
            )
        )

    def _leave(self, capture_id: Optional[str], report: dict[str, Any]) -> None:
        """Leave the report in the state folder, for who looks at this machine. It is news and no record: not synced."""
        temporary = self._file.with_name(f".{self._file.name}.new")
        # On a disk that is full or failing, which the report itself tells, the one before stays.
        with contextlib.suppress(OSError):
            document = {"capture_id": capture_id, "report": report}
            temporary.write_bytes(msgspec.json.encode(document, enc_hook=plain))
            temporary.chmod(0o600)
            durable_files.move(temporary, self._file)

    def _facts(self) -> DaemonFacts:
        camera, spool, uploader, output, reporter = self._parts
        files, size = spool.totals()
        uploads, description = uploader.status(), camera.description
        return DaemonFacts(
            recording=camera.recorder.recording,
            motion_captured=reporter.motion_events,
            spool_files=files,
            spool_bytes=size,
            camera_model=None if description is None else description.model,
            camera_capabilities=None if description is None else description.extra,
            frame_age_s=camera.frame_age_s,
            preroll_shortfall_s=camera.recorder.pre_roll_shortfall_s,
            upload_state=_upload_state(uploads),
            upload_error=uploads.last_error,
            commands_rejected=self._commands_rejected(),
            events_dropped=output.dropped,
            items_lost=spool.dropped_files,
            pictures_lost=camera.recorder.lost_packets,
        )


def _upload_state(uploads: UploadStatus) -> UploadState:
    if uploads.destination is None:
        return "off"
    if not uploads.available:
        return "failing"
    if uploads.refused:
        return "refused"
    return "waiting" if uploads.waiting else "ok"
