"""A person at the console of a hub: signs in as a browser does, and asks the control plane."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import ssl
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from pinthesky.hub.accounts import new_link_secret
from pinthesky.hub.foundation import Foundation
from pinthesky.model.people import Email


class Console:
    """One browser that is signed in. `ask` speaks to the control plane with its access token."""

    def __init__(self, data: Path, port: int, *, email: str | None = None, scheme: str = "https") -> None:
        """Sign in to the hub on `data` as its owner, or as somebody who was invited."""
        self.origin = f"{scheme}://localhost:{port}"
        context = ssl.create_default_context(cafile=str(data / "authority" / "ca.crt"))
        self._browser = httpx2.Client(base_url=self.origin, verify=context, timeout=20)
        with closing(Foundation.lay(data)) as foundation:
            secret = new_link_secret(foundation, None if email is None else Email(email))
        answer = self._browser.post("/sign-in/link", data={"secret": secret}, headers={"Origin": self.origin})
        assert answer.status_code == 303, answer.text
        self.tokens = self._tokens()

    def _tokens(self) -> dict[str, Any]:
        verifier = secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        common = {"client_id": "console", "redirect_uri": f"{self.origin}/signed-in"}
        asked = {**common, "response_type": "code", "code_challenge": challenge, "code_challenge_method": "S256"}
        answer = self._browser.get("/oauth2/authorize", params={**asked, "state": "s", "scope": "openid"})
        assert answer.status_code == 303, answer.text
        code = parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]
        form = {**common, "grant_type": "authorization_code", "code": code, "code_verifier": verifier}
        answer = self._browser.post("/oauth2/token", data=form)
        assert answer.status_code == 200, answer.text
        tokens: dict[str, Any] = answer.json()
        return tokens

    def ask(self, method: str, path: str, body: Any = None, **query: str) -> httpx2.Response:
        """A request to the control plane; `path` is that of the contract."""
        headers = {"Authorization": f"Bearer {self.tokens['access_token']}"}
        return self._browser.request(method, f"/api{path}", params=query, json=body, headers=headers)

    def browse(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """Any request, without a token unless the options have one."""
        return self._browser.request(method, path, **options)

    def fetch(self, address: str, **headers: str) -> httpx2.Response:
        """Follow a link to a clip or a picture, without showing any token."""
        return self._browser.get(address, headers=headers)

    def close(self) -> None:
        """Close the browser."""
        self._browser.close()


class SocketOfJson:
    """The console's end of a WebSocket that is open: what was pushed and answered so far, in order."""

    def __init__(self, connection: ClientConnection) -> None:
        self._socket = connection
        self.messages: list[dict[str, Any]] = []
        self.arrived_at: list[float] = []

    def send(self, action: str, request_id: str, **payload: Any) -> None:
        """Ask the data plane for something."""
        self._socket.send(json.dumps({"action": action, "requestId": request_id, "payload": payload}))

    def wait(self, wanted: Callable[[dict[str, Any]], bool], what: str, timeout_s: float = 20.0) -> dict[str, Any]:
        """The first message so far, or to come, that is wanted."""
        for message in self.messages:
            if wanted(message):
                return message
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                message = json.loads(self._socket.recv(timeout=max(0.0, deadline - time.monotonic())))
            except TimeoutError as error:
                raise AssertionError(f"{what} did not come; there were {self.messages}") from error
            self.messages.append(message)
            self.arrived_at.append(time.time())
            if wanted(message):
                return message

    def wait_event(self, kind: str, camera: str, **fields: Any) -> dict[str, Any]:
        """The first push of a type, of a camera."""

        def wanted(message: dict[str, Any]) -> bool:
            event = message.get("event", {})
            return {"type": kind, "camera": camera, **fields}.items() <= event.items()

        event: dict[str, Any] = self.wait(wanted, f"{kind} of {camera}")["event"]
        return event

    def close(self) -> None:
        """Close it."""
        self._socket.close()


class ConsoleSocket(SocketOfJson):
    """The console's WebSocket at a hub."""

    def __init__(self, console: Console, port: int, data: Path) -> None:
        ticket = console.ask("POST", "/tokens").json()["token"]
        context = ssl.create_default_context(cafile=str(data / "authority" / "ca.crt"))
        super().__init__(
            connect(
                f"{console.origin.replace('http', 'ws')}/socket?Authorization={ticket}",
                ssl=context if console.origin.startswith("https") else None,
                subprotocols=[Subprotocol("manager")],
                open_timeout=10,
                proxy=None,
            )
        )
