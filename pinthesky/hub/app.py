"""The hub: puts all parts together, starts them, and ends them within one deadline. The program `pits-hub`."""

from __future__ import annotations

import ipaddress
import logging
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette

from pinthesky.errors import Conflict, InvalidInput, NotFound, PinTheSkyError, Unavailable
from pinthesky.hub import commands
from pinthesky.hub.accounts import Accounts, described_link, host_of, new_link_secret, shown_host
from pinthesky.hub.announcement import Announcement, is_for_others
from pinthesky.hub.broker import MosquittoBroker, TlsFiles
from pinthesky.hub.camera_folder import HubAddress
from pinthesky.hub.connections import ConnectionsApi
from pinthesky.hub.console_site import ConsoleSite
from pinthesky.hub.credentials import CredentialsProvider, Keys
from pinthesky.hub.foundation import Foundation
from pinthesky.hub.jobs import Jobs
from pinthesky.hub.media_announcer import MediaAnnouncer
from pinthesky.hub.media_folder import MediaFolder
from pinthesky.hub.media_index import MediaIndex
from pinthesky.hub.media_recovery import recover
from pinthesky.hub.media_retention import MediaRetention, RetentionLimits
from pinthesky.hub.metrics import Figure, Metrics
from pinthesky.hub.mqtt import HubMqtt
from pinthesky.hub.objects import Objects
from pinthesky.hub.planes_at_home import HubParts, PlanesAtHome
from pinthesky.hub.ports import ROLE_ALIAS
from pinthesky.hub.presence import Presence
from pinthesky.hub.registry import RemovalWatch
from pinthesky.hub.safe_headers import SafeHeaders
from pinthesky.hub.server_tls import CertificateWatch, ServerTls
from pinthesky.hub.settings import HubSettings
from pinthesky.hub.shadows import Shadows
from pinthesky.hub.signatures import Signatures
from pinthesky.hub.sockets import Sockets
from pinthesky.hub.thing_changes import ThingChanges
from pinthesky.hub.things import TOPIC_FILTERS, Things
from pinthesky.hub.trust_page import TrustPage, sha256_of
from pinthesky.hub.web_server import WebServer
from pinthesky.machine.permanent_thread import PermanentThread
from pinthesky.machine.stop_request import StopRequest
from pinthesky.machine.systemd import Notifier
from pinthesky.model.identifiers import ThingName
from pinthesky.version import __version__

logger = logging.getLogger(__name__)

STOP_DEADLINE_S = 25.0
FILES_WANTED = 16_384
BEAT_LIMIT_S = 30.0
"""A watch that has not looked for so long is stuck, and the service manager is to start the hub again."""
EXIT_FAILED = 1
EXIT_CONFIGURATION = 2


@dataclass(frozen=True)
class Ports:
    """What is listened on."""

    console: int
    localhost: int
    device: int
    mqtt: tuple[int, ...]


