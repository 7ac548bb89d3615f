"""The functions of AWS Lambda: a composition root, which puts the planes on the account's services.

One handler for each way in: `http`, `socket`, `device_event`, `presence`, `job_execution`, `media`, `schedule`,
`conversion` and `pre_sign_up`. Whoever calls gives an event again if a handler raises (IoT, EventBridge and SQS do),
and what cannot be read at all ends in the dead-letter queue that way.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from pinthesky.aws import api_events, deployment
from pinthesky.aws.adapters.access_tokens import CognitoAccessTokens, Identity, KeySet, fetch_key_set, issuer_of
from pinthesky.aws.adapters.commands import IotCommands
from pinthesky.aws.adapters.connections import ApiGatewayConnections
from pinthesky.aws.adapters.converter import ConversionService, LambdaConverter
from pinthesky.aws.adapters.home_secret import secret_of
from pinthesky.aws.adapters.jobs import IotJobService
from pinthesky.aws.adapters.media import S3Media
from pinthesky.aws.adapters.notifier import SnsNotifier
from pinthesky.aws.adapters.people import CognitoPeople
from pinthesky.aws.adapters.picture_labels import RekognitionLabels
from pinthesky.aws.adapters.releases import S3Releases
from pinthesky.aws.adapters.shadows import IotShadows
from pinthesky.aws.adapters.sign_ins import CognitoSignIns
from pinthesky.aws.adapters.sign_up import InvitedOnly
from pinthesky.aws.adapters.things import CameraDefaults, IotThings
from pinthesky.aws.api_events import Event
from pinthesky.aws.clients import Clients
from pinthesky.aws.deployment import Deployment
from pinthesky.aws.records import DynamoTable
from pinthesky.errors import InvalidInput, NotAuthorized, NotFound, PinTheSkyError
from pinthesky.model.identifiers import ConnectionId, ThingName
from pinthesky.model.people import Person
from pinthesky.planes import camera_silence, retention
from pinthesky.planes.control_plane import surface
from pinthesky.planes.data_plane import endpoint
from pinthesky.planes.home import Home, Retention
from pinthesky.planes.ingest import device_events, job_events, media_events, presence_events
from pinthesky.planes.routing import HttpAnswer, Problem
from pinthesky.planes.table import Key, Put, Record

logger = logging.getLogger(__name__)

RECONCILE_EVERY_S = 24 * 3600
MARGIN_MS = 60_000
"""What a function needs to finish what it has begun, before Lambda ends it."""
_RECONCILED = Key("chore", "reconcile")
_BROKEN = "something here does not work; try again soon"


class Context(Protocol):
    """What Lambda tells of a call."""

    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int:
        """How long this call may still take."""
        ...


class Reconciled(Struct, frozen=True, kw_only=True, rename="camel"):
    """How far the daily comparison of rows and recordings has come; `after` is None where it is at its end."""

    begun_at_s: int
    after: ThingName | None = None


@dataclass(frozen=True, kw_only=True)
class Entrances:
    """The ways into the planes of one home."""

    home: Home
    identity: Identity
    sign_ins: CognitoSignIns
    media_bucket: str
    takes_legacy_topic: bool = False
    base_path: str = ""
    now_s: Callable[[], float] = time.time

    def http(self, event: Event, _context: Context) -> dict[str, Any]:
        """The control plane: a request of the HTTP API (payload 2.0)."""
        asked = event["requestContext"]
        request_id = str(asked.get("requestId", ""))
        try:
            person = self._signed_in(event)
            request = api_events.http_request(event, self.base_path)
            answer = surface.serve(
                self.home,
                request,
                person,
                request_id=request_id,
                source_ip=str(asked["http"].get("sourceIp", "")),
                now_s=self.now_s(),
            )
        except NotAuthorized as error:
            answer = _problem(401, Problem(str(error), request_id))
        except InvalidInput as error:
            answer = _problem(400, Problem(error.reason, request_id, error.field))
        except PinTheSkyError as error:
            logger.error("Who asks cannot be found out (%s): %s", request_id, error)
            answer = _problem(500, Problem(_BROKEN, request_id))
        except Exception:
            logger.exception("%s failed (%s)", str(event.get("routeKey"))[:200], request_id)
            answer = _problem(500, Problem(_BROKEN, request_id))
        return api_events.http_answer(answer)

    def socket(self, event: Event, _context: Context) -> dict[str, Any]:
        """The data plane: $connect, $default and $disconnect of the WebSocket API.

        $connect is its own authorizer: what opens a socket is a ticket, which can be used once.
        """
        asked = event["requestContext"]
        connection = ConnectionId.parse(asked["connectionId"])
        if asked["eventType"] == "CONNECT":
            return self._open(event, connection)
        if asked["eventType"] == "DISCONNECT":
            endpoint.closed(self.home, connection)
        else:
            endpoint.received(self.home, connection, api_events.body_of(event), now_s=self.now_s())
        return {"statusCode": 200}

    def device_event(self, event: Event, _context: Context) -> None:
        """An event of a camera, from the rule on `pinthesky/events/+/output`."""
        try:
            said = api_events.said(event, takes_legacy_topic=self.takes_legacy_topic)
        except InvalidInput as error:
            logger.error("An event cannot be taken: %s", error)
            return
        if said is not None:
            device_events.received(self.home, said.thing, said.payload, now_s=self.now_s())

    def presence(self, event: Event, _context: Context) -> None:
        """A camera that connects or is lost, from the rule on `$aws/events/presence/+/+`."""
        news = api_events.presence(event)
        if news is not None:
            presence_events.changed(
                self.home, news.thing, news.connected, at_s=news.at_s, now_s=self.now_s(), reason=news.reason
            )

    def job_execution(self, event: Event, _context: Context) -> None:
        """A job that goes on at a camera, from the rule on `$aws/events/jobExecution/+/+`."""
        news = api_events.job_progress(event)
        if news is None:
            return
        try:
            number = self.home.jobs.execution(news.job, news.thing).number
        except NotFound:
            number = 1
        job_events.progressed(
            self.home,
            news.thing,
            news.job,
            number=number,
            status=news.status,
            at_s=news.at_s,
            now_s=self.now_s(),
            reason=news.reason,
        )

    def media(self, event: Event, _context: Context) -> dict[str, Any]:
        """Objects that were stored or removed: a batch of SQS, or one event of EventBridge itself."""
        if "Records" not in event:
            self._take_media(event)
            return {}
        failed = []
        for record in event["Records"]:
            try:
                self._take_media(api_events.queued(record))
            except Exception as error:
                logger.log(
                    logging.WARNING if isinstance(error, PinTheSkyError) else logging.ERROR,
                    "News of the bucket were not taken and come again: %s",
                    error,
                    exc_info=not isinstance(error, PinTheSkyError),
                )
                failed.append({"itemIdentifier": record["messageId"]})
        return {"batchItemFailures": failed}

    def schedule(self, event: Event, context: Context) -> None:
        """What is due: `{"chore": "silence" | "sockets" | "sweep" | "reconcile"}`."""
        home, now_s = self.home, self.now_s()
        chore = event.get("chore")
        if chore == "silence":
            camera_silence.check(home, now_s)
        elif chore == "sockets":
            endpoint.close_overdue(home, now_s)
        elif chore == "sweep":
            retention.sweep(home, now_s)
        elif chore == "reconcile":
            self._reconcile(now_s, lambda: context.get_remaining_time_in_millis() < MARGIN_MS)
        else:
            raise InvalidInput("chore", "must be silence, sockets, sweep or reconcile")

    def _signed_in(self, event: Event) -> Person | None:
        """Who asks; None for a route without an authorizer. Raises NotAuthorized."""
        shown = api_events.claims_of(event)
        if shown is None:
            return None
        claims = self.identity.of_claims(shown)
        asked = event["requestContext"]["http"]
        self.sign_ins.note(
            claims.person,
            claims.session,
            user_agent=str(asked.get("userAgent", "")),
            source_ip=str(asked.get("sourceIp", "")),
        )
        try:
            return self.home.people.get(claims.person)
        except NotFound:
            return Person(claims.person, None, None)

    def _open(self, event: Event, connection: ConnectionId) -> dict[str, Any]:
        headers = api_events.headers_of(event)
        offered = [each.strip() for each in headers.get("sec-websocket-protocol", "").split(",")]
        identity = event["requestContext"].get("identity") or {}
        opening = endpoint.Opening(
            event.get("queryStringParameters") or {},
            offered,
            str(identity.get("sourceIp", "")),
            headers.get("user-agent", ""),
        )
        try:
            chosen = endpoint.opened(self.home, connection, opening, now_s=self.now_s())
        except NotAuthorized as error:
            logger.info("A socket is refused: %s", error)
            return {"statusCode": 403, "body": str(error)}
        return {"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": chosen}}

    def _take_media(self, event: Event) -> None:
        news = api_events.media_news(event, self.media_bucket)
        if news is None:
            return
        take = media_events.stored if news.stored else media_events.removed
        take(self.home, news.key, self.now_s())

    def _reconcile(self, now_s: float, is_over: Callable[[], bool]) -> None:
        """Go on where the last call had to stop, or begin anew once a day. Its schedule may call it every hour."""
        record = self.home.table.get(_RECONCILED)
        done = None if record is None else msgspec.json.decode(record.content, type=Reconciled, dec_hook=_parsed)
        if done is not None and done.after is None and now_s - done.begun_at_s < RECONCILE_EVERY_S:
            return
        carries_on = done is not None and done.after is not None
        begun_at_s = done.begun_at_s if done is not None and carries_on else int(now_s)
        repairs = retention.reconcile(self.home, now_s, after=done.after if done else None, is_over=is_over)
        reached = None if repairs.reached is None else str(repairs.reached)
        content = msgspec.json.encode({"begunAtS": begun_at_s, "after": reached})
        self.home.table.write(Put(Record(_RECONCILED, content)))


def home_of(given: Deployment, clients: Clients) -> Home:
    """The planes' home on the account's services."""
    table = DynamoTable(clients.get("dynamodb"), given.table)
    issuer = issuer_of(given.region, given.user_pool)
    sign_ins = CognitoSignIns(table)
    endpoints = {
        "role_alias": given.role_alias,
        "bucket_name": str(given.media_bucket),
        "region_name": given.region,
        "connections_endpoint": given.connections_endpoint,
    }
    defaults = CameraDefaults(policy=given.camera_policy, group=given.camera_group, endpoints=endpoints)
    return Home(
        table=table,
        shadows=IotShadows(clients),
        commands=IotCommands(clients),
        jobs=IotJobService(clients, given.thing_arns),
        media=S3Media(clients, given.media_bucket),
        converter=LambdaConverter(clients, given.conversion_function),
        connections=ApiGatewayConnections(clients, given.connections_endpoint),
        notifier=SnsNotifier(clients, given.alerts_topic, table, console=given.console),
        things=IotThings(clients, defaults),
        people=CognitoPeople(clients, given.user_pool, table),
        sign_ins=sign_ins,
        access_tokens=CognitoAccessTokens(
            Identity(issuer, given.clients), KeySet(lambda: fetch_key_set(issuer)), sign_ins
        ),
        releases=S3Releases(clients, given.releases_bucket or given.media_bucket, given.releases_prefix),
        secret=secret_of(table),
        console=given.console,
        video_prefix=given.video_prefix,
        image_prefix=given.image_prefix,
        retention=Retention(
            clips_days=given.clips_days or None,
            stills_days=given.stills_days or None,
            health_days=given.health_days or None,
        ),
        labels=RekognitionLabels(clients, given.media_bucket) if given.labels else None,
        labels_per_month=given.labels_per_month,
    )


def entrances_of(given: Deployment, clients: Clients) -> Entrances:
    """The ways in, to a home on the account's services."""
    home = home_of(given, clients)
    return Entrances(
        home=home,
        identity=Identity(issuer_of(given.region, given.user_pool), given.clients),
        sign_ins=CognitoSignIns(home.table),
        media_bucket=str(given.media_bucket),
        takes_legacy_topic=given.legacy_topic,
        base_path=given.base_path,
    )


