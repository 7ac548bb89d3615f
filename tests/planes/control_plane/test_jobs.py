"""Jobs: what is ordered of cameras, and how each of them gets on with it."""

from __future__ import annotations

from typing import Any

import pytest

from pinthesky.model.identifiers import ThingName
from pinthesky.model.jobs import HandlerAction, JobId, JobStatus, parse_document
from pinthesky.planes.ports import JobOrder, Release
from tests.planes.fakes import out_of_reach
from tests.planes.home import GARDEN, GATE, HALL, OWNER, StagedHome, ask, ask_for, list_all, problem_of

WHEEL = "https://releases.test/pinthesky-2.0.0-py3-none-any.whl"
SHA256 = "ab" * 32


@pytest.fixture
def fleet(fleet: StagedHome) -> StagedHome:
    fleet.releases.releases.append(Release("2.0.0", WHEEL, SHA256))
    return fleet


def order(home: StagedHome, kind: str = "reboot", **more: Any) -> Any:
    home.clock.now_s += 1
    return ask_for(home, OWNER, "POST", "/jobs", {"type": kind, "cameras": ["garden"], **more})


def ordered(home: StagedHome, job: Any) -> JobOrder:
    return home.jobs.orders[JobId(job["id"])]


@pytest.mark.parametrize(
    "kind, parameters, steps",
    [
        ("update", {"version": "2.0.0"}, [("upgrade-pinthesky", [WHEEL, SHA256]), ("health-check", [])]),
        (
            "update",
            {"version": "2.0.0", "allowDowngrade": True},
            [("upgrade-pinthesky", [WHEEL, SHA256, "--allow-downgrade"]), ("health-check", [])],
        ),
        ("reboot", {}, [("reboot", [])]),
        ("shutdown", {}, [("shutdown", [])]),
        ("service-logs", {}, [("read-service-logs", ["pinthesky", "20"])]),
        (
            "service-logs",
            {"service": "pinthesky-upgrade", "lines": 5},
            [("read-service-logs", ["pinthesky-upgrade", "5"])],
        ),
        ("doctor", {}, [("doctor", [])]),
        ("rotate-certificate", {}, [("rotate-certificate", [])]),
        (
            "restart",
            {"services": ["pinthesky", "pinthesky"]},
            [("restart-services", ["pinthesky"]), ("health-check", ["pinthesky"])],
        ),
    ],
)
def test_a_job_becomes_the_document_that_the_handlers_understand(fleet, kind, parameters, steps):
    document = parse_document(ordered(fleet, order(fleet, kind, parameters=parameters)).document)
    actions = [action for _, action in document.actions()]
    assert all(isinstance(action, HandlerAction) for action in actions)
    assert [
        (action.input.handler, action.input.args) for action in actions if isinstance(action, HandlerAction)
    ] == steps
    assert document.include_std_out


@pytest.mark.parametrize(
    "more, field",
    [
        ({"type": "format-disk"}, "type"),
        ({"type": "update"}, "parameters"),
        ({"type": "update", "parameters": {"version": "9.9.9"}}, "parameters.version"),
        ({"type": "service-logs", "parameters": {"service": "sshd"}}, "parameters.service"),
        ({"type": "service-logs", "parameters": {"lines": 0}}, "parameters.lines"),
        ({"type": "restart", "parameters": {"services": []}}, "parameters.services"),
        ({"parameters": {"now": True}}, "parameters.now"),
        ({"cameras": ["attic"]}, "cameras"),
        ({"cameras": []}, "cameras"),
        ({"groups": ["attic"]}, "groups"),
        ({"cameras": ["a b"]}, "cameras[0]"),
        ({"timeoutInMinutes": 0}, "timeoutInMinutes"),
        ({"rollout": {"maximumPerMinute": 1001}}, "rollout.maximumPerMinute"),
        ({"abort": {"thresholdPercent": 0}}, "abort.thresholdPercent"),
        ({"retries": 11}, "retries"),
        ({"command": "rm"}, "command"),
    ],
)
def test_an_order_that_cannot_be_is_refused_with_its_field(fleet, more, field):
    body = {"type": "reboot", "cameras": ["garden"], **more}
    assert problem_of(fleet, OWNER, "POST", "/jobs", body) == (400, field)
    assert fleet.jobs.orders == {}


def test_targets_are_cameras_and_those_that_are_in_the_groups_now(fleet):
    job = order(fleet, cameras=["hall", "garden"], groups=["outside"])
    assert ordered(fleet, job).things == [HALL, GARDEN, GATE]
    assert (job["cameras"], job["groups"], job["counts"]) == (["hall", "garden"], ["outside"], {"QUEUED": 3})


