"""The ports of the planes in memory. They behave, keep their promises, and let a test look at what was done."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pinthesky.errors import Conflict, InvalidInput, NotAuthorized, NotFound, PinTheSkyError, Unavailable
from pinthesky.hub import shadow_document
from pinthesky.model.commands import parse_command
from pinthesky.model.identifiers import ConnectionId, MediaKey, ThingName
from pinthesky.model.jobs import JobId, JobStatus
from pinthesky.model.people import Email, Person, PersonId, Role
from pinthesky.planes.ports import (
    Alert,
    Destination,
    DeviceIdentity,
    JobExecution,
    JobExecutionPage,
    JobOrder,
    JobSummary,
    MediaObject,
    MediaPage,
    Release,
    ShadowState,
    SignedIn,
    StorageUsage,
)

START_S = 1_800_000_000.0
"""2027-01-15T08:00:00Z, a Friday."""


@dataclass
class Clock:
    """The time of a test, in epoch seconds."""

    now_s: float = START_S

    def __call__(self) -> float:
        return self.now_s

    @property
    def now_ms(self) -> int:
        return round(self.now_s * 1000)


class FakeShadows:
    """Named shadows, merged as AWS IoT does it. `report` is what a device does."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._shadows: dict[ThingName, shadow_document.Shadow] = {}
        self._deleted: dict[ThingName, int] = {}
        """A shadow of the same name goes on from the version that it had, as AWS IoT does it."""

    def get(self, thing: ThingName) -> ShadowState | None:
        shadow = self._shadows.get(thing)
        if shadow is None:
            return None
        return ShadowState(shadow.state.get("desired", {}), shadow.state.get("reported", {}), shadow.version)

    def desire(
        self, thing: ThingName, sections: Mapping[str, Mapping[str, Any] | None], *, expected_version: int | None = None
    ) -> int:
        return self._update(thing, {"desired": sections}, expected_version)

    def delete(self, thing: ThingName) -> None:
        gone = self._shadows.pop(thing, None)
        if gone is not None:
            self._deleted[thing] = gone.version

    def report(self, thing: ThingName, sections: Mapping[str, Any]) -> int:
        """What the camera says of its settings."""
        return self._update(thing, {"reported": sections}, None)

    def _update(self, thing: ThingName, state: dict[str, Any], version: int | None) -> int:
        there = self._shadows.get(thing)
        if version == 0 and there is None:
            version = None
        request = shadow_document.decode(shadow_document.encode({"state": state, "version": version}))
        before = there or shadow_document.Shadow(version=self._deleted.get(thing, 0))
        after = shadow_document.apply(before, shadow_document.parse_update(request), int(self._clock()))
        self._shadows[thing] = after
        return after.version


@dataclass
class FakeCommands:
    """Keeps what was sent, and takes nothing that a camera would refuse."""

    sent: list[tuple[ThingName, dict[str, Any]]] = field(default_factory=list)

    def send(self, thing: ThingName, command: Mapping[str, Any]) -> None:
        parse_command(command)
        self.sent.append((thing, dict(command)))


