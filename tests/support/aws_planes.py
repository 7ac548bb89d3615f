"""The planes' adapters in AWS on moto's server, and stand-ins for what moto does not have.

A stand-in answers in place of the network, behind botocore, which checks and writes requests and reads answers as ever.
"""

from __future__ import annotations

import io
import json
import re
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

import botocore.session
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

from pinthesky.aws.clients import Clients
from pinthesky.aws.records import DynamoTable
from pinthesky.errors import Conflict, InvalidInput, NotFound
from pinthesky.model.identifiers import BucketName, ThingName
from pinthesky.model.jobs import JobId
from pinthesky.planes.ports import JobExecution, JobOrder, JobService
from tests.support.aws_servers import REGION

ACCOUNT = "123456789012"
"""moto's."""
THING_ARNS = f"arn:aws:iot:{REGION}:{ACCOUNT}:thing/"


class Asked(NamedTuple):
    """A request, as it would go out."""

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes


class Said(NamedTuple):
    """An answer: status, error code or empty, and JSON or bytes."""

    status: int = 200
    code: str = ""
    body: Any = b""


Answers = Callable[[Asked], Said | None]
"""None: this one goes over the network."""


@cache
def _session() -> botocore.session.Session:
    """One for the run: reading what a service looks like takes botocore longer than most tests take."""
    session = botocore.session.Session()
    session.set_credentials("a", "b")
    return session


def local_clients(port: int | None = None) -> Clients:
    """Clients of moto at `port`, or to be answered in place; without any look at this machine's own credentials."""
    clients = Clients(REGION, endpoint_url=None if port is None else f"http://127.0.0.1:{port}")
    clients._session = _session()
    return clients


@cache
def moto_clients(port: int) -> Clients:
    """Clients of moto, shared by the run."""
    clients = local_clients(port)
    one_at_a_time(clients.get("dynamodb"))
    return clients


def one_at_a_time(client: Any) -> None:
    """Have a client's requests wait for one another: moto's tables can be read while a row is half written."""
    lock, session = threading.Lock(), client._endpoint.http_session

    def before_send(request: Any, **_: Any) -> AWSResponse:
        with lock:
            sent: AWSResponse = session.send(request)
            return sent

    client.meta.events.register("before-send", before_send)


def answer_in_place(client: Any, answers: Answers) -> None:
    """Have `answers` answer every request of a client."""

    def before_send(request: Any, **_: Any) -> AWSResponse | None:
        address = urlsplit(request.url)
        raw = request.body or b""
        body = raw if isinstance(raw, bytes) else raw.encode() if isinstance(raw, str) else raw.read()
        asked = Asked(request.method, unquote(address.path), dict(parse_qsl(address.query)), body)
        said = answers(asked)
        if said is None:
            return None
        content = said.body if isinstance(said.body, bytes) else json.dumps(said.body).encode()
        if said.code:
            content = json.dumps({"__type": said.code, "message": said.code}).encode()
        headers = HTTPHeaders()
        if said.code:
            headers["x-amzn-ErrorType"] = said.code
        return AWSResponse(request.url, said.status, headers, _Raw(content))

    client.meta.events.register("before-send", before_send)


class _Raw(io.BytesIO):
    """What urllib3 gives botocore to read."""

    def stream(self, amt: int = 65536, **_: Any) -> Iterator[bytes]:
        while part := self.read(amt):
            yield part


def new_bucket(port: int) -> BucketName:
    """A bucket of its own."""
    name = f"planes-{secrets.token_hex(8)}"
    moto_clients(port).get("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return BucketName(name)


def new_table(port: int, now_s: Callable[[], float]) -> DynamoTable:
    """A table of its own, as a deployment makes it."""
    client, name = moto_clients(port).get("dynamodb"), f"records-{secrets.token_hex(6)}"
    names = ("PK", "SK", "GS1-PK", "GS1-SK")

    def schema(partition: str, sort: str) -> list[dict[str, str]]:
        return [{"AttributeName": partition, "KeyType": "HASH"}, {"AttributeName": sort, "KeyType": "RANGE"}]

    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": each, "AttributeType": "S"} for each in names],
        KeySchema=schema("PK", "SK"),
        GlobalSecondaryIndexes=[
            {"IndexName": "time", "KeySchema": schema("GS1-PK", "GS1-SK"), "Projection": {"ProjectionType": "ALL"}}
        ],
    )
    return DynamoTable(client, name, now_s=now_s)


