"""Pages of lists neither skip nor repeat what stays, whatever is written between them."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

import pytest

from pinthesky.model.identifiers import GroupName, ThingName
from pinthesky.model.people import Person
from tests.planes.home import GARDEN, GUEST, OWNER, StagedHome, ask_for


class Listing(NamedTuple):
    """A list, and how something is put into it and taken out of it."""

    path: str
    person: Person
    name_of: Callable[[dict], str]
    put: Callable[[StagedHome, str], None]
    take: Callable[[StagedHome, str], None]


def put_camera(home: StagedHome, name: str) -> None:
    thing = ThingName(name)
    home.cameras.adopt(thing, home.clock.now_ms)
    home.health.report(thing, {}, home.clock.now_ms)
    home.groups.join(thing, GroupName("outside"))


def take_camera(home: StagedHome, name: str) -> None:
    home.groups.forget_camera(ThingName(name))
    home.cameras.remove(ThingName(name))


def put_group(home: StagedHome, name: str) -> None:
    ask_for(home, OWNER, "POST", "/groups", {"name": name})
    home.groups.join(GARDEN, GroupName(name))


def take_group(home: StagedHome, name: str) -> None:
    home.groups.remove(GroupName(name))


def put_thing(home: StagedHome, name: str) -> None:
    home.things.registered[ThingName(name)] = ""


def take_thing(home: StagedHome, name: str) -> None:
    home.things.remove(ThingName(name))


def put_report(home: StagedHome, name: str) -> None:
    home.health.add(GARDEN, int(name[1:]), {}, expires_at_s=None)


def take_nothing(home: StagedHome, name: str) -> None:
    """A report is never taken back."""


CAMERA = (lambda item: item["thingName"], put_camera, take_camera)
GROUP = (lambda item: item["name"], put_group, take_group)
LISTS = [
    Listing("/cameras", OWNER, *CAMERA),
    Listing("/cameras", GUEST, *CAMERA),
    Listing("/stats", OWNER, *CAMERA),
    Listing("/stats", GUEST, *CAMERA),
    Listing("/modes", GUEST, *CAMERA),
    Listing("/groups/outside/cameras", GUEST, *CAMERA),
    Listing("/groups", OWNER, *GROUP),
    Listing("/cameras/garden/groups", OWNER, *GROUP),
    Listing("/iot/groups/cameras/things", OWNER, lambda item: item["thingName"], put_thing, take_thing),
    Listing("/cameras/garden/stats", OWNER, lambda item: f"x{item['timestamp']}", put_report, take_nothing),
]


@pytest.mark.parametrize("listing", LISTS, ids=lambda listing: f"{listing.person.id} {listing.path}")
@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_is_written_between_pages_what_stays_is_listed_once(fleet: StagedHome, listing: Listing, seed: int):
    chance = random.Random(seed)
    names = [f"x{number}" for number in chance.sample(range(100, 999), 30)]
    staying, passing = names[:10], names[10:]
    there: set[str] = set()
    for name in staying:
        listing.put(fleet, name)
    seen: list[str] = []
    token: str | None = ""
    while token is not None:
        page = ask_for(fleet, listing.person, "GET", listing.path, limit=3, **({"nextToken": token} if token else {}))
        assert len(page["items"]) <= 3
        seen += [listing.name_of(item) for item in page["items"]]
        token = page["nextToken"]
        for name in chance.sample(passing, 4):
            (listing.take if name in there else listing.put)(fleet, name)
            there ^= {name}
    assert sorted(name for name in seen if name in staying) == sorted(staying)
    assert len(seen) == len(set(seen))
