"""A home in which everything is there that a route could name, for everybody; copied in a moment for each question.

`name_of` says what a parameter of a path stands for when a person asks: their own things, the camera in the garden, or
what is hidden from the guest.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from pinthesky.hub.database import Database
from pinthesky.hub.records import SqliteTable
from pinthesky.model.identifiers import ThingName
from pinthesky.model.jobs import JobId, JobStatus
from pinthesky.model.people import Person
from pinthesky.planes.ports import Release
from tests.planes.console import Console
from tests.planes.fakes import START_S
from tests.planes.home import (
    EVERYBODY,
    GARDEN,
    GUEST,
    HALL,
    MEMBER,
    OWNER,
    STRANGER,
    VIEWER,
    StagedHome,
    ask_for,
    make_fleet,
    make_home,
)
from tests.planes.recordings import add_clip, event_id, say, video_id
from tests.planes.test_signing_request import REQUEST

SHELF = ThingName("shelf")
"""A thing that is no camera yet."""
WHEEL = "https://releases.test/pinthesky-2.0.0-py3-none-any.whl"
START = {"name": "record", "context": {"session": {"start": True}}}
WEBPUSH = (
    '{"endpoint":"https://push.test/1","keys":{"p256dh":"BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIg'
    'Dll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8","auth":"tBHItJI5svbpez7KI4CCXg"}}'
)
OTHER = {OWNER.id: MEMBER, MEMBER.id: OWNER, VIEWER.id: OWNER, GUEST.id: OWNER, STRANGER.id: OWNER}
"""Somebody else."""

Names = dict[str, str]


class PeopledHome:
    """The home once, and copies of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._copies = 0
        self.home = make_home(folder)
        self.of_camera: dict[ThingName, Names] = {}
        self.of_person: dict[str, Names] = {}
        self.shared: Names = {
            "name": "outside",
            "tag": "dogs",
            "person": VIEWER.id,
            "kind": "reboot",
            "number": "1",
        }
        self._fill()
        self.home.database.close()
        self._bytes = (folder / "hub.sqlite").read_bytes()

    def copy(self) -> StagedHome:
        """A home of its own for one question. Close its database."""
        self._copies += 1
        path = self._folder / f"{self._copies}.sqlite"
        path.write_bytes(self._bytes)
        ports = {each.name: getattr(self.home, each.name) for each in fields(StagedHome)}
        copied = copy.deepcopy({name: port for name, port in ports.items() if name not in ("database", "table")})
        database = Database(path)
        return replace(self.home, **copied, database=database, table=SqliteTable(database, now_s=copied["clock"]))

    def names(self, person: Person | None, *, hidden: bool = False, somebody_else: bool = False) -> Mapping[str, str]:
        """What each parameter of a path stands for."""
        asking = person or OWNER
        whose = OTHER[asking.id] if hidden or somebody_else else asking
        group = {"name": "inside", "group": "inside"} if hidden else {"group": "outside"}
        return {**self.shared, **self.of_camera[HALL if hidden else GARDEN], **self.of_person[whose.id], **group}

    def _fill(self) -> None:
        home = self.home
        make_fleet(home)
        home.things.registered[SHELF] = ""
        home.releases.releases.append(Release("2.0.0", WHEEL, "ab" * 32))
        ask_for(home, OWNER, "POST", "/tags", {"name": "dogs"})
        ask_for(home, OWNER, "POST", "/jobs", {"type": "reboot", "cameras": ["hall"]})
        self._order()
        for number, thing in enumerate((GARDEN, HALL)):
            self._record(thing, number)
        registration = ask_for(home, None, "POST", "/registrations", {"csr": REQUEST})
        self.shared |= {"code": registration["user_code"]}
        for person in EVERYBODY:
            self._settle(person)

    def _order(self) -> None:
        job = JobId(ask_for(self.home, OWNER, "POST", "/jobs", {"type": "reboot", "cameras": ["garden", "gate"]})["id"])
        self.home.jobs.move(job, ThingName("gate"), JobStatus.FAILED)
        self.shared["job"] = str(job)

    def _record(self, thing: ThingName, number: int) -> None:
        home = self.home
        video = add_clip(home, thing, START_S - 600, event_id(number))
        ask_for(home, OWNER, "POST", "/tags/dogs/videos", {"videos": [{"video": video, "thingName": thing}]})
        share = ask_for(home, OWNER, "POST", f"/videos/{video}/cameras/{thing}/share", {})
        stream = ask_for(home, OWNER, "POST", f"/cameras/{thing}/streamTokens", {})
        home.media.store(f"capture_images/{thing}/thumbnail_latest.jpg", b"jpeg", "image/jpeg")
        home.shadows.desire(thing, {"camera": {"framerate": 20}})
        say(home, thing, "health_end", cpu_used=1.0)
        say(home, thing, "motion_start", event_id=event_id(number), score=1.0)
        reports = ask_for(home, OWNER, "GET", f"/cameras/{thing}/stats")["items"]
        self.of_camera[thing] = {
            "thing": str(thing),
            "video": str(video),
            "share": share["id"],
            "stream": stream["id"],
            "token": share["url"].rpartition("/")[2],
            "timestamp": str(reports[0]["timestamp"]),
        }

    def _settle(self, person: Person) -> None:
        home = self.home
        session = home.sign_ins.sign_in(person.id, f"phone-of-{person.id}")
        self.of_person[person.id] = {"session": session.id}
        if person.role is None:
            self.of_person[person.id] |= {"ticket": "0" * 32, "connection": "none", "subscription": "0" * 32}
            self.of_person[person.id]["invoke"] = "live"
            return
        console = Console(home, person)
        camera = "garden" if person.groups else "hall"
        console.say("invoke", camera=camera, event=START, invokeId="live")
        body = {"protocol": "webpush", "endpoint": WEBPUSH}
        self.of_person[person.id] |= {
            "ticket": ask_for(home, person, "POST", "/tokens")["id"],
            "connection": str(console.id),
            "invoke": "live",
            "subscription": ask_for(home, person, "POST", "/subscriptions", body)["id"],
        }


