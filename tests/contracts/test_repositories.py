"""The repositories of clips, and what is made of them, on the table in DynamoDB: other tests have them on SQLite."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pinthesky.aws.records import DynamoTable
from pinthesky.planes import retention
from tests.planes.fakes import START_S
from tests.planes.home import GARDEN, HALL, OWNER, VIEWER, StagedHome, ask, ask_for, list_all, make_fleet, make_home
from tests.planes.recordings import add_clip, add_thumbnail, clip_key, event_id, pushed, say, say_motion, store_clip
from tests.support.aws_fixtures import moto_client

DAY_S = 86_400


@pytest.fixture
def home(tmp_path: Path, moto_port: int) -> Iterator[StagedHome]:
    client, name = moto_client(moto_port, "dynamodb"), f"repositories-{secrets.token_hex(6)}"
    keys = [{"AttributeName": each, "AttributeType": "S"} for each in ("PK", "SK", "GS1-PK", "GS1-SK")]
    schema = [
        [{"AttributeName": f"{of}{end}", "KeyType": kind} for end, kind in (("PK", "HASH"), ("SK", "RANGE"))]
        for of in ("", "GS1-")
    ]
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=keys,
        KeySchema=schema[0],
        GlobalSecondaryIndexes=[{"IndexName": "time", "KeySchema": schema[1], "Projection": {"ProjectionType": "ALL"}}],
    )
    made = make_home(tmp_path)
    made = replace(made, table=DynamoTable(client, name, now_s=made.clock))
    make_fleet(made)
    yield made
    made.database.close()


def test_clips_are_taken_in_listed_tagged_starred_shared_and_deleted(home):
    kept, going = (add_clip(home, GARDEN, START_S - 100 + number, event_id(number)) for number in range(2))
    other = add_clip(home, HALL, START_S - 50, event_id(9))
    add_thumbnail(home, GARDEN, kept)
    assert [each["video"] for each in list_all(home, VIEWER, "/videos", limit=1)] == [other, going, kept]
    ask_for(home, OWNER, "POST", "/tags", {"name": "pets"})
    for video in (kept, going):
        ask_for(home, OWNER, "POST", f"/videos/{video}/cameras/garden/tags", {"tags": ["pets"]})
        ask_for(home, OWNER, "PUT", f"/videos/{video}/cameras/garden", {"starred": True})
    share = ask_for(home, OWNER, "POST", f"/videos/{kept}/cameras/garden/share", {})
    assert ask_for(home, None, "GET", share["url"].removeprefix("https://home.test"))["cameraName"] == "Garden"
    assert ask(home, OWNER, "DELETE", f"/videos/{going}/cameras/garden")[0] == 204
    for query in ({"tag": "pets"}, {"starred": "true"}, {"camera": "garden"}):
        assert [each["video"] for each in ask_for(home, OWNER, "GET", "/videos", **query)["items"]] == [kept]
    assert {each.type for each in pushed(home)} == {"clip_stored", "still_captured", "clip_deleted"}


def test_news_is_told_once_and_counted_in_its_cool_down(home):
    ask_for(home, OWNER, "POST", "/subscriptions", {"protocol": "email", "endpoint": "a@example.com"})
    for number in (1, 1, 2):
        say_motion(home, GARDEN, event_id(number))
    home.clock.now_s += 301
    say_motion(home, GARDEN, event_id(3))
    assert [alert.merged for alert, _ in home.notifier.delivered] == [0, 1]
    assert len(pushed(home, "motion_started")) == 3
    minute = round(START_S / 60) - 10
    say(home, GARDEN, "motion_activity", minutes=[[minute, 50]])
    found = ask_for(
        home, OWNER, "GET", "/cameras/garden/timeline", startTime=minute * 60_000, endTime=minute * 60_000 + 3_600_000
    )
    assert sum(each["events"] for each in found["motion"]) == 3


def test_rows_and_objects_are_brought_together(home):
    store_clip(home, GARDEN, START_S - 100, event_id(1))
    gone = add_clip(home, GARDEN, START_S - 90, event_id(2))
    home.media.delete([clip_key(GARDEN, gone)])
    home.clock.now_s += 3600
    repairs = retention.reconcile(home, home.clock())
    assert (repairs.added_rows, repairs.removed_rows, repairs.failed) == (1, 1, [])
    home.clock.now_s += 30 * DAY_S
    assert retention.sweep(home, home.clock()).removed_objects == 1
    assert list_all(home, OWNER, "/videos") == []
