"""The two files beside the named shadow, against a connection whose every answer the test decides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pinthesky.link.configuration import ShadowSettings
from pinthesky.link.shadow_files import ANSWER_S, LONGEST_ANSWER_S, ShadowFiles
from pinthesky.model.shadow import parse_document
from tests.support.held_mqtt import HeldMqtt, Sent

PREFIX = "$aws/things/garden/shadow/name/pinthesky"
HUGE = 2**63 + 12345


class Bench:
    """The shadow's files without a thread; `look` is what the thread does, `now_s` its clock."""

    def __init__(self, folder: Path) -> None:
        self.mqtt = HeldMqtt()
        self.input, self.output = folder / "report.json", folder / "shadow.json"
        self.now_s = 0.0
        self.woken = 0
        settings = ShadowSettings("pinthesky", self.input, self.output)
        self.files = ShadowFiles(settings, "garden", self.mqtt, wake=self._wake, monotonic=lambda: self.now_s)

    def connect(self) -> None:
        self.mqtt.connect()
        self.look()

    def look(self, *changed: Path) -> None:
        self.files.look(set(changed))

    def report(self, content: bytes) -> None:
        self.input.write_bytes(content)
        self.look(self.input)

    def sent(self, operation: str) -> list[Sent]:
        return [sent for sent in self.mqtt.sent if sent.topic == f"{PREFIX}/{operation}"]

    def answer(self, operation: str, **document: Any) -> None:
        """Answer the latest `get` or `update`."""
        token = self.sent(operation.partition("/")[0])[-1].document["clientToken"]
        self.mqtt.deliver(f"{PREFIX}/{operation}", {**document, "clientToken": token})

    def documents(self, version: int, **desired: Any) -> None:
        current = {"state": {"desired": desired, "reported": {}}, "metadata": {}, "version": version}
        previous = {"state": {}, "metadata": {}, "version": version - 1}
        self.mqtt.deliver(
            f"{PREFIX}/update/documents", {"previous": previous, "current": current, "timestamp": 1_700_000_000}
        )

    @property
    def written(self) -> Any:
        return json.loads(self.output.read_bytes())

    def _wake(self) -> None:
        self.woken += 1


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


# What the shadow says


def test_the_shadow_is_asked_for_at_every_connection_and_written_as_documents_are(bench: Bench) -> None:
    bench.connect()
    assert len(bench.sent("get")) == 1
    state = {"desired": {"camera": {"framerate": 8}}, "reported": {"a": 1}, "delta": {"camera": {"framerate": 8}}}
    bench.answer("get/accepted", state=state, metadata={"desired": {}}, version=7, timestamp=1_700_000_000)
    assert bench.written == {
        "current": {
            "state": {"desired": {"camera": {"framerate": 8}}, "reported": {"a": 1}},
            "metadata": {"desired": {}},
            "version": 7,
        },
        "timestamp": 1_700_000_000,
    }
    assert parse_document(bench.output.read_bytes()).desired == {"camera": {"framerate": 8}}
    assert bench.output.stat().st_mode & 0o777 == 0o600
    bench.mqtt.lose()
    bench.connect()
    assert len(bench.sent("get")) == 2
    bench.answer("get/accepted", state={"desired": {"camera": {"framerate": 9}}}, version=9, timestamp=2)
    assert parse_document(bench.output.read_bytes()).desired == {"camera": {"framerate": 9}}


def test_a_state_of_which_nothing_is_desired_says_so(bench: Bench) -> None:
    bench.connect()
    bench.answer("get/accepted", state={}, version=1, timestamp=1)
    assert parse_document(bench.output.read_bytes()).desired == {}


def test_documents_are_written_byte_for_byte(bench: Bench) -> None:
    bench.connect()
    raw = (
        b'{"previous":{}, "current":{"state":{"desired":{"n":%d,"x":1.10}},"version":3 ,"metadata":{}},"timestamp":1}'
        % HUGE
    )
    bench.mqtt.deliver(f"{PREFIX}/update/documents", raw)
    assert bench.output.read_bytes() == raw


def test_large_integers_come_through_a_get_exactly(bench: Bench) -> None:
    bench.connect()
    bench.answer("get/accepted", state={"desired": {"n": HUGE, "many": 10**40}}, version=1, timestamp=1)
    assert bench.written["current"]["state"]["desired"] == {"n": HUGE, "many": 10**40}


