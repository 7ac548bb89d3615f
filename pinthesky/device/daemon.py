"""The daemon: puts the parts together, starts and stops the threads, and is the end of the process.

Everything has one owner here. The main thread only waits for a signal, a failure or the end of the footage, and then
runs the stop: one path, one deadline, whatever the cause.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any, Callable, Optional

from pinthesky.aws.connections import ApiGatewayConnectionPoster
from pinthesky.aws.log_store import CloudWatchLogStore
from pinthesky.aws.object_store import S3ObjectStore
from pinthesky.aws.session import DEFAULT_REGION, session_for
from pinthesky.device import flags
from pinthesky.device.allowed_destinations import AllowedDestinations
from pinthesky.device.answer_worker import AnswerWorker
from pinthesky.device.camera_thread import CameraThread, Duty
from pinthesky.device.cameras.selection import Choice, camera_for, resolved
from pinthesky.device.clip_recorder import ClipRecorder
from pinthesky.device.clip_spool import ClipSpool
from pinthesky.device.clip_writer import ClipFinisher
from pinthesky.device.command_handlers import CommandHandlers
from pinthesky.device.destination import Destination
from pinthesky.device.event_output import EventOutput
from pinthesky.device.event_queue import EventQueue
from pinthesky.device.event_reporter import Asker, EventReporter
from pinthesky.device.event_thread import EventThread
from pinthesky.device.finishing_worker import FinishingWorker
from pinthesky.device.inotify_thread import INotifyThread
from pinthesky.device.intake import Intake
from pinthesky.device.internal_events import FootageFinished, ItemStored, SpoolPressed
from pinthesky.device.motion_activity import ActivityLog
from pinthesky.device.older_recordings import OlderRecordings
from pinthesky.device.operating_mode import watching
from pinthesky.device.ports import Camera, Clock
from pinthesky.device.preset_choice import with_preset
from pinthesky.device.self_report import Parts, SelfReport
from pinthesky.device.settings_applier import SettingsApplier
from pinthesky.device.shadow_reconciler import ShadowReconciler, says_reported
from pinthesky.device.state_folder import StateFolder
from pinthesky.device.status_led import StatusLed
from pinthesky.device.telemetry import LogShipper, MetricLog
from pinthesky.device.timekeeping import SystemClock, TimeKeeper
from pinthesky.device.uploader import Uploader
from pinthesky.errors import InvalidInput, PinTheSkyError, Unavailable
from pinthesky.machine import durable_files
from pinthesky.machine.log_lines import configure_logging
from pinthesky.machine.slot_file import create_if_missing
from pinthesky.machine.stop_request import StopRequest
from pinthesky.machine.systemd import Notifier, Watchdog
from pinthesky.model import events
from pinthesky.model.identifiers import EventId
from pinthesky.model.recording import Item, Moment
from pinthesky.model.settings import DeviceSettings
from pinthesky.version import __version__

logger = logging.getLogger(__name__)

STOP_DEADLINE_S = 25.0
"""For the whole stop; systemd's own is longer."""
EXIT_CONFIGURATION = 2
_SPOOL_RETRY_S = 5.0
_THUMBNAIL_TIMEOUT_S = 2.0
_TICK_S = 5.0
_LAST_EVENTS_S = 3.0


