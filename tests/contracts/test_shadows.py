"""The contract of named shadows, on the hub and on moto's AWS IoT.

Where moto differs from AWS's documentation, `MOTO_DIFFERS` says how; those cases are run on moto all the same, and
have to fail there, so that the table stays true.
"""

from __future__ import annotations

import itertools
import json
import types
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from pinthesky.errors import Conflict, InvalidInput, NotFound
from pinthesky.hub.database import Database
from pinthesky.hub.shadow_document import encode
from pinthesky.hub.shadows import Shadows
from pinthesky.hub.thing_changes import ThingChanges
from pinthesky.model.identifiers import ThingName
from tests.support.aws_servers import moto_server
from tests.support.house.source import ROOT
from tests.support.hub_things import FakeTime

NAME = "pinthesky"
names = (ThingName(f"thing-{number}") for number in itertools.count())

MOTO_DIFFERS = {
    "test_a_section_set_to_null_is_removed": ('`"desired": null`', "leaves the section"),
    "test_a_value_keeps_its_own_timestamp": ("metadata", "stamps every value at each update"),
    "test_true_is_not_one": ("true and 1", "equal"),
    "test_deleting_tells_the_version_that_was_deleted": (
        "version told by a deletion",
        "one more than the deleted one",
    ),
    "test_the_version_goes_on_after_a_deletion": ("first version after a deletion", "two more"),
    "test_deleting_twice_is_not_found": ("deleting what is deleted", "succeeds"),
    "test_a_deleted_shadow_is_listed_no_more": ("the names after a deletion", "hold it still"),
    "test_a_section_that_is_no_object_is_refused": ("a section that is no object", "internal error"),
    "test_null_in_an_array_is_refused": ("null in an array", "kept"),
    "test_more_than_eight_levels_are_refused": ("more than 8 levels", "kept"),
    "test_more_than_eight_kilobytes_are_refused": ("more than 8 KB", "kept"),
    "test_nothing_is_kept_of_a_refused_update": ("more than 8 KB", "kept"),
    "test_a_version_that_is_no_number_is_refused": ("a version that is no number", "409"),
    "test_a_client_token_that_is_too_long_is_refused": ("a client token over 64 bytes", "taken"),
    "test_a_client_token_comes_back": ("the client token in the answer", "left out"),
    "test_a_version_on_a_new_shadow_is_a_conflict": ("a version on a shadow that does not exist", "internal error"),
    "test_a_name_that_is_none_is_refused": ("a name with a space", "taken"),
}
"""By test: the case and what moto does, as `docs/reference/hub-things.md` has them."""


class Rig(Protocol):
    thing: ThingName

    def update(self, document: Any, name: str = NAME) -> dict[str, Any]: ...
    def get(self) -> dict[str, Any]: ...
    def names(self) -> list[str]: ...
    def delete(self) -> dict[str, Any]: ...
    def refusal(self, call: Callable[[], object]) -> int: ...
    def pass_time(self, seconds: float) -> None: ...


class HubRig:
    def __init__(self, database: Database, clock: FakeTime) -> None:
        self._told: dict[str, bytes] = {}
        changes = ThingChanges(database, self._told.__setitem__)
        self._shadows = Shadows(database, changes, clock=clock)
        self._clock = clock
        self.thing = next(names)

    def update(self, document: Any, name: str = NAME) -> dict[str, Any]:
        self._told.clear()
        answer = self._shadows.update(self.thing, name, document)
        told = json.loads(self._told[f"$aws/things/{self.thing}/shadow/name/{name}/update/accepted"])
        assert told.items() >= json.loads(encode(answer)).items()
        return told

    def names(self) -> list[str]:
        return self._shadows.names(self.thing)

    def get(self) -> dict[str, Any]:
        return self._shadows.get(self.thing, NAME)

    def delete(self) -> dict[str, Any]:
        return self._shadows.delete(self.thing, NAME)

    def refusal(self, call: Callable[[], object]) -> int:
        with pytest.raises((Conflict, InvalidInput, NotFound)) as refused:
            call()
        return self._shadows.rejection(refused.value, None)["code"]

    def pass_time(self, seconds: float) -> None:
        self._clock.now_s += seconds