def test_an_older_document_is_ignored(bench: Bench) -> None:
    bench.connect()
    bench.documents(5, a=5)
    bench.documents(4, a=4)
    assert bench.written["current"]["state"]["desired"] == {"a": 5}
    bench.answer("get/accepted", state={"desired": {"a": 3}}, version=3, timestamp=1)
    assert bench.written["current"]["state"]["desired"] == {"a": 5}
    bench.documents(6, a=6)
    assert bench.written["current"]["state"]["desired"] == {"a": 6}


@pytest.mark.parametrize("how", ["reconnection", "deletion"])
def test_a_shadow_that_began_anew_is_taken_at_its_lower_version(bench: Bench, how: str) -> None:
    bench.connect()
    bench.documents(50, a=50)
    if how == "reconnection":
        bench.mqtt.lose()
        bench.connect()
    else:
        bench.mqtt.deliver(f"{PREFIX}/delete/accepted", {"version": 50, "timestamp": 1})
    bench.documents(1, a=1)
    assert bench.written["current"]["state"]["desired"] == {"a": 1}


def test_an_answer_to_an_earlier_get_is_none(bench: Bench) -> None:
    bench.connect()
    bench.mqtt.deliver(f"{PREFIX}/get/accepted", {"state": {}, "version": 9, "clientToken": "somebody"})
    assert not bench.output.exists()


