"""A real RTSP server (RFC 2326) for tests: one H.264 stream as RTP over TCP (RFC 6184), with faults on demand."""

from __future__ import annotations

import base64
import socket
import struct
import threading
import time
from collections.abc import Sequence

from pinthesky.device.cameras.annex_b import split
from pinthesky.device.ports import Packet
from tests.support.live_server import LiveServer, Request, RequestReader

PAYLOAD_TYPE = 96
FRAGMENT_BYTES = 1400
CLOCK_HZ = 90_000
FU_A = 28
SPS, PPS = 7, 8


class RtspServer(LiveServer):
    """Plays access units (Annex B, as `Packet`) at their own pace, over and over; each client from the first one.

    `parameter_sets`: "in band" leaves them where they are and names them in the SDP as well, "out of band" takes them
    out of the stream. `credentials` ("user:password") are asked for by Basic authentication.
    `jump_us` is added to all timestamps from the moment it is set.
    """

    def __init__(
        self, units: Sequence[Packet], *, parameter_sets: str = "in band", credentials: str | None = None
    ) -> None:
        super().__init__()
        self.jump_us = 0
        self._units = [
            (
                unit.timestamp_us - units[0].timestamp_us,
                [nal for nal in split(unit.data) if self._goes(nal, parameter_sets)],
            )
            for unit in units
        ]
        self._round_us = self._units[-1][0] + self._units[1][0]
        self._credentials = credentials
        sets = [nal for nal in split(units[0].data) if nal[0] & 31 in (SPS, PPS)]
        self._sprop = ",".join(base64.b64encode(nal).decode() for nal in sets)
        self._profile = sets[0][1:4].hex()

    @staticmethod
    def _goes(nal: bytes, parameter_sets: str) -> bool:
        return parameter_sets == "in band" or nal[0] & 31 not in (SPS, PPS)

    @property
    def url(self) -> str:
        """Where it plays."""
        return f"rtsp://127.0.0.1:{self.port}/live"

    def serve(self, connection: socket.socket) -> None:
        """See LiveServer."""
        requests = RequestReader(connection)
        writing = threading.Lock()
        while (request := requests.next()) is not None:
            status, headers, body = self._answer(request)
            lines = [f"RTSP/1.0 {status}", f"CSeq: {request.headers.get('cseq', '0')}", *headers]
            if body:
                lines += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
            with writing:
                connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
            if request.method == "PLAY" and status.startswith("200"):
                self.served += 1
                self._start(self._play, connection, writing)
            if request.method == "TEARDOWN":
                return

    def _answer(self, request: Request) -> tuple[str, list[str], bytes]:
        if self._credentials is not None and request.method != "OPTIONS":
            expected = "Basic " + base64.b64encode(self._credentials.encode()).decode()
            if request.headers.get("authorization") != expected:
                return "401 Unauthorized", ['WWW-Authenticate: Basic realm="camera"'], b""
        if request.method == "OPTIONS":
            return "200 OK", ["Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER"], b""
        if request.method == "DESCRIBE":
            if not request.target.endswith("/live"):
                return "404 Not Found", [], b""
            return "200 OK", [f"Content-Base: {self.url}/"], self._sdp()
        if request.method == "SETUP":
            if "RTP/AVP/TCP" not in request.headers.get("transport", ""):
                return "461 Unsupported Transport", [], b""
            return "200 OK", ["Session: 1;timeout=60", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"], b""
        if request.method in ("PLAY", "TEARDOWN", "GET_PARAMETER"):
            return "200 OK", ["Session: 1"], b""
        return "405 Method Not Allowed", [], b""

    def _sdp(self) -> bytes:
        sets = f"sprop-parameter-sets={self._sprop}"
        return "\r\n".join(
            [
                "v=0",
                "o=- 1 1 IN IP4 127.0.0.1",
                "s=camera",
                "c=IN IP4 127.0.0.1",
                "t=0 0",
                f"m=video 0 RTP/AVP {PAYLOAD_TYPE}",
                f"a=rtpmap:{PAYLOAD_TYPE} H264/{CLOCK_HZ}",
                f"a=fmtp:{PAYLOAD_TYPE} packetization-mode=1;profile-level-id={self._profile};{sets}",
                "a=control:track1",
                "",
            ]
        ).encode()

    def _play(self, connection: socket.socket, writing: threading.Lock) -> None:
        began_s = time.monotonic()
        sequence = 0
        offset_us = 0
        try:
            while True:
                for at_us, nals in self._units:
                    elapsed_us = offset_us + at_us
                    if not self.wait_until(began_s + elapsed_us / 1_000_000):
                        return
                    ticks = (elapsed_us + self.jump_us) * CLOCK_HZ // 1_000_000 + 123_456
                    for payload, is_last in _payloads(nals):
                        header = struct.pack(
                            ">BBHII", 0x80, PAYLOAD_TYPE | is_last << 7, sequence & 0xFFFF, ticks & 0xFFFFFFFF, 0xCAFE
                        )
                        framed = struct.pack(">cBH", b"$", 0, len(header) + len(payload)) + header + payload
                        with writing:
                            connection.sendall(framed)
                        sequence += 1
                offset_us += self._round_us
        except OSError:
            return


def _payloads(nals: Sequence[bytes]):
    """RTP payloads of one access unit, each with whether it is the last: whole NAL units, or fragments of FU-A."""
    for index, nal in enumerate(nals):
        last_nal = index == len(nals) - 1
        if len(nal) <= FRAGMENT_BYTES:
            yield nal, last_nal
            continue
        pieces = [nal[begin : begin + FRAGMENT_BYTES] for begin in range(1, len(nal), FRAGMENT_BYTES)]
        for number, piece in enumerate(pieces):
            ends = number == len(pieces) - 1
            marks = (number == 0) << 7 | ends << 6 | nal[0] & 31
            yield bytes((nal[0] & 0xE0 | FU_A, marks)) + piece, last_nal and ends