class Hub:
    """One hub on one data folder. `start` and `stop` once each; both from the same thread."""

    def __init__(self, data: Path, settings: HubSettings | None = None) -> None:
        """Lay the foundation in `data`, and take it. `settings` take the place of hub.toml.

        Raises InvalidInput for what the owner has to mend, Unavailable and InvariantBroken.
        """
        foundation = Foundation.lay(data, settings)
        self.ended = StopRequest()
        """Set when the hub has to end: a part has failed. `main` sets it at a signal."""
        self.failed = False
        self.late: list[str] = []
        """The parts that did not end in time."""
        self._stops: list[tuple[str, Callable[[float], bool]]] = []
        try:
            foundation.folder.hold()
            self._put_together(foundation)
        except BaseException:
            foundation.close()
            foundation.folder.release()
            self.ended.close()
            raise

    def _put_together(self, foundation: Foundation) -> None:
        self.foundation = foundation
        folder, settings, authority = foundation.folder, foundation.settings, foundation.authority
        database, registry = foundation.database, foundation.registry
        self.settings = settings
        self.registry = registry
        self.metrics = Metrics()
        self.presence = Presence(database)
        self.mqtt = HubMqtt(folder.broker_socket)
        self.sockets = Sockets()
        self._tls = ServerTls(authority, settings)
        authority.write_revocations(registry.revoked())
        self.broker = MosquittoBroker(
            folder,
            TlsFiles(
                authority.root_certificate, authority.server_certificate, authority.server_key, authority.revocations
            ),
            address=settings.listen.address,
            ports=settings.listen.mqtt_ports,
            on_presence=self.presence.tell,
            on_crash=self._crashed,
        )
        changes = ThingChanges(database, self.mqtt.publish)
        self.shadows = Shadows(database, changes)
        self.jobs = Jobs(database, changes)
        self.things = Things(
            changes,
            shadows=self.shadows,
            jobs=self.jobs,
            is_active=registry.is_active,
            publish=self.mqtt.publish,
            on_crash=self._crashed,
        )
        # The broker first: whoever is cut off from it says nothing more about what the others forget.
        registry.on_removed(self._shut_out)
        registry.on_removed(self.sockets.forget_thing)
        registry.on_removed(self.things.forget)
        registry.on_removed(self.presence.forget)
        self.accounts = Accounts(foundation)
        self._put_together_media(foundation)
        self.planes = PlanesAtHome(self._parts(foundation))
        self._put_together_servers(foundation)
        self._removals = RemovalWatch(registry, self._crashed)
        self._certificates = CertificateWatch(self._tls, self.broker.reload, self._crashed)

    def _put_together_media(self, foundation: Foundation) -> None:
        media = foundation.settings.media
        index = MediaIndex(foundation.database)
        self.announcer = MediaAnnouncer(index)
        self.media = MediaFolder(foundation.folder.media, index, on_change=self.announcer.look)
        self.retention = MediaRetention(
            self.media,
            RetentionLimits(
                max_age_days=media.longest_days,
                max_bytes=media.maxspace_bytes,
                min_free_bytes=media.min_free_bytes,
            ),
        )

    def _parts(self, foundation: Foundation) -> HubParts:
        return HubParts(
            foundation=foundation,
            registry=self.registry,
            accounts=self.accounts,
            shadows=self.shadows,
            jobs=self.jobs,
            mqtt=self.mqtt,
            sockets=self.sockets,
            media=self.media,
            announcer=self.announcer,
            presence=self.presence,
            address=self._address,
            console=f"https://{shown_host(foundation.settings)}:{foundation.settings.listen.console_port}",
            crashed=self._crashed,
        )

    def _address(self) -> HubAddress:
        """Where cameras find this hub."""
        ports = self.ports
        return HubAddress(host_of(self.settings), ports.mqtt[0], ports.device)

    def _put_together_servers(self, foundation: Foundation) -> None:
        settings, registry = foundation.settings, foundation.registry
        keys = Keys(foundation.authority.secret)
        signatures = Signatures(keys, registry)
        credentials = CredentialsProvider(
            registry=registry,
            keys=keys,
            role_alias=ROLE_ALIAS,
            lifetime_s=60 * settings.credentials.validity_minutes,
        )
        objects = Objects(signatures=signatures, registry=registry, folder=self.media, retention=self.retention)
        self.devices = Starlette(
            routes=[
                *credentials.routes(),
                *ConnectionsApi(self.sockets, signatures).routes(),
                *self.planes.releases.routes(),
                *objects.routes(),
            ]
        )
        trust = TrustPage(foundation.authority.root_certificate.read_bytes())
        console = Starlette(
            routes=[
                *self.metrics.routes(),
                *trust.routes(),
                *self.accounts.routes(),
                *self.planes.routes(),
                *ConsoleSite().routes(),
            ]
        )
        self.console = self.metrics.counted(SafeHeaders(console), "console")
        listen = settings.listen
        host = listen.address or ("::" if socket.has_dualstack_ipv6() else "0.0.0.0")  # noqa: S104 - for all the house
        proxies = ",".join(_as_both_families(listen.trusted_proxies))
        self._console_server = WebServer(
            self.console, host=host, port=listen.console_port, tls=self._tls.console, trusted_proxies=proxies
        )
        self._localhost_server = WebServer(
            self.console, host="127.0.0.1", port=listen.localhost_port, tls=None, trusted_proxies=proxies
        )
        self._device_server = WebServer(
            self.metrics.counted(self.devices, "device"), host=host, port=listen.device_port, tls=self._tls.device
        )
        self.metrics.check("broker", lambda: None if self.broker.is_running else "mosquitto is not running")
        self.metrics.check("mqtt", lambda: None if self.mqtt.is_connected else "the hub is not connected to mosquitto")
        self.metrics.show(
            Figure("things", "cameras that are registered", lambda: len(registry.things())),
            Figure("things_connected", "cameras that are connected", self._count_connected),
            Figure("media_objects", "clips and pictures", lambda: self.media.usage().objects),
            Figure("media_bytes", "bytes of clips and pictures", lambda: self.media.usage().size),
            Figure("sockets", "open sockets", lambda: len(self.sockets)),
            Figure("stream_viewers", "open picture streams", lambda: len(self.planes.streams)),
            Figure("ingest_waiting", "messages of cameras that wait", lambda: len(self.planes.worker)),
            Figure("ingest_given_up", "messages that were not taken in", lambda: self.planes.worker.given_up, True),
            Figure("alerts_given_up", "alerts that reached nobody", lambda: self.planes.notifier.given_up, True),
        )

    def _count_connected(self) -> int:
        return sum(known.connected for known in self.presence.all().values())

    @property
    def ports(self) -> Ports:
        """What is listened on, once started."""
        return Ports(
            self._console_server.port, self._localhost_server.port, self._device_server.port, self.broker.ports
        )

    def start(self) -> None:
        """Start all parts; when it returns, cameras and browsers are served. After an error `stop` is still due.

        Raises InvalidInput (mosquitto is missing), Unavailable (a port is taken, a disk is full).
        """
        recover(self.media)
        self._begin("broker", self.broker.start, _ended(self.broker))
        # What was removed while no hub ran is forgotten before anything of a new camera with its name is taken.
        self.registry.tell_removals()
        for topic_filter in TOPIC_FILTERS:
            self.mqtt.subscribe_kept(topic_filter, self.things.receive)
        self._begin("mqtt", self.mqtt.start, _always(self.mqtt.stop))
        self._begin("things", self.things.start, _ended(self.things))
        self._begin("ingest", self.planes.worker.start, _ended(self.planes.worker))
        self._begin("notifier", self.planes.notifier.start, _ended(self.planes.notifier))
        self._begin("media announcer", self.announcer.start, self.announcer.stop)
        self._begin("media retention", self.retention.start, self.retention.stop)
        self._begin("removals", self._removals.start, _ended(self._removals))
        self._begin("certificates", self._certificates.start, _ended(self._certificates))
        for name, server in (
            ("device", self._device_server),
            ("console", self._console_server),
            ("localhost", self._localhost_server),
        ):
            try:
                self._begin(f"{name} port", server.start, server.stop)
            except Unavailable as error:
                raise Unavailable(f"{error}; another one can be chosen in listen.{name}_port") from error
        # Ended first: the web servers wait for those who watch.
        self._begin("picture streams", self.planes.streams.start, _ended(self.planes.streams))
        self._announce()

    def _announce(self) -> None:
        listen = self.settings.listen
        if not listen.announce or not is_for_others(listen.address):
            return
        announcement = Announcement(
            port=self.ports.console,
            authority_sha256=sha256_of(self.foundation.authority.root_certificate.read_bytes()),
            addresses=[listen.address] if listen.address else None,
        )
        self._begin("announcement", announcement.start, announcement.stop)

    def _begin(self, name: str, start: Callable[[], None], stop: Callable[[float], bool]) -> None:
        self._stops.append((name, stop))
        start()

    def stop(self) -> bool:
        """End everything that was started, the last first, within STOP_DEADLINE_S. False where `late` names parts."""
        deadline = time.monotonic() + STOP_DEADLINE_S
        for name, stop in reversed(self._stops):
            if not stop(max(0.2, min(6.0, deadline - time.monotonic()))):
                self.late.append(name)
        self._stops.clear()
        self.foundation.close()
        self.foundation.folder.release()
        self.ended.close()
        return not self.late

    def is_well(self) -> bool:
        """Whether the watches still look: they wait for the database and the broker as everybody does."""
        now = time.monotonic()
        return all(now - thread.last_beat < BEAT_LIMIT_S for thread in (self._removals, self.planes.worker))

    def _shut_out(self, thing: ThingName) -> None:
        """Refuse a removed thing's certificate, then end its connection: the other order would let it come back."""
        authority = self.foundation.authority
        authority.write_revocations(self.registry.revoked())
        self.broker.reload()
        self.broker.cut(thing)

    def _crashed(self, _name: str, _error: BaseException) -> None:
        self.failed = True
        self.ended.set()