class FakeJobService:
    """Jobs of cameras. `move` is what a camera's device client does."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.orders: dict[JobId, JobOrder] = {}
        self._canceled: set[JobId] = set()
        self._executions: dict[tuple[JobId, ThingName], list[JobExecution]] = {}

    def create(self, order: JobOrder) -> None:
        if order.id in self.orders:
            raise Conflict(f"there is a job {order.id} already")
        if not order.things:
            raise InvalidInput("targets", "must be at least 1")
        self.orders[order.id] = order
        for thing in order.things:
            queued = JobExecution(order.id, thing, 1, JobStatus.QUEUED, {}, self._clock(), None, self._clock())
            self._executions[order.id, thing] = [queued]

    def summary(self, job: JobId) -> JobSummary:
        self._order(job)
        counts = Counter(tries[-1].status for (of, _), tries in self._executions.items() if of == job)
        over = all(status.is_terminal for status in counts)
        state = "CANCELED" if job in self._canceled else "COMPLETED" if over else "IN_PROGRESS"
        return JobSummary(job, state, counts)

    def cancel(self, job: JobId) -> None:
        if self.summary(job).state != "IN_PROGRESS":
            raise Conflict(f"job {job} is over")
        self._canceled.add(job)
        for thing in self.orders[job].things:
            if (job, thing) in self._executions and not self.execution(job, thing).status.is_terminal:
                self.move(job, thing, JobStatus.CANCELED)

    def delete(self, job: JobId) -> None:
        self.orders.pop(job, None)
        self._canceled.discard(job)
        self._executions = {key: tries for key, tries in self._executions.items() if key[0] != job}

    def executions(self, job: JobId, *, limit: int, token: str | None) -> JobExecutionPage:
        self._order(job)
        found = sorted((tries[-1] for key, tries in self._executions.items() if key[0] == job), key=lambda e: e.thing)
        return _execution_page(found, limit, token)

    def executions_of(self, thing: ThingName, *, limit: int, token: str | None) -> JobExecutionPage:
        found = [each for key, tries in self._executions.items() if key[1] == thing for each in tries]
        return _execution_page(sorted(found, key=lambda e: (-e.queued_at_s, e.id, -e.number)), limit, token)

    def execution(self, job: JobId, thing: ThingName, number: int | None = None) -> JobExecution:
        tries = self._executions.get((job, thing), [])
        for each in reversed(tries):
            if number is None or each.number == number:
                return each
        raise NotFound(f"{thing} has no such execution of job {job}")

    def cancel_execution(self, job: JobId, thing: ThingName) -> None:
        if self.execution(job, thing).status.is_terminal:
            raise Conflict(f"job {job} is over on {thing}")
        self.move(job, thing, JobStatus.CANCELED)

    def delete_execution(self, job: JobId, thing: ThingName, number: int) -> None:
        gone = self.execution(job, thing, number)
        rest = [each for each in self._executions.pop((job, thing)) if each is not gone]
        if rest:
            self._executions[job, thing] = rest

    def move(self, job: JobId, thing: ThingName, status: JobStatus, **details: str) -> None:
        """What a camera says of its execution."""
        last = self.execution(job, thing)
        started = last.started_at_s or (None if status is JobStatus.QUEUED else self._clock())
        moved = replace(last, status=status, details=details, started_at_s=started, updated_at_s=self._clock())
        self._executions[job, thing][-1] = moved

    def _order(self, job: JobId) -> JobOrder:
        if job not in self.orders:
            raise NotFound(f"there is no job {job}")
        return self.orders[job]


def _execution_page(found: Sequence[JobExecution], limit: int, token: str | None) -> JobExecutionPage:
    part, following = _part(found, limit, token)
    return JobExecutionPage(part, following)


def _part(found: Sequence[Any], limit: int, token: str | None) -> tuple[Sequence[Any], str | None]:
    if token is not None and not token.isdecimal():
        raise InvalidInput("nextToken", "is not one that this list has given")
    start = int(token or 0)
    end = start + limit
    return found[start:end], str(end) if end < len(found) else None


class FakeMedia:
    """Objects with their bytes. `store` is what a camera's upload does."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.stored: dict[MediaKey, tuple[MediaObject, bytes]] = {}
        self.kept: set[MediaKey] = set()
        self.limit_bytes: int | None = None

    def url(self, key: MediaKey, *, lifetime_s: int, download_as: str | None = None) -> str:
        name = "" if download_as is None else f"&as={download_as}"
        return f"https://media.test/{key}?until={round(self._clock() + lifetime_s)}{name}"

    def describe(self, key: MediaKey) -> MediaObject | None:
        found = self.stored.get(key)
        return None if found is None else replace(found[0], kept=key in self.kept)

    def read(self, key: MediaKey, *, limit: int) -> bytes:
        found, data = self._get(key)
        if found.size > limit:
            raise InvalidInput("key", f"has {found.size} bytes, more than {limit}")
        return data

    def write(self, key: MediaKey, data: bytes, *, content_type: str, metadata: Mapping[str, str]) -> None:
        self.stored[key] = (MediaObject(key, len(data), self._clock(), content_type, dict(metadata)), data)

    def delete(self, keys: Sequence[MediaKey]) -> None:
        if len(keys) > 1000:
            raise InvalidInput("keys", f"must be at most 1000, got {len(keys)}")
        for key in keys:
            self.stored.pop(key, None)
            self.kept.discard(key)

    def keep(self, key: MediaKey, *, kept: bool) -> None:
        self._get(key)
        (self.kept.add if kept else self.kept.discard)(key)

    def objects(self, prefix: str, *, limit: int, token: str | None) -> MediaPage:
        found = [self.stored[key][0] for key in sorted(self.stored) if key.startswith(prefix) and key > (token or "")]
        return MediaPage(found[:limit], found[limit - 1].key if len(found) > limit else None)

    def usage(self) -> StorageUsage:
        used = sum(each.size for each, _ in self.stored.values())
        free = None if self.limit_bytes is None else self.limit_bytes - used
        return StorageUsage(len(self.stored), used, self.limit_bytes, free)

    def store(self, key: str, data: bytes = b"media", content_type: str = "video/mp4", **metadata: str) -> MediaKey:
        """What a camera uploads."""
        self.write(MediaKey(key), data, content_type=content_type, metadata=metadata)
        return MediaKey(key)

    def _get(self, key: MediaKey) -> tuple[MediaObject, bytes]:
        if key not in self.stored:
            raise NotFound(f"there is no object {key}")
        return self.stored[key]


