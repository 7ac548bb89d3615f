"""The device client: puts the parts together, starts and stops them, and is the end of the process.

The main thread waits for a signal or a failure, feeds the watchdog, and runs the stop: one path, one deadline.
"""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from awscrt import io

from pinthesky.errors import InvalidInput, Unavailable
from pinthesky.link import file_modes
from pinthesky.link.configuration import Configuration, LoggingSettings, load
from pinthesky.link.connection import Connection
from pinthesky.link.event_queue import EventQueue
from pinthesky.link.file_watch import FileThread
from pinthesky.link.jobs import Jobs
from pinthesky.link.pubsub_files import PublishFile, SubscribeFile
from pinthesky.link.shadow_files import ShadowFiles
from pinthesky.machine import durable_files
from pinthesky.machine.log_lines import PlainFormatter, configure_logging
from pinthesky.machine.stop_request import StopRequest
from pinthesky.machine.systemd import Notifier, Watchdog

logger = logging.getLogger(__name__)

STOP_DEADLINE_S = 20.0
"""For the whole stop. Without a running job it takes a moment."""
EXIT_CONFIGURATION = 2
_LOG_FILE_MAX = 5 * 1024 * 1024
_LOG_FILES = 2


class Client:
    """All parts of one client.

    The constructor raises InvalidInput for what the owner has to mend, Unavailable where the disk refuses.
    """

    def __init__(self, configuration: Configuration) -> None:
        self.exit_code = 0
        self.late: list[str] = []
        """Parts that did not end in time: the process must not wait for them."""
        self._ended = StopRequest()
        self._notifier = Notifier(os.environ)
        self._files = FileThread(self._crashed)
        self._connection = Connection(configuration, on_crash=self._crashed, on_state=self._notifier.status)
        self._make_files(configuration)
        self._jobs: Jobs | None = None
        if configuration.jobs is not None:
            self._jobs = Jobs(
                self._connection,
                thing_name=configuration.thing_name,
                settings=configuration.jobs,
                state_dir=_made(configuration.state_directory / "jobs", "state-directory"),
            )
        self._watchdog = Watchdog(self._notifier, {self._files.name: lambda: time.monotonic() - self._files.last_beat})

    def _make_files(self, configuration: Configuration) -> None:
        mqtt, files = self._connection, self._files
        pub_sub, shadow = configuration.pub_sub, configuration.shadow
        if pub_sub is not None and pub_sub.publish_topic is not None:
            topic = pub_sub.publish_topic
            if pub_sub.publish_queue is not None:
                folder = _made(pub_sub.publish_queue, "samples.pub-sub.publish-queue")
                files.add(EventQueue(folder, topic, mqtt, wake=files.wake))
            if pub_sub.publish_file is not None:
                on_change = pub_sub.publish_on_change
                files.add(PublishFile(pub_sub.publish_file, topic, mqtt, on_change=on_change, wake=files.wake))
        if pub_sub is not None and pub_sub.subscribe_topic is not None and pub_sub.subscribe_file is not None:
            SubscribeFile(pub_sub.subscribe_file, pub_sub.subscribe_topic, mqtt)
        if shadow is not None:
            files.add(ShadowFiles(shadow, configuration.thing_name, mqtt, wake=files.wake))

    def run(self) -> int:
        """Start, wait for the end, stop. Returns the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._ended.set())
        signal.set_wakeup_fd(self._ended.writer, warn_on_full_buffer=False)
        try:
            if self._jobs is not None:
                self._jobs.start()
            self._files.start()
            self._connection.start()
            self._notifier.ready()
            while not self._ended.wait(self._watchdog.every_s):
                self._watchdog.check()
        finally:
            signal.set_wakeup_fd(-1)
            self.stop()
        return self.exit_code

    def stop(self) -> None:
        """End every part, within STOP_DEADLINE_S. `late` names those that did not end."""
        deadline = time.monotonic() + STOP_DEADLINE_S

        def left_s(share: float) -> float:
            return max(0.1, min(share, deadline - time.monotonic()))

        self._notifier.stopping()
        late = []
        # Jobs first, for what they have to say of their end; the connection last.
        if self._jobs is not None and not self._jobs.stop(left_s(13.0)):
            late.append("jobs")
        self._files.stop()
        if not self._files.join(left_s(2.0)):
            late.append(self._files.name)
        if not self._connection.stop(left_s(4.0)):
            late.append("connection")
        self._ended.close()
        self.late = late

    def _crashed(self, _name: str, _error: BaseException) -> None:
        self.exit_code = 1
        self._ended.set()


def _made(path: Path, key: str) -> Path:
    """The folder, which `key` names, and which is made if it is missing. Raises Unavailable where the disk is full."""
    try:
        durable_files.make_folder(path)
    except OSError as error:
        if durable_files.may_pass(error):
            raise durable_files.disk_unavailable(f"{key}: cannot make {path}", error) from error
        raise InvalidInput(key, f"cannot make {path}: {error.strerror}") from error
    return path


def _start_logging(settings: LoggingSettings) -> None:
    configure_logging(settings.level)
    if settings.file is not None:
        try:
            to_file = logging.handlers.RotatingFileHandler(
                settings.file, maxBytes=_LOG_FILE_MAX, backupCount=_LOG_FILES, encoding="utf-8"
            )
        except OSError as error:
            raise InvalidInput("logging.file", f"cannot write {settings.file}: {error.strerror}") from error
        to_file.setFormatter(PlainFormatter())
        to_file.setLevel(settings.level)
        root = logging.getLogger()
        for console in list(root.handlers):
            root.removeHandler(console)
        root.addHandler(to_file)
    if settings.sdk:
        io.init_logging(io.LogLevel.Info, "stderr")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Exit codes: 0 stopped in order, 1 a part failed (start again), 2 the configuration is at fault."""
    client = None
    configuration, findings = load(sys.argv[1:] if arguments is None else arguments, os.environ)
    if configuration is not None:
        modes = file_modes.check(configuration)
        findings.errors += modes.errors
        findings.warnings += modes.warnings
        findings.notes += modes.notes
    try:
        if configuration is None or findings.errors:
            return _refuse(findings.errors)
        _start_logging(configuration.logging)
        for warning in findings.warnings:
            logger.warning("%s", warning)
        for note in findings.notes:
            logger.info("%s", note)
        client = Client(configuration)
        code = client.run()
    except InvalidInput as error:
        return _refuse([str(error)])
    except Unavailable as error:
        sys.stderr.write(f"pits-device-client: {error}\n")
        code = 1
    if client is not None and client.late:
        logger.critical("These parts do not end: %s", ", ".join(client.late))
        logging.shutdown()
        os._exit(code or 1)
    return code


def _refuse(errors: Sequence[str]) -> int:
    for error in errors:
        with contextlib.suppress(OSError):
            sys.stderr.write(f"pits-device-client: {error}\n")
    return EXIT_CONFIGURATION
