"""The planes' port `Notifier` at home: mail and webhooks, sent by one thread that tries again."""

from __future__ import annotations

import heapq
import itertools
import logging
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from pinthesky.errors import InvalidInput, NotFound, Unavailable
from pinthesky.hub.mail import Mailer
from pinthesky.hub.webhooks import Webhooks, check_host
from pinthesky.machine.permanent_thread import Crash, PermanentThread
from pinthesky.model.identifiers import MediaKey
from pinthesky.model.people import Email
from pinthesky.planes.ports import Alert, Destination

logger = logging.getLogger(__name__)

WAITING_MAX = 1000
"""Alerts that wait to be sent; one more is dropped, and that is said."""
RETRY_AFTER_S = (5.0, 60.0, 600.0)
PICTURE_MAX = 1024 * 1024
WAIT_S = 5.0
_ADDRESS = re.compile(r"https?://[A-Za-z0-9.\[\]:_-]{1,255}(/[\x21-\x7e]{0,1500})?")


class Pictures(Protocol):
    """Where the picture of an alert is read from: the planes' `Media`."""

    def read(self, key: MediaKey, *, limit: int) -> bytes:
        """Raises NotFound, InvalidInput (too large)."""
        ...


class _Errand(NamedTuple):
    due_s: float
    number: int
    alert: Alert
    destination: Destination
    tries: int


class HubNotifier(PermanentThread):
    """The adapter of `planes.ports.Notifier`. What waits at the end of the process is said to be lost."""

    def __init__(
        self,
        *,
        mailer: Mailer | None,
        webhooks: Webhooks,
        pictures: Pictures,
        console: str,
        on_crash: Crash,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Without `mailer` nobody gets mail; `console` is its address, which links begin with."""
        super().__init__("notifier", on_crash)
        self._mailer = mailer
        self._webhooks = webhooks
        self._pictures = pictures
        self._console = console
        self._monotonic_s = monotonic_s
        self._numbers = itertools.count()
        self._waiting: list[_Errand] = []
        self._news = threading.Condition()
        self.given_up = 0
        """Alerts that did not reach one of their destinations."""

    @property
    def protocols(self) -> frozenset[str]:
        """See `planes.ports.Notifier`."""
        return frozenset({"https"}) if self._mailer is None else frozenset({"https", "email"})

    def enlist(self, destination: Destination) -> None:
        """See `planes.ports.Notifier`."""
        if destination.protocol not in self.protocols:
            raise InvalidInput("protocol", f"must be {' or '.join(sorted(self.protocols))} on this hub")
        if destination.protocol == "email":
            Email.parse(destination.endpoint, "endpoint")
        else:
            _check_web_address(destination.endpoint)

    def withdraw(self, destination: Destination) -> None:
        """See `planes.ports.Notifier`."""
        with self._news:
            self._waiting = [one for one in self._waiting if one.destination != destination]
            heapq.heapify(self._waiting)

    def deliver(self, alert: Alert, destinations: Sequence[Destination]) -> None:
        """See `planes.ports.Notifier`. Returns at once."""
        with self._news:
            for destination in destinations:
                self._put(_Errand(self._monotonic_s(), next(self._numbers), alert, destination, tries=0))
            self._news.notify()

    def wake(self) -> None:
        """See PermanentThread."""
        with self._news:
            self._news.notify()

    def step(self) -> None:
        """See PermanentThread. Sends one, or waits for one to be due."""
        with self._news:
            left_s = self._waiting[0].due_s - self._monotonic_s() if self._waiting else WAIT_S
            if left_s > 0 and not self.stopping:
                self._news.wait(min(left_s, WAIT_S))
                return
            errand = heapq.heappop(self._waiting)
        try:
            self._send(errand.alert, errand.destination)
        except Unavailable as error:
            self._again(errand, error)

    def finish(self) -> None:
        """See PermanentThread."""
        if self._waiting:
            logger.warning("%d alerts were not sent before the end", len(self._waiting))

    def _put(self, errand: _Errand) -> None:
        if len(self._waiting) >= WAITING_MAX:
            self.given_up += 1
            logger.error("More than %d alerts wait to be sent; one to %s is dropped", WAITING_MAX, _name(errand))
            return
        heapq.heappush(self._waiting, errand)

    def _again(self, errand: _Errand, error: Unavailable) -> None:
        if errand.tries >= len(RETRY_AFTER_S):
            self.given_up += 1
            logger.error("An alert does not reach %s and is given up: %s", _name(errand), error)
            return
        logger.warning("An alert does not reach %s yet: %s", _name(errand), error)
        later = self._monotonic_s() + RETRY_AFTER_S[errand.tries]
        with self._news:
            self._put(errand._replace(due_s=later, tries=errand.tries + 1))

    def _send(self, alert: Alert, destination: Destination) -> None:
        link = f"{self._console}{alert.link}" if alert.link else ""
        if destination.protocol == "https":
            self._webhooks.post(
                destination.endpoint, {**asdict(alert), "link": link, "picture": str(alert.picture or "")}
            )
        elif self._mailer is not None:
            text = "\n\n".join(part for part in (alert.text, link) if part)
            self._mailer.send(Email(destination.endpoint.lower()), alert.title, text, picture=self._picture(alert))

    def _picture(self, alert: Alert) -> bytes | None:
        if alert.picture is None:
            return None
        try:
            return self._pictures.read(alert.picture, limit=PICTURE_MAX)
        except (NotFound, InvalidInput, Unavailable) as error:
            logger.info("An alert goes without its picture: %s", error)
            return None


def _check_web_address(address: str) -> None:
    """Raise InvalidInput."""
    if _ADDRESS.fullmatch(address) is None:
        raise InvalidInput("endpoint", "must be an https:// or http:// address of at most 1700 characters")
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname or "", parts.port
        check_host(host)
    except ValueError as error:
        raise InvalidInput("endpoint", str(error)) from error


def _name(errand: _Errand) -> str:
    """Enough to find the subscription: addresses of webhooks often hold a secret."""
    return f"subscription {errand.destination.subscription_id}"