QUERIES: dict[str, dict[str, object]] = {
    "GET /cameras/{thing}/stream.mjpeg": {"token": "A" * 43},
    "GET /cameras/{thing}/timeline": {"startTime": int(START_S - 3600) * 1000, "endTime": int(START_S) * 1000},
}
BODIES: dict[str, Any] = {
    "POST /cameras": {"thingName": SHELF},
    "PUT /cameras/{thing}": {"displayName": "Garden"},
    "POST /cameras/{thing}/groups": {"groups": ["inside"]},
    "POST /cameras/{thing}/captureVideo": {"durationInSeconds": 5},
    "POST /cameras/{thing}/configuration": {"camera": {"framerate": 10}},
    "PUT /modes": {"mode": "privacy"},
    "POST /groups": {"name": "attic"},
    "PUT /groups/{name}": {"description": "green"},
    "POST /groups/{name}/cameras": {"cameras": ["garden"]},
    "PUT /videos/{video}/cameras/{thing}": {"starred": True},
    "POST /videos/{video}/cameras/{thing}/tags": {"tags": ["dogs"]},
    "POST /videos/{video}/cameras/{thing}/share": {"expiresInSeconds": 600},
    "POST /tags": {"name": "cats"},
    "POST /cameras/{thing}/streamTokens": {"note": "the hall's tablet"},
    "PUT /tags/{tag}": {"description": "barking"},
    "POST /tags/{tag}/videos": {"videos": [{"video": video_id(START_S - 600, event_id(0)), "thingName": "garden"}]},
    "POST /subscriptions": {"protocol": "webpush", "endpoint": WEBPUSH},
    "POST /subscriptions by e-mail": {"protocol": "email", "endpoint": "a@example.com"},
    "PUT /subscriptions/{subscription}": {"description": "mine"},
    "POST /people": {"email": "new@example.com", "role": "member"},
    "PUT /people/{person}": {"role": "member"},
    "POST /jobs": {"type": "reboot", "cameras": ["garden"]},
    "PUT /jobs/{job}": {"description": "why"},
    "POST /registrations": {"csr": REQUEST},
    "POST /registrations/token": {"device_code": "never given"},
    "POST /registrations/{code}": {"decision": "deny"},
}