def test_a_shadow_that_is_not_there_yet_is_no_error(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.connect()
    bench.answer("get/rejected", code=404, message="No shadow exists")
    bench.now_s = 1000.0
    bench.look()
    assert len(bench.sent("get")) == 1
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_get_without_an_answer_is_sent_again_ever_more_slowly(bench: Bench) -> None:
    bench.connect()
    waits_s = []
    for _ in range(9):
        due_s = bench.files.due_in()
        assert due_s is not None
        waits_s.append(due_s)
        bench.now_s += due_s
        bench.look()
    assert waits_s[:4] == [ANSWER_S, 2 * ANSWER_S, 4 * ANSWER_S, 8 * ANSWER_S]
    assert waits_s[-1] == LONGEST_ANSWER_S
    assert len(bench.sent("get")) == 10
    assert len({sent.document["clientToken"] for sent in bench.sent("get")}) == 10


def test_a_refused_get_is_said_once_and_sent_again(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.connect()
    for _ in range(2):
        bench.answer("get/rejected", code=500, message="Internal error")
        bench.now_s += 1000.0
        bench.look()
    bench.mqtt.deliver(f"{PREFIX}/get/rejected", {"code": 500, "clientToken": "somebody"})
    assert len(bench.sent("get")) == 3
    assert [record.message for record in caplog.records] == [
        "shadow pinthesky cannot be had: 500 Internal error; trying again"
    ]


@pytest.mark.parametrize("topic", ["update/documents", "get/accepted"])
@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"{}", b'{"current":{"state":[]}}', b"[" * 100_000])
def test_a_malformed_message_changes_no_file(
    bench: Bench, topic: str, payload: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    bench.connect()
    bench.documents(1, a=1)
    before = bench.output.read_bytes()
    bench.mqtt.deliver(f"{PREFIX}/{topic}", payload)
    assert bench.output.read_bytes() == before
    assert len(caplog.records) == 1


def test_a_file_that_cannot_be_written_is_said_once(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.connect()
    bench.output.mkdir()
    bench.documents(1, a=1)
    bench.documents(2, a=2)
    assert [record.message for record in caplog.records] == [f"cannot write {bench.output}: Is a directory"]
    bench.output.rmdir()
    bench.documents(3, a=3)
    assert bench.written["current"]["version"] == 3


def test_a_document_over_all_bounds_is_refused_with_a_line(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.connect()
    bench.documents(1, a="x" * 130_000)
    assert not bench.output.exists()
    assert "must hold 1 to 128000 bytes" in caplog.text


# What the daemon reports


def test_the_report_goes_out_once_at_the_start_and_after_each_write_as_it_is(bench: Bench) -> None:
    bench.input.write_bytes(b' {"n": %d, "x": 1.10}\n' % HUGE)
    bench.connect()
    bench.look()
    updates = bench.sent("update")
    assert len(updates) == 1
    assert b'"state":{"reported":{"n": %d, "x": 1.10}}}' % HUGE in updates[0].payload
    assert set(updates[0].document) == {"clientToken", "state"}
    bench.answer("update/accepted", version=1)
    bench.report(b'{"n":2}')
    assert bench.sent("update")[-1].document["state"] == {"reported": {"n": 2}}


def test_nothing_is_reported_that_the_daemon_did_not_write(bench: Bench) -> None:
    bench.connect()
    bench.documents(1, camera={"framerate": 8})
    bench.mqtt.deliver(f"{PREFIX}/update/delta", {"state": {"camera": {"framerate": 8}}, "version": 1})
    bench.look()
    assert bench.sent("update") == []


@pytest.mark.parametrize("content", [b"", b" \n"])
def test_an_empty_report_is_harmless(bench: Bench, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    bench.connect()
    bench.report(content)
    assert bench.sent("update") == []
    assert caplog.records == []


@pytest.mark.parametrize("content", [b"{", b"[]", b"7", b'{"a":}', b"[" * 5000])
def test_a_report_that_is_no_object_is_said_and_not_sent(
    bench: Bench, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    bench.connect()
    bench.report(content)
    assert bench.sent("update") == []
    assert "is not reported, it is not a JSON object" in caplog.text
    bench.now_s = 1000.0
    assert bench.files.due_in() is not None, "only the shadow is asked for again"
    bench.report(b"{}")
    assert len(bench.sent("update")) == 1


def test_an_unreadable_report_is_said(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.input.mkdir()
    bench.connect()
    assert "cannot read" in caplog.text


def test_what_was_reported_without_a_connection_goes_out_with_the_next(bench: Bench) -> None:
    bench.report(b'{"n":1}')
    bench.report(b'{"n":2}')
    assert bench.sent("update") == []
    bench.connect()
    assert [sent.document["state"]["reported"] for sent in bench.sent("update")] == [{"n": 2}]


def test_a_lost_acknowledgement_is_asked_for_again(bench: Bench) -> None:
    bench.connect()
    bench.report(b'{"n":1}')
    bench.answer("get/rejected", code=404, message="")
    bench.now_s += ANSWER_S
    bench.look()
    assert [sent.document["state"]["reported"] for sent in bench.sent("update")] == [{"n": 1}, {"n": 1}]
    bench.answer("update/accepted", version=1)
    assert bench.files.due_in() is None


def test_a_report_on_its_way_when_the_connection_goes_is_sent_again(bench: Bench) -> None:
    bench.connect()
    bench.report(b'{"n":1}')
    bench.mqtt.lose()
    bench.connect()
    assert len(bench.sent("update")) == 2


def test_somebody_elses_update_is_no_answer_to_ours(bench: Bench) -> None:
    bench.connect()
    bench.report(b'{"n":1}')
    for payload in (b'{"clientToken":"console"}', b"{}", b"no json"):
        bench.mqtt.deliver(f"{PREFIX}/update/accepted", payload)
        bench.mqtt.deliver(f"{PREFIX}/update/rejected", payload)
    bench.now_s += ANSWER_S
    bench.look()
    assert len(bench.sent("update")) == 2


@pytest.mark.parametrize(
    "code, message, said",
    [
        (413, "Payload too large", "413 Payload too large; a shadow holds 8 KB of desired and reported together; not"),
        (400, "Invalid JSON", "400 Invalid JSON; not sent again until it changes"),
    ],
)
def test_a_rejected_report_is_told_with_code_and_message_and_not_sent_again(
    bench: Bench, caplog: pytest.LogCaptureFixture, code: int, message: str, said: str
) -> None:
    bench.connect()
    bench.report(b'{"n":1}')
    bench.answer("update/rejected", code=code, message=message)
    assert f"rejects the report of 7 bytes: {said}" in caplog.text
    bench.now_s += 1000.0
    bench.look()
    assert len(bench.sent("update")) == 1
    bench.report(b'{"n":2}')
    assert len(bench.sent("update")) == 2


@pytest.mark.parametrize("code", [409, 429, 500])
def test_a_report_that_may_be_taken_later_is_sent_again(bench: Bench, code: int) -> None:
    bench.connect()
    bench.report(b'{"n":1}')
    bench.answer("update/rejected", code=code, message="later")
    bench.look()
    assert len(bench.sent("update")) == 1
    bench.now_s += ANSWER_S
    bench.look()
    assert len(bench.sent("update")) == 2


def test_one_file_alone_is_served_too(tmp_path: Path) -> None:
    mqtt = HeldMqtt()
    only_input = ShadowFiles(
        ShadowSettings("pinthesky", tmp_path / "report.json", None), "garden", mqtt, wake=lambda: None
    )
    (tmp_path / "report.json").write_text("{}")
    mqtt.connect()
    only_input.look(set())
    assert [sent.topic for sent in mqtt.sent] == [f"{PREFIX}/update"]
    only_output = ShadowFiles(
        ShadowSettings("pinthesky", None, tmp_path / "shadow.json"), "garden", mqtt, wake=lambda: None
    )
    only_output.look(set())
    assert [sent.topic for sent in mqtt.sent] == [f"{PREFIX}/update", f"{PREFIX}/get"]