def _ended(thread: PermanentThread) -> Callable[[float], bool]:
    def end(timeout_s: float) -> bool:
        thread.stop()
        return thread.join(timeout_s)

    return end


def _always(stop: Callable[[], None]) -> Callable[[float], bool]:
    def end(_timeout_s: float) -> bool:
        stop()
        return True

    return end


def _as_both_families(networks: Iterable[str]) -> list[str]:
    """Networks, and for those of IPv4 how a socket of both families sees them: ::ffff:10.0.0.1."""
    found = []
    for network in map(ipaddress.ip_network, networks):
        found.append(str(network))
        if network.version == 4:
            found.append(f"::ffff:{network.network_address}/{96 + network.prefixlen}")
    return found


def _welcome(hub: Hub) -> str:
    ports = hub.ports
    host = shown_host(hub.settings)
    mqtt = ", ".join(map(str, ports.mqtt))
    return (
        f"pits-hub {__version__}\n"
        f"  console  https://{host}:{ports.console}  (on this machine also http://localhost:{ports.localhost})\n"
        f"  cameras  {host}: MQTT {mqtt}, HTTPS {ports.device}\n"
        f"  data     {hub.foundation.folder.root}\n"
        f"To add a camera: pits-hub --data {hub.foundation.folder.root} add-camera NAME\n"
    )