class FakeConverter:
    """Makes an MP4 and a thumbnail in `media` of everything but a stream that reads b"broken"."""

    def __init__(self, media: FakeMedia) -> None:
        self._media = media
        self.converted: list[tuple[MediaKey, MediaKey | None]] = []
        """Sources with their timestamps."""

    def convert(self, source: MediaKey, *, clip: MediaKey, thumbnail: MediaKey, timestamps: MediaKey | None) -> None:
        found = self._media.describe(source)
        if found is None:
            raise NotFound(f"there is no object {source}")
        data = self._media.read(source, limit=found.size)
        if data == b"broken":
            raise InvalidInput("source", "is no H.264 stream")
        metadata = {"duration": "30.000", **(found.metadata or {})}
        self._media.write(clip, b"mp4 of " + data, content_type="video/mp4", metadata=metadata)
        self._media.write(thumbnail, b"jpeg of " + data, content_type="image/jpeg", metadata=metadata)
        self.converted.append((source, timestamps))


class FakePictureLabels:
    """Sees in each picture of `media` what a test has put into it; `failure` is raised in place of an answer."""

    def __init__(self, media: FakeMedia) -> None:
        self._media = media
        self.seen: dict[MediaKey, dict[str, float]] = {}
        self.asked: list[MediaKey] = []
        self.failure: PinTheSkyError | None = None

    def of(self, picture: MediaKey) -> Mapping[str, float]:
        self.asked.append(picture)
        if self.failure is not None:
            raise self.failure
        found = self._media.describe(picture)
        if found is None:
            raise NotFound(f"there is no picture {picture}")
        if found.content_type != "image/jpeg":
            raise InvalidInput("picture", "is no JPEG")
        return self.seen.get(picture, {})


class FakeConnections:
    """Sockets: what was posted to each, those that do not keep up, and who may answer whom."""

    endpoint = "https://home.test:8443"

    def __init__(self) -> None:
        self.posted: dict[ConnectionId, list[bytes]] = {}
        self.slow: set[ConnectionId] = set()
        self.answerers: dict[ConnectionId, set[ThingName]] = {}
        self.closed: list[ConnectionId] = []

    def post(self, connection: ConnectionId, message: bytes) -> None:
        if len(message) > 128 * 1024:
            raise InvalidInput("message", "must have at most 128 KB")
        if connection in self.slow:
            raise Unavailable(f"{connection} does not keep up")
        self._get(connection).append(message)

    def close(self, connection: ConnectionId) -> None:
        if self.posted.pop(connection, None) is not None:
            self.closed.append(connection)
        self.slow.discard(connection)
        self.answerers.pop(connection, None)

    def allow_answer(self, connection: ConnectionId, thing: ThingName) -> None:
        self._get(connection)
        self.answerers.setdefault(connection, set()).add(thing)

    def open(self, connection: str) -> ConnectionId:
        """What a browser does; returns the connection's id."""
        self.posted[ConnectionId(connection)] = []
        return ConnectionId(connection)

    def _get(self, connection: ConnectionId) -> list[bytes]:
        if connection not in self.posted:
            raise NotFound(f"connection {connection} is gone")
        return self.posted[connection]


