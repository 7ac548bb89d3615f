"""What the planes need of the world beside the table of the records, as protocols.

Adapters live in `pinthesky.aws` and `pinthesky.hub`. Every method may raise Unavailable: the service behind it cannot
be reached, or is overloaded. Times are epoch seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from pinthesky.model.identifiers import ConnectionId, MediaKey, ThingName
from pinthesky.model.jobs import JobId, JobStatus
from pinthesky.model.people import Email, Person, PersonId, Role


@dataclass(frozen=True)
class ShadowState:
    """A camera's named shadow. Sections by name; `version` grows with every change."""

    desired: Mapping[str, Mapping[str, Any]]
    reported: Mapping[str, Mapping[str, Any]]
    version: int


class Shadows(Protocol):
    """The named shadow `pinthesky` of every camera."""

    def get(self, thing: ThingName) -> ShadowState | None:
        """What is desired and reported; None where nothing was ever said."""
        ...

    def desire(
        self, thing: ThingName, sections: Mapping[str, Mapping[str, Any] | None], *, expected_version: int | None = None
    ) -> int:
        """Put fields of sections into the desired state, field by field; None removes a section.

        Returns the new version. Raises Conflict unless the version is still `expected_version` (0: nothing was ever
        said), InvalidInput when the state would grow too large.
        """
        ...

    def delete(self, thing: ThingName) -> None:
        """Forget the shadow. One that is not there is no error."""
        ...


class Commands(Protocol):
    """The way to a camera's daemon."""

    def send(self, thing: ThingName, command: Mapping[str, Any]) -> None:
        """Publish `{"name": …, "context": …}` on the camera's input topic. Nobody may be listening there."""
        ...


@dataclass(frozen=True)
class JobOrder:
    """A job to be made. Bounds as in AWS IoT; the document is one of schema 1.0."""

    id: JobId
    document: Mapping[str, Any]
    things: Sequence[ThingName]
    description: str = ""
    maximum_per_minute: int | None = None
    timeout_minutes: int | None = None
    abort_percent: float | None = None
    """Cancel the job when so many percent of the executions that ended have failed."""
    abort_after: int = 1
    """How many have to have ended before that is looked at."""
    retries: int = 0


@dataclass(frozen=True)
class JobSummary:
    """Where a job stands: `state` IN_PROGRESS, COMPLETED or CANCELED, and its executions by status."""

    id: JobId
    state: str
    counts: Mapping[JobStatus, int]


@dataclass(frozen=True)
class JobExecution:
    """One camera's try of a job."""

    id: JobId
    thing: ThingName
    number: int
    status: JobStatus
    details: Mapping[str, str]
    queued_at_s: float
    started_at_s: float | None
    updated_at_s: float


class JobExecutionPage(NamedTuple):
    """Some executions; `token` leads to those that follow."""

    executions: Sequence[JobExecution]
    token: str | None


class JobService(Protocol):
    """AWS IoT Jobs, or the hub's own. What kind of job it is, and who ordered it, is in the records."""

    def create(self, order: JobOrder) -> None:
        """Queue a job. Raises Conflict (the id is taken), InvalidInput."""
        ...

    def summary(self, job: JobId) -> JobSummary:
        """Raises NotFound."""
        ...

    def cancel(self, job: JobId) -> None:
        """Cancel what has not ended. Raises NotFound, Conflict (it is over)."""
        ...

    def delete(self, job: JobId) -> None:
        """Cancel and forget a job. One that is not there is no error."""
        ...

    def executions(self, job: JobId, *, limit: int, token: str | None) -> JobExecutionPage:
        """Each camera's last execution. Raises NotFound, InvalidInput (a token that is none)."""
        ...

    def executions_of(self, thing: ThingName, *, limit: int, token: str | None) -> JobExecutionPage:
        """A camera's executions, the newest first. Raises InvalidInput (a token that is none)."""
        ...

    def execution(self, job: JobId, thing: ThingName, number: int | None = None) -> JobExecution:
        """One execution, the last where no number is given. Raises NotFound."""
        ...

    def cancel_execution(self, job: JobId, thing: ThingName) -> None:
        """Raises NotFound, Conflict (it is over)."""
        ...

    def delete_execution(self, job: JobId, thing: ThingName, number: int) -> None:
        """Cancel and forget one execution. Raises NotFound."""
        ...


