"""A hub in this process, served over HTTP, in which everything is there that a route could name, for everybody.

Its threads do not run, so nothing happens but what is asked for, and all of it can be put back as it was.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pinthesky.hub.app import Hub
from pinthesky.hub.mqtt import Delivery
from pinthesky.hub.settings import HubSettings, Listen, Media
from pinthesky.hub.web_server import WebServer
from pinthesky.model.commands import InvokeId
from pinthesky.model.identifiers import ConnectionId, MediaKey, ThingName
from pinthesky.planes.data_plane import endpoint
from pinthesky.planes.ingest import device_events, media_events
from pinthesky.planes.records.connections import LiveSession
from tests.planes.home import GARDEN, GATE, GUEST, HALL, MEMBER, STRANGER, VIEWER
from tests.planes.peopled_home import BODIES, QUERIES, SHELF, WEBPUSH
from tests.planes.recordings import event_id, video_id
from tests.planes.test_signing_request import REQUEST
from tests.support.hub_console import Console

INVITED = (MEMBER, VIEWER, GUEST, STRANGER)
"""Who is invited by the owner whom every hub has; STRANGER is uninvited in the end."""
PEOPLE = ("owner", "member", "viewer", "guest", "stranger")

Names = dict[str, str]


class HubOfPlanes:
    """The hub. `ask` is a person's request, by the name of their column in the authorisation table."""

    def __init__(self, folder: Path) -> None:
        settings = HubSettings(
            listen=Listen(address="127.0.0.1", console_port=0, localhost_port=0, device_port=0, mqtt_ports=[0]),
            media=Media(min_free="0"),
        )
        self.data = folder / "hub"
        self.hub = Hub(self.data, settings)
        self.hub.broker.ports = (8883,)  # it does not run, and cameras that are let in are told where it is
        self.home = self.hub.planes.home
        self.server = WebServer(self.hub.console, host="127.0.0.1", port=0, tls=None)
        self.server.start()
        self.people: dict[str, Console] = {"owner": self.sign_in()}
        self.ids = {"owner": self.ask_for("owner", "GET", "/people/me")["id"]}
        self.shared: Names = {"tag": "dogs", "kind": "reboot", "number": "1", "name": "outside"}
        self.of_camera: dict[ThingName, Names] = {}
        self.of_person: dict[str, Names] = {}
        self.begun_s = int(time.time()) - 3600
        self._fill()
        self._tables: dict[str, list[tuple[Any, ...]]] = {}
        self._remember(folder / "media as it was")

    def close(self) -> None:
        """End it."""
        for console in self.people.values():
            console.close()
        assert self.server.stop()
        assert self.hub.stop()

    def sign_in(self, email: str | None = None) -> Console:
        """Somebody at a console."""
        return Console(self.data, self.server.port, email=email, scheme="http")

    def ask(self, who: str, method: str, path: str, /, body: object = None, **query: object) -> tuple[int, Any]:
        """The status and the JSON of an answer."""
        parameters = {name: str(value) for name, value in query.items()}
        if who == "nobody":
            console = self.people["owner"]
            answer = console.browse(method, f"/api{path}", params=parameters, json=body)
        else:
            answer = self.people[who].ask(method, path, body, **parameters)
        is_json = answer.headers.get("content-type", "").startswith("application/json")
        return answer.status_code, answer.json() if is_json else None

    def ask_for(self, who: str, method: str, path: str, /, body: object = None, **query: object) -> Any:
        """The JSON of an answer that has to be a success."""
        status, answer = self.ask(who, method, path, body, **query)
        assert 200 <= status < 300, (method, path, status, answer)
        return answer

    def names(self, who: str, *, hidden: bool = False, somebody_else: bool = False) -> Mapping[str, str]:
        """What each parameter of a path stands for, as in `tests.planes.peopled_home`."""
        asking = "owner" if who == "nobody" else who
        other = "member" if asking == "owner" else "owner"
        group = {"name": "inside", "group": "inside"} if hidden else {"group": "outside"}
        whose = other if hidden or somebody_else else asking
        return {**self.shared, **self.of_camera[HALL if hidden else GARDEN], **self.of_person[whose], **group}

    def body_of(self, row: str) -> Any:
        """What is sent with a route."""
        if row == "POST /tags/{tag}/videos":
            return {"videos": [{"video": self.of_camera[GARDEN]["video"], "thingName": "garden"}]}
        return BODIES.get(row)

    def query_of(self, row: str) -> dict[str, object]:
        """Its parameters."""
        if not row.endswith("/timeline"):
            return QUERIES.get(row, {})
        return {"startTime": self.begun_s * 1000, "endTime": (self.begun_s + 3600) * 1000}

    def restore(self) -> None:
        """Put everything back as it was after the filling."""
        with self.hub.foundation.database.transaction() as connection:
            connection.execute("PRAGMA defer_foreign_keys = ON")
            for table in self._tables:
                connection.execute(f"DELETE FROM {table}")
            for table, rows in self._tables.items():
                if rows:
                    connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)
        shutil.copytree(self._media, self.hub.media.root, dirs_exist_ok=True)

    def _remember(self, media: Path) -> None:
        with self.hub.foundation.database.reading() as connection:
            names = connection.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT NULL"
            ).fetchall()
            for (name,) in names:
                if not name.startswith("sqlite_"):
                    self._tables[name] = [tuple(row) for row in connection.execute(f"SELECT * FROM {name}")]
        self._media = media
        shutil.copytree(self.hub.media.root, media)

    def _fill(self) -> None:
        for thing in (GARDEN, GATE, HALL, SHELF):
            self.hub.registry.add(thing)
        for thing, group in ((GARDEN, "outside"), (GATE, "outside"), (HALL, "inside")):
            self.ask_for("owner", "POST", "/cameras", {"thingName": thing, "displayName": thing.title()})
            if self.ask("owner", "GET", f"/groups/{group}")[0] == 404:
                self.ask_for("owner", "POST", "/groups", {"name": group})
            self.ask_for("owner", "POST", f"/groups/{group}/cameras", {"cameras": [thing]})
        self.ask_for("owner", "POST", "/tags", {"name": "dogs"})
        self._order()
        for number, thing in enumerate((GARDEN, HALL)):
            self._record(thing, number)
        registration = self.ask_for("nobody", "POST", "/registrations", {"csr": REQUEST})
        self.shared["code"] = registration["user_code"]
        for name, person in zip(PEOPLE[1:], INVITED, strict=True):
            groups = {} if person.groups is None else {"groups": sorted(person.groups)}
            role = "viewer" if person.role is None else person.role.value
            invited = self.ask_for("owner", "POST", "/people", {"email": person.email, "role": role, **groups})
            self.ids[name] = invited["id"]
            self.people[name] = self.sign_in(str(person.email))
        self.shared["person"] = self.ids["viewer"]
        for name in PEOPLE:
            self._settle(name)
        self.ask_for("owner", "DELETE", f"/people/{self.ids['stranger']}")

    def _order(self) -> None:
        """A job that has failed on the gate."""
        order = {"type": "reboot", "cameras": ["garden", "gate"]}
        job = self.ask_for("owner", "POST", "/jobs", order)["id"]
        topic = f"$aws/things/gate/jobs/{job}/update"
        self.hub.things.receive(Delivery(topic, json.dumps({"status": "FAILED"}).encode(), lambda: None))
        self.hub.things.step()
        self.shared["job"] = job

    def _record(self, thing: ThingName, number: int) -> None:
        video = video_id(self.begun_s + 600, event_id(number))
        key = MediaKey(f"motion_videos/{thing}/{video}")
        said = {"trigger": "motion", "duration": "30.000", "start": f"{self.begun_s + 600}.000", "part": "1"}
        self.home.media.write(key, b"media", content_type="video/mp4", metadata=said)
        media_events.stored(self.home, key, time.time())
        still = MediaKey(f"capture_images/{thing}/thumbnail_latest.jpg")
        self.home.media.write(still, b"\xff\xd8", content_type="image/jpeg", metadata={})
        tagged = {"videos": [{"video": video, "thingName": thing}]}
        self.ask_for("owner", "POST", "/tags/dogs/videos", tagged)
        share = self.ask_for("owner", "POST", f"/videos/{video}/cameras/{thing}/share", {})
        stream = self.ask_for("owner", "POST", f"/cameras/{thing}/streamTokens", {})
        self.home.shadows.desire(thing, {"camera": {"framerate": 20}})
        for event in ({"name": "health_end", "cpu_used": 1.0}, {"name": "motion_start", "event_id": event_id(number)}):
            document = {"score": 1.0, **event, "thing_name": str(thing), "timestamp": time.time()}
            device_events.received(self.home, thing, json.dumps(document).encode(), now_s=time.time())
        reports = self.ask_for("owner", "GET", f"/cameras/{thing}/stats")["items"]
        self.of_camera[thing] = {
            "thing": str(thing),
            "video": str(video),
            "share": share["id"],
            "stream": stream["id"],
            "token": share["url"].rpartition("/")[2],
            "timestamp": str(reports[0]["timestamp"]),
        }

    def _settle(self, name: str) -> None:
        """A session, a ticket, a connection with a live view, and a subscription of somebody."""
        connection = ConnectionId(f"connection-of-{name}=")
        ticket = self.ask_for(name, "POST", "/tokens")["token"]
        opening = endpoint.Opening({"Authorization": ticket}, ("manager",))
        endpoint.opened(self.home, connection, opening, now_s=time.time())
        camera = HALL if name in ("owner", "member", "viewer") else GARDEN
        live = LiveSession(invoke_id=InvokeId("live"), camera=camera, started_at=int(time.time() * 1000))
        self.home.sockets.start(self.home.sockets.get(connection), live)
        session = self.ask_for(name, "GET", "/sessions")["items"][0]["id"]
        subscription = self.ask_for(name, "POST", "/subscriptions", {"protocol": "webpush", "endpoint": WEBPUSH})
        self.of_person[name] = {
            "session": session,
            "ticket": self.ask_for(name, "POST", "/tokens")["id"],
            "connection": str(connection),
            "invoke": "live",
            "subscription": subscription["id"],
        }
