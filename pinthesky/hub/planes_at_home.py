"""The planes at home: their ports on the hub's parts, and the hub's news on their way in. A composition root."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from starlette.routing import BaseRoute, WebSocketRoute

from pinthesky.conversion.media_converter import MediaConverter
from pinthesky.errors import Conflict, InvalidInput, InvariantBroken, NotFound
from pinthesky.hub.accounts import Accounts
from pinthesky.hub.adapters.commands import HubCommands
from pinthesky.hub.adapters.connections import HubConnections
from pinthesky.hub.adapters.jobs import HubJobService
from pinthesky.hub.adapters.media import HubMedia
from pinthesky.hub.adapters.notifier import Carriers, HubNotifier
from pinthesky.hub.adapters.people import HubAccessTokens, HubSignIns
from pinthesky.hub.adapters.shadows import HubShadows
from pinthesky.hub.adapters.things import HubThings
from pinthesky.hub.camera_folder import HubAddress
from pinthesky.hub.control_plane_site import ControlPlaneSite
from pinthesky.hub.data_folder import kept_file
from pinthesky.hub.foundation import Foundation
from pinthesky.hub.ingest_worker import Chore, Errand, IngestWorker
from pinthesky.hub.job_rules import Execution
from pinthesky.hub.jobs import Jobs
from pinthesky.hub.media_announcer import MediaAnnouncer
from pinthesky.hub.media_folder import MediaFolder
from pinthesky.hub.media_links import MediaLinks
from pinthesky.hub.media_record import MediaRecord
from pinthesky.hub.mqtt import Delivery, HubMqtt
from pinthesky.hub.objects import PREFIXES
from pinthesky.hub.picture_streams import PictureStreams
from pinthesky.hub.presence import Presence, ThingPresence
from pinthesky.hub.records import SqliteTable
from pinthesky.hub.registry import Registry
from pinthesky.hub.releases import Releases
from pinthesky.hub.shadows import Shadows
from pinthesky.hub.socket_endpoint import SocketEndpoint
from pinthesky.hub.sockets import Message, Opening, Sockets
from pinthesky.hub.still_source import StillSource
from pinthesky.hub.waiting_alerts import WaitingAlerts
from pinthesky.hub.web_push import WebPush, new_key
from pinthesky.hub.webhooks import Webhooks
from pinthesky.machine.permanent_thread import Crash
from pinthesky.model.identifiers import ConnectionId, GroupName, ThingName
from pinthesky.model.people import Person
from pinthesky.planes import camera_removal, camera_silence, retention
from pinthesky.planes.control_plane import surface
from pinthesky.planes.data_plane import endpoint
from pinthesky.planes.home import Home, Retention
from pinthesky.planes.ingest import device_events, job_events, media_events, presence_events
from pinthesky.planes.ports import Destination
from pinthesky.planes.records.groups import Group
from pinthesky.planes.records.subscriptions import SubscriptionId
from pinthesky.planes.routing import HttpAnswer, HttpRequest

logger = logging.getLogger(__name__)

SOCKET_PATH = "/socket"
EVENT_TOPICS = "pinthesky/events/+/output"
SILENCE_EVERY_S = 30.0
SOCKETS_EVERY_S = 10.0
SWEEP_EVERY_S = 600.0
RECONCILE_EVERY_S = 24 * 3600.0
RECONCILE_FIRST_S = 300.0
"""The first time soon after the start, when cameras have come back and the machine has time."""


@dataclass(frozen=True, kw_only=True)
class HubParts:
    """What the planes stand on."""

    foundation: Foundation
    registry: Registry
    accounts: Accounts
    shadows: Shadows
    jobs: Jobs
    mqtt: HubMqtt
    sockets: Sockets
    media: MediaFolder
    announcer: MediaAnnouncer
    presence: Presence
    address: Callable[[], HubAddress]
    """Where cameras find this hub."""
    console: str
    """The console's address."""
    crashed: Crash


