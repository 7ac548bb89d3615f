"""The planes' port `Notifier` at home: mail, webhooks and web push, sent by one thread that tries again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

from pinthesky.errors import InvalidInput, NotFound, Unavailable
from pinthesky.hub.mail import Mailer
from pinthesky.hub.waiting_alerts import WAITING_MAX, Errand, WaitingAlerts
from pinthesky.hub.web_push import Notice, WebPush, tag_of
from pinthesky.hub.webhooks import Webhooks
from pinthesky.machine.permanent_thread import Crash, PermanentThread
from pinthesky.model.identifiers import MediaKey
from pinthesky.model.people import Email
from pinthesky.planes.ports import Alert, Destination

logger = logging.getLogger(__name__)

RETRY_AFTER_S = (5.0, 60.0, 600.0)
PICTURE_MAX = 1024 * 1024
PICTURE_LINK_S = 24 * 3600
"""For so long a push service keeps a message, so for so long the picture can be fetched."""
WAIT_S = 5.0


class Pictures(Protocol):
    """Where the picture of an alert is: the planes' `Media`."""

    def read(self, key: MediaKey, *, limit: int) -> bytes:
        """Raises NotFound, InvalidInput (too large)."""
        ...

    def url(self, key: MediaKey, *, lifetime_s: int, download_as: str | None = None) -> str:
        """See `planes.ports.Media`."""
        ...


@dataclass(frozen=True)
class Carriers:
    """What carries alerts. Without `mailer` nobody gets mail."""

    webhooks: Webhooks
    web_push: WebPush
    mailer: Mailer | None = None


class HubNotifier(PermanentThread):
    """The adapter of `planes.ports.Notifier`. What waits at the end of the process is sent by the next one."""

    def __init__(
        self,
        *,
        carriers: Carriers,
        waiting: WaitingAlerts,
        pictures: Pictures,
        console: str,
        on_crash: Crash,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """`console` is its address, which links begin with; `now_s` is the wall clock, as that of `waiting`."""
        super().__init__("notifier", on_crash)
        self._carriers = carriers
        self._waiting = waiting
        self._pictures = pictures
        self._console = console
        self._now_s = now_s
        self._on_gone: Callable[[Destination], None] = lambda _destination: None
        self._has_begun = False
        self._news = threading.Event()
        self.given_up = 0
        """Alerts that did not reach one of their destinations."""

    @property
    def protocols(self) -> frozenset[str]:
        """See `planes.ports.Notifier`."""
        always = frozenset({"https", "webpush"})
        return always if self._carriers.mailer is None else always | {"email"}

    @property
    def push_key(self) -> str:
        """See `planes.ports.Notifier`."""
        return self._carriers.web_push.public_key

    def on_gone(self, listener: Callable[[Destination], None]) -> None:
        """Have `listener` called, in this thread, when a destination says that it is none any more."""
        self._on_gone = listener

    def enlist(self, destination: Destination) -> None:
        """See `planes.ports.Notifier`."""
        if destination.protocol not in self.protocols:
            raise InvalidInput("protocol", f"must be {' or '.join(sorted(self.protocols))} on this hub")
        if destination.protocol == "email":
            Email.parse(destination.endpoint, "endpoint")
        elif destination.protocol == "webpush":
            self._carriers.web_push.check(destination.endpoint)
        else:
            self._carriers.webhooks.check(destination.endpoint)

    def withdraw(self, destination: Destination) -> None:
        """See `planes.ports.Notifier`."""
        self._waiting.forget(str(destination.subscription_id))

    def deliver(self, alert: Alert, destinations: Sequence[Destination]) -> None:
        """See `planes.ports.Notifier`. Returns as soon as the alert is written down."""
        for dropped in self._waiting.put(alert, destinations):
            self.given_up += 1
            logger.error("More than %d alerts wait to be sent; one to %s is dropped", WAITING_MAX, _name(dropped))
        self._news.set()

    def wake(self) -> None:
        """See PermanentThread."""
        self._news.set()

    def step(self) -> None:
        """See PermanentThread. Sends one, or waits for one to be due."""
        try:
            self._one()
        except Unavailable as error:
            # The database is locked or full: what waits is there when it is back.
            logger.warning("Alerts wait: %s", error)
            self._wait(WAIT_S)

    def _one(self) -> None:
        if not self._has_begun:
            if dropped := self._waiting.begin():
                self.given_up += dropped
                logger.warning("%d alerts of more than a day ago are not sent any more", dropped)
            self._has_begun = True
        self._news.clear()
        errand = self._waiting.first()
        # A clock that was set back must not keep an alert for longer than its turn.
        left_s = WAIT_S if errand is None else min(errand.due_s - self._now_s(), max(RETRY_AFTER_S))
        if errand is None or left_s > 0:
            self._wait(left_s)
            return
        try:
            self._send(errand.alert, errand.destination)
        except Unavailable as error:
            self._again(errand, error)
            return
        except NotFound as error:
            logger.info("The end of %s: %s", _name(errand.destination), error)
            self._on_gone(errand.destination)
        except InvalidInput as error:
            self.given_up += 1
            logger.error("An alert to %s cannot be sent: %s", _name(errand.destination), error)
        self._waiting.done(errand)

    def _wait(self, most_s: float) -> None:
        if not self.stopping:
            self._news.wait(min(most_s, WAIT_S))

    def _again(self, errand: Errand, error: Unavailable) -> None:
        if errand.tries >= len(RETRY_AFTER_S):
            self.given_up += 1
            logger.error("An alert does not reach %s and is given up: %s", _name(errand.destination), error)
            self._waiting.done(errand)
            return
        logger.warning("An alert does not reach %s yet: %s", _name(errand.destination), error)
        self._waiting.again(errand, after_s=RETRY_AFTER_S[errand.tries])

    def _send(self, alert: Alert, destination: Destination) -> None:
        link = f"{self._console}{alert.link}" if alert.link else ""
        if destination.protocol == "https":
            told = {**asdict(alert), "link": link, "picture": str(alert.picture or "")}
            self._carriers.webhooks.post(destination.endpoint, told)
        elif destination.protocol == "webpush":
            self._carriers.web_push.send(destination.endpoint, self._notice(alert))
        elif self._carriers.mailer is not None:
            text = "\n\n".join(part for part in (alert.text, link) if part)
            to = Email(destination.endpoint.lower())
            self._carriers.mailer.send(to, alert.title, text, picture=self._picture(alert))
        else:
            raise InvalidInput("protocol", "no mail server is set any more")

    def _notice(self, alert: Alert) -> Notice:
        picture = alert.picture
        return Notice(
            alert_type=alert.alert_type,
            camera=str(alert.camera),
            title=alert.title,
            text=alert.text,
            link=alert.link,
            tag=tag_of(alert.alert_type, alert.camera),
            picture="" if picture is None else self._pictures.url(picture, lifetime_s=PICTURE_LINK_S),
            merged=alert.merged,
        )

    def _picture(self, alert: Alert) -> bytes | None:
        if alert.picture is None:
            return None
        try:
            return self._pictures.read(alert.picture, limit=PICTURE_MAX)
        except (NotFound, InvalidInput, Unavailable) as error:
            logger.info("An alert goes without its picture: %s", error)
            return None


def _name(destination: Destination) -> str:
    """Enough to find the subscription: addresses of webhooks often hold a secret."""
    return f"subscription {destination.subscription_id}"
