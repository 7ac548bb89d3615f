"""AWS IoT Core on this machine: a real mosquitto with mutual TLS, shadows and jobs as its API and its topics, presence.

The broker lets a thing say and hear what its own topics allow. Shadows and jobs are the hub's, which the contract
suites hold against what AWS documents; moto's know no MQTT. Nothing here knows who is registered: whoever has a
certificate of this broker is a thing.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from pinthesky.errors import Conflict, InvalidInput, NotFound
from pinthesky.hub.adapters.jobs import HubJobService
from pinthesky.hub.job_rules import Execution
from pinthesky.model.identifiers import ThingName
from tests.support.aws_planes import THING_ARNS, Asked, JobsService, Said
from tests.support.fleet import HubSide
from tests.support.hub_things import HubBroker, ThingsHub

_CAME = re.compile(r"New client connected from .+:(?P<port>\d+) as (?P<thing>\S+) \(p")
_WENT = re.compile(r"Client (?P<thing>\S+) (?:closed its connection|disconnected|has exceeded timeout|been disc)")
_LOOK_EVERY_S = 0.02

Heard = Callable[[str, bytes, str], None]
"""Takes topic, payload and client of every message that a rule may want."""


class IotCore:
    """Open from `__enter__` to `__exit__`; `heard` is called in threads of its own making."""

    def __init__(self, folder: Path, heard: Heard) -> None:
        self.broker = HubBroker(folder)
        self._folder = folder
        self._heard = heard
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._watch_connections, name="presence", daemon=True)

    def __enter__(self) -> Self:
        self.broker.start()
        self.things = ThingsHub(self._folder, self.broker.socket)
        self.things.jobs.on_execution(self._job_went_on)
        self.things.__enter__()
        self.jobs = JobsService(HubJobService(self.things.jobs))
        self.ear = HubSide(self.broker.socket, "rules.of.the.account")
        self.ear.on_message = lambda message: self._heard(message.topic, message.payload, _client_of(message.topic))
        self.ear.connect()
        self._watch.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._watch.join(5.0)
        self.ear.close()
        self.things.__exit__(*error)
        self.broker.stop()

    def data_plane(self, asked: Asked) -> Said | None:
        """Answers of the SDK's `iot-data`: named shadows, and publishing."""
        topic = asked.path.removeprefix("/topics/")
        if topic != asked.path:
            self.things.mqtt.publish(topic, asked.body)
            return Said(body={})
        found = re.fullmatch(r"/things/([^/]+)/shadow", asked.path)
        if found is None:
            return None
        thing, name, shadows = ThingName(found[1]), asked.query["name"], self.things.shadows
        try:
            if asked.method == "GET":
                return Said(body=shadows.get(thing, name))
            if asked.method == "POST":
                return Said(body=shadows.update(thing, name, json.loads(asked.body)))
            shadows.delete(thing, name)
            return Said(body={})
        except NotFound:
            return Said(404, "ResourceNotFoundException")
        except Conflict:
            return Said(409, "ConflictException")
        except InvalidInput:
            return Said(400, "InvalidRequestException")

    def jobs_service(self, asked: Asked) -> Said | None:
        """Answers of the SDK's `iot` about jobs; everything else is the registry's."""
        return self.jobs(asked) if re.match(r"/jobs/|/things/[^/]+/jobs", asked.path) else None

    def tell(self, topic: str, document: dict[str, Any]) -> None:
        """What IoT Core itself publishes."""
        self.ear.send(topic, document)

    def _job_went_on(self, execution: Execution) -> None:
        if execution.status.is_terminal:
            self.tell(
                f"$aws/events/jobExecution/{execution.job_id}/{execution.status.value.lower()}",
                {
                    "eventType": "JOB_EXECUTION",
                    "operation": execution.status.value.lower(),
                    "jobId": str(execution.job_id),
                    "thingArn": f"{THING_ARNS}{execution.thing}",
                    "status": execution.status.value,
                    "statusDetails": dict(execution.details),
                    "timestamp": int(execution.updated_at_s),
                },
            )

    def _watch_connections(self) -> None:
        """Read the broker's log, and tell who has come and gone as IoT's lifecycle events do."""
        read = 0
        while not self._over.wait(_LOOK_EVERY_S):
            text = self.broker.log.read_bytes()
            whole = text.rfind(b"\n") + 1
            for line in text[read:whole].decode("utf-8", "replace").splitlines():
                self._presence(line)
            read = whole

    def _presence(self, line: str) -> None:
        came, went = _CAME.search(line), _WENT.search(line)
        found = came or went
        # Port 0 is the socket of the account's own.
        if found is None or found["thing"].count(".") or (came is not None and came["port"] == "0"):
            return
        kind = "connected" if came else "disconnected"
        more = {} if came else {"disconnectReason": "CONNECTION_LOST", "clientInitiatedDisconnect": False}
        event = {"clientId": found["thing"], "timestamp": int(time.time() * 1000), "eventType": kind, **more}
        self.tell(f"$aws/events/presence/{kind}/{found['thing']}", event)


def _client_of(topic: str) -> str:
    """Who has published, as the broker's rules have it: on a thing's own topic nobody else may."""
    return topic.split("/")[2] if re.match(r"pinthesky/events/[^/]+/output\Z", topic) else ""
