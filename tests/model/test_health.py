"""The health report as it travels."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from pinthesky.model.events import HealthEnd, document_of
from pinthesky.model.health import HealthReport

# The fields of `health_end`, as an installed fleet's console reads them.
ALWAYS = [
    *("version", "python_version", "os_version", "os_id", "ip_addr", "start_time", "up_time"),
    *("recording_status", "motion_captured"),
    *("disk_free", "disk_used", "disk_total", "mem_free", "mem_avail", "mem_total", "cpu_used", "cpu_count"),
]


def a_report(**fields) -> HealthReport:
    known = dict.fromkeys(ALWAYS)
    known.update(version="1.0", python_version="3.11.7", up_time=5.0, recording_status=False, motion_captured=0)
    return HealthReport(**{**known, **fields})


def test_the_fields_of_old_are_always_there():
    assert list(a_report().as_document()) == ALWAYS


def test_a_field_that_could_not_be_read_is_null():
    assert a_report().as_document()["mem_free"] is None


def test_a_new_field_is_there_when_it_is_known():
    document = a_report(throttled=0, clock_synchronised=False, battery_percent=80).as_document()
    assert {name: document[name] for name in document if name not in ALWAYS} == {
        "throttled": 0,
        "clock_synchronised": False,
        "battery_percent": 80,
    }


def test_the_fields_stand_beside_the_event_s_own():
    document = document_of(HealthEnd(thing_name="garden", timestamp=7.0, report=a_report().as_document()))
    assert document["name"] == "health_end"
    assert document["thing_name"] == "garden"
    assert document["version"] == "1.0"


@pytest.mark.parametrize(
    "field, value", [("camera_model", "x" * 121), ("cpu_used", 100.5), ("battery_percent", 101), ("disk_free", -1)]
)
def test_a_report_out_of_bounds_is_refused_by_its_reader(field, value):
    encoded = msgspec.json.encode({**a_report().as_document(), field: value})
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(encoded, type=HealthReport)


def test_the_reference_page_lists_every_field():
    page = (Path(__file__).resolve().parents[2] / "docs/reference/health.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert listed == [field.name for field in msgspec.structs.fields(HealthReport)]