class MotoRig:
    def __init__(self, client: Any, iot: Any, clock: FakeTime) -> None:
        self._client = client
        self._clock = clock
        self.thing = next(names)
        iot.create_thing(thingName=self.thing)

    def update(self, document: Any, name: str = NAME) -> dict[str, Any]:
        answer = self._client.update_thing_shadow(thingName=self.thing, shadowName=name, payload=json.dumps(document))
        return json.loads(answer["payload"].read())

    def names(self) -> list[str]:
        return self._client.list_named_shadows_for_thing(thingName=self.thing)["results"]

    def get(self) -> dict[str, Any]:
        return json.loads(self._client.get_thing_shadow(thingName=self.thing, shadowName=NAME)["payload"].read())

    def delete(self) -> dict[str, Any]:
        return json.loads(self._client.delete_thing_shadow(thingName=self.thing, shadowName=NAME)["payload"].read())

    def refusal(self, call: Callable[[], object]) -> int:
        with pytest.raises(ClientError) as refused:
            call()
        return refused.value.response["ResponseMetadata"]["HTTPStatusCode"]

    def pass_time(self, seconds: float) -> None:
        self._clock.now_s += seconds


@pytest.fixture(scope="module")
def moto() -> Iterator[tuple[Any, Any]]:
    with moto_server() as port:
        how: dict[str, Any] = {
            "endpoint_url": f"http://127.0.0.1:{port}",
            "region_name": "us-east-1",
            "aws_access_key_id": "test",
            "aws_secret_access_key": "test",
            "config": Config(retries={"total_max_attempts": 1}),
        }
        yield boto3.client("iot-data", **how), boto3.client("iot", **how)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = Database(tmp_path_factory.mktemp("shadows") / "hub.sqlite")
    yield database
    database.close()


