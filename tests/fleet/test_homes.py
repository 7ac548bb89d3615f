"""What a person at the console sees of a camera that really runs: one suite for a hub and for an AWS account.

At the hub everything is real. The account is simulated (`tests/support/simulated_account.py`): the rules, functions,
routes and event patterns are those of the synthesised templates, the services are moto, a broker and small gateways.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from tests.support.cloud_template import Cloud
from tests.support.daemon_process import eventually
from tests.support.homes import Home, HomeCamera, HomeSocket, HubHome
from tests.support.policies.cloud_account import CloudAccount
from tests.support.simulated_account import AccountHome

pytestmark = pytest.mark.needs_av

WALKS_BY = "synthetic:?script=quiet:4,walk:3,quiet:3600"


@pytest.fixture(scope="module")
def account(cloud: Cloud) -> CloudAccount:
    return CloudAccount(cloud.templates)


@pytest.fixture(scope="module", params=["hub", "aws"])
def home(request, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp(request.param)
    made: Home
    if request.param == "hub":
        made = HubHome(folder)
    else:
        made = AccountHome(folder, request.getfixturevalue("account"), request.getfixturevalue("moto_port"))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def garden(home: Home) -> HomeCamera:
    made = home.add("garden", WALKS_BY)
    made.start()
    eventually(lambda: home.ask("GET", "/cameras/garden").json().get("online") is True, "the camera is known, online")
    return made


@pytest.fixture
def socket(home: Home) -> Iterator[HomeSocket]:
    made = home.open_socket()
    yield made
    made.close()


def test_what_moved_is_told_at_once_and_its_clip_follows(home: Home, garden: HomeCamera):
    def happened(kind: str) -> list[dict[str, object]]:
        found = home.ask("GET", "/events").json()["items"]
        return [event for event in found if event["type"] == kind]

    (started,) = eventually(lambda: happened("motion_started"), "motion is told", 30.0)
    (clip,) = eventually(lambda: happened("clip_stored"), "its clip is stored", 30.0)
    assert (started["camera"], clip["camera"]) == ("garden", "garden")
    listed = home.ask("GET", "/videos", camera="garden", trigger="motion").json()["items"]
    assert [each["video"] for each in listed] == [clip["video"]]
    assert listed[0]["eventId"] == started["eventId"]


def test_a_clip_is_asked_for_pushed_listed_played_and_deleted_everywhere(home, garden, socket):
    import av

    asked = home.ask("POST", "/cameras/garden/captureVideo", {"durationInSeconds": 2})
    assert asked.status_code == 202, asked.text
    pushed = socket.wait_event("clip_stored", "garden", trigger="manual")
    (listed,) = home.ask("GET", "/videos", camera="garden", trigger="manual").json()["items"]
    assert listed["video"] == pushed["video"]
    path = f"/videos/{pushed['video']}/cameras/garden"
    link = home.ask("GET", f"{path}/url").json()["url"]
    whole = home.fetch(link)
    assert (whole.status_code, whole.headers["content-type"]) == (200, "video/mp4")
    with av.open(io.BytesIO(whole.content), "r") as container:
        assert len(list(container.decode(video=0))) >= 15
    part = home.fetch(link, Range="bytes=100-199")
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    key = f"motion_videos/garden/{pushed['video']}"
    assert home.holds(key)
    assert home.ask("DELETE", path).status_code == 204
    socket.wait_event("clip_deleted", "garden", video=pushed["video"])
    assert home.ask("GET", path).status_code == 404
    assert home.ask("GET", "/videos", camera="garden", trigger="manual").json()["items"] == []
    eventually(lambda: not home.holds(key), "the object is gone")
    assert home.fetch(link).status_code == 404


def test_a_still_is_asked_for_and_shown(home, garden, socket):
    assert home.ask("POST", "/cameras/garden/captureImage").status_code == 202
    socket.wait_event("still_captured", "garden")
    eventually(lambda: home.ask("GET", "/cameras/garden/captureImage").json()["pending"] is False, "the still is there")
    link = home.ask("GET", "/cameras/garden/captureImage/url").json()["url"]
    picture = home.fetch(link)
    assert (picture.status_code, picture.content[:2]) == (200, b"\xff\xd8")


def test_a_setting_is_changed_and_the_camera_says_so(home, garden, socket):
    before = home.ask("GET", "/cameras/garden/configuration").json()
    edit = {"camera": {"sensitivity": 14}}
    changed = home.ask("POST", "/cameras/garden/configuration", edit, expectedVersion=str(before["version"]))
    assert changed.status_code == 200, changed.text
    socket.wait_event("settings_applied", "garden")
    eventually(
        lambda: home.ask("GET", "/cameras/garden/configuration").json()["reported"]["camera"]["sensitivity"] == 14,
        "the camera reports it",
    )
    late = home.ask("POST", "/cameras/garden/configuration", edit, expectedVersion=str(before["version"]))
    assert late.status_code == 409
    wrong = home.ask("POST", "/cameras/garden/configuration", {"camera": {"framerate": 0}})
    assert wrong.status_code == 400
    assert wrong.json()["field"] == "camera.framerate"


def test_a_camera_answers_over_the_socket_what_it_was_asked_there(home, garden, socket):
    socket.send("invoke", "r1", camera="garden", event={"name": "health"}, invokeId="i1")
    answered = socket.wait(lambda message: message.get("response", {}).get("requestId") == "r1", "the response")
    assert answered["response"]["statusCode"] == 200, answered
    invoked = socket.wait(lambda message: message.get("invoke", {}).get("name") == "health_end", "the answer")
    assert invoked["invoke"]["thing_name"] == "garden"
    assert invoked["invoke"]["connection"]["invoke_id"] == "i1"
    eventually(lambda: home.ask("GET", "/stats").json()["items"] != [], "the report is kept as well")


def test_a_job_runs_at_the_camera_and_its_end_is_told(home, garden, socket):
    made = home.ask("POST", "/jobs", {"type": "service-logs", "cameras": ["garden"]})
    assert made.status_code in (200, 201), made.text
    told = socket.wait(
        lambda message: (
            message.get("event", {}).get("type") == "job_progress"
            and message["event"].get("status") in ("SUCCEEDED", "FAILED", "REJECTED")
        ),
        "the job is over",
    )
    assert told["event"]["camera"] == "garden"
    (execution,) = home.ask("GET", f"/jobs/{made.json()['id']}/executions").json()["items"]
    assert execution["status"] == told["event"]["status"]


def test_nothing_is_answered_without_a_token_or_with_a_wrong_one(home):
    for token in ("", "Bearer wrong"):
        answer = home.ask_as_nobody("/cameras", {"Authorization": token} if token else {})
        assert (answer.status_code, bool(answer.json()["message"])) == (401, True)
    assert home.ask_as_nobody("/openapi.json", {}).status_code == 200
    assert home.ask("GET", "/nothing").status_code == 404
    assert home.ask("POST", "/groups", {"name": "x" * 300_000}).status_code == 413


def test_a_camera_that_is_lost_is_told_of_and_one_that_comes_back(home, garden, socket):
    garden.client.stop()
    socket.wait_event("camera_offline", "garden")
    garden.client.start()
    socket.wait_event("camera_online", "garden")
    assert home.ask("GET", "/cameras/garden").json()["online"] is True
