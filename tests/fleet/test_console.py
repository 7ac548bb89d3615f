"""What a person at the console sees of a camera: by the hub's HTTP and its socket, of a fleet that really runs."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from tests.support.daemon_process import eventually
from tests.support.fleet import Fleet, FleetCamera
from tests.support.hub_console import Console, ConsoleSocket

pytestmark = pytest.mark.needs_av


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    made = Fleet(tmp_path_factory.mktemp("console"))
    try:
        yield made
    finally:
        codes = made.close()
    assert set(codes) == {0}, codes


@pytest.fixture(scope="module")
def console(fleet: Fleet) -> Iterator[Console]:
    made = Console(fleet.hub.data, fleet.hub.console_port)
    yield made
    made.close()


@pytest.fixture(scope="module")
def garden(fleet: Fleet, console: Console) -> FleetCamera:
    made = fleet.add("garden")
    made.start()
    eventually(
        lambda: console.ask("GET", "/cameras/garden").json().get("online") is True, "the camera is known, and online"
    )
    return made


@pytest.fixture
def socket(fleet: Fleet, console: Console) -> Iterator[ConsoleSocket]:
    made = ConsoleSocket(console, fleet.hub.console_port, fleet.hub.data)
    yield made
    made.close()


def test_a_clip_is_asked_for_pushed_listed_played_and_deleted_everywhere(fleet, console, garden, socket):
    import av

    asked = console.ask("POST", "/cameras/garden/captureVideo", {"durationInSeconds": 2})
    assert asked.status_code == 202, asked.text
    pushed = socket.wait_event("clip_stored", "garden", trigger="manual")
    (listed,) = console.ask("GET", "/videos", camera="garden", trigger="manual").json()["items"]
    assert listed["video"] == pushed["video"]
    path = f"/videos/{pushed['video']}/cameras/garden"
    link = console.ask("GET", f"{path}/url").json()["url"]
    whole = console.fetch(link)
    assert (whole.status_code, whole.headers["content-type"]) == (200, "video/mp4")
    with av.open(io.BytesIO(whole.content), "r") as container:
        assert len(list(container.decode(video=0))) >= 15
    part = console.fetch(link, Range="bytes=100-199")
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    assert console.fetch(link.replace("seal=", "seal=0")).status_code == 403
    key = f"motion_videos/garden/{pushed['video']}"
    file = fleet.media(key)
    assert file is not None
    assert file.is_file()
    assert console.ask("DELETE", path).status_code == 204
    socket.wait_event("clip_deleted", "garden", video=pushed["video"])
    assert console.ask("GET", path).status_code == 404
    assert console.ask("GET", "/videos", camera="garden").json()["items"] == []
    eventually(lambda: not file.exists(), "the file is gone from the media folder")
    assert console.fetch(link).status_code == 404


def test_a_still_is_asked_for_and_shown(console, garden, socket):
    assert console.ask("POST", "/cameras/garden/captureImage").status_code == 202
    socket.wait_event("still_captured", "garden")
    eventually(
        lambda: console.ask("GET", "/cameras/garden/captureImage").json()["pending"] is False, "the still is there"
    )
    link = console.ask("GET", "/cameras/garden/captureImage/url").json()["url"]
    picture = console.fetch(link)
    assert (picture.status_code, picture.content[:2]) == (200, b"\xff\xd8")


def test_a_setting_is_changed_and_the_camera_says_so(console, garden, socket):
    before = console.ask("GET", "/cameras/garden/configuration").json()
    edit = {"camera": {"sensitivity": 14}}
    changed = console.ask("POST", "/cameras/garden/configuration", edit, expectedVersion=str(before["version"]))
    assert changed.status_code == 200, changed.text
    socket.wait_event("settings_applied", "garden")
    eventually(
        lambda: console.ask("GET", "/cameras/garden/configuration").json()["reported"]["camera"]["sensitivity"] == 14,
        "the camera reports it",
    )
    late = console.ask("POST", "/cameras/garden/configuration", edit, expectedVersion=str(before["version"]))
    assert late.status_code == 409
    wrong = console.ask("POST", "/cameras/garden/configuration", {"camera": {"framerate": 0}})
    assert wrong.status_code == 400
    assert wrong.json()["field"] == "camera.framerate"


def test_a_camera_answers_over_the_socket_what_it_was_asked_there(console, garden, socket):
    socket.send("invoke", "r1", camera="garden", event={"name": "health"}, invokeId="i1")
    answered = socket.wait(lambda message: message.get("response", {}).get("requestId") == "r1", "the response")
    assert answered["response"]["statusCode"] == 200, answered
    invoked = socket.wait(lambda message: message.get("invoke", {}).get("name") == "health_end", "the answer")
    assert invoked["invoke"]["thing_name"] == "garden"
    assert invoked["invoke"]["connection"]["invoke_id"] == "i1"
    eventually(lambda: console.ask("GET", "/stats").json()["items"] != [], "the report is kept as well")


def test_nothing_is_answered_without_a_token_or_with_a_wrong_one(fleet, console):
    for token, status in (("", 401), ("Bearer wrong", 401), (f"Bearer {console.tokens['id_token']}", 401)):
        answer = console.fetch("/api/cameras", **({"Authorization": token} if token else {}))
        assert (answer.status_code, answer.json()["requestId"] != "") == (status, True)
    assert console.fetch("/api/openapi.json").status_code == 200
    assert console.ask("GET", "/nothing").status_code == 404
    assert console.ask("POST", "/groups", {"name": "x" * 300_000}).status_code == 413


def test_a_camera_that_is_lost_is_told_of_and_one_that_comes_back(console, garden, socket):
    garden.client.stop()
    socket.wait_event("camera_offline", "garden")
    garden.client.start()
    socket.wait_event("camera_online", "garden")
    assert console.ask("GET", "/cameras/garden").json()["online"] is True