@pytest.fixture(params=["hub", "moto"])
def rig(request: pytest.FixtureRequest, database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    clock = FakeTime()
    if request.param == "hub":
        yield HubRig(database, clock)
        return
    client, iot = request.getfixturevalue("moto")
    monkeypatch.setattr("moto.iotdata.models.time", types.SimpleNamespace(time=clock))
    how = MOTO_DIFFERS.get(request.function.__name__)
    if how is not None:
        request.applymarker(pytest.mark.xfail(reason=f"moto: {how[0]}: {how[1]}", strict=True))
    yield MotoRig(client, iot, clock)


def test_the_first_update_makes_version_one(rig: Rig):
    answer = rig.update({"state": {"reported": {"a": 1}}})
    assert (answer["version"], rig.get()["version"]) == (1, 1)
    assert answer["state"] == {"reported": {"a": 1}}


def test_an_update_changes_what_it_names_and_nothing_else(rig: Rig):
    rig.update({"state": {"desired": {"camera": {"rotation": 0, "framerate": 20}, "mode": "home"}}})
    rig.update({"state": {"desired": {"camera": {"framerate": 25}}}})
    assert rig.get()["state"]["desired"] == {"camera": {"rotation": 0, "framerate": 25}, "mode": "home"}


def test_null_deletes_a_value(rig: Rig):
    rig.update({"state": {"desired": {"camera": {"rotation": 0, "framerate": 20}}}})
    rig.update({"state": {"desired": {"camera": {"framerate": None, "buffer": None}}}})
    assert rig.get()["state"]["desired"] == {"camera": {"rotation": 0}}


def test_the_last_value_of_a_section_takes_it_along(rig: Rig):
    rig.update({"state": {"desired": {"a": 1}, "reported": {"b": 2}}})
    rig.update({"state": {"desired": {"a": None}}})
    found = rig.get()
    assert found["state"] == {"reported": {"b": 2}}
    assert set(found["metadata"]) == {"reported"}


def test_a_section_set_to_null_is_removed(rig: Rig):
    rig.update({"state": {"desired": {"a": 1}, "reported": {"a": 1}}})
    rig.update({"state": {"desired": None}})
    assert rig.get()["state"] == {"reported": {"a": 1}}


def test_state_null_empties_the_shadow_and_keeps_its_version(rig: Rig):
    rig.update({"state": {"desired": {"a": 1}, "reported": {"a": 1}}})
    answer = rig.update({"state": None})
    assert answer["state"] is None
    found = rig.get()
    assert (found["state"], found["metadata"], found["version"]) == ({}, {}, 2)


def test_an_empty_update_makes_a_version(rig: Rig):
    rig.update({"state": {"reported": {"a": 1}}})
    rig.update({"state": {}})
    assert (rig.get()["version"], rig.get()["state"]) == (2, {"reported": {"a": 1}})


def test_an_array_is_replaced_whole(rig: Rig):
    rig.update({"state": {"desired": {"zones": [[1, 2], [3, 4]]}, "reported": {"zones": [[1, 2]]}}})
    assert rig.get()["state"]["delta"] == {"zones": [[1, 2], [3, 4]]}
    rig.update({"state": {"desired": {"zones": [[5]]}}})
    assert rig.get()["state"]["desired"] == {"zones": [[5]]}


def test_the_delta_is_what_is_desired_and_not_reported(rig: Rig):
    rig.update({"state": {"desired": {"a": 1, "b": {"c": 2, "d": 3}}, "reported": {"b": {"c": 2, "d": 4}, "e": 5}}})
    assert rig.get()["state"]["delta"] == {"a": 1, "b": {"d": 3}}


def test_there_is_no_delta_where_nothing_differs(rig: Rig):
    rig.update({"state": {"desired": {"a": 1}, "reported": {"a": 1, "b": 2}}})
    assert "delta" not in rig.get()["state"]


def test_true_is_not_one(rig: Rig):
    rig.update({"state": {"desired": {"a": True}, "reported": {"a": 1}}})
    assert rig.get()["state"].get("delta") == {"a": True}


def test_whole_numbers_stay_exact(rig: Rig):
    rig.update({"state": {"reported": {"a": 2**53 + 1, "b": -(2**63), "c": 2**64 + 1}}})
    assert rig.get()["state"]["reported"] == {"a": 2**53 + 1, "b": -(2**63), "c": 2**64 + 1}


def test_values_of_every_kind_come_back_as_they_were(rig: Rig):
    values = {"text": "Gärtner", "number": 1.5, "flag": True, "list": [{"a": 1}, {"b": []}], "empty": ""}
    rig.update({"state": {"desired": values}})
    assert rig.get()["state"] == {"desired": values, "delta": values}


def test_text_is_no_number_and_the_order_of_an_array_counts(rig: Rig):
    rig.update({"state": {"desired": {"a": "1", "b": [1, 2], "c": 1}, "reported": {"a": 1, "b": [2, 1], "c": 1}}})
    assert rig.get()["state"]["delta"] == {"a": "1", "b": [1, 2]}


def test_an_object_that_has_lost_its_last_value_stays(rig: Rig):
    rig.update({"state": {"reported": {"a": {"b": 1}, "c": 1}}})
    rig.update({"state": {"reported": {"a": {"b": None}}}})
    assert rig.get()["state"] == {"reported": {"a": {}, "c": 1}}


def test_a_shadow_of_nothing_is_a_shadow(rig: Rig):
    rig.update({"state": {"desired": {}}})
    found = rig.get()
    assert (found["state"], found["metadata"], found["version"]) == ({}, {}, 1)


def test_each_name_is_a_shadow_of_its_own(rig: Rig):
    rig.update({"state": {"reported": {"a": 1}}})
    assert rig.update({"state": {"reported": {"a": 2}}}, "other")["version"] == 1
    assert sorted(rig.names()) == ["other", NAME]


def test_a_deleted_shadow_is_listed_no_more(rig: Rig):
    rig.update({"state": {"reported": {"a": 1}}})
    rig.delete()
    assert rig.names() == []


def test_a_name_that_is_none_is_refused(rig: Rig):
    assert rig.refusal(lambda: rig.update({"state": {"reported": {"a": 1}}}, "a name")) == 400


def test_a_client_token_comes_back(rig: Rig):
    assert rig.update({"state": {"reported": {"a": 1}}, "clientToken": "mine"})["clientToken"] == "mine"


def test_the_page_names_every_difference():
    page = (ROOT / "docs" / "reference" / "hub-things.md").read_text(encoding="utf-8")
    table = page.partition("### Where moto differs")[2].partition("\n\n| case ")[2].partition("\n\n")[0]
    rows = [row.split(" | ")[:2] for row in table.splitlines()[2:]]
    assert {(case.removeprefix("| "), how) for case, how in rows} == set(MOTO_DIFFERS.values())


def test_metadata_has_the_shape_of_the_state(rig: Rig):
    rig.update({"state": {"reported": {"a": {"b": 1}, "c": [1, {"d": 2}]}}})
    stamp = {"timestamp": 1_800_000_000}
    assert rig.get()["metadata"] == {"reported": {"a": {"b": stamp}, "c": [stamp, {"d": stamp}]}}


def test_a_value_keeps_its_own_timestamp(rig: Rig):
    rig.update({"state": {"reported": {"a": 1, "b": 1}}})
    rig.pass_time(10)
    rig.update({"state": {"reported": {"b": 2}}})
    assert rig.get()["metadata"]["reported"] == {
        "a": {"timestamp": 1_800_000_000},
        "b": {"timestamp": 1_800_000_010},
    }


def test_the_answer_describes_the_request_nulls_among_it(rig: Rig):
    rig.update({"state": {"desired": {"a": 1, "b": 1}}})
    answer = rig.update({"state": {"desired": {"a": None}}})
    assert answer["state"] == {"desired": {"a": None}}
    assert answer["metadata"] == {"desired": {"a": {"timestamp": 1_800_000_000}}}


def test_the_version_asked_for_must_be_the_current_one(rig: Rig):
    rig.update({"state": {"desired": {"a": 1}}})
    rig.update({"state": {"desired": {"a": 2}}, "version": 1})
    assert rig.refusal(lambda: rig.update({"state": {"desired": {"a": 3}}, "version": 1})) == 409
    assert rig.get()["state"]["desired"] == {"a": 2}


def test_a_version_on_a_new_shadow_is_a_conflict(rig: Rig):
    assert rig.refusal(lambda: rig.update({"state": {"desired": {"a": 1}}, "version": 4})) == 409


def test_a_shadow_that_is_not_there_is_not_found(rig: Rig):
    assert rig.refusal(rig.get) == 404
    assert rig.refusal(rig.delete) == 404


def test_a_deleted_shadow_is_not_found(rig: Rig):
    rig.update({"state": {"desired": {"a": 1}}})
    rig.delete()
    assert rig.refusal(rig.get) == 404


def test_deleting_twice_is_not_found(rig: Rig):
    rig.update({"state": {"desired": {"a": 1}}})
    rig.delete()
    assert rig.refusal(rig.delete) == 404


def test_deleting_tells_the_version_that_was_deleted(rig: Rig):
    rig.update({"state": {"desired": {"a": 1}}})
    rig.update({"state": {"desired": {"a": 2}}})
    assert rig.delete() == {"version": 2, "timestamp": 1_800_000_000}


def test_the_version_goes_on_after_a_deletion(rig: Rig):
    rig.update({"state": {"desired": {"a": 1}}})
    rig.delete()
    assert rig.update({"state": {"desired": {"b": 1}}})["version"] == 2
    assert rig.get()["state"]["desired"] == {"b": 1}


@pytest.mark.parametrize(
    "document",
    [{}, {"desired": {}}, {"state": 1}, {"state": []}, {"state": {"wanted": {}}}],
    ids=json.dumps,
)
def test_a_document_without_a_proper_state_is_refused(rig: Rig, document: Any):
    assert rig.refusal(lambda: rig.update(document)) == 400


def test_a_section_that_is_no_object_is_refused(rig: Rig):
    assert rig.refusal(lambda: rig.update({"state": {"desired": 5}})) == 400


def test_null_in_an_array_is_refused(rig: Rig):
    assert rig.refusal(lambda: rig.update({"state": {"desired": {"a": [1, None]}}})) == 400


def test_a_version_that_is_no_number_is_refused(rig: Rig):
    rig.update({"state": {"desired": {"a": 1}}})
    assert rig.refusal(lambda: rig.update({"state": {"desired": {"a": 1}}, "version": "1"})) == 400


def test_a_client_token_that_is_too_long_is_refused(rig: Rig):
    rig.update({"state": {"desired": {}}, "clientToken": "t" * 64})
    assert rig.refusal(lambda: rig.update({"state": {"desired": {}}, "clientToken": "t" * 65})) == 400


def nested(levels: int) -> dict[str, Any]:
    document: dict[str, Any] = {"leaf": 1}
    for _ in range(levels - 1):
        document = {"deeper": document}
    return document


def test_eight_levels_are_taken(rig: Rig):
    rig.update({"state": {"desired": nested(8)}})
    assert rig.get()["state"]["desired"] == nested(8)


def test_more_than_eight_levels_are_refused(rig: Rig):
    assert rig.refusal(lambda: rig.update({"state": {"desired": nested(9)}})) == 400


def test_more_than_eight_kilobytes_are_refused(rig: Rig):
    rig.update({"state": {"desired": {"a": "x" * 4050}}})
    assert rig.refusal(lambda: rig.update({"state": {"reported": {"a": "x" * 4200}}})) == 413


def test_nothing_is_kept_of_a_refused_update(rig: Rig):
    rig.update({"state": {"desired": {"a": 1}}})
    assert rig.refusal(lambda: rig.update({"state": {"desired": {"a": 2, "b": "x" * 9000}}})) == 413
    assert (rig.get()["state"]["desired"], rig.get()["version"]) == ({"a": 1}, 1)
