"""The strings of `--camera`: what they mean, and how wrong ones are refused."""

from __future__ import annotations

import contextlib
import struct
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinthesky.device.cameras import selection, v4l2
from pinthesky.device.cameras.address import FAST, Address, Kind
from pinthesky.device.cameras.script import Action, Script, SyntheticAddress
from pinthesky.errors import InvalidInput


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "a clip#1.mp4"
    path.write_bytes(b"x")
    return path


class TestAddress:
    def test_a_password_is_for_libav_only(self):
        address = Address.parse("rtsp://user:se%40cret@192.168.1.9:8554/live?token=secret2#secret3")
        assert address.kind is Kind.STREAM
        assert address.url.startswith("rtsp://user:se%40cret@")
        assert address.shown == "rtsp://192.168.1.9:8554/live"
        assert "cret" not in repr(address)

    @pytest.mark.parametrize("scheme", ["rtsp", "rtsps", "http", "https", "RTSP"])
    def test_network_streams(self, scheme: str):
        assert Address.parse(f"{scheme}://[::1]/x").shown == f"{scheme.lower()}://[::1]/x"

    @pytest.mark.parametrize(
        "text",
        [
            "", "file:///etc/passwd", "concat://a", "rtsp://", "rtsp:///x", "rtsp://user:secret@host:99999/x",
            "rtsp://user:secret@host:port/x", "http://user:secret@ho st/x", "http://user:secret@[::1/x",
            "ftp://user:secret@host/x", "/no/such/file.mp4", "/tmp", "a\x00b",
        ],
    )  # fmt: skip
    def test_what_can_never_work_is_refused_without_telling_a_password(self, text: str):
        with pytest.raises(InvalidInput, match=r"^--camera: ") as caught:
            Address.parse(text)
        assert "secret" not in str(caught.value)

    def test_a_device_need_not_be_there_yet(self):
        assert Address.parse("/dev/video7") == Address(Kind.DEVICE, "/dev/video7", "/dev/video7")

    @pytest.mark.parametrize(
        "options,loop,speed",
        [("", False, 1.0), ("#loop", True, 1.0), ("#fast", False, FAST), ("#loop,fast=2.5", True, 2.5)],
    )
    def test_files_take_options_after_a_hash_even_when_their_name_has_one(
        self, clip: Path, options: str, loop: bool, speed: float
    ):
        address = Address.parse(f"{clip}{options}")
        assert (address.kind, address.loop, address.speed) == (Kind.FILE, loop, speed)
        assert address.url == f"file:{clip}"

    @pytest.mark.parametrize("options", ["#slow", "#fast=0", "#fast=1e9", "#fast=5000", "#loop=1"])
    def test_an_unknown_option_names_those_there_are(self, clip: Path, options: str):
        with pytest.raises(InvalidInput, match="loop, fast or fast=N"):
            Address.parse(f"{clip}{options}")

    def test_a_file_that_may_not_be_read_is_a_wrong_setting(self, clip: Path, monkeypatch: pytest.MonkeyPatch):
        def refuse(*_: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)
        with pytest.raises(InvalidInput, match="Permission denied"):
            Address.parse(str(clip))

    @given(st.text(max_size=60))
    def test_any_text_is_an_address_or_invalid_input(self, text: str):
        with contextlib.suppress(InvalidInput):
            assert Address.parse(text).shown

    def test_a_long_address_is_cut_where_it_is_shown(self):
        assert len(Address.parse("rtsp://host/" + "x" * 500).shown) == 120


