"""What the daemon says of itself: metrics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import pytest

from pinthesky.device.fakes import FakeClock
from pinthesky.device.telemetry import MetricLog
from pinthesky.device.timekeeping import TimeKeeper
from pinthesky.errors import InvalidInput
from pinthesky.model.identifiers import ThingName
from pinthesky.model.settings import CloudWatchSettings
from tests.support.log_records import T0, root_logger

__all__ = ["root_logger"]

GARDEN = ThingName("garden")


# Metrics


class Measured:
    def __init__(self, folder: Path, *, wall: float = T0, **options) -> None:
        self.documents: list[dict] = []
        keeper = TimeKeeper(FakeClock(wall), folder / "time.json")
        self.log = MetricLog(lambda text: self.documents.append(json.loads(text)), keeper, thing=GARDEN, **options)

    def configure(self, event_type: Literal["logs", "emf", "all"] = "all", *, enabled: bool = True) -> None:
        self.log.configure(CloudWatchSettings(enabled=enabled, event_type=event_type, metric_namespace="Mine"))


@pytest.fixture
def measured(tmp_path: Path) -> Measured:
    return Measured(tmp_path)


def test_a_metric_is_an_emf_document(measured):
    measured.configure()
    measured.log.write("Event", "health_end", {"EventProcessed": 1, "Time": 12.5})
    assert measured.documents == [
        {
            "_aws": {
                "Timestamp": 1_800_000_000_000,
                "CloudWatchMetrics": [
                    {
                        "Namespace": "Mine",
                        "Dimensions": [["Event"]],
                        "Metrics": [
                            {"Name": "EventProcessed", "Unit": "Count"},
                            {"Name": "Time", "Unit": "Milliseconds"},
                        ],
                    }
                ],
            },
            "Event": "health_end",
            "EventProcessed": 1,
            "Time": 12.5,
        }
    ]


def test_each_thing_is_a_dimension_only_when_that_is_asked_for(tmp_path):
    measured = Measured(tmp_path, per_thing=True)
    measured.configure()
    measured.log.write("FileType", "mp4", {"Size": 1000})
    (document,) = measured.documents
    assert document["ThingName"] == "garden"
    assert document["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["ThingName", "FileType"]]


@pytest.mark.parametrize("enabled, event_type, count", [(False, "all", 0), (True, "logs", 0), (True, "emf", 1)])
def test_metrics_are_off_unless_asked_for(measured, enabled, event_type, count):
    measured.log.write("Operation", "upload", {"Failure": 1})
    measured.configure(event_type, enabled=enabled)
    measured.log.write("Operation", "upload", {"Failure": 1})
    assert len(measured.documents) == count


def test_no_metric_is_written_while_the_time_is_not_known(tmp_path):
    measured = Measured(tmp_path, wall=5.0)
    measured.configure()
    measured.log.write("Operation", "upload", {"Failure": 1})
    assert measured.documents == []


@pytest.mark.parametrize(
    "dimension, value, metrics",
    [
        ("ThingName", "garden", {"Time": 1}),
        ("Event", "", {"Time": 1}),
        ("Event", ":x", {"Time": 1}),
        ("Event", "x\n", {"Time": 1}),
        ("Event", "x" * 256, {"Time": 1}),
        ("Event", "x", {}),
        ("Event", "x", {"Temperature": 1}),
        ("Event", "x", {"Time": float("nan")}),
        ("Event", "x", {"Size": float("inf")}),
    ],
)
def test_what_cloudwatch_would_not_take_is_refused_even_while_metrics_are_off(measured, dimension, value, metrics):
    with pytest.raises(InvalidInput):
        measured.log.write(dimension, value, metrics)
