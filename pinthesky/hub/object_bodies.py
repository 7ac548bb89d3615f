"""The body of a PUT, judged while it streams by: aws-chunked framing, chunk signatures, trailers, digests.

No input or output here: bytes go in, the object's bytes come out. Nothing is known to be good before `finish`.

Sources: "Signature calculations: transferring payload in multiple chunks", "… including trailing headers" and
"Checking object integrity" of the Amazon S3 user guide and API reference.
"""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import hmac
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

from pinthesky.hub.refusals import Cut, Refusal
from pinthesky.hub.signatures import UNSIGNED_PAYLOAD, SignedRequest, Verified

SIZE_MAX = 256 * 1024 * 1024 + 1024 * 1024
"""Bytes of one object: a part is at most 256 MiB, and its container a little more."""
CHUNK_LINE_MAX = 256
TRAILER_MAX = 4096
CHECKSUMS = {"crc32": 4, "sha1": 20, "sha256": 32}
"""Algorithms that are checked, and the bytes of their digests."""
UNCHECKED = ("crc32c", "crc64nvme", "sha512", "md5", "xxhash64", "xxhash3", "xxhash128")
"""Algorithms of S3 that Python does not have, or not at a speed that a hub could bear; refused by name."""

_UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
_SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
_SIGNED_CHUNKS_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
_HEX_DIGEST = re.compile(r"[0-9a-f]{64}")
_EMPTY_SHA256 = hashlib.sha256().hexdigest()
_CHUNK_LINE = re.compile(rb"([0-9a-fA-F]{1,8})(?:;chunk-signature=([0-9a-f]{64}))?")
_TRAILER_LINE = re.compile(rb"([A-Za-z0-9-]{1,64}):([\x20-\x7e]{0,256})")


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


class _SignatureChain:
    """Each chunk's signature is over its own digest and the signature before it."""

    def __init__(self, verified: Verified) -> None:
        self._previous = verified.signature
        self._timestamp, self._scope = verified.timestamp, verified.scope
        self._sign = verified.sign

    def check_chunk(self, claimed: str, sha256_hex: str) -> None:
        self._check(claimed, "AWS4-HMAC-SHA256-PAYLOAD", f"{_EMPTY_SHA256}\n{sha256_hex}")

    def check_trailer(self, claimed: str, lines: bytes) -> None:
        self._check(claimed, "AWS4-HMAC-SHA256-TRAILER", hashlib.sha256(lines).hexdigest())

    def _check(self, claimed: str, what: str, rest: str) -> None:
        expected = self._sign(f"{what}\n{self._timestamp}\n{self._scope}\n{self._previous}\n{rest}")
        if not hmac.compare_digest(expected, claimed):
            raise Refusal("SignatureDoesNotMatch", "The signature of a chunk does not match.")
        self._previous = expected


class _State(enum.Enum):
    LINE = enum.auto()
    DATA = enum.auto()
    DATA_END = enum.auto()
    TRAILER = enum.auto()
    DONE = enum.auto()


