"""LibavCamera: what is its own beside the contract (tests/contracts/test_cameras.py)."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from pinthesky.device.ports import CameraLost, Packet
from pinthesky.errors import InvalidInput, Unavailable
from pinthesky.model.settings import CameraSettings
from tests.contracts.camera_contract import Catcher, running, settings
from tests.support.live_server import LiveServer
from tests.support.mjpeg_server import MjpegServer
from tests.support.picture_numbers import numbers_in_packets
from tests.support.rtsp_server import RtspServer

av = pytest.importorskip("av", reason="needs PyAV, which is not installed here")
pytestmark = pytest.mark.needs_av

from pinthesky.device.cameras import libav_input  # noqa: E402 - needs PyAV
from pinthesky.device.cameras.libav import LibavCamera  # noqa: E402 - needs PyAV
from pinthesky.device.cameras.libav_tracks import PassthroughTrack, UnfitForPassthrough  # noqa: E402 - needs PyAV
from tests.support.scene_clips import encode_clip, scene_jpegs, scene_packets, write_clip  # noqa: E402 - needs PyAV

PEOPLE = Path(__file__).parents[2] / "footage" / "people.mp4"


@pytest.fixture(scope="module")
def packets() -> list[Packet]:
    """Three seconds of the scene."""
    return scene_packets(60)


def play(address: str) -> Catcher:
    """Play footage to its end."""
    with running(LibavCamera(address)) as run:
        assert run.caught.wait_for(lambda: run.caught.ended)
    return run.caught


def test_a_file_plays_once_at_its_own_pace_and_says_when_it_has_ended(packets: list[Packet], tmp_path: Path):
    path = write_clip(tmp_path / "clip.mp4", packets[:20])
    began_s = time.monotonic()
    caught = play(str(path))
    assert time.monotonic() - began_s >= 0.9
    assert numbers_in_packets(caught.packets) == list(range(20))
    assert [packet.timestamp_us for packet in caught.packets] == [number * 50_000 for number in range(20)]


def test_a_looped_file_goes_on_without_a_seam(packets: list[Packet], tmp_path: Path):
    path = write_clip(tmp_path / "clip.mp4", packets[:15])
    with running(LibavCamera(f"{path}#loop,fast=20")) as run:
        assert run.caught.wait_for(lambda: len(run.caught.packets) >= 45)
    got = run.caught.packets[:45]
    assert numbers_in_packets(got) == list(range(15)) * 3
    steps = {after.timestamp_us - before.timestamp_us for before, after in zip(got, got[1:])}
    assert max(steps) - min(steps) <= 1


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "h264", "avi"])
def test_h264_passes_through_untouched_out_of_any_container(packets: list[Packet], tmp_path: Path, suffix: str):
    path = write_clip(tmp_path / f"clip.{suffix}", packets)
    caught = play(f"{path}#fast")
    assert numbers_in_packets(caught.packets) == list(range(60))
    slices = [packet.data[-40:] for packet in packets]
    assert [packet.data[-40:] for packet in caught.packets] == slices


@pytest.mark.parametrize(
    "name,codec,options",
    [
        ("b_frames.mp4", "libx264", {"bf": "3", "g": "20"}),
        ("b_frames.ts", "libx264", {"bf": "3", "g": "20"}),
        ("mpeg4.avi", "mpeg4", {"qscale": "2"}),
        ("mjpeg.avi", "mjpeg", {"qmin": "2", "qmax": "2"}),
    ],
)
def test_what_cannot_pass_is_encoded_once_and_no_picture_is_lost(tmp_path: Path, name: str, codec: str, options: dict):
    path = encode_clip(tmp_path / name, 50, codec=codec, options=options)
    camera = LibavCamera(f"{path}#fast")
    with running(camera) as run:
        assert run.caught.wait_for(lambda: run.caught.ended)
    assert run.description.can_mask
    assert numbers_in_packets(run.caught.packets) == list(range(50))
    times = [packet.timestamp_us for packet in run.caught.packets]
    assert all(after - before == pytest.approx(50_000, abs=2) for before, after in zip(times, times[1:]))


def test_a_stream_without_idr_pictures_is_encoded_from_the_next_open_on(tmp_path: Path):
    whole = encode_clip(tmp_path / "refreshed.mkv", 60, options={"x264-params": "intra-refresh=1:keyint=4:bframes=0"})
    path = tmp_path / "no_idr.mkv"
    with av.open(str(whole)) as source, av.open(str(path), "w") as sink:
        stream = sink.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if packet.size and number >= 3:
                packet.stream = stream
                sink.mux(packet)
    camera = LibavCamera(f"{path}#fast")
    with running(camera) as first:
        assert first.caught.wait_for(lambda: first.caught.losses)
    assert "IDR" in first.caught.losses[0].reason
    with running(camera) as second:
        assert second.caught.wait_for(lambda: len(second.caught.packets) >= 30)
    assert second.caught.packets[0].is_keyframe


def test_b_frames_that_show_up_late_are_noticed(packets: list[Packet], tmp_path: Path):
    path = write_clip(tmp_path / "clip.mp4", packets[:5])
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        track = PassthroughTrack(stream, 0)
        source = container.demux(stream)
        for packet in (next(source), next(source)):
            track.packets(packet, packet.pts)
        late = next(source)
        late.pts = 0
        with pytest.raises(UnfitForPassthrough, match="B-frames"):
            track.packets(late, 100_000)


def test_privacy_masks_make_an_h264_file_be_encoded():
    camera = LibavCamera(str(PEOPLE))
    assert not camera.open(settings(), []).can_mask
    assert camera.close(5.0)
    assert camera.open(settings(), [[(0, 0), (500, 0), (500, 500)]]).can_mask
    assert camera.close(5.0)


def test_a_picture_that_changes_its_size_loses_the_camera(packets: list[Packet], tmp_path: Path):
    path = tmp_path / "clip.h264"
    path.write_bytes(b"".join(packet.data for packet in [*packets[:30], *scene_packets(30, width=320, height=240)]))
    with running(LibavCamera(f"{path}#fast")) as run:
        assert run.caught.wait_for(lambda: run.caught.losses)
    assert "from 640x480 to 320x240" in run.caught.losses[0].reason


def test_damage_in_the_middle_of_a_file_costs_pictures_not_the_camera(packets: list[Packet], tmp_path: Path):
    path = write_clip(tmp_path / "clip.ts", packets)
    raw = bytearray(path.read_bytes())
    middle = len(raw) // 2
    raw[middle : middle + 2000] = bytes(2000)
    path.write_bytes(raw)
    caught = play(f"{path}#fast")
    assert len(caught.packets) >= 50


def test_pictures_of_odd_size_lose_a_row_and_a_column(tmp_path: Path):
    path = tmp_path / "odd.avi"
    with av.open(str(path), "w") as sink:
        stream = sink.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 321, 241, "yuvj444p"
        for number in range(5):
            picture = av.VideoFrame(321, 241, "yuvj444p")
            picture.pts = number
            sink.mux(stream.encode(picture))
        sink.mux(stream.encode(None))
    with running(LibavCamera(str(path))) as run:
        assert run.caught.wait_for(lambda: len(run.caught.packets) >= 3)
        assert run.camera.still(1.0)
    assert (run.description.width, run.description.height) == (320, 240)


@pytest.mark.parametrize("content", [b"", b"this is not a video\n" * 200, bytes(range(256)) * 40])
def test_a_file_that_is_no_video_is_a_wrong_setting(tmp_path: Path, content: bytes):
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"--camera: .*clip\.mp4"):
        LibavCamera(str(path)).open(settings(), [])


def test_a_file_with_sound_only_is_a_wrong_setting(tmp_path: Path):
    path = tmp_path / "sound.wav"
    path.write_bytes(
        b"RIFF\x24\x10\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x44\xac\0\0\x88\x58\1\0\2\0\x10\0data\0\x10\0\0" + bytes(4096)
    )
    with pytest.raises(InvalidInput, match="has no video"):
        LibavCamera(str(path)).open(settings(), [])


def test_a_device_that_is_not_there_may_come_back():
    with pytest.raises(Unavailable, match="/dev/video63 does not exist"):
        LibavCamera("/dev/video63").open(settings(), [])


def test_a_usb_camera_is_asked_for_the_size_and_rate_of_the_settings():
    address = LibavCamera("/dev/video0")._address
    asked = libav_input.options_for(address, CameraSettings(resolution="1280x720", framerate=15))
    assert asked == {"framerate": "15", "video_size": "1280x720"}


class TestRtspCameras:
    def test_parameter_sets_that_come_out_of_band_are_put_into_keyframes(self, packets: list[Packet]):
        with RtspServer(packets, parameter_sets="out of band") as server, running(LibavCamera(server.url)) as run:
            assert run.caught.wait_for(lambda: sum(packet.is_keyframe for packet in run.caught.packets) >= 2)
        assert run.caught.packets[0].is_keyframe
        assert None not in numbers_in_packets(run.caught.packets)

    def test_a_clock_that_is_set_back_leaves_no_mark_on_the_timestamps(self, packets: list[Packet]):
        with RtspServer(packets) as server, running(LibavCamera(server.url)) as run:
            assert run.caught.wait_for(lambda: len(run.caught.packets) >= 45)
            server.jump_us = -3_600_000_000
            before = len(run.caught.packets)
            assert run.caught.wait_for(lambda: len(run.caught.packets) >= before + 20)
        times = [packet.timestamp_us for packet in run.caught.packets]
        assert all(0 < after - before < 1_000_000 for before, after in zip(times, times[1:]))
        assert run.caught.losses == []

    def test_the_right_password_opens(self, packets: list[Packet]):
        server = RtspServer(packets, credentials="user:secret")
        with server, running(LibavCamera(server.url.replace("//", "//user:secret@"))) as run:
            assert run.caught.wait_for(lambda: run.caught.packets)
        assert "secret" not in str(run.description)

    @pytest.mark.parametrize("fault", ["wrong password", "wrong path", "refused", "mute"])
    def test_what_cannot_be_opened_now_is_tried_again_and_no_password_is_told(
        self, packets: list[Packet], fault: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ):
        caplog.set_level(logging.DEBUG)
        monkeypatch.setattr(libav_input, "OPEN_TIMEOUT_S", 0.5)
        with RtspServer(packets, credentials="user:right") as server:
            url = server.url.replace("//", "//user:secret@" if fault == "wrong password" else "//user:right@")
            if fault == "wrong path":
                url = url.replace("/live", "/other")
            if fault == "refused":
                server.refuse()
            server.mute = fault == "mute"
            camera = LibavCamera(url)
            with pytest.raises(Unavailable) as caught:
                camera.open(settings(), [])
        told = f"{caught.value} {caught.value.__cause__} {caught.value.__cause__!r} {caplog.text} {camera._address!r}"
        assert "127.0.0.1" in told
        assert "secret" not in told
        assert "right" not in told
        expected = {"wrong password": "refuses the user name", "mute": "in time"}.get(fault, "failed")
        assert expected in str(caught.value)

    def test_a_silent_peer_ends_within_the_read_time_out_and_close_says_so(
        self, packets: list[Packet], monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(libav_input, "READ_TIMEOUT_S", 1.0)
        caught = Catcher()
        with RtspServer(packets) as server:
            camera = LibavCamera(server.url)
            camera.open(settings(), [])
            camera.start(caught)
            assert caught.wait_for(lambda: caught.packets)
            server.pause()
            server.wait_until_paused()
            assert not camera.close(0.0)
            assert camera.close(5.0)
        assert not caught.losses

    def test_a_stream_that_ends_is_a_loss_with_a_reason(self, packets: list[Packet]):
        with RtspServer(packets) as server, running(LibavCamera(server.url.replace("//", "//user:secret@"))) as run:
            assert run.caught.wait_for(lambda: run.caught.packets)
            server.cut()
            assert run.caught.wait_for(lambda: run.caught.losses)
        assert isinstance(run.caught.frames[-1], CameraLost)
        assert "127.0.0.1" in run.caught.losses[0].reason
        assert "secret" not in run.caught.losses[0].reason


class Talking(LiveServer):
    """Answers every HTTP request with a page of text."""

    def serve(self, connection):
        connection.recv(4096)
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<html>the camera is starting</html>")


class TestHttpCameras:
    @pytest.mark.parametrize("status", ["401 Unauthorized", "404 Not Found", "503 Service Unavailable"])
    def test_an_answer_that_is_no_stream_may_pass(self, status: str):
        with MjpegServer(scene_jpegs(1), framerate=5) as server:
            server.status = status
            with pytest.raises(Unavailable, match=r"127\.0\.0\.1"):
                LibavCamera(server.url).open(settings(), [])

    def test_a_page_in_place_of_a_stream_may_pass(self):
        with Talking() as server, pytest.raises(Unavailable):
            LibavCamera(f"http://127.0.0.1:{server.port}/stream").open(settings(), [])

    def test_a_slow_stream_keeps_its_time_and_has_a_keyframe_every_two_seconds(self):
        with MjpegServer(scene_jpegs(10), framerate=5) as server, running(LibavCamera(server.url)) as run:
            assert run.caught.wait_for(lambda: len(run.caught.packets) >= 24)
        packets = run.caught.packets
        assert (packets[23].timestamp_us - packets[3].timestamp_us) / 1_000_000 == pytest.approx(4.0, abs=0.5)
        keyframes_s = [packet.timestamp_us / 1_000_000 for packet in packets if packet.is_keyframe]
        assert len(keyframes_s) >= 3
        assert all(after - before < 2.6 for before, after in zip(keyframes_s, keyframes_s[1:]))