@dataclass(frozen=True)
class MediaObject:
    """A stored object.

    `metadata` is what its camera said of it (`pinthesky.model.recording`), `kept` whether it is kept for ever; lists
    need not tell either.
    """

    key: MediaKey
    size: int
    stored_at_s: float
    content_type: str = ""
    metadata: Mapping[str, str] | None = None
    kept: bool = False


class MediaPage(NamedTuple):
    """Some objects in the order of their keys; `token` leads to those that follow."""

    objects: Sequence[MediaObject]
    token: str | None


@dataclass(frozen=True)
class StorageUsage:
    """How much is stored. `limit_bytes` None: as much as is paid for."""

    objects: int
    bytes: int
    limit_bytes: int | None = None
    free_bytes: int | None = None


class Media(Protocol):
    """The bucket, or the media folder. What is not there is `NotFound` or, where it is removed, no error."""

    def url(self, key: MediaKey, *, lifetime_s: int, download_as: str | None = None) -> str:
        """An address from which anybody can GET the object for `lifetime_s`, with ranges; relative to the console."""
        ...

    def describe(self, key: MediaKey) -> MediaObject | None:
        """What is known of an object; None where there is none."""
        ...

    def read(self, key: MediaKey, *, limit: int) -> bytes:
        """The object's bytes. Raises NotFound, InvalidInput (it has more than `limit`)."""
        ...

    def write(self, key: MediaKey, data: bytes, *, content_type: str, metadata: Mapping[str, str]) -> None:
        """Store an object that the planes have made: a converted clip, a thumbnail."""
        ...

    def delete(self, keys: Sequence[MediaKey]) -> None:
        """Remove up to 1000 objects."""
        ...

    def keep(self, key: MediaKey, *, kept: bool) -> None:
        """Have an object kept for ever (the tag `retention=standard` goes), or no longer. Raises NotFound."""
        ...

    def objects(self, prefix: str, *, limit: int, token: str | None) -> MediaPage:
        """What is stored below a prefix."""
        ...

    def usage(self) -> StorageUsage:
        """How much is stored; in AWS as of the last day's count."""
        ...


class Converter(Protocol):
    """Makes MP4 clips of bare H.264 streams, which devices without PyAV store."""

    def convert(self, source: MediaKey, *, clip: MediaKey, thumbnail: MediaKey, timestamps: MediaKey | None) -> None:
        """Store the MP4 `clip`, of the same packets and with the source's metadata, and a JPEG `thumbnail`.

        `timestamps` says when each picture was taken. Where there is none they are taken to be evenly spaced, and
        where the source does not say how long it is, `duration` (seconds) becomes part of the clip's metadata. What
        is stored already is replaced by the same. Raises NotFound (no such source), InvalidInput (it is no stream
        that can be read; the field is `source`).
        """
        ...


class Connections(Protocol):
    """The open WebSockets of people."""

    def post(self, connection: ConnectionId, message: bytes) -> None:
        """Send a JSON text of at most 128 KB. Raises NotFound (gone), Unavailable (it does not keep up)."""
        ...

    def close(self, connection: ConnectionId) -> None:
        """End a connection. One that is gone is no error."""
        ...

    def allow_answer(self, connection: ConnectionId, thing: ThingName) -> None:
        """Let a camera answer this connection, since it has been asked something. Raises NotFound."""
        ...

    @property
    def endpoint(self) -> str | None:
        """The `management_endpoint` under which a camera posts to connections; None: the one in its own settings."""
        ...


@dataclass(frozen=True)
class Alert:
    """Something that people want to be told of. The filter attributes of the contract are its first six fields."""

    alert_type: str
    """motion, camera_offline, camera_online, camera_fault, spool_pressure, job_failed…"""
    scope: str
    """camera, group or fleet"""
    group: str
    camera: str
    day_of_week: str
    """mon to sun, in the camera's location"""
    hour: int
    title: str
    text: str
    link: str = ""
    """Path in the console."""
    picture: MediaKey | None = None
    labels: Sequence[str] = ()
    merged: int = 0
    """How many alerts of the same kind a cool-down has kept back since the last one."""


@dataclass(frozen=True)
class Destination:
    """Where a subscription leads: `protocol` email, sms, https or webpush, and its address."""

    subscription_id: str
    protocol: str
    endpoint: str


