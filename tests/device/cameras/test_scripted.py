"""ScriptedCamera driven by hand (its contract: tests/contracts/test_cameras.py)."""

from __future__ import annotations

import pytest

from pinthesky.device.cameras.scripted import ScriptedCamera
from pinthesky.device.ports import CameraDescription, CameraLost, FootageEnded, Frame, Packet
from pinthesky.errors import InvariantBroken, Unavailable
from pinthesky.model.settings import CameraSettings

DESCRIPTION = CameraDescription("scripted", 640, 480, 20.0, 0, (320, 240), can_mask=False)
SETTINGS = CameraSettings(rotation=90)
PACKET = Packet(b"\x00\x00\x01\x65", 7, is_keyframe=True)


def test_a_frame_is_handed_over_in_the_callers_thread():
    got: list[Frame] = []
    camera = ScriptedCamera(DESCRIPTION)
    assert camera.open(SETTINGS, [[(0, 0), (9, 0), (9, 9)]]).rotation_left == 90
    camera.start(got.append)
    camera.emit(PACKET)
    camera.lose("the dog")
    assert got == [PACKET, CameraLost("the dog")]
    assert camera.opened == [(SETTINGS, ([(0, 0), (9, 0), (9, 9)],))]
    with pytest.raises(Unavailable):
        camera.still(0.0)


def test_it_refuses_to_open_as_often_as_it_was_told():
    camera = ScriptedCamera(DESCRIPTION)
    camera.refusals = [Unavailable("busy")]
    with pytest.raises(Unavailable, match="busy"):
        camera.open(SETTINGS, [])
    camera.open(SETTINGS, [])


def test_it_hangs_until_told_otherwise():
    camera = ScriptedCamera(DESCRIPTION)
    camera.open(SETTINGS, [])
    camera.hanging.set()
    assert not camera.close(1.0)
    camera.hanging.clear()
    assert camera.close(1.0)


def test_nothing_can_be_handed_over_before_the_start():
    with pytest.raises(InvariantBroken):
        ScriptedCamera(DESCRIPTION).emit(PACKET)


def test_a_keyframe_is_not_promised_but_counted():
    camera = ScriptedCamera(DESCRIPTION)
    assert not camera.request_keyframe()
    assert camera.keyframes_requested == 1


def test_what_it_was_given_to_play_ends_with_the_end_of_the_footage():
    got: list[Frame] = []
    camera = ScriptedCamera(DESCRIPTION, [PACKET, PACKET._replace(timestamp_us=57)])
    camera.open(SETTINGS, [])
    camera.start(got.append)
    player = camera._player
    assert player is not None
    player.join(5.0)
    assert camera.close(5.0)
    assert [type(frame) for frame in got] == [Packet, Packet, FootageEnded]