class Daemon:
    """All parts of one daemon. Raises InvalidInput from the constructor for what the owner has to mend."""

    def __init__(
        self, options: flags.Options, *, camera: Optional[Camera] = None, clock: Optional[Clock] = None
    ) -> None:
        """`camera` and `clock` take the place of what the options and the machine give."""
        self.options = options
        self.exit_code = 0
        self.late: list[str] = []
        """Threads that did not end in time: the process must not wait for them."""
        self._wrong_input: Optional[InvalidInput] = None
        self._ended = StopRequest()
        self._state = StateFolder(options.state_dir)
        state = options.state_dir
        self._clock = clock or SystemClock()
        self._time = TimeKeeper(self._clock, state / "time.json")
        self._session = session_for(
            options.cloud_connection,
            thing_name=options.thing_name,
            clock=self._clock,
            region=options.region,
            s3_endpoint=options.s3_endpoint,
            ca_bundle=options.ca_bundle,
        )
        choice = resolved(options.camera) if camera is None else Choice(options.camera, None)
        installed = with_preset(options.settings, sensor=choice.sensor, given=options.camera_fields_given)
        self._allowed = AllowedDestinations(installed, options.allow_destinations)
        self._reconciler = ShadowReconciler(
            installed=installed,
            allowed=self._allowed,
            state_path=state / "settings.json",
            report_path=options.configure_input,
            cloud_connection=options.cloud_connection,
        )
        self._notifier = Notifier(os.environ)
        self._events = EventThread(self._crashed)
        self._spool = ClipSpool(
            options.spool_dir,
            max_bytes=options.spool_max_bytes,
            min_free_bytes=options.spool_min_free,
            on_pressure=lambda *report: self._events.post(SpoolPressed(*report)),
        )
        self._finishing = FinishingWorker(self._spool, ClipFinisher(self._spool).finish, self._events.post)
        self._activity = ActivityLog(self._time, thing_name=options.thing_name)
        self._camera = self._make_camera(camera or camera_for(choice.address))
        self._uploader = Uploader(
            self._spool,
            lambda stopping: S3ObjectStore(self._session, self._clock, stopping),
            thing_name=options.thing_name,
            clock=self._clock,
            state_file=state / "destination.json",
            resolve_time=self._with_time,
            on_stored=lambda item, bucket, key: self._events.post(ItemStored(item, bucket, key)),
            may_use=self._may_use,
        )
        uploads = self._uploader.status
        self._older = OlderRecordings(
            options.older_folders, self._spool, may_upload=lambda: uploads().destination is not None
        )
        self._make_reporting()
        self._make_inputs()

    # Putting together

    def _make_camera(self, camera: Camera) -> CameraThread:
        settings, installed = self._reconciler.effective, self._reconciler.installed
        recorder = ClipRecorder(
            create_journal=self._spool.create_journal,
            moment_at=self._time.at,
            monotonic=self._clock.monotonic,
            post=self._events.post,
            closed=self._finishing.journal_closed,
            still=self._take_thumbnail,
            request_keyframe=camera.request_keyframe,
            make_room=self._spool.make_room,
        )
        now = watching(settings, self._time.now().wall_s)
        return CameraThread(
            camera,
            recorder,
            settings=(settings.camera, settings.motion),
            picture=settings.picture,
            installed=(installed.camera, installed.motion, installed.picture),
            duty=Duty(now.camera_open, now.record_motion),
            monotonic=self._clock.monotonic,
            post=self._events.post,
            on_crash=self._crashed,
            on_motion=self._note_motion,
        )

    def _make_reporting(self) -> None:
        options = self.options
        self._output: EventOutput | EventQueue = (
            EventOutput(options.event_output, clock=self._clock, thing_name=options.thing_name)
            if options.event_queue is None
            else EventQueue(options.event_queue, clock=self._clock)
        )
        self._answers = AnswerWorker(lambda: ApiGatewayConnectionPoster(self._session), self._route)
        self._shipper = LogShipper(
            CloudWatchLogStore(self._session),
            self._time,
            self._clock,
            thing=options.thing_name,
            default_region=options.region,
        )
        self._metrics = MetricLog(self._shipper.ship_metric, self._time, thing=options.thing_name)
        self._reporter = EventReporter(
            thing_name=options.thing_name,
            output=self._publish,
            answer=self._answers.answer,
            now_s=lambda: self._time.now().wall_s,
            uploading=lambda: self._uploader.status().destination is not None,
            spool_totals=self._spool.totals,
        )
        self._intake = Intake(self._events)
        self._health = SelfReport(
            Parts(self._camera, self._spool, self._uploader, self._output, self._reporter),
            thing_name=options.thing_name,
            time_keeper=self._time,
            settings=self._reconciler.effective.health,
            disk=options.spool_dir,
            state=options.state_dir,
            post=self._events.post,
            commands_rejected=lambda: self._intake.rejected,
        )
        self._time_is_known = self._time.trusted

    def _make_inputs(self) -> None:
        options = self.options
        self._applier = SettingsApplier(
            reconciler=self._reconciler,
            thing_name=options.thing_name,
            camera=self._camera,
            post=self._events.post,
            listeners=(self._take_over,),
            wall_s=lambda: self._time.now().wall_s,
            monotonic=self._clock.monotonic,
        )
        self._led = StatusLed(options.state_dir / "led", settings=self._reconciler.effective.led)
        self._commands = CommandHandlers(
            camera=self._camera,
            finishing=self._finishing,
            thing_name=options.thing_name,
            post=self._events.post,
            now=self._time.now,
            health=self._health.send,
            configuration=self._applier.configuration,
        )
        self._inotify = INotifyThread(
            event_input=options.event_input,
            configure_output=options.configure_output,
            state=options.state_dir / "commands.json",
            on_command=self._intake.command,
            on_rejected=self._intake.refused,
            on_shadow=self._intake.shadow,
            on_crash=self._crashed,
        )
        self._threads = (self._camera, self._events, self._inotify)
        self._watchdog = Watchdog(
            self._notifier,
            {thread.name: _age_of(thread) for thread in self._threads},
            lambda: self._camera.frame_age_s,
            limits_s={"camera": 45.0},
        )
        self._subscribe()

    def _subscribe(self) -> None:
        queue = self._events
        self._reporter.subscribe(queue)
        self._applier.subscribe(queue)
        self._commands.subscribe(queue)
        self._led.subscribe(queue)
        queue.subscribe(FootageFinished, lambda _: self._ended.set())
        queue.subscribe(ItemStored, self._count_upload)
        queue.add_timer(self._output.due_in, self._output.flush)
        queue.add_timer(self._health.due_in, lambda: self._health.send(Asker(None, None)))
        queue.add_timer(self._activity.due_in, self._report_activity)
        queue.add_periodic(_TICK_S, self._look_at_clock)
        queue.add_periodic(_TICK_S, self._look_at_state)
        if self._watchdog.every_s is not None:
            queue.add_periodic(self._watchdog.every_s, self._watchdog.check)

    # Running

    def run(self) -> int:
        """Start, wait for the end, stop. Returns the exit code; raises InvalidInput for what the owner has to mend."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._ended.set())
        signal.set_wakeup_fd(self._ended.writer, warn_on_full_buffer=False)
        try:
            if self.start():
                self._ended.wait()
        finally:
            signal.set_wakeup_fd(-1)
            self.stop()
        if self._wrong_input is not None:
            raise self._wrong_input
        return self.exit_code

    def start(self) -> bool:
        """Take the spool, for which it waits if it must, and begin. False when the end was asked for meanwhile."""
        if not self._open_spool():
            return False
        self._start()
        return True

    def _open_spool(self) -> bool:
        """Take the spool; a full or failing disk is waited for. False when the end was asked for meanwhile."""
        refused = False
        while not self._ended.is_set():
            try:
                self._spool.open()
                self._prepare_files()
            except Unavailable as error:
                if not refused:
                    logger.error("%s; trying again until it can be used", error)
                refused = True
                self._ended.wait(_SPOOL_RETRY_S)
            else:
                return True
        return False

    def _prepare_files(self) -> None:
        """Make what the device client expects to find."""
        for flag, prepare in (
            ("--event-output" if self.options.event_queue is None else "--event-queue", self._output.prepare),
            ("--configure-input", self._reconciler.prepare),
            ("--configure-output", lambda: create_if_missing(self.options.configure_output)),
        ):
            try:
                prepare()
            except OSError as error:
                if durable_files.may_pass(error):
                    raise durable_files.disk_unavailable(f"cannot write the file of {flag}", error) from error
                raise InvalidInput(flag, f"cannot write {error.filename}: {error.strerror}") from error

    def _start(self) -> None:
        for name in self.options.ignored:
            logger.info("%s holds nothing new: what waits for upload is in the spool %s", name, self.options.spool_dir)
        self._applier.begin()
        self._reconciler.report_at_start(
            self.options.shadow_update, reported_known=says_reported(self.options.configure_output)
        )
        self._shipper.start()
        self._finishing.start()
        for thread in self._threads:
            thread.start()
        self._uploader.start()
        self._older.start()
        self._notifier.ready()
        logger.info("pinthesky %s watches as %s", __version__, self.options.thing_name)

    def stop(self) -> None:
        """Close what is open and end every part, within STOP_DEADLINE_S. `late` names those that did not end."""
        deadline = time.monotonic() + STOP_DEADLINE_S

        def left_s(share: float) -> float:
            return max(0.1, min(share, deadline - time.monotonic()))

        self._notifier.stopping()
        self._inotify.stop()
        self._camera.stop()
        late = [thread.name for thread in (self._inotify, self._camera) if not thread.join(left_s(12.0))]
        late += [] if self._finishing.stop(left_s(8.0)) else ["finishing"]
        late += [] if self._older.stop(left_s(2.0)) else ["older recordings"]
        late += self._uploader.stop(left_s(4.0))
        self._events.stop()
        if not self._events.join(left_s(5.0)):
            late.append(self._events.name)
        else:
            self._led.restore()
            self._write_last_events(deadline)
        if not self._answers.stop(left_s(2.0)):
            late.append("answers")
        self._shipper.stop(left_s(3.0))
        self._reconciler.abandon()
        self._time.save()
        self._spool.close()
        self._state.close()
        self._ended.close()
        self.late = late

    def _write_last_events(self, deadline: float) -> None:
        """The client needs its time to read each write, and the stop has its own deadline."""
        latest = min(deadline, time.monotonic() + _LAST_EVENTS_S)
        while (due_in_s := self._output.due_in()) is not None and time.monotonic() + due_in_s < latest:
            time.sleep(due_in_s)
            self._output.flush()

    def _crashed(self, _name: str, error: BaseException) -> None:
        if isinstance(error.__cause__, InvalidInput):
            self._wrong_input = error.__cause__
        self.exit_code = 1
        self._ended.set()

    # What the parts ask of the whole

    def _take_thumbnail(self, event_id: EventId, start: Moment) -> None:
        try:
            data = self._camera.still_now(_THUMBNAIL_TIMEOUT_S)
        except PinTheSkyError as error:
            logger.warning("No picture of event %s: %s", event_id, error)
            return
        self._finishing.take_picture_in(data, Item.of_picture(data, kind="thumbnail", event_id=event_id, start=start))

    def _note_motion(self, moving: bool, monotonic_s: float) -> None:
        if moving:
            self._activity.began(monotonic_s)
        else:
            self._activity.ended(monotonic_s)

    def _with_time(self, item: Item) -> Optional[Item]:
        resolved = self._time.resolve(item.start)
        return None if resolved is None else item.at(resolved.moment, uncertain=resolved.uncertain)

    def _may_use(self, destination: Destination) -> bool:
        try:
            self._allowed.check("storage", destination.storage)
        except InvalidInput as error:
            logger.warning("The destination of the last run is given up: %s", error)
            return False
        return True

    def _look_at_clock(self) -> None:
        known_before = self._time_is_known
        self._time.tick()
        self._time_is_known = self._time.trusted
        if self._time_is_known and not known_before:
            # What was recorded without a time can be named and uploaded now.
            self._uploader.nudge()

    def _look_at_state(self) -> None:
        if self._state.look():
            self._reconciler.save()
            self._time.save()

    def _take_over(self, settings: DeviceSettings) -> None:
        configure_logging(settings.cloudwatch.log_level)
        self._health.configure(settings.health)
        self._led.configure(settings.led)
        self._shipper.configure(settings.cloudwatch)
        self._metrics.configure(settings.cloudwatch)
        self._uploader.set_destination(Destination.of(settings.storage))

    def _route(self, asked: Optional[str]) -> Optional[tuple[str, str]]:
        dataplane = self._applier.settings.dataplane
        endpoint = asked or dataplane.endpoint_url
        if not dataplane.enabled or endpoint is None or not self._allowed.allows_endpoint(endpoint):
            return None
        return endpoint, dataplane.region_name or self.options.region or DEFAULT_REGION

    def _publish(self, event: events.AnyEvent) -> None:
        self._output.post(event)
        if self._metrics.enabled:
            self._metrics.write(
                "Event", str(event.__struct_config__.tag), {"EventProcessed": 1, "EventBacklog": self._events.backlog}
            )

    def _count_upload(self, stored: ItemStored) -> None:
        if self._metrics.enabled:
            self._metrics.write("FileType", stored.item.kind, {"UploadProcessed": 1, "Size": stored.item.size})

    def _report_activity(self) -> None:
        activity = self._activity.collect()
        if activity is not None:
            self._reporter.send(activity)


def _age_of(thread: Any) -> Callable[[], float]:
    return lambda: time.monotonic() - thread.last_beat


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Entry point. Exit codes: 0 stopped in order, 1 a part failed (start again), 2 the configuration is at fault."""
    daemon = None
    try:
        options = flags.parse(sys.argv[1:] if arguments is None else arguments, os.environ)
        configure_logging(options.settings.cloudwatch.log_level)
        daemon = Daemon(options)
        code = daemon.run()
    except InvalidInput as error:
        sys.stderr.write(f"pinthesky: {error}\n")
        code = EXIT_CONFIGURATION
    except PinTheSkyError as error:
        sys.stderr.write(f"pinthesky: {error}\n")
        code = 1
    if daemon is not None and daemon.late:
        logger.critical("These threads do not end: %s", ", ".join(daemon.late))
        logging.shutdown()
        os._exit(code or 1)
    return code