@cache
def _deployment() -> Deployment:
    return deployment.read(os.environ)


@cache
def _entrances() -> Entrances:
    return entrances_of(_deployment(), Clients(_deployment().region))


@cache
def _converter() -> ConversionService:
    from pinthesky.conversion.media_converter import MediaConverter  # noqa: PLC0415 - PyAV, which one function has

    return ConversionService(MediaConverter(S3Media(Clients(_deployment().region), _deployment().media_bucket)))


@cache
def _trigger() -> tuple[DynamoTable, Clients]:
    given = deployment.read_trigger(os.environ)
    clients = Clients(given.region)
    return DynamoTable(clients.get("dynamodb"), given.table), clients


def http(event: Event, context: Context) -> dict[str, Any]:
    """See `Entrances.http`."""
    return _entrances().http(event, context)


def socket(event: Event, context: Context) -> dict[str, Any]:
    """See `Entrances.socket`."""
    return _entrances().socket(event, context)


def device_event(event: Event, context: Context) -> None:
    """See `Entrances.device_event`."""
    _entrances().device_event(event, context)


def presence(event: Event, context: Context) -> None:
    """See `Entrances.presence`."""
    _entrances().presence(event, context)


def job_execution(event: Event, context: Context) -> None:
    """See `Entrances.job_execution`."""
    _entrances().job_execution(event, context)


def media(event: Event, context: Context) -> dict[str, Any]:
    """See `Entrances.media`."""
    return _entrances().media(event, context)


def schedule(event: Event, context: Context) -> None:
    """See `Entrances.schedule`."""
    _entrances().schedule(event, context)


def conversion(event: Event, _context: Context) -> dict[str, Any]:
    """Make a clip of a stream: see `ConversionService.serve`. This function alone has PyAV, and 5 minutes."""
    return _converter().serve(event)


def pre_sign_up(event: Event, _context: Context) -> Event:
    """The user pool's trigger before sign-up: see `InvitedOnly`. The event goes back as it came, or the user is none.

    Raises NotAuthorized, whose text Cognito shows.
    """
    table, clients = _trigger()
    pool = str(event["userPoolId"])
    InvitedOnly(clients, pool, CognitoPeople(clients, pool, table).get).decide(event)
    return event


def _problem(status: int, problem: Problem) -> HttpAnswer:
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return HttpAnswer(status, msgspec.json.encode(problem), headers)


def _parsed(kind: type[ThingName], value: object) -> ThingName:
    return kind.parse(value)