class ChunkedDecoder:
    """The aws-chunked framing: `<hex size>[;chunk-signature=…] CRLF data CRLF …`, a chunk of size 0, trailers."""

    def __init__(self, chain: _SignatureChain | None) -> None:
        """Without `chain`, chunks are unsigned."""
        self._chain = chain
        self._state = _State.LINE
        self._held = bytearray()
        self._left = 0
        self._claimed = ""
        self._chunk = hashlib.sha256()
        self._trailer_bytes = 0
        self.trailers: dict[str, str] = {}
        """By name in lower case."""

    @property
    def is_done(self) -> bool:
        """Whether the last line has come."""
        return self._state is _State.DONE

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Give out the object's bytes in `data`. Raises Refusal."""
        self._held += data
        while self._held:
            if self._state is _State.DATA:
                piece = bytes(self._held[: self._left])
                del self._held[: len(piece)]
                self._left -= len(piece)
                if self._chain is not None:
                    self._chunk.update(piece)
                if self._left == 0:
                    self._state = _State.DATA_END
                yield piece
                continue
            if self._state is _State.DONE:
                raise Refusal("InvalidRequest", "There is something behind the end of the chunked body.")
            line = self._line()
            if line is None:
                return
            self._take(line)

    def _line(self) -> bytes | None:
        end = self._held.find(b"\r\n")
        if max(end, len(self._held) if end < 0 else 0) > CHUNK_LINE_MAX + 2:
            raise Refusal("InvalidRequest", "A line of the chunked body is too long.")
        if end < 0:
            return None
        line = bytes(self._held[:end])
        del self._held[: end + 2]
        return line

    def _take(self, line: bytes) -> None:
        if self._state is _State.LINE:
            self._begin_chunk(line)
        elif self._state is _State.DATA_END:
            if line:
                raise Refusal("InvalidRequest", "A chunk is longer than its size says.")
            self._end_chunk()
            self._state = _State.LINE
        elif line:
            self._take_trailer(line)
        else:
            self._end_trailers()
            self._state = _State.DONE

    def _begin_chunk(self, line: bytes) -> None:
        found = _CHUNK_LINE.fullmatch(line)
        if found is None or (found[2] is None) != (self._chain is None):
            raise Refusal("InvalidRequest", "A line of the chunked body is malformed.")
        self._left = int(found[1], 16)
        self._claimed = (found[2] or b"").decode("ascii")
        self._chunk = hashlib.sha256()
        if self._left:
            self._state = _State.DATA
        else:
            self._end_chunk()
            self._state = _State.TRAILER

    def _end_chunk(self) -> None:
        if self._chain is not None:
            self._chain.check_chunk(self._claimed, self._chunk.hexdigest())

    def _take_trailer(self, line: bytes) -> None:
        # The guide's own example ends a trailer by LF CRLF.
        found = _TRAILER_LINE.fullmatch(line.rstrip(b"\n"))
        self._trailer_bytes += len(line)
        if found is None or self._trailer_bytes > TRAILER_MAX:
            raise Refusal("InvalidRequest", "A trailer of the chunked body is malformed.")
        self.trailers[found[1].decode("ascii").lower()] = found[2].decode("ascii").strip()

    def _end_trailers(self) -> None:
        claimed = self.trailers.pop("x-amz-trailer-signature", None)
        if self._chain is None or (claimed is None and not self.trailers):
            return
        lines = "".join(f"{name}:{value}\n" for name, value in self.trailers.items())
        self._chain.check_trailer(claimed or "", lines.encode("ascii"))


class ObjectBody:
    """One body: how long it must be, and everything it must agree with."""

    def __init__(self, request: SignedRequest, verified: Verified) -> None:
        """Read the headers. Raises Refusal for what is missing, too large, or beyond this hub."""
        self._payload = verified.payload
        self._chunks = _decoder(verified)
        self.size = _size_of(request, is_chunked=self._chunks is not None)
        """Bytes of the object."""
        self._came = 0
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._algorithm, self._claimed = _checksum_of(request)
        self._trailer = _trailer_of(request)
        if self._trailer is not None:
            if self._chunks is None or self._claimed is not None:
                raise Refusal("InvalidRequest", "x-amz-trailer goes with a chunked body, and without a checksum header")
            self._algorithm = self._trailer
        self._claimed_md5 = _base64_of(request, "content-md5", 16, code="InvalidDigest")
        self._other = _hash_named(self._algorithm)

    @property
    def sha256_hex(self) -> str:
        """SHA-256 of what came so far."""
        return self._sha256.hexdigest()

    @property
    def md5_hex(self) -> str:
        """MD5 of what came so far: S3's ETag."""
        return self._md5.hexdigest()

    @property
    def checksum(self) -> tuple[str, str] | None:
        """The algorithm (`sha256`) and the digest in base64 that the client has asked to be kept."""
        if self._algorithm is None:
            return None
        return self._algorithm, base64.b64encode(self._digest()).decode("ascii")

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Give out the object's bytes in `data`, digested. Raises Refusal."""
        for piece in [data] if self._chunks is None else self._chunks.feed(data):
            self._came += len(piece)
            if self._came > self.size:
                raise Refusal("IncompleteBody", f"The body is longer than the {self.size} bytes that were announced.")
            self._sha256.update(piece)
            self._md5.update(piece)
            if self._other is not None:
                self._other.update(piece)
            yield piece

    def finish(self) -> None:
        """Judge the whole. Raises Refusal: IncompleteBody, BadDigest, XAmzContentSHA256Mismatch, InvalidRequest."""
        if self._came != self.size or (self._chunks is not None and not self._chunks.is_done):
            raise Refusal(
                "IncompleteBody",
                "You did not provide the number of bytes specified by the Content-Length HTTP header.",
            )
        if _HEX_DIGEST.fullmatch(self._payload) and self._payload != self.sha256_hex:
            raise Refusal(
                "XAmzContentSHA256Mismatch",
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
            )
        if self._claimed_md5 is not None and self._claimed_md5 != self._md5.digest():
            raise Refusal("BadDigest", "The Content-MD5 you specified did not match what we received.")
        self._judge_checksum()

    def _judge_checksum(self) -> None:
        claimed = self._claimed
        if self._trailer is not None and self._chunks is not None:
            text = self._chunks.trailers.get(f"x-amz-checksum-{self._trailer}")
            if text is None:
                raise Refusal("InvalidRequest", f"The trailer x-amz-checksum-{self._trailer} is missing.")
            claimed = _digest_in(text, f"x-amz-checksum-{self._trailer}", CHECKSUMS[self._trailer])
        if claimed is not None and claimed != self._digest():
            name = str(self._algorithm).upper()
            raise Refusal("BadDigest", f"The {name} you specified did not match the calculated checksum.")

    def _digest(self) -> bytes:
        return self._sha256.digest() if self._other is None else self._other.digest()


