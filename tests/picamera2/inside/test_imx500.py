"""What the sensor recognises, by the library's own code for the IMX500, with the sensor itself made of files."""

from __future__ import annotations

import threading

import pytest
from picamera2 import CompletedRequest, Picamera2
from picamera2.devices.imx500.imx500 import NETWORK_FW_FD_CTRL_ID

from pinthesky.device.cameras import picamera2_imx500
from pinthesky.device.cameras.picamera2 import Picamera2Camera
from pinthesky.device.ports import CameraLost, Labels, Packet
from tests.contracts.camera_contract import CLOSE_S, Catcher, settings
from tests.picamera2.imx500_sensor import metadata_of, network_file, system_with_sensor

# The library names the schema of its own checks in a way that newer versions of jsonschema will refuse.
pytestmark = pytest.mark.filterwarnings("ignore:The metaschema:DeprecationWarning")

PERSON = ((64.0, 32.0, 192.0, 96.0), 0.9, 0)
"""Left, top, right, bottom in pixels of the network's input."""


@pytest.fixture
def camera():
    """The camera with the sensor, given back in the end."""
    camera = Picamera2Camera("picamera2:2")
    yield camera
    assert camera.close(CLOSE_S)


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """The sensor and its network; the controls that were set."""
    monkeypatch.setattr(picamera2_imx500, "MODEL", network_file(tmp_path / "network.rpk"))
    with system_with_sensor(monkeypatch, tmp_path) as asked:
        yield asked


@pytest.fixture
def seen(monkeypatch):
    """What the network finds in every picture; put it in."""
    found: list = []
    get_metadata = CompletedRequest.get_metadata
    monkeypatch.setattr(
        CompletedRequest, "get_metadata", lambda request: {**get_metadata(request), **metadata_of(found)}
    )
    return found


def labels_of(caught: Catcher) -> list[Labels]:
    return [frame for frame in list(caught.frames) if isinstance(frame, Labels)]


@pytest.mark.usefixtures("asked")
class TestFindings:
    def test_they_come_with_the_pictures_after_the_packet_and_once_a_second(self, camera, seen, asked):
        seen.extend([PERSON, (PERSON[0], 0.3, 2)])
        caught = Catcher()
        description = camera.open(settings(), [])
        camera.start(caught)
        assert caught.wait_for(lambda: len(labels_of(caught)) >= 2)
        assert camera.close(CLOSE_S)
        assert description.extra["recognises"] == "objects"
        assert description.first_packet_s == picamera2_imx500.FIRST_PACKET_S
        assert NETWORK_FW_FD_CTRL_ID in asked
        first, second = labels_of(caught)[:2]
        (label,) = first.labels
        assert label.name == "person"
        assert label.confidence == pytest.approx(0.9)
        assert label.box == pytest.approx((0.2, 0.1, 0.6, 0.3))
        assert second.timestamp_us - first.timestamp_us >= 1_000_000
        before = caught.frames[: [type(frame) for frame in caught.frames].index(Labels)]
        assert first.timestamp_us in [frame.timestamp_us for frame in before if isinstance(frame, Packet)]

    def test_a_box_is_that_of_the_picture_as_shown(self, camera, seen):
        seen.append(PERSON)
        caught = Catcher()
        camera.open(settings(rotation=90), [])
        camera.start(caught)
        assert caught.wait_for(lambda: labels_of(caught))
        assert camera.close(CLOSE_S)
        assert labels_of(caught)[0].labels[0].box == pytest.approx((0.7, 0.2, 0.9, 0.6))

    def test_metadata_that_cannot_be_read_costs_the_labels_only(self, camera, monkeypatch, caplog):
        wrong = {"CnnOutputTensor": [0.0] * 9, "CnnOutputTensorInfo": b"short"}
        monkeypatch.setattr(CompletedRequest, "get_metadata", lambda _: wrong)
        caught = Catcher()
        camera.open(settings(), [])
        camera.start(caught)
        assert caught.wait_for(lambda: len(caught.packets) >= 15)
        assert camera.close(CLOSE_S)
        assert caught.losses == []
        assert labels_of(caught) == []
        assert caplog.text.count("cannot be read") == 1


class TestWithoutItsNetwork:
    def recorded(self, camera, caplog) -> str:
        caught = Catcher()
        with caplog.at_level("INFO"):
            description = camera.open(settings(), [])
        camera.start(caught)
        assert caught.wait_for(lambda: caught.packets)
        assert camera.close(CLOSE_S)
        assert "recognises" not in description.extra
        assert description.first_packet_s is None
        return caplog.text

    def test_the_camera_works_and_the_log_says_what_to_install(self, camera, caplog):
        assert "apt install imx500-models" in self.recorded(camera, caplog)

    @pytest.mark.usefixtures("asked")
    def test_a_file_that_is_no_network_is_told(self, camera, caplog):
        picamera2_imx500.MODEL.write_bytes(b"9464" + bytes(3))
        assert "cannot be used" in self.recorded(camera, caplog)

    @pytest.mark.usefixtures("asked")
    def test_a_network_for_something_else_is_told(self, camera, caplog):
        network_file(picamera2_imx500.MODEL, task="pose estimation")
        assert "pose estimation" in self.recorded(camera, caplog)

    def test_a_sensor_without_its_driver_is_told(self, camera, caplog, monkeypatch, tmp_path):
        monkeypatch.setattr(picamera2_imx500, "MODEL", network_file(tmp_path / "network.rpk"))
        assert "dev-node not found" in self.recorded(camera, caplog)


@pytest.mark.usefixtures("asked")
class TestSlowStart:
    def test_the_owner_of_the_camera_does_not_wait_for_the_network_to_be_sent(self, camera, monkeypatch):
        sent, start = threading.Event(), Picamera2.start

        def slow_start(library):
            assert sent.wait(20)
            start(library)

        monkeypatch.setattr(Picamera2, "start", slow_start)
        caught = Catcher()
        camera.open(settings(), [])
        camera.start(caught)
        assert caught.frames == []
        assert not camera.close(0.1), "it cannot be given back while it starts"
        sent.set()
        assert camera.close(CLOSE_S)

    def test_a_start_that_fails_is_a_loss(self, camera, monkeypatch):
        def failing_start(_):
            raise RuntimeError("no firmware")

        monkeypatch.setattr(Picamera2, "start", failing_start)
        caught = Catcher()
        camera.open(settings(), [])
        camera.start(caught)
        assert caught.wait_for(lambda: caught.losses)
        assert camera.close(CLOSE_S)
        assert caught.losses == [CameraLost("the camera does not start: no firmware")]