@dataclass
class FakeNotifier:
    """Keeps what was delivered, and to whom."""

    protocols: frozenset[str] = frozenset({"email", "https", "webpush"})
    push_key: str | None = "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8"
    enlisted: dict[str, Destination] = field(default_factory=dict)
    delivered: list[tuple[Alert, list[Destination]]] = field(default_factory=list)

    def enlist(self, destination: Destination) -> None:
        if destination.protocol not in self.protocols:
            raise InvalidInput("protocol", f"must be one of {', '.join(sorted(self.protocols))}")
        self.enlisted[destination.subscription_id] = destination

    def withdraw(self, destination: Destination) -> None:
        self.enlisted.pop(destination.subscription_id, None)

    def deliver(self, alert: Alert, destinations: Sequence[Destination]) -> None:
        self.delivered.append((alert, list(destinations)))


class FakeThings:
    """Registered things, all in one group."""

    def __init__(self) -> None:
        self.registered: dict[ThingName, str] = {}
        """Certificate requests by thing."""

    def groups(self) -> Sequence[str]:
        return ["cameras"]

    def in_group(self, group: str) -> Sequence[ThingName]:
        if group != "cameras":
            raise NotFound(f"there is no thing group {group}")
        return sorted(self.registered)[:1000]

    def exists(self, thing: ThingName) -> bool:
        return thing in self.registered

    def register(self, thing: ThingName, csr: str) -> DeviceIdentity:
        if thing in self.registered:
            raise Conflict(f"there is a thing {thing} already")
        if "BEGIN CERTIFICATE REQUEST" not in csr:
            raise InvalidInput("csr", "must be a certificate request in PEM")
        self.registered[thing] = csr
        endpoints = {"mqtt_host": "home.test", "mqtt_port": "8883", "role_alias": "camera"}
        return DeviceIdentity(f"certificate of {thing}", "authority", endpoints)

    def remove(self, thing: ThingName) -> None:
        self.registered.pop(thing, None)


class FakePeople:
    """Who may sign in; there is always an owner."""

    def __init__(self, people: Iterable[Person] = ()) -> None:
        self._people = {person.id: person for person in people}
        self._ids = itertools.count(1)

    def everybody(self) -> Sequence[Person]:
        return [person for person in self._people.values() if person.role is not None][:1000]

    def get(self, person: PersonId) -> Person:
        if person not in self._people:
            raise NotFound(f"there is no person {person}")
        return self._people[person]

    def invite(self, email: Email, role: Role, groups: frozenset[str] | None) -> Person:
        if any(each.email == email for each in self.everybody()):
            raise Conflict(f"{email} is invited already")
        invited = Person(PersonId(f"invited-{next(self._ids)}"), email, role, groups)
        self._people[invited.id] = invited
        return invited

    def change(self, person: PersonId, role: Role, groups: frozenset[str] | None) -> Person:
        changed = replace(self.get(person), role=role, groups=groups)
        self._put({**self._people, person: changed})
        return changed

    def remove(self, person: PersonId) -> None:
        self.get(person)
        self._put({key: each for key, each in self._people.items() if key != person})

    def _put(self, people: dict[PersonId, Person]) -> None:
        if not any(each.role is Role.OWNER for each in people.values()):
            raise Conflict("there would be no owner any more")
        self._people = people


class FakeSignIns:
    """Browsers that are signed in."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.sessions: dict[str, SignedIn] = {}

    def of_person(self, person: PersonId) -> Sequence[SignedIn]:
        found = [each for each in self.sessions.values() if each.person == person]
        return sorted(found, key=lambda each: -each.used_at_s)[:100]

    def end(self, person: PersonId, session: str) -> None:
        if session not in self.sessions or self.sessions[session].person != person:
            raise NotFound(f"there is no session {session}")
        del self.sessions[session]

    def sign_in(self, person: PersonId, session: str, user_agent: str = "Firefox") -> SignedIn:
        """What a browser does."""
        made = SignedIn(session, person, self._clock(), self._clock(), user_agent, "192.0.2.7")
        self.sessions[session] = made
        return made


class FakeAccessTokens:
    """Tokens that say who they are for: `token of olga`."""

    def person_of(self, token: str) -> PersonId:
        if not token.startswith("token of "):
            raise NotAuthorized("this is no access token of this home")
        return PersonId(token.removeprefix("token of "))


@dataclass
class FakeReleases:
    """Releases as their manifests would tell them, the newest first."""

    releases: list[Release] = field(default_factory=list)

    def known(self) -> Sequence[Release]:
        return self.releases[:100]


def out_of_reach(*_arguments: object, **_named: object) -> Any:
    """In place of a port's method: the service behind it cannot be reached."""
    raise Unavailable("the service behind this cannot be reached: secret detail")