def test_rollout_abort_time_out_and_retries_reach_the_job_service(fleet):
    limits: dict[str, Any] = {
        "rollout": {"maximumPerMinute": 5},
        "abort": {"thresholdPercent": 20, "minimumExecuted": 3},
        "timeoutInMinutes": 30,
        "retries": 2,
        "description": "at night",
    }
    job = order(fleet, **limits)
    made = ordered(fleet, job)
    assert (made.maximum_per_minute, made.abort_percent, made.abort_after) == (5, 20, 3)
    assert (made.timeout_minutes, made.retries, made.description) == (30, 2, "at night")
    assert {name: job[name] for name in limits} == limits
    assert (job["createdBy"], job["state"], job["type"]) == ("olga", "IN_PROGRESS", "reboot")


@pytest.mark.parametrize(
    "kind, rollout, abort, minutes",
    [
        ("update", 1, 50, 120),
        ("rotate-certificate", 1, 50, 60),
        ("reboot", 10, 50, 60),
        ("restart", 10, 50, 60),
        ("shutdown", None, None, 60),
        ("service-logs", None, None, 60),
    ],
)
def test_what_is_not_said_of_an_order_suits_its_kind(fleet, kind, rollout, abort, minutes):
    parameters = {"parameters": {"version": fleet.releases.known()[0].version}} if kind == "update" else {}
    made = ordered(fleet, order(fleet, kind, **parameters))
    assert (made.maximum_per_minute, made.abort_percent, made.timeout_minutes) == (rollout, abort, minutes)


def test_an_order_without_limits_has_none_and_neither_has_its_retry(fleet):
    job = order(fleet, "reboot", rollout=None, abort=None, timeoutInMinutes=None)
    fleet.jobs.move(JobId(job["id"]), GARDEN, JobStatus.FAILED)
    again = ask_for(fleet, OWNER, "POST", f"/jobs/{job['id']}/retry")
    for made in (ordered(fleet, job), ordered(fleet, again)):
        assert (made.maximum_per_minute, made.abort_percent, made.timeout_minutes) == (None, None, None)


def test_jobs_are_listed_newest_first_and_over_ones_are_asked_about_no_more(fleet, monkeypatch):
    first, second, third = (order(fleet)["id"] for _ in range(3))
    fleet.jobs.move(JobId(first), GARDEN, JobStatus.SUCCEEDED)
    listed = list_all(fleet, OWNER, "/jobs")
    assert [(each["id"], each["state"]) for each in listed] == [
        (third, "IN_PROGRESS"),
        (second, "IN_PROGRESS"),
        (first, "COMPLETED"),
    ]
    asked = []
    summary = fleet.jobs.summary

    def counted(job):
        asked.append(job)
        return summary(job)

    monkeypatch.setattr(fleet.jobs, "summary", counted)
    again = list_all(fleet, OWNER, "/jobs")
    assert (asked, again[2]["counts"]) == ([third, second], None)


def test_a_job_can_be_described_otherwise_cancelled_and_deleted(fleet):
    job = order(fleet)
    path = f"/jobs/{job['id']}"
    assert ask_for(fleet, OWNER, "PUT", path, {"description": "why"})["description"] == "why"
    assert ask_for(fleet, OWNER, "POST", f"{path}/cancel")["state"] == "CANCELED"
    assert problem_of(fleet, OWNER, "POST", f"{path}/cancel")[0] == 409
    assert ask(fleet, OWNER, "DELETE", path)[0] == 204
    assert fleet.jobs.orders == {}
    for method, body in (("GET", None), ("PUT", {"description": ""}), ("DELETE", None)):
        assert problem_of(fleet, OWNER, method, path, body)[0] == 404


def test_a_job_that_the_service_has_forgotten_will_not_happen_any_more(fleet):
    running, done = order(fleet)["id"], order(fleet)["id"]
    fleet.jobs.move(JobId(done), GARDEN, JobStatus.SUCCEEDED)
    ask_for(fleet, OWNER, "GET", f"/jobs/{done}")
    for job in (running, done):
        fleet.jobs.delete(JobId(job))
    states = [ask_for(fleet, OWNER, "GET", f"/jobs/{job}")["state"] for job in (running, done)]
    assert states == ["CANCELED", "COMPLETED"]