class JobsService:
    """AWS IoT Jobs over another service, the fake of the tests: moto makes jobs, and lets nothing become of them."""

    def __init__(self, jobs: JobService) -> None:
        self.jobs = jobs
        self.made: dict[str, dict[str, Any]] = {}
        """What each job was made with, as it came."""

    def __call__(self, asked: Asked) -> Said:
        try:
            for method, pattern, serve in self._routes():
                found = re.fullmatch(pattern, asked.path)
                if method == asked.method and found is not None:
                    return serve(asked, *found.groups())
        except NotFound:
            return Said(404, "ResourceNotFoundException")
        except Conflict:
            return Said(409, "InvalidStateTransitionException")
        except InvalidInput:
            return Said(400, "InvalidRequestException")
        raise AssertionError(f"{asked.method} {asked.path} is not one of Jobs")

    def _routes(self) -> list[tuple[str, str, Callable[..., Said]]]:
        return [
            ("PUT", "/jobs/([^/]+)", self._create),
            ("GET", "/jobs/([^/]+)", self._describe),
            ("PUT", "/jobs/([^/]+)/cancel", self._cancel),
            ("DELETE", "/jobs/([^/]+)", self._delete),
            ("GET", "/jobs/([^/]+)/things", self._of_job),
            ("GET", "/things/([^/]+)/jobs", self._of_thing),
            ("GET", "/things/([^/]+)/jobs/([^/]+)", self._execution),
            ("PUT", "/things/([^/]+)/jobs/([^/]+)/cancel", self._cancel_execution),
            ("DELETE", "/things/([^/]+)/jobs/([^/]+)/executionNumber/([0-9]+)", self._delete_execution),
        ]

    def _create(self, asked: Asked, job: str) -> Said:
        made = json.loads(asked.body)
        things = [ThingName(target.removeprefix(THING_ARNS)) for target in made["targets"]]
        try:
            self.jobs.create(JobOrder(JobId(job), json.loads(made["document"]), things))
        except Conflict:
            return Said(409, "ResourceAlreadyExistsException")
        self.made[job] = made
        return Said(body={"jobId": job})

    def _describe(self, _asked: Asked, job: str) -> Said:
        summary = self.jobs.summary(JobId(job))
        names = {status: f"numberOf{_words(status.value)}Things" for status in summary.counts}
        counts = {names[status]: count for status, count in summary.counts.items()}
        return Said(body={"job": {"jobId": job, "status": summary.state, "jobProcessDetails": counts}})

    def _cancel(self, asked: Asked, job: str) -> Said:
        assert asked.query == {"force": "true"}
        if self.jobs.summary(JobId(job)).state == "IN_PROGRESS":
            self.jobs.cancel(JobId(job))
        return Said(body={"jobId": job})

    def _delete(self, asked: Asked, job: str) -> Said:
        assert asked.query == {"force": "true"}
        self.jobs.summary(JobId(job))
        self.jobs.delete(JobId(job))
        return Said()

    def _of_job(self, asked: Asked, job: str) -> Said:
        page = self.jobs.executions(
            JobId(job), limit=int(asked.query["maxResults"]), token=asked.query.get("nextToken")
        )
        found = [
            {"thingArn": f"{THING_ARNS}{each.thing}", "jobExecutionSummary": _summary(each)} for each in page.executions
        ]
        return Said(body={"executionSummaries": found, "nextToken": page.token})

    def _of_thing(self, asked: Asked, thing: str) -> Said:
        limit, token = int(asked.query["maxResults"]), asked.query.get("nextToken")
        page = self.jobs.executions_of(ThingName(thing), limit=limit, token=token)
        found = [{"jobId": str(each.id), "jobExecutionSummary": _summary(each)} for each in page.executions]
        return Said(body={"executionSummaries": found, "nextToken": page.token})

    def _execution(self, asked: Asked, thing: str, job: str) -> Said:
        number = asked.query.get("executionNumber")
        found = self.jobs.execution(JobId(job), ThingName(thing), None if number is None else int(number))
        details = {"statusDetails": {"detailsMap": dict(found.details)}}
        return Said(body={"execution": {**_summary(found), **details, "jobId": job}})

    def _cancel_execution(self, asked: Asked, thing: str, job: str) -> Said:
        assert asked.query == {"force": "true"}
        self.jobs.cancel_execution(JobId(job), ThingName(thing))
        return Said()

    def _delete_execution(self, asked: Asked, thing: str, job: str, number: str) -> Said:
        assert asked.query == {"force": "true"}
        self.jobs.delete_execution(JobId(job), ThingName(thing), int(number))
        return Said()


def _words(status: str) -> str:
    return "".join(word.title() for word in status.split("_"))


def _summary(execution: JobExecution) -> dict[str, Any]:
    found = {
        "status": execution.status.value,
        "queuedAt": execution.queued_at_s,
        "startedAt": execution.started_at_s,
        "lastUpdatedAt": execution.updated_at_s,
        "executionNumber": execution.number,
    }
    return {name: value for name, value in found.items() if value is not None}


@pytest.fixture(scope="session")
def clients(moto_port: int) -> Clients:
    """Clients of moto."""
    return moto_clients(moto_port)