class TestScript:
    def test_actions_follow_each_other_and_come_again(self):
        script = Script.parse("quiet:2,walk:3.5")
        assert script.at(1.0) == (Action.QUIET, 1.0, 2.0)
        assert script.at(2.0) == (Action.WALK, 0.0, 3.5)
        assert script.at(5.5) == (Action.QUIET, 0.0, 2.0)

    def test_a_script_that_does_not_loop_ends(self):
        assert Script.parse("quiet:2", loop=False).at(2.0) is None

    def test_a_loss_happens_once_in_a_round(self):
        script = Script.parse("quiet:2,lose,walk:1")
        assert [script.losses_between(*span) for span in ((-1, 1.9), (1.9, 2.0), (2.0, 4.9), (4.9, 8.1))] == [
            0,
            1,
            0,
            2,
        ]
        once = Script.parse("quiet:2,lose,walk:1", loop=False)
        assert once.losses_between(-1.0, 100.0) == 1
        assert once.losses_between(100.0, 200.0) == 0

    @pytest.mark.parametrize(
        "text",
        ["", "run:5", "quiet", "quiet:", "quiet:-1", "quiet:0", "quiet:1e5", "lose:3,quiet:1", "lose", "quiet:99999"],
    )
    def test_a_wrong_script_names_the_action(self, text: str):
        with pytest.raises(InvalidInput, match=r"^--camera: script: "):
            Script.parse(text)

    def test_a_script_is_bounded(self):
        with pytest.raises(InvalidInput, match="script"):
            Script.parse(",".join(["quiet:1"] * 300))

    def test_all_options(self):
        address = SyntheticAddress.parse("synthetic:?script=walk:1&loop=0&seed=7&speed=2.5&epoch=1000.5")
        assert address == (Script(((Action.WALK, 1.0),), loop=False), 7, 2.5, 1000.5)
        assert SyntheticAddress.parse("synthetic:") == SyntheticAddress.parse("synthetic")

    @pytest.mark.parametrize(
        "text,named",
        [
            ("synthetic:?seed=x", "seed"), ("synthetic:?seed=1.5", "seed"), ("synthetic:?loop=2", "loop"),
            ("synthetic:?speed=0", "speed"), ("synthetic:?epoch=-1", "epoch"),
            ("synthetic:?fps=3", "script, loop, seed"),
            ("synthetic:?seed=1&seed=2", "each once"), ("synthetic:?seed", "option=value"),
            ("synthetic:seed=1", "synthetic"),
        ],
    )  # fmt: skip
    def test_a_wrong_option_is_named(self, text: str, named: str):
        with pytest.raises(InvalidInput, match=named):
            SyntheticAddress.parse(text)

    @given(st.text(max_size=60))
    def test_any_text_is_an_address_or_invalid_input(self, text: str):
        with contextlib.suppress(InvalidInput):
            assert SyntheticAddress.parse("synthetic:?" + text).speed > 0


def capability(driver: bytes, *, capabilities: int = 0x8420_0001, device_caps: int = 0x0420_0001) -> bytes:
    """A struct v4l2_capability as a USB camera answers it."""
    return struct.pack("16s32s32sIII12x", driver, b"A camera", b"usb-1", 0x60000, capabilities, device_caps)


class TestDevices:
    def test_cameras_are_found_in_the_order_of_their_numbers(self, tmp_path: Path):
        for name in ("video10", "video2", "video0", "video1", "videoX"):
            (tmp_path / name).touch()
        answers = {
            "video0": capability(b"unicam"),
            "video1": capability(b"uvcvideo", device_caps=0x04A0_0000),
            "video2": capability(b"uvcvideo"),
            "video10": capability(b"uvcvideo"),
        }
        found = v4l2.capture_devices(tmp_path, lambda path: answers[Path(path).name])
        assert [Path(device.path).name for device in found] == ["video2", "video10"]
        assert found[0].card == "A camera"

    def test_old_drivers_that_say_no_device_caps_are_read_by_their_capabilities(self):
        raw = capability(b"uvcvideo", capabilities=0x0400_0001, device_caps=0)
        assert v4l2.capture_device("/dev/video0", lambda _: raw) is not None

    def test_what_is_no_video_device_is_no_camera(self, tmp_path: Path):
        (tmp_path / "video0").touch()
        assert v4l2.capture_devices(tmp_path) == []
        assert v4l2.capture_device("/dev/video63") is None


class TestSelection:
    def test_auto_without_a_camera_says_what_it_looked_for(self):
        with pytest.raises(InvalidInput, match="/dev/video"):
            selection.camera_for("auto", devices=list)

    @pytest.mark.parametrize("address", ["picamera2", "picamera2:1"])
    def test_without_picamera2_the_message_says_how_it_is_installed(self, address: str):
        # The library comes with Raspberry Pi OS; tests/picamera2 has the tests that need it.
        with pytest.raises(InvalidInput, match=r"apt install python3-picamera2.*--system-site-packages"):
            selection.camera_for(address)

    def test_without_picamera_the_message_says_how_it_is_installed(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setitem(sys.modules, "picamera", None)
        with pytest.raises(InvalidInput, match="apt install python3-picamera"):
            selection.camera_for("picamera")

    @pytest.mark.parametrize("address", ["synthetic", "rtsp://host/x", "/dev/video0"])
    def test_without_pyav_the_package_that_is_missing_is_named(self, address: str, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(selection, "_installed", lambda module: module != "av")
        with pytest.raises(InvalidInput, match="pip install av"):
            selection.camera_for(address)

    @pytest.mark.needs_av
    def test_auto_takes_the_first_device(self):
        camera = selection.camera_for("auto", devices=lambda: [v4l2.CaptureDevice("/dev/video2", "A camera")])
        assert "/dev/video2" in repr(camera)

    @pytest.mark.needs_av
    @pytest.mark.parametrize(
        "address,kind",
        [("synthetic", "SyntheticCamera"), ("synthetic:?seed=2", "SyntheticCamera"), ("rtsp://host/x", "LibavCamera")],
    )
    def test_the_address_chooses_the_adapter(self, address: str, kind: str):
        assert type(selection.camera_for(address)).__name__ == kind