def test_executions_are_followed_cancelled_and_deleted(fleet):
    job = order(fleet, "service-logs", cameras=["garden", "gate", "hall"])
    path = f"/jobs/{job['id']}/executions"
    fleet.jobs.move(JobId(job["id"]), GARDEN, JobStatus.SUCCEEDED, stdout="all is well")
    items = list_all(fleet, OWNER, path)
    assert [(each["thingName"], each["status"], each["number"]) for each in items] == [
        ("garden", "SUCCEEDED", 1),
        ("gate", "QUEUED", 1),
        ("hall", "QUEUED", 1),
    ]
    assert (items[0]["details"], items[0]["type"]) == ({"stdout": "all is well"}, "service-logs")
    assert (items[0]["startedAt"] is None, items[1]["startedAt"]) == (False, None)
    assert ask_for(fleet, OWNER, "POST", f"{path}/gate/cancel")["status"] == "CANCELED"
    assert problem_of(fleet, OWNER, "POST", f"{path}/gate/cancel")[0] == 409
    assert ask(fleet, OWNER, "DELETE", f"{path}/hall/number/1")[0] == 204
    assert problem_of(fleet, OWNER, "GET", f"{path}/hall")[0] == 404
    assert problem_of(fleet, OWNER, "DELETE", f"{path}/hall/number/0") == (400, "number")
    assert problem_of(fleet, OWNER, "GET", "/jobs/none/executions")[0] == 404


def test_a_cameras_executions_of_all_jobs(fleet):
    old, new = order(fleet)["id"], order(fleet, "shutdown")["id"]
    fleet.job_records.remove(JobId(old))
    listed = list_all(fleet, OWNER, "/cameras/garden/jobs", limit=1)
    assert [(each["jobId"], each["type"]) for each in listed] == [(new, "shutdown"), (old, None)]


def test_page_tokens_of_the_job_service_are_sealed(fleet):
    job = order(fleet, cameras=["garden", "gate"])
    path = f"/jobs/{job['id']}/executions"
    assert problem_of(fleet, OWNER, "GET", path, nextToken="1") == (400, "nextToken")
    token = ask_for(fleet, OWNER, "GET", path, limit=1)["nextToken"]
    assert problem_of(fleet, OWNER, "GET", "/cameras/garden/jobs", nextToken=token) == (400, "nextToken")


def test_a_job_is_ordered_again_for_cameras_that_failed(fleet):
    parameters = {"version": "2.0.0", "allowDowngrade": True}
    job = order(fleet, "update", cameras=["garden", "gate", "hall"], parameters=parameters, retries=1)
    ended = {GARDEN: JobStatus.FAILED, GATE: JobStatus.SUCCEEDED, HALL: JobStatus.TIMED_OUT}
    path = f"/jobs/{job['id']}/retry"
    assert problem_of(fleet, OWNER, "POST", path) == (400, "job")
    for thing, status in ended.items():
        fleet.jobs.move(JobId(job["id"]), thing, status)
    again = ask_for(fleet, OWNER, "POST", path)
    assert (again["retryOf"], again["cameras"], again["parameters"]) == (job["id"], ["garden", "hall"], parameters)
    assert (again["retries"], ordered(fleet, again).things) == (1, [GARDEN, HALL])


def test_failed_cameras_are_found_on_every_page(home, monkeypatch):
    monkeypatch.setattr("pinthesky.planes.control_plane.jobs.LIMIT_MAX", 1)
    things = [ThingName(f"camera-{number}") for number in range(3)]
    for thing in things:
        home.cameras.adopt(thing, 0)
    job = order(home, cameras=things)
    for thing in things:
        home.jobs.move(JobId(job["id"]), thing, JobStatus.REJECTED)
    assert ask_for(home, OWNER, "POST", f"/jobs/{job['id']}/retry")["cameras"] == things


def test_an_order_that_the_service_refuses_leaves_no_record(fleet, monkeypatch):
    monkeypatch.setattr(fleet.jobs, "create", out_of_reach)
    assert problem_of(fleet, OWNER, "POST", "/jobs", {"type": "reboot", "cameras": ["garden"]})[0] == 500
    assert ask_for(fleet, OWNER, "GET", "/jobs")["items"] == []


def test_the_kinds_of_jobs_say_what_they_take(home):
    kinds = list_all(home, OWNER, "/jobTypes")
    assert [each["type"] for each in kinds] == [
        "doctor",
        "reboot",
        "restart",
        "rotate-certificate",
        "service-logs",
        "shutdown",
        "update",
    ]
    update = ask_for(home, OWNER, "GET", "/jobTypes/update")
    assert update == kinds[-1]
    assert (update["parameters"]["required"], update["summary"] != "") == (["version"], True)
    assert problem_of(home, OWNER, "GET", "/jobTypes/format-disk")[0] == 404
    assert problem_of(home, OWNER, "GET", "/jobTypes/..")[0] == 400
