"""Events as they travel."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest

from pinthesky.model import events

THING = "pi"
UPLOAD = events.Upload("bucket", "v/pi/x.mp4")
SAMPLES: list[tuple[events.AnyEvent, dict[str, Any]]] = [
    (
        events.MotionStart(thing_name=THING, timestamp=1.5, event_id="e", score=3.0),
        {"name": "motion_start", "event_id": "e", "score": 3.0},
    ),
    (
        events.UploadEnd(thing_name=THING, start_time=1.0, trigger="motion", event_id="e", upload=UPLOAD),
        {
            "name": "upload_end",
            "start_time": 1.0,
            "trigger": "motion",
            "upload": {"bucket_name": "bucket", "bucket_key": "v/pi/x.mp4"},
        },
    ),
    (events.CaptureImageEnd(thing_name=THING, capture_id="c"), {"name": "capture_image_end", "capture_id": "c"}),
    (events.RecordingChange(thing_name=THING, recording=False), {"name": "recording_change", "recording": False}),
    (events.HealthEnd(thing_name=THING, report={"up_time": 5}), {"name": "health_end", "up_time": 5}),
    (
        events.ConfigurationEnd(thing_name=THING, configuration={"camera": {}}),
        {"name": "configuration_end", "configuration": {"camera": {}}},
    ),
    (events.RecordEnd(thing_name=THING), {"name": "record_end"}),
    (
        events.SettingsApplied(thing_name=THING, fingerprint="f", applied=["camera"], rejected={}),
        {"name": "settings_applied", "fingerprint": "f", "applied": ["camera"], "rejected": {}},
    ),
    (events.CameraFault(thing_name=THING, reason="gone"), {"name": "camera_fault", "reason": "gone"}),
    (
        events.SpoolPressure(
            thing_name=THING, dropped_files=1, dropped_bytes=2, reason="full", spool_files=3, spool_bytes=4
        ),
        {"name": "spool_pressure", "dropped_files": 1, "spool_bytes": 4},
    ),
    (events.MotionActivity(thing_name=THING, minutes=[[1, 50]]), {"name": "motion_activity", "minutes": [[1, 50]]}),
]


@pytest.mark.parametrize("event, expected", SAMPLES, ids=[type(event).__name__ for event, _ in SAMPLES])
def test_an_event_carries_its_name_its_thing_and_its_own_fields(event, expected):
    document = json.loads(events.encode(event))
    assert document["thing_name"] == THING
    assert document["timestamp"] == event.timestamp
    assert {key: document[key] for key in expected} == expected
    assert "report" not in document


def test_every_event_has_a_sample_here():
    missing = set(get_args(events.AnyEvent)) - {type(event) for event, _ in SAMPLES}
    assert {kind.__name__ for kind in missing} <= {"CaptureVideoEnd"}


def test_an_event_carries_what_it_answers_to():
    event = events.RecordEnd(thing_name=THING, capture_id="c", connection={"id": "x", "manager_id": None})
    assert json.loads(events.encode(event))["connection"] == {"id": "x", "manager_id": None}


def test_a_report_cannot_replace_what_every_event_has():
    report = {"name": "motion_start", "thing_name": "other", "timestamp": 0, "up_time": 1}
    document = events.document_of(events.HealthEnd(thing_name=THING, timestamp=7.0, report=report))
    assert (document["name"], document["thing_name"], document["timestamp"]) == ("health_end", THING, 7.0)
    assert document["up_time"] == 1


def test_a_batch_holds_events_in_order():
    encoded = [events.encode(event) for event, _ in SAMPLES]
    assert [event["name"] for event in json.loads(events.encode_batch(encoded))["events"]] == [
        expected["name"] for _, expected in SAMPLES
    ]
