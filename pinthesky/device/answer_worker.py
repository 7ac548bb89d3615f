"""Answers to consoles' connections, sent by a worker so that a slow network holds nothing up."""

from __future__ import annotations

import logging
import queue
import threading
from typing import Callable, NamedTuple, Optional

import msgspec

from pinthesky.device.ports import ConnectionPoster
from pinthesky.errors import NotFound, PinTheSkyError

logger = logging.getLogger(__name__)

WAITING_MAX = 200
"""Answers that wait; nobody still waits for the ones beyond."""


class _Answer(NamedTuple):
    connection_id: str
    endpoint_url: str
    region: str
    payload: bytes


class AnswerWorker:
    """One thread, owned and joined by the daemon, started at the first answer.

    `poster` makes the adapter at first use; `route` gives (endpoint, region) for the `management_endpoint` that a
    command named (or None), or None when no answer may be sent there.
    """

    def __init__(
        self,
        poster: Callable[[], ConnectionPoster],
        route: Callable[[Optional[str]], Optional[tuple[str, str]]],
    ) -> None:
        self._make_poster = poster
        self._poster: Optional[ConnectionPoster] = None
        self._route = route
        self._waiting: queue.Queue[Optional[_Answer]] = queue.Queue(WAITING_MAX)
        self._thread: Optional[threading.Thread] = None
        self._stopping = False
        self._unavailable = False

    def answer(self, connection: dict[str, Optional[str]], document: dict[str, object]) -> None:
        """Send `{"invoke": document}` to the connection, some time soon. Never blocks."""
        connection_id = connection.get("id")
        route = self._route(connection.get("management_endpoint"))
        if connection_id is None or route is None:
            logger.warning("An answer to a connection is not sent: its endpoint is not an allowed destination")
            return
        payload = msgspec.json.encode({"invoke": document})
        try:
            self._waiting.put_nowait(_Answer(connection_id, *route, payload=payload))
        except queue.Full:
            logger.warning("More than %d answers to connections wait; this one is dropped", WAITING_MAX)
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="answers", daemon=False)
            self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """End after the answer that is under way. False when it still runs."""
        self._stopping = True
        if self._thread is None:
            return True
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            logger.info("Answers to connections that still wait are given up")
        self._thread.join(max(0.0, timeout_s))
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            answer = self._waiting.get()
            if answer is None or self._stopping:
                return
            try:
                self._send(answer)
            except NotFound:
                logger.debug("Connection %s is gone", answer.connection_id)
            except PinTheSkyError as error:
                if not self._unavailable:
                    logger.warning("Answers to connections cannot be sent: %s", error)
                self._unavailable = True
            except Exception:
                logger.exception("An answer to connection %s failed", answer.connection_id)
            else:
                if self._unavailable:
                    logger.info("Answers to connections are sent again")
                self._unavailable = False

    def _send(self, answer: _Answer) -> None:
        if self._poster is None:
            self._poster = self._make_poster()
        self._poster.post(
            endpoint_url=answer.endpoint_url,
            region=answer.region,
            connection_id=answer.connection_id,
            payload=answer.payload,
        )