def _link(hub: Hub) -> str:
    """For a terminal only: whoever has the link is signed in."""
    ports = hub.ports
    secret = new_link_secret(hub.foundation)
    return described_link(secret, hub.settings, console_port=ports.console, localhost_port=ports.localhost)


def run(data: Path) -> int:
    """Run a hub on `data` until SIGTERM, SIGINT or the failure of a part. Returns the exit code."""
    notifier = Notifier(os.environ)
    _allow_many_files()
    hub = Hub(data)
    logging.getLogger().setLevel(hub.settings.log.level)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: hub.ended.set())
    signal.set_wakeup_fd(hub.ended.writer, warn_on_full_buffer=False)
    try:
        hub.start()
        sys.stdout.write(_welcome(hub))
        if sys.stdout.isatty() and not hub.accounts.has_visitors():
            sys.stdout.write(_link(hub))
        sys.stdout.flush()
        notifier.ready()
        while not hub.ended.wait(notifier.watchdog_every_s):
            if hub.is_well():
                notifier.feed_watchdog()
    finally:
        notifier.stopping()
        signal.set_wakeup_fd(-1)
        hub.stop()
    if hub.late:
        logger.critical("These parts do not end: %s", ", ".join(hub.late))
        logging.shutdown()
        os._exit(EXIT_FAILED)
    return EXIT_FAILED if hub.failed else 0


def _allow_many_files() -> None:
    """Take as many open files as there may be: each connection is one, and systemd starts with 1024."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = FILES_WANTED if most == resource.RLIM_INFINITY else min(most, FILES_WANTED)
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Exit codes: 0 done or stopped in order, 1 a part failed (start again), 2 the owner must mend it."""
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.ERROR)  # strangers choose how many warnings there are
    try:
        given = commands.parse(sys.argv[1:] if arguments is None else arguments, os.environ)
        if given.command is None:
            return run(given.data)
        return commands.COMMANDS[given.command](given)
    except (InvalidInput, NotFound, Conflict) as error:
        sys.stderr.write(f"pits-hub: {error}\n")
        return EXIT_CONFIGURATION
    except (PinTheSkyError, OSError) as error:
        sys.stderr.write(f"pits-hub: {error}\n")
        return EXIT_FAILED
