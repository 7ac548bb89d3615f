"""From the client's files into the event queue: half of it stays free for what the daemon has to tell itself."""

from __future__ import annotations

import logging

from pinthesky.device.event_thread import QUEUE_MAX, EventThread
from pinthesky.device.internal_events import CommandArrived, ShadowArrived
from pinthesky.model.commands import Command, Rejected

logger = logging.getLogger(__name__)


class Intake:
    """Called by the inotify thread."""

    def __init__(self, queue: EventThread) -> None:
        self._queue = queue
        self.rejected = 0
        """Pieces of input that were refused since the start."""
        self._is_refusing = False

    def command(self, command: Command) -> None:
        """Queue a command, unless too many wait."""
        backlog = self._queue.backlog
        if backlog > QUEUE_MAX // 2:
            self.rejected += 1
            if not self._is_refusing:
                logger.warning("Too many commands wait; further ones are refused")
            self._is_refusing = True
            return
        if backlog < QUEUE_MAX // 4:
            self._is_refusing = False
        self._queue.post(CommandArrived(command))

    def refused(self, _: Rejected) -> None:
        """Count what is no command."""
        self.rejected += 1

    def shadow(self, document: bytes) -> None:
        """Queue the shadow's document."""
        self._queue.post(ShadowArrived(document))
