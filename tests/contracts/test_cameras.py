"""The contract of the Camera port, on every adapter that this machine can run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pinthesky.device.cameras.scripted import ScriptedCamera
from pinthesky.device.ports import CameraDescription, LumaFrame, Packet
from tests.contracts.camera_contract import (
    FRAMERATE,
    HEIGHT,
    WIDTH,
    CameraContract,
    LossContract,
    MaskingContract,
    Rig,
    StallContract,
    TurningContract,
)
from tests.contracts.substream_contract import SubstreamContract
from tests.support.mjpeg_server import MjpegServer
from tests.support.rtsp_server import RtspServer

pytestmark = pytest.mark.needs_av


@pytest.fixture(scope="module")
def frames() -> list[Packet | LumaFrame]:
    """Six seconds of the synthetic scene, a keyframe every two: packets and luma frames."""
    from tests.support.scene_clips import scene_frames

    return scene_frames(FRAMERATE * 6)


@pytest.fixture(scope="module")
def scene(frames: list[Packet | LumaFrame]) -> list[Packet]:
    """The packets of `frames`."""
    return [frame for frame in frames if isinstance(frame, Packet)]


@pytest.fixture(scope="module")
def clip(scene: list[Packet], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scene as an MP4: parameter sets out of band, length prefixes in place of start codes."""
    from tests.support.scene_clips import write_clip

    return write_clip(tmp_path_factory.mktemp("clip") / "scene.mp4", scene)


@pytest.fixture(scope="module")
def jpegs() -> list[bytes]:
    """The first two seconds of the scene as JPEGs."""
    from tests.support.scene_clips import scene_jpegs

    return scene_jpegs(FRAMERATE * 2)


class TestSynthetic(CameraContract, TurningContract, MaskingContract, SubstreamContract):
    @contextmanager
    def make_rig(self) -> Iterator[Rig]:
        from pinthesky.device.cameras.synthetic import SyntheticCamera

        rig = Rig()
        rig.camera = SyntheticCamera("synthetic:?script=quiet:2,walk:2&speed=2")
        rig.masks_luma_strip = True
        yield rig


class _FaultOfItsOwn(Rig):
    """The script brings the fault by itself, a second after the start."""

    def __init__(self, address: str) -> None:
        from pinthesky.device.cameras.synthetic import SyntheticCamera

        self.camera = SyntheticCamera(address)

    def stall(self) -> None: ...
    def lose(self) -> None: ...
    def mend(self) -> None: ...


class TestSyntheticThatStalls(StallContract):
    @pytest.fixture
    def rig(self) -> Rig:
        return _FaultOfItsOwn("synthetic:?script=quiet:0.5,stall:60")


class TestSyntheticThatIsLost(LossContract):
    @pytest.fixture
    def rig(self) -> Rig:
        return _FaultOfItsOwn("synthetic:?script=quiet:1,lose,quiet:60&loop=0")


class TestFile(CameraContract, TurningContract, MaskingContract):
    @pytest.fixture(autouse=True)
    def _use(self, clip: Path) -> None:
        self.clip = clip

    @contextmanager
    def make_rig(self) -> Iterator[Rig]:
        from pinthesky.device.cameras.libav import LibavCamera

        rig = Rig()
        rig.camera = LibavCamera(f"{self.clip}#loop,fast=2")
        yield rig


class _ServedRig(Rig):
    def __init__(self, server: RtspServer | MjpegServer) -> None:
        from pinthesky.device.cameras.libav import LibavCamera

        self.camera = LibavCamera(server.url)
        self._server = server

    def stall(self) -> None:
        self._server.pause()

    def lose(self) -> None:
        self._server.cut()

    def mend(self) -> None: ...


class TestRtsp(CameraContract, TurningContract, StallContract, LossContract, MaskingContract):
    @pytest.fixture(autouse=True)
    def _use(self, scene: list[Packet]) -> None:
        self.scene = scene

    @contextmanager
    def make_rig(self) -> Iterator[Rig]:
        with RtspServer(self.scene) as server:
            yield _ServedRig(server)


class TestHttpMjpeg(CameraContract, TurningContract, StallContract, LossContract, MaskingContract):
    @pytest.fixture(autouse=True)
    def _use(self, jpegs: list[bytes]) -> None:
        self.jpegs = jpegs

    @contextmanager
    def make_rig(self) -> Iterator[Rig]:
        with MjpegServer(self.jpegs, framerate=FRAMERATE) as server:
            yield _ServedRig(server)


class _ScriptedRig(Rig):
    def __init__(self, camera: ScriptedCamera) -> None:
        self.camera = self._scripted = camera

    def stall(self) -> None:
        self._scripted.stall()

    def lose(self) -> None:
        self._scripted.lose()

    def mend(self) -> None: ...


class TestScripted(CameraContract, StallContract, LossContract):
    @pytest.fixture(autouse=True)
    def _use(self, frames: list[Packet | LumaFrame], jpegs: list[bytes]) -> None:
        self.frames, self.jpeg = frames, jpegs[0]

    @contextmanager
    def make_rig(self) -> Iterator[Rig]:
        description = CameraDescription("scripted", WIDTH, HEIGHT, FRAMERATE, 0, (320, 240), can_mask=False)
        yield _ScriptedRig(ScriptedCamera(description, self.frames, jpeg=self.jpeg, speed=2.0))
