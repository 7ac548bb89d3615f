"""Encoded packets of the last seconds, so that a clip can begin before what it shows was noticed."""

from __future__ import annotations

from collections import deque
from typing import Optional

from pinthesky.device.ports import Packet

MAX_BYTES = 128 * 1024 * 1024
"""Bound where none is configured: 15 s at 25 Mb/s are 47 MB, a minute at 17 Mb/s is 128 MB."""

UNBROKEN_GOP_MAX_BYTES = 32 * 1024 * 1024
"""How far the GOP in progress may grow when it alone is above the configured bytes."""

UNBROKEN_GOP_MAX_S = 120.0
"""How long the GOP in progress may last beyond the configured seconds: no encoder in its right mind comes near."""


class _Gop:
    """A keyframe and what depends on it."""

    __slots__ = ("packets", "size")

    def __init__(self, keyframe: Packet) -> None:
        self.packets = [keyframe]
        self.size = len(keyframe.data)

    @property
    def start_us(self) -> int:
        return self.packets[0].timestamp_us


class PacketRing:
    """Pre-roll: whole GOPs that reach at least `seconds` back from the newest packet, by at most one GOP more.

    What it holds can always be decoded from its first packet, which is a keyframe. `seconds` 0 keeps the GOP in
    progress alone. `max_bytes` wins over `seconds`: whole GOPs leave at the front until it holds.

    The GOP in progress is the one thing that `max_bytes` does not cut, because nothing that arrives before the next
    keyframe could be shown without it. It has bounds of its own, so that a camera which never sends another keyframe
    cannot fill the memory: a GOP above `max(max_bytes, UNBROKEN_GOP_MAX_BYTES)`, or longer than `seconds` plus
    `UNBROKEN_GOP_MAX_S`, is dropped whole, and the ring stays empty until the next keyframe (`awaits_keyframe`).

    Belongs to one thread. A packet costs an append; no data is copied.
    """

    def __init__(self, seconds: float, max_bytes: Optional[int] = None) -> None:
        self._seconds_us = int(seconds * 1_000_000)
        self._max_bytes = MAX_BYTES if max_bytes is None else max_bytes
        self._gop_max_bytes = max(self._max_bytes, UNBROKEN_GOP_MAX_BYTES)
        self._gop_max_us = self._seconds_us + int(UNBROKEN_GOP_MAX_S * 1_000_000)
        self._gops: deque[_Gop] = deque()
        self._size = 0
        self._running_since_us: Optional[int] = None
        self._newest_us = 0

    def append(self, packet: Packet) -> None:
        """Take the camera's next packet. One that no keyframe precedes is not kept.

        A timestamp before the previous one means that the camera's clock began anew, so everything older goes.
        """
        if self._running_since_us is None or packet.timestamp_us < self._newest_us:
            self.clear()
            self._running_since_us = packet.timestamp_us
        self._newest_us = packet.timestamp_us
        if packet.is_keyframe:
            self._gops.append(_Gop(packet))
        elif self._gops:
            self._gops[-1].packets.append(packet)
            self._gops[-1].size += len(packet.data)
        else:
            return
        self._size += len(packet.data)
        self._trim()

    def take(self) -> list[Packet]:
        """Hand over everything, oldest first, and be empty."""
        packets = [packet for gop in self._gops for packet in gop.packets]
        self.clear()
        return packets

    def clear(self) -> None:
        """Forget everything: what comes next has nothing to do with what was (a reopened camera, a changed setting)."""
        self._gops.clear()
        self._size = 0
        self._running_since_us = None

    @property
    def awaits_keyframe(self) -> bool:
        """Whether a clip that began now would have to wait for a keyframe."""
        return not self._gops

    @property
    def size_bytes(self) -> int:
        """Encoded bytes held."""
        return self._size

    @property
    def span_s(self) -> float:
        """Seconds from the oldest packet held to the newest."""
        return (self._newest_us - self._gops[0].start_us) / 1e6 if self._gops else 0.0

    @property
    def shortfall_s(self) -> float:
        """Seconds of pre-roll that are missing although the ring has run long enough to hold them; 0 while it fills."""
        if self._running_since_us is None or self._newest_us - self._running_since_us < self._seconds_us:
            return 0.0
        return max(0.0, self._seconds_us / 1e6 - self.span_s)

    def _trim(self) -> None:
        gops = self._gops
        needed_since_us = self._newest_us - self._seconds_us
        while len(gops) > 1 and (gops[1].start_us <= needed_since_us or self._size > self._max_bytes):
            self._size -= gops.popleft().size
        in_progress = gops[-1]
        if in_progress.size > self._gop_max_bytes or self._newest_us - in_progress.start_us > self._gop_max_us:
            gops.clear()
            self._size = 0
