"""The cloud's end of a named shadow over MQTT: answers get and update, tells documents and delta."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

from tests.support.broker import Message, MqttClient
from tests.support.fake_device_client import FakeCloudShadow


class MqttCloudShadow(FakeCloudShadow):
    """A shadow behind a broker. `edit` is what a console does, whether the device hears of it or not.

    `answers` may be set to what each update is answered with, in place of taking it: (code, message), None for taking
    it, or "silence".
    """

    def __init__(self, client: MqttClient, thing: str, name: str = "pinthesky") -> None:
        super().__init__()
        self.prefix = f"$aws/things/{thing}/shadow/name/{name}"
        self.answers: list[tuple[int, str] | str | None] = []
        self.gets = 0
        self.requests: list[bytes] = []
        """Payloads of all updates that the device sent."""
        self._client = client
        self._turn = threading.RLock()
        self.on_documents = lambda raw: client.send(f"{self.prefix}/update/documents", raw)
        self.on_delta = lambda delta: client.send(
            f"{self.prefix}/update/delta", {"state": delta, "version": self.version, "timestamp": int(time.time())}
        )
        client.on_message = self._serve
        client.subscribe(f"{self.prefix}/update", f"{self.prefix}/get")

    def edit(self, **sections: Any) -> None:
        """Edit desired."""
        with self._turn:
            self.desire(**sections)

    def _serve(self, message: Message) -> None:
        operation = message.topic.removeprefix(self.prefix)
        with self._turn:
            if operation == "/get":
                self._get(message)
            elif operation == "/update":
                self.requests.append(message.payload)
                self._update(message)

    def _get(self, message: Message) -> None:
        self.gets += 1
        token = json.loads(message.payload or b"{}").get("clientToken")
        if self.version == 0:
            refusal = {"code": 404, "message": "No shadow exists with name: 'pinthesky'", "clientToken": token}
            self._client.send(f"{self.prefix}/get/rejected", refusal)
        else:
            document = {**self._snapshot(), "timestamp": int(time.time()), "clientToken": token}
            self._client.send(f"{self.prefix}/get/accepted", document)

    def _update(self, message: Message) -> None:
        request = json.loads(message.payload)
        token = request.get("clientToken")
        answer = self.answers.pop(0) if self.answers else None
        if answer == "silence":
            return
        if isinstance(answer, tuple):
            refusal = {"code": answer[0], "message": answer[1], "clientToken": token}
            self._client.send(f"{self.prefix}/update/rejected", refusal)
            return
        self.update(request["state"])
        accepted = {"state": request["state"], "version": self.version, "clientToken": token}
        self._client.send(f"{self.prefix}/update/accepted", accepted)
