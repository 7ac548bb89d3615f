"""A settings change on its way: from the shadow's document to the parts of the daemon, and back as reported.

Runs in the event thread. Section by section what is accepted takes effect at once; the camera's part waits for the open
clip to end, and only then is the change concluded and reported.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import CancelledError, Future
from typing import Callable, Optional

from pinthesky.device.camera_thread import CameraThread, Duty
from pinthesky.device.event_thread import EventThread
from pinthesky.device.internal_events import (
    DutyTaken,
    EventForCloud,
    SettingsConcluded,
    SettingsRefused,
    ShadowArrived,
)
from pinthesky.device.operating_mode import Watching, watching
from pinthesky.device.shadow_reconciler import Conclusion, SettingsChange, ShadowReconciler
from pinthesky.errors import InvalidInput, PinTheSkyError
from pinthesky.model.events import SettingsApplied
from pinthesky.model.identifiers import ThingName
from pinthesky.model.settings import DeviceSettings

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 5.0
_CAMERA_SECTIONS = frozenset({"camera", "motion", "picture"})
"""Sections that the camera thread takes over."""


class SettingsApplier:
    """Serves ShadowArrived and keeps the camera's duty by mode, window and time.

    `listeners` are called with the effective settings whenever they may have changed, the first time by `begin`.
    """

    def __init__(
        self,
        *,
        reconciler: ShadowReconciler,
        thing_name: ThingName,
        camera: CameraThread,
        post: Callable[[object], object],
        listeners: tuple[Callable[[DeviceSettings], None], ...],
        wall_s: Callable[[], Optional[float]],
        monotonic: Callable[[], float],
    ) -> None:
        self._reconciler = reconciler
        self._thing_name = thing_name
        self._camera = camera
        self._post = post
        self._listeners = listeners
        self._wall_s = wall_s
        self._monotonic = monotonic
        self.settings = reconciler.effective
        """The settings in force; those of the camera from the end of the open clip on."""
        self._watching = watching(self.settings, wall_s())
        self._look_at_s = 0.0
        self._newest: Optional[SettingsChange] = None

    def configuration(self) -> tuple[DeviceSettings, DeviceSettings]:
        """The settings in force now, and those that will be when the camera has taken over what waits for its clip."""
        now = self.settings
        if self._newest is not None:
            for section in self._newest.changed & _CAMERA_SECTIONS:
                now = now.with_section(section, getattr(self._reconciler.effective, section))
        return now, self.settings

    @property
    def duty(self) -> Duty:
        """What the camera is there for by the settings in force."""
        return Duty(self._watching.camera_open, self._watching.record_motion)

    @property
    def mode(self) -> Watching:
        """What the camera is to do, and why."""
        return self._watching

    def subscribe(self, queue: EventThread) -> None:
        """Take documents from the queue, and look at the clock."""
        queue.subscribe(ShadowArrived, self._shadow_arrived)
        queue.subscribe(SettingsConcluded, self._camera_concluded)
        queue.subscribe(SettingsRefused, self._camera_refused)
        queue.add_timer(lambda: self._look_at_s - self._monotonic(), self.look)

    def begin(self) -> None:
        """Bring the settings in force to everybody, the camera's duty too: time has passed since it was made."""
        self._bring(self.settings)
        self._take_up_duty()

    def look(self) -> None:
        """See whether time alone has changed what the camera is there for."""
        now = watching(self.settings, self._wall_s())
        changes_in_s = _LOOK_EVERY_S if now.changes_in_s is None else min(_LOOK_EVERY_S, now.changes_in_s)
        self._look_at_s = self._monotonic() + max(0.05, changes_in_s)
        before, self._watching = self._watching, now
        if (before.camera_open, before.record_motion) != (now.camera_open, now.record_motion):
            logger.info("The camera is %s (%s)", _words(now), now.reason)
            self._take_up_duty()

    def _take_up_duty(self) -> None:
        self._camera.take_up(self.duty)
        self._post(DutyTaken(*self.duty))

    def _shadow_arrived(self, arrived: ShadowArrived) -> None:
        change = self._reconciler.consider(arrived.document)
        if change is None:
            return
        self._newest = change
        # Everything but the camera's own settings holds from now on, privacy above all.
        self._bring(change.settings)
        if not change.changed & _CAMERA_SECTIONS:
            self._conclude(change, {})
            return
        self._hand_to_camera(change, {})

    def _hand_to_camera(self, change: SettingsChange, failed: Mapping[str, str]) -> None:
        """Have the camera take over the change but for the sections of `failed`."""
        settings = change.settings
        for field in failed:
            section = _section_of(field)
            settings = settings.with_section(section, getattr(self._reconciler.effective, section))
        outcome = self._camera.reconfigure(settings.camera, settings.motion, settings.picture)
        outcome.add_done_callback(lambda done: self._camera_is_done(change, failed, done))

    def _camera_is_done(self, change: SettingsChange, failed: Mapping[str, str], done: Future[None]) -> None:
        refusal = None
        try:
            done.result(timeout=0)
        except CancelledError:
            # A later document took this one's place, or the daemon stops: the next start considers it again.
            return
        except PinTheSkyError as error:
            refusal = error
        self._post(SettingsConcluded(change, failed, refusal))

    def _camera_concluded(self, concluded: SettingsConcluded) -> None:
        if concluded.change is not self._newest:
            # The camera was done with it just as a later document came, which is what will be concluded.
            return
        change, failed, refusal = concluded.change, concluded.failed, concluded.refusal
        if refusal is None:
            self._conclude(change, failed)
            return
        waiting = (change.changed & _CAMERA_SECTIONS) - {_section_of(field) for field in failed}
        if isinstance(refusal, InvalidInput) and _section_of(refusal.field) in waiting:
            failed = {**failed, refusal.field: refusal.reason}
            waiting -= {_section_of(refusal.field)}
        else:
            failed = {**failed, **dict.fromkeys(sorted(waiting), str(refusal))}
            waiting = frozenset()
        if waiting:
            # What was refused is known now; the camera has not said anything of the other sections.
            self._hand_to_camera(change, failed)
        else:
            self._conclude(change, failed)

    def _conclude(self, change: SettingsChange, failed: Mapping[str, str]) -> None:
        outcome = self._reconciler.conclude(change, failed)
        self._newest = None
        settings = self._reconciler.effective
        if settings != self.settings:
            self._bring(settings)
        if failed:
            # It went back to what it ran with before, which may be of a change whose place this one took.
            self._camera.reconfigure(settings.camera, settings.motion, settings.picture)
        self._tell(outcome)

    def _camera_refused(self, refused: SettingsRefused) -> None:
        outcome = self._reconciler.refuse(refused.field, refused.reason)
        if outcome is not None:
            # The camera runs with these already; what else a change has brought meanwhile stays.
            section = _section_of(refused.field)
            self._bring(self.settings.with_section(section, getattr(self._reconciler.effective, section)))
            self._tell(outcome)

    def _tell(self, outcome: Conclusion) -> None:
        self._post(
            EventForCloud(
                SettingsApplied(
                    thing_name=self._thing_name,
                    fingerprint=outcome.fingerprint,
                    applied=outcome.applied,
                    rejected=outcome.rejected,
                )
            )
        )

    def _bring(self, settings: DeviceSettings) -> None:
        self.settings = settings
        for listener in self._listeners:
            listener(settings)
        self.look()


def _section_of(field: str) -> str:
    return field.partition(".")[0]


def _words(now: Watching) -> str:
    if not now.camera_open:
        return "closed"
    return "recording motion" if now.record_motion else "not recording motion"