class PlanesAtHome:
    """The planes on one hub. To be made before its parts start; `worker`, `notifier` and `streams` are its threads.

    What waits to be taken in is told under the time at which that happens: who catches up goes by it.
    """

    def __init__(self, parts: HubParts) -> None:
        self._parts = parts
        secret = parts.foundation.authority.secret
        self._links = MediaLinks(parts.media, secret)
        media = HubMedia(
            parts.media,
            self._links,
            prefixes=PREFIXES,
            limit_bytes=parts.foundation.settings.media.maxspace_bytes,
        )
        self.notifier = HubNotifier(
            carriers=_carriers(parts),
            waiting=WaitingAlerts(parts.foundation.database),
            pictures=media,
            console=parts.console,
            on_crash=parts.crashed,
        )
        self.releases = Releases(parts.foundation.folder.releases, lambda: f"https://{parts.address().device_endpoint}")
        kept = parts.foundation.settings.media
        self.home = Home(
            table=SqliteTable(parts.foundation.database),
            shadows=HubShadows(parts.shadows),
            commands=HubCommands(parts.mqtt),
            jobs=HubJobService(parts.jobs),
            media=media,
            converter=MediaConverter(media),
            connections=HubConnections(parts.sockets),
            notifier=self.notifier,
            things=HubThings(parts.registry, parts.foundation.authority, parts.address),
            people=parts.accounts.people,
            sign_ins=HubSignIns(parts.accounts.sessions),
            access_tokens=HubAccessTokens(parts.accounts),
            releases=self.releases,
            secret=secret,
            console=parts.console,
            has_picture_streams=True,
            retention=Retention(
                clips_days=kept.retention_days or None,
                stills_days=kept.stills_days or None,
                health_days=kept.health_days,
            ),
        )
        self.streams = PictureStreams(parts.crashed)
        self._stills = StillSource(
            commands=self.home.commands,
            media=media,
            prefix=self.home.image_prefix,
            is_connected=lambda thing: (known := parts.presence.of(thing)) is not None and known.connected,
            show=self.streams.show,
        )
        self.streams.take_from(self._stills)
        self.notifier.on_gone(self._destination_gone)
        self._make_locations(parts.foundation.settings.locations)
        self.worker = IngestWorker(self._chores(), parts.crashed)
        self._listen(parts)

    def routes(self) -> list[BaseRoute]:
        """What browsers ask for: the control plane, clips and pictures, and the socket."""
        site = ControlPlaneSite(self._serve, self._person_of, self.streams)
        socket = SocketEndpoint(self._parts.sockets, self, is_origin=self._parts.accounts.origins.has)
        return [*site.routes(), *self._links.routes(), WebSocketRoute(SOCKET_PATH, socket.serve)]

    def opened(self, connection: ConnectionId, opening: Opening) -> str | None:
        """See `hub.socket_endpoint.SocketHandler`."""
        given = endpoint.Opening(opening.query, opening.subprotocols, opening.source_ip, opening.user_agent)
        return endpoint.opened(self.home, connection, given, now_s=time.time())

    def received(self, connection: ConnectionId, message: Message) -> None:
        """See `hub.socket_endpoint.SocketHandler`."""
        endpoint.received(self.home, connection, message, now_s=time.time())

    def closed(self, connection: ConnectionId) -> None:
        """See `hub.socket_endpoint.SocketHandler`."""
        endpoint.closed(self.home, connection)

    def _serve(self, request: HttpRequest, person: Person | None, *, request_id: str, source_ip: str) -> HttpAnswer:
        return surface.serve(self.home, request, person, request_id=request_id, source_ip=source_ip, now_s=time.time())

    def _person_of(self, access_token: str) -> Person:
        person, _ = self._parts.accounts.person_of(access_token)
        return person

    def _chores(self) -> list[Chore]:
        def now(do: Callable[[Home, float], object]) -> Callable[[], object]:
            return lambda: do(self.home, time.time())

        return [
            Chore("look for silent cameras", now(camera_silence.check), SILENCE_EVERY_S, SILENCE_EVERY_S),
            Chore("close connections that are overdue", now(endpoint.close_overdue), SOCKETS_EVERY_S),
            Chore("remove what is past its time", now(retention.sweep), SWEEP_EVERY_S),
            Chore("compare records and recordings", now(self._reconcile), RECONCILE_EVERY_S, RECONCILE_FIRST_S),
        ]

    def _reconcile(self, home: Home, now_s: float) -> object:
        return retention.reconcile(home, now_s, is_over=lambda: self.worker.stopping)

    def _make_locations(self, zones: Mapping[str, str]) -> None:
        """Locations of the settings that are not there yet; what people changed in the console stays."""
        for name, zone in zones.items():
            place = Group(
                name=GroupName.parse(name, "locations"),
                created_at=int(time.time() * 1000),
                type="location",
                time_zone=zone,
            )
            with suppress(Conflict):
                self.home.groups.add(place)

    def _listen(self, parts: HubParts) -> None:
        parts.mqtt.subscribe_kept(EVENT_TOPICS, self._heard)
        parts.presence.on_change(self._presence_changed)
        parts.jobs.on_execution(self._job_went_on)
        parts.announcer.on_stored(self._stored)
        parts.announcer.on_removed(self._removed)
        parts.registry.on_removed(self._thing_removed)

    def _destination_gone(self, destination: Destination) -> None:
        """A browser that has unsubscribed needs no subscription."""
        self.home.subscriptions.remove(SubscriptionId(destination.subscription_id))

    def _heard(self, delivery: Delivery) -> None:
        """An event of a camera. The broker lets each thing publish on its own topic only."""
        _, _, name, _ = delivery.topic.split("/")
        try:
            thing = ThingName(name)
        except InvalidInput:
            delivery.done()
            return

        def run() -> object:
            return device_events.received(self.home, thing, delivery.payload, now_s=time.time())

        self.worker.put(Errand(f"an event of {thing}", run, delivery.done))

    def _presence_changed(self, thing: ThingName, presence: ThingPresence) -> None:
        def run() -> None:
            presence_events.changed(
                self.home,
                thing,
                presence.connected,
                at_s=presence.since_s,
                now_s=time.time(),
                reason=presence.reason,
            )

        self.worker.put(Errand(f"the presence of {thing}", run))

    def _job_went_on(self, execution: Execution) -> None:
        def run() -> None:
            job_events.progressed(
                self.home,
                execution.thing,
                execution.job_id,
                number=execution.number,
                status=execution.status,
                at_s=execution.updated_at_s,
                now_s=time.time(),
                reason=execution.details.get("reason", ""),
            )

        self.worker.put(Errand(f"the progress of job {execution.job_id}", run))

    def _stored(self, record: MediaRecord) -> None:
        with _broken_rows_named(record):
            media_events.stored(self.home, record.key, time.time())
        self._stills.stored(record.key)

    def _removed(self, record: MediaRecord) -> None:
        with _broken_rows_named(record):
            media_events.removed(self.home, record.key, time.time())

    def _thing_removed(self, thing: ThingName) -> None:
        """Removed at the command line: the camera goes from the console, its clips stay until their time."""
        if self._parts.registry.is_active(thing):
            # The name was given to a new thing meanwhile, which keeps its own and nothing of the old one.
            self.home.cameras.remove(thing)
            self.home.groups.forget_camera(thing)
            return
        with suppress(NotFound):
            camera_removal.remove(self.home, thing, with_media=False, now_s=time.time())


def _carriers(parts: HubParts) -> Carriers:
    """What carries alerts here. Push services ask for an address at which to complain."""
    mail, folder = parts.foundation.settings.mail, parts.foundation.folder
    contact = f"mailto:{mail.sender or mail.user}" if mail.host else parts.console
    key = kept_file(folder.authority / "push.key", new_key)
    return Carriers(Webhooks(), WebPush(key, contact=contact), parts.accounts.mailer)


@contextmanager
def _broken_rows_named(record: MediaRecord) -> Iterator[None]:
    """A row that cannot be read is no better when the news is told again: it is named, and the next news is told."""
    try:
        yield
    except InvariantBroken as error:
        logger.error("What is known of %s cannot be read: %s", record.key, error)
