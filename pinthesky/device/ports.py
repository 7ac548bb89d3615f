"""What the daemon needs of the world, as protocols. Adapters live in `cameras/` and in `pinthesky.aws`."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, Optional, Protocol, TypeVar, Union

from pinthesky.errors import Unavailable
from pinthesky.model.settings import PictureSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pinthesky.model.settings import CameraSettings, Polygon

DEFAULT_PICTURE = PictureSettings()
"""Everything as the camera does it by itself."""


class Packet(NamedTuple):
    """One encoded picture: a whole H.264 access unit in Annex B form.

    A keyframe's unit holds SPS, PPS and the IDR slice. `timestamp_us` is microseconds of the camera's own clock: it
    never goes back between `start` and `stop`, and starts anywhere.
    """

    data: bytes
    timestamp_us: int
    is_keyframe: bool


class LumaFrame(NamedTuple):
    """A small grey picture for the motion detector: uint8 (height, width), possibly a view with a longer stride.

    Belongs to the receiver until the adapter's next frame but three: keep a copy for longer.
    """

    luma: NDArray[Any]
    timestamp_us: int


class MotionVectors(NamedTuple):
    """Motion vectors of one picture as the encoder gives them: structured (rows, columns) of int8 x, y, uint16 sad.

    One for each macroblock of the picture before `rotation_left`; a column more, as the Pi's firmware has, is ignored.
    """

    vectors: NDArray[Any]
    timestamp_us: int


class Label(NamedTuple):
    """Something that was recognised in a picture."""

    name: str
    confidence: float
    """0 to 1."""
    box: tuple[float, float, float, float]
    """Left, top, right, bottom: parts (0 to 1) of the picture as shown, after rotation."""


class Labels(NamedTuple):
    """What was recognised in the picture of `timestamp_us`; handed over after its packet."""

    labels: tuple[Label, ...]
    timestamp_us: int


class CameraLost(NamedTuple):
    """The adapter can give no more frames until it is opened again; `reason` is for people."""

    reason: str


class SubstreamLost(NamedTuple):
    """The second stream gives no more packets until it is started again; `reason` is for people."""

    reason: str


class FootageEnded(NamedTuple):
    """A file that was being played has come to its end."""


Frame = Union[Packet, LumaFrame, MotionVectors, Labels, CameraLost, FootageEnded]
Sink = Callable[[Frame], None]
"""What an adapter hands its frames to, from any thread. Never blocks, never raises."""
SubstreamSink = Callable[[Union[Packet, SubstreamLost]], None]
"""The same for a camera's second stream."""


class CameraDescription(NamedTuple):
    """What an opened camera gives."""

    model: str
    width: int
    """Pixels of the encoded picture, before `rotation_left`."""
    height: int
    framerate: float
    rotation_left: int
    """Degrees clockwise (0, 90, 180, 270) that a player must still turn the picture; written into the MP4."""
    luma_size: Optional[tuple[int, int]]
    """(width, height) of luma frames, or None where motion vectors are given in their place."""
    can_mask: bool
    """Whether privacy masks are burned into the encoded picture."""
    extra: Mapping[str, str] = {}
    """What else the camera has and can, by name, as the health report tells it."""
    substream_size: Optional[tuple[int, int]] = None
    """(width, height) of the second stream, before `rotation_left`; None where the camera has none."""
    first_packet_s: Optional[float] = None
    """Seconds after its start within which it gives its first packet, where that may be longer than usual."""