class Notifier(Protocol):
    """Carries alerts to people: SNS, or mail, webhooks and web push of the hub."""

    @property
    def protocols(self) -> frozenset[str]:
        """What can be carried here."""
        ...

    @property
    def push_key(self) -> str | None:
        """What browsers subscribe with (the VAPID public key, base64url); None where `webpush` is not carried."""
        ...

    def enlist(self, destination: Destination) -> None:
        """Learn of a destination. Raises InvalidInput (it cannot be one). Saying it twice is no error."""
        ...

    def withdraw(self, destination: Destination) -> None:
        """Forget a destination. One that is not known is no error."""
        ...

    def deliver(self, alert: Alert, destinations: Sequence[Destination]) -> None:
        """Send an alert to each of the destinations. What cannot be delivered is tried again, then logged."""
        ...


@dataclass(frozen=True)
class DeviceIdentity:
    """What a camera gets when it is registered: PEM texts, and where to connect."""

    certificate: str
    authority: str
    endpoints: Mapping[str, str]
    """mqtt_host, mqtt_port, credentials_endpoint, role_alias, bucket_name, s3_endpoint, connections_endpoint…"""


class Things(Protocol):
    """The registry of things and their certificates: AWS IoT, or the hub's."""

    def groups(self) -> Sequence[str]:
        """Names of the thing groups; the hub has one, `cameras`."""
        ...

    def in_group(self, group: str) -> Sequence[ThingName]:
        """The things of a group, at most 1000. Raises NotFound."""
        ...

    def exists(self, thing: ThingName) -> bool:
        """Whether a thing is registered."""
        ...

    def register(self, thing: ThingName, csr: str) -> DeviceIdentity:
        """Make a thing, and a certificate from its request (PEM), attached to the policy of cameras.

        Raises Conflict (the name is taken), InvalidInput (no acceptable request: the field is `csr`).
        """
        ...

    def remove(self, thing: ThingName) -> None:
        """Revoke a thing's certificates and forget it. One that is not there is no error."""
        ...


class People(Protocol):
    """Who may sign in: a Cognito user pool, or the hub's own list."""

    def everybody(self) -> Sequence[Person]:
        """All who were invited, at most 1000."""
        ...

    def get(self, person: PersonId) -> Person:
        """Raises NotFound."""
        ...

    def invite(self, email: Email, role: Role, groups: frozenset[str] | None) -> Person:
        """Raises Conflict (is invited already)."""
        ...

    def change(self, person: PersonId, role: Role, groups: frozenset[str] | None) -> Person:
        """Raises NotFound, Conflict (there would be no owner any more)."""
        ...

    def remove(self, person: PersonId) -> None:
        """Uninvite somebody, whose sessions end. Raises NotFound, Conflict (there would be no owner any more)."""
        ...


@dataclass(frozen=True)
class SignedIn:
    """Somewhere somebody is signed in."""

    id: str
    person: PersonId
    since_s: float
    used_at_s: float
    user_agent: str
    source_ip: str


class SignIns(Protocol):
    """Where people are signed in."""

    def of_person(self, person: PersonId) -> Sequence[SignedIn]:
        """The latest used first, at most 100."""
        ...

    def end(self, person: PersonId, session: str) -> None:
        """Sign a browser out. Raises NotFound."""
        ...


class AccessTokens(Protocol):
    """What proves who somebody is: the access tokens (JWT) of the home's identity provider."""

    def person_of(self, token: str) -> PersonId:
        """Who has signed in. Raises NotAuthorized: forged, expired, of another kind, or for somebody else's use."""
        ...


class PictureLabels(Protocol):
    """Says what is to be seen in a picture. The hub has none: there cameras that can see for themselves do."""

    def of(self, picture: MediaKey) -> Mapping[str, float]:
        """Names with their confidence (0 to 1), as `pinthesky.model.labels` bounds them.

        Raises NotFound (no such picture), InvalidInput (it is none that can be read), NotAuthorized. Each call costs.
        """
        ...


@dataclass(frozen=True)
class Release:
    """A version of the device software that can be installed."""

    version: str
    wheel_url: str
    sha256: str
    released_at: str = ""


class Releases(Protocol):
    """The known releases, from their manifests."""

    def known(self) -> Sequence[Release]:
        """The newest first, at most 100."""
        ...