def _decoder(verified: Verified) -> ChunkedDecoder | None:
    if verified.payload in (_SIGNED_CHUNKS, _SIGNED_CHUNKS_TRAILER):
        return ChunkedDecoder(_SignatureChain(verified))
    if verified.payload == _UNSIGNED_TRAILER:
        return ChunkedDecoder(None)
    if verified.payload == UNSIGNED_PAYLOAD or _HEX_DIGEST.fullmatch(verified.payload):
        return None
    raise Refusal(
        "NotImplemented" if verified.payload.startswith("STREAMING-") else "InvalidArgument",
        "x-amz-content-sha256 must be a SHA-256 in hexadecimal digits, UNSIGNED-PAYLOAD, "
        f"{_UNSIGNED_TRAILER}, {_SIGNED_CHUNKS} or {_SIGNED_CHUNKS_TRAILER}.",
    )


def _size_of(request: SignedRequest, *, is_chunked: bool) -> int:
    text = request.header("x-amz-decoded-content-length" if is_chunked else "content-length")
    if text is None or re.fullmatch(r"[0-9]{1,16}", text) is None:
        raise Refusal("MissingContentLength", "You must provide the Content-Length HTTP header.")
    if int(text) > SIZE_MAX:
        raise Cut(
            "EntityTooLarge",
            "Your proposed upload exceeds the maximum allowed size",
            ProposedSize=text,
            MaxSizeAllowed=str(SIZE_MAX),
        )
    return int(text)


def _checksum_of(request: SignedRequest) -> tuple[str | None, bytes | None]:
    """The algorithm and the digest in the one `x-amz-checksum-…` header, where there is one."""
    given = [name for name in (*CHECKSUMS, *UNCHECKED) if request.header(f"x-amz-checksum-{name}") is not None]
    if len(given) > 1:
        raise Refusal("InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum types given.")
    if not given:
        return None, None
    name = _checked(given[0])
    return name, _base64_of(request, f"x-amz-checksum-{name}", CHECKSUMS[name], code="InvalidRequest")


def _trailer_of(request: SignedRequest) -> str | None:
    """The algorithm of the checksum that `x-amz-trailer` announces."""
    announced = request.header("x-amz-trailer")
    if announced is None:
        return None
    name = announced.strip().lower()
    if not name.startswith("x-amz-checksum-"):
        raise Refusal("InvalidRequest", f"x-amz-trailer may announce a checksum only, not {announced}")
    return _checked(name.removeprefix("x-amz-checksum-"))


def _checked(name: str) -> str:
    if name not in CHECKSUMS:
        raise Refusal(
            "NotImplemented", f"This hub checks {', '.join(CHECKSUMS).upper()}, not {name.upper()}. Choose one of them."
        )
    return name


def _base64_of(request: SignedRequest, name: str, size: int, *, code: str) -> bytes | None:
    text = request.header(name)
    return None if text is None else _digest_in(text, name, size, code=code)


def _digest_in(text: str, name: str, size: int, *, code: str = "InvalidRequest") -> bytes:
    try:
        digest = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal(code, f"Value for {name} header is invalid.") from error
    if len(digest) != size:
        raise Refusal(code, f"Value for {name} header is invalid.")
    return digest


def _hash_named(name: str | None) -> _Hash | None:
    """What computes the checksum; None where SHA-256, which is computed anyway, or nothing is asked for."""
    makers: dict[str, Callable[[], _Hash]] = {
        "crc32": _Crc32,
        "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    }
    return None if name is None or name == "sha256" else makers[name]()
