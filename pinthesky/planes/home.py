"""A home: the world that the planes live in, in AWS or in the hub, and the repositories of its records."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache, cached_property

from pinthesky.errors import NotFound
from pinthesky.model.identifiers import KeyPrefix
from pinthesky.model.people import Person, PersonId
from pinthesky.planes.authorization import Access
from pinthesky.planes.page_tokens import PageTokens
from pinthesky.planes.ports import (
    AccessTokens,
    Commands,
    Connections,
    Converter,
    JobService,
    Media,
    Notifier,
    People,
    PictureLabels,
    Releases,
    Shadows,
    SignIns,
    Things,
)
from pinthesky.planes.records.attempts import Attempts
from pinthesky.planes.records.cameras import Cameras
from pinthesky.planes.records.clips import Clips
from pinthesky.planes.records.conditions import Conditions
from pinthesky.planes.records.connections import Sockets
from pinthesky.planes.records.groups import Groups
from pinthesky.planes.records.health import HealthReports
from pinthesky.planes.records.jobs import JobRecords
from pinthesky.planes.records.motion_events import MotionEvents
from pinthesky.planes.records.motion_minutes import MotionMinutes
from pinthesky.planes.records.pushes import Pushes
from pinthesky.planes.records.recognitions import Recognitions
from pinthesky.planes.records.registrations import Registrations
from pinthesky.planes.records.shares import Shares
from pinthesky.planes.records.stream_tokens import StreamTokens
from pinthesky.planes.records.subscriptions import Subscriptions
from pinthesky.planes.records.tags import Tags
from pinthesky.planes.records.tickets import Tickets
from pinthesky.planes.table import Table

VIDEO_PREFIX = KeyPrefix("motion_videos")
IMAGE_PREFIX = KeyPrefix("capture_images")


@dataclass(frozen=True, kw_only=True)
class Retention:
    """For how many days what is kept; None: for ever, or until space is needed."""

    clips_days: int | None = 30
    stills_days: int | None = 30
    health_days: int | None = 90


@dataclass(frozen=True, kw_only=True)
class Home:
    """The ports, given once by a composition root; everything below is made of them."""

    table: Table
    shadows: Shadows
    commands: Commands
    jobs: JobService
    media: Media
    converter: Converter
    connections: Connections
    notifier: Notifier
    things: Things
    people: People
    sign_ins: SignIns
    access_tokens: AccessTokens
    releases: Releases
    secret: bytes = field(repr=False)
    """Seals page tokens and share links."""
    console: str
    """The console's address, without a slash at its end: for links in alerts and registrations."""
    video_prefix: KeyPrefix = VIDEO_PREFIX
    image_prefix: KeyPrefix = IMAGE_PREFIX
    retention: Retention = Retention()
    has_picture_streams: bool = False
    """Whether this home's web server shows `stream.mjpeg`."""
    labels: PictureLabels | None = None
    """What says what is to be seen in the stills of events; None: nobody is asked."""
    labels_per_month: int = 0
    """In how many pictures at most."""

    @cached_property
    def page_tokens(self) -> PageTokens:
        """Seals positions in lists."""
        return PageTokens(self.secret)

    @cached_property
    def cameras(self) -> Cameras:
        """The cameras."""
        return Cameras(self.table)

    @cached_property
    def groups(self) -> Groups:
        """The groups, and which camera is in which."""
        return Groups(self.table)

    @cached_property
    def health(self) -> HealthReports:
        """The health reports."""
        return HealthReports(self.table, self.retention.health_days)

    @cached_property
    def sockets(self) -> Sockets:
        """The WebSockets of people, and what is running for them."""
        return Sockets(self.table)

    @cached_property
    def tickets(self) -> Tickets:
        """What opens a WebSocket, once."""
        return Tickets(self.table)

    @cached_property
    def registrations(self) -> Registrations:
        """Cameras that ask to be let in."""
        return Registrations(self.table)

    @cached_property
    def job_records(self) -> JobRecords:
        """What kind of job each is, and who ordered it."""
        return JobRecords(self.table)

    @cached_property
    def attempts(self) -> Attempts:
        """How often somebody has tried something."""
        return Attempts(self.table)

    @cached_property
    def clips(self) -> Clips:
        """The clips."""
        return Clips(self.table, self.retention.clips_days)

    @cached_property
    def motion_events(self) -> MotionEvents:
        """The motion events."""
        return MotionEvents(self.table, self.retention.clips_days)

    @cached_property
    def recognitions(self) -> Recognitions:
        """What was recognised in the stills of events."""
        return Recognitions(self.table, self.retention.clips_days)

    @cached_property
    def motion_minutes(self) -> MotionMinutes:
        """How much of each minute was motion."""
        return MotionMinutes(self.table, self.retention.clips_days)

    @cached_property
    def conditions(self) -> Conditions:
        """When cameras could not watch."""
        return Conditions(self.table, self.retention.clips_days)

    @cached_property
    def tags(self) -> Tags:
        """The tags."""
        return Tags(self.table)

    @cached_property
    def shares(self) -> Shares:
        """The shared clips."""
        return Shares(self.table, self.secret)

    @cached_property
    def stream_tokens(self) -> StreamTokens:
        """With what pages of others show a camera."""
        return StreamTokens(self.table)

    @cached_property
    def subscriptions(self) -> Subscriptions:
        """Who is told of what."""
        return Subscriptions(self.table)

    @cached_property
    def pushes(self) -> Pushes:
        """What consoles were told in the last day."""
        return Pushes(self.table)

    def access(self, person: Person) -> Access:
        """What a person may do and see, for one request: the groups of a camera are looked up once."""
        return Access(person, cache(self.groups.names_of))

    def access_of(self, person: PersonId) -> Access | None:
        """The same for somebody of whom the id is known; None for who is not invited, or no longer."""
        try:
            found = self.people.get(person)
        except NotFound:
            return None
        return None if found.role is None else self.access(found)