class Camera(Protocol):
    """A camera. One owner calls all methods, in one thread; frames arrive at the sink from any thread.

    Closed -> open -> started -> stopped -> closed. `close` may be called in any state, any number of times.
    """

    def open(
        self,
        settings: CameraSettings,
        privacy_masks: Sequence[Polygon],
        *,
        picture: PictureSettings = DEFAULT_PICTURE,
    ) -> CameraDescription:
        """Take the camera. Raises Unavailable (busy, absent, refused: try again), InvalidInput (cannot ever work).

        What this camera cannot do is refused as InvalidInput whose field is `section.field` of the settings and whose
        reason says what it offers.
        """
        ...

    def start(self, sink: Sink) -> None:
        """Begin to deliver. The first packet is a keyframe."""
        ...

    def still(self, timeout_s: float) -> bytes:
        """A JPEG of now, while frames go on. Raises Unavailable when none can be had in time."""
        ...

    def request_keyframe(self) -> bool:
        """Ask for a keyframe soon. False where the encoder cannot; keyframes then come by the GOP alone."""
        ...

    def start_substream(self, sink: SubstreamSink, *, bitrate: int) -> None:  # noqa: ARG002 - for those that have one
        """Have a second, smaller stream, of at most `bitrate` bits per second, beside the recording, which goes on.

        Its packets are those of the same pictures, with their timestamps and privacy masks; the first is a keyframe.
        One that runs is replaced. Whatever ends it but `stop_substream` (its encoder failed, the camera was lost or
        closed) is told once as SubstreamLost, and costs the recording nothing. Raises Unavailable where the camera is
        not started, and where it has no second stream, as its `substream_size` says.
        """
        raise Unavailable("this camera has no second stream")

    def request_substream_keyframe(self) -> bool:
        """Ask for a keyframe in the second stream. False where there is none, or its encoder cannot."""
        return False

    def stop_substream(self) -> None:
        """End the second stream; nothing of it comes after this. Does nothing where there is none."""
        return

    def close(self, timeout_s: float) -> bool:
        """Stop and give the camera back. False when it hangs: only a new process will help then. Never raises."""
        ...


Seen_contra = TypeVar("Seen_contra", contravariant=True)


class Labeller(Protocol[Seen_contra]):
    """Recognises things. An adapter owns it and hands its findings on as `Labels`.

    A sensor that recognises by itself (IMX500) sees the metadata of a frame; a detector on the CPU sees
    pixels.
    """

    def labels(self, seen: Seen_contra) -> Sequence[Label]:
        """What is sure enough to be in the picture `seen`. Called in the adapter's threads; never raises."""
        ...


class PutOutcome(enum.Enum):
    """What became of a PUT that did not fail."""

    STORED = "stored"
    ALREADY_STORED = "already stored"
    """The key exists (412): what we sent is there from an attempt whose answer was lost."""


class ObjectStore(Protocol):
    """Where clips and stills go. Every call ends within its time-outs."""

    def put(
        self,
        *,
        bucket: str,
        key: str,
        path: Path,
        sha256_hex: str,
        content_type: str,
        metadata: Mapping[str, str],
        overwrite: bool,
    ) -> PutOutcome:
        """Store the file in one verified request (checksum; If-None-Match unless `overwrite`).

        Raises NotAuthorized (403), NotFound (no such bucket), Unavailable (anything that may pass: network, 5xx, slow
        down, no credentials), InvalidInput (the store refuses the object itself).
        """
        ...

    def probe(self, *, bucket: str, prefix: str) -> None:
        """Prove that `<prefix>/` of the bucket takes objects, with a small one. Raises as `put` does."""
        ...


class ConnectionPoster(Protocol):
    """Answers to a console's WebSocket connection."""

    def post(self, *, endpoint_url: str, region: str, connection_id: str, payload: bytes) -> None:
        """POST /@connections/{id}. Raises NotFound (gone), NotAuthorized, Unavailable."""
        ...


class LogRecordEntry(NamedTuple):
    """One line for the log store."""

    timestamp_ms: int
    message: str


class LogStore(Protocol):
    """Where log lines and metrics go."""

    def put(self, *, region: str, group: str, stream: str, entries: Sequence[LogRecordEntry]) -> None:
        """Append entries (in time order, at most 10 000 and 1 MB), making group and stream where they are missing.

        Raises NotAuthorized, Unavailable, InvalidInput.
        """
        ...


class Clock(Protocol):
    """Time, injected so that tests can bend it."""

    boot_id: str

    def monotonic(self) -> float:
        """Seconds of CLOCK_BOOTTIME: never goes back, counts through suspend."""
        ...

    def wall(self) -> float:
        """Epoch seconds, right or not."""
        ...

    def synchronised(self) -> bool:
        """Whether the kernel says that a time source disciplines the wall clock."""
        ...
