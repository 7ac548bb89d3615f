"""Bodies as clients frame, sign and checksum them, cut into pieces anyhow."""

from __future__ import annotations

import base64
import hashlib
import hmac
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinthesky.hub.object_bodies import SIZE_MAX, ObjectBody
from pinthesky.hub.refusals import Cut, Refusal
from pinthesky.hub.signatures import Principal, SignedRequest, Verified

CONTENT = bytes(range(256)) * 40
UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
TIMESTAMP, SCOPE = "20130524T000000Z", "20130524/us-east-1/s3/aws4_request"
SEED = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"


def aws_example_key() -> bytes:
    """The signing key of the examples in Amazon's reference: a secret that is printed there."""
    key = b"AWS4wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    for part in (b"20130524", b"us-east-1", b"s3", b"aws4_request"):
        key = hmac.digest(key, part, "sha256")
    return key


SIGNING_KEY = aws_example_key()


def sign(text: str) -> str:
    return hmac.new(SIGNING_KEY, text.encode(), "sha256").hexdigest()


def body_with(payload: str, **headers: str) -> ObjectBody:
    request = SignedRequest(
        method="PUT",
        raw_path=b"/b/k",
        query_string=b"",
        headers=[(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    )
    verified = Verified(
        principal=Principal(thing=None), payload=payload, signature=SEED, timestamp=TIMESTAMP, scope=SCOPE, sign=sign
    )
    return ObjectBody(request, verified)


def chunked(payload: str = UNSIGNED_TRAILER, *, size: int = len(CONTENT), **headers: str) -> ObjectBody:
    return body_with(payload, x_amz_decoded_content_length=str(size), **headers)


def took(body: ObjectBody, *pieces: bytes) -> bytes:
    """What comes out of a body that is whole."""
    content = b"".join(out for piece in pieces for out in body.feed(piece))
    body.finish()
    return content


def refusal(make: Any) -> Refusal:
    with pytest.raises(Refusal) as refused:
        make()
    return refused.value


def frame(content: bytes, *, size: int, trailers: bytes = b"") -> bytes:
    """Unsigned chunks of `size` bytes."""
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + trailers + b"\r\n"


def signed_frame(content: bytes, *, size: int, trailers: bytes = b"") -> bytes:
    """Chunks, each signed on the one before."""
    previous, out = SEED, b""
    for piece in [*(content[at : at + size] for at in range(0, len(content), size)), b""]:
        digests = f"{hashlib.sha256().hexdigest()}\n{hashlib.sha256(piece).hexdigest()}"
        previous = sign(f"AWS4-HMAC-SHA256-PAYLOAD\n{TIMESTAMP}\n{SCOPE}\n{previous}\n{digests}")
        out += b"%x;chunk-signature=%s\r\n%s" % (len(piece), previous.encode(), piece + b"\r\n" if piece else b"")
    if trailers:
        digest = hashlib.sha256(trailers.replace(b"\r\n", b"\n")).hexdigest()
        trailer = sign(f"AWS4-HMAC-SHA256-TRAILER\n{TIMESTAMP}\n{SCOPE}\n{previous}\n{digest}")
        out += trailers + b"x-amz-trailer-signature:%s\r\n" % trailer.encode()
    return out + b"\r\n"


def crc32_text(content: bytes = CONTENT) -> str:
    return base64.b64encode(zlib.crc32(content).to_bytes(4, "big")).decode()


def cut_up(data: bytes, cuts: list[int]) -> list[bytes]:
    at = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[begin:end] for begin, end in zip(at, at[1:], strict=False)]


# Plain bodies


def test_a_plain_body_passes_through():
    body = body_with("UNSIGNED-PAYLOAD", content_length=str(len(CONTENT)))
    assert took(body, CONTENT[:100], b"", CONTENT[100:]) == CONTENT
    assert body.sha256_hex == hashlib.sha256(CONTENT).hexdigest()
    assert body.md5_hex == hashlib.md5(CONTENT).hexdigest()
    assert body.checksum is None


def test_a_body_is_held_against_the_signed_digest():
    digest = hashlib.sha256(b"other").hexdigest()
    body = body_with(digest, content_length=str(len(CONTENT)))
    assert refusal(lambda: took(body, CONTENT)).code == "XAmzContentSHA256Mismatch"


@pytest.mark.parametrize("came", [CONTENT[:-1], b""])
def test_a_short_body_is_incomplete(came: bytes):
    body = body_with("UNSIGNED-PAYLOAD", content_length=str(len(CONTENT)))
    assert refusal(lambda: took(body, came)).code == "IncompleteBody"


def test_a_long_body_is_refused_as_soon_as_it_is_too_long():
    body = body_with("UNSIGNED-PAYLOAD", content_length="10")
    assert refusal(lambda: list(body.feed(b"x" * 11))).code == "IncompleteBody"


@pytest.mark.parametrize(
    "name, digest",
    [
        ("crc32", zlib.crc32(CONTENT).to_bytes(4, "big")),
        ("sha1", hashlib.sha1(CONTENT).digest()),
        ("sha256", hashlib.sha256(CONTENT).digest()),
    ],
)
def test_a_checksum_is_checked_and_kept(name: str, digest: bytes):
    text = base64.b64encode(digest).decode()
    header = {f"x_amz_checksum_{name}": text}
    body = body_with("UNSIGNED-PAYLOAD", content_length=str(len(CONTENT)), **header)
    assert took(body, CONTENT) == CONTENT
    assert body.checksum == (name, text)
    other = body_with("UNSIGNED-PAYLOAD", content_length=str(len(CONTENT)), **header)
    assert refusal(lambda: took(other, CONTENT[::-1])).code == "BadDigest"


def test_content_md5_is_checked():
    text = base64.b64encode(hashlib.md5(CONTENT).digest()).decode()
    assert took(body_with("UNSIGNED-PAYLOAD", content_length=str(len(CONTENT)), content_md5=text), CONTENT) == CONTENT
    other = body_with("UNSIGNED-PAYLOAD", content_length=str(len(CONTENT)), content_md5=text)
    assert refusal(lambda: took(other, CONTENT[::-1])).code == "BadDigest"


@pytest.mark.parametrize(
    "payload, headers, code",
    [
        ("UNSIGNED-PAYLOAD", {}, "MissingContentLength"),
        ("UNSIGNED-PAYLOAD", {"content_length": "-1"}, "MissingContentLength"),
        ("UNSIGNED-PAYLOAD", {"content_length": "1" * 20}, "MissingContentLength"),
        (UNSIGNED_TRAILER, {"content_length": "5"}, "MissingContentLength"),
        ("UNSIGNED-PAYLOAD", {"content_length": str(SIZE_MAX + 1)}, "EntityTooLarge"),
        ("nonsense", {"content_length": "5"}, "InvalidArgument"),
        ("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", {"content_length": "5"}, "NotImplemented"),
        ("UNSIGNED-PAYLOAD", {"content_length": "5", "content_md5": "!"}, "InvalidDigest"),
        ("UNSIGNED-PAYLOAD", {"content_length": "5", "content_md5": "AAAA"}, "InvalidDigest"),
        ("UNSIGNED-PAYLOAD", {"content_length": "5", "x_amz_checksum_sha256": "AAAA"}, "InvalidRequest"),
        ("UNSIGNED-PAYLOAD", {"content_length": "5", "x_amz_checksum_crc32c": "AAAA"}, "NotImplemented"),
        ("UNSIGNED-PAYLOAD", {"content_length": "5", "x_amz_trailer": "x-amz-checksum-crc32"}, "InvalidRequest"),
        (
            "UNSIGNED-PAYLOAD",
            {"content_length": "5", "x_amz_checksum_crc32": "AAAAAA==", "x_amz_checksum_sha1": "AAAA"},
            "InvalidRequest",
        ),
    ],
)
def test_headers_that_promise_what_cannot_be_are_refused(payload: str, headers: dict[str, str], code: str):
    assert refusal(lambda: body_with(payload, **headers)).code == code


def test_a_body_that_is_too_large_ends_the_connection():
    assert isinstance(refusal(lambda: body_with("UNSIGNED-PAYLOAD", content_length=str(SIZE_MAX + 1))), Cut)


# Chunks


@given(size=st.integers(1, 4000), cuts=st.lists(st.integers(0, 20_000), max_size=12))
def test_chunks_of_any_size_in_any_pieces_give_the_content(size: int, cuts: list[int]):
    data = frame(CONTENT, size=size, trailers=f"x-amz-checksum-crc32:{crc32_text()}\r\n".encode())
    body = chunked(x_amz_trailer="x-amz-checksum-crc32")
    assert took(body, *cut_up(data, cuts)) == CONTENT
    assert body.checksum == ("crc32", crc32_text())


@given(size=st.integers(100, 4000), cuts=st.lists(st.integers(0, 20_000), max_size=12))
def test_signed_chunks_of_any_size_in_any_pieces_give_the_content(size: int, cuts: list[int]):
    trailers = f"x-amz-checksum-crc32:{crc32_text()}\r\n".encode()
    data = signed_frame(CONTENT, size=size, trailers=trailers)
    body = chunked(SIGNED_TRAILER, x_amz_trailer="x-amz-checksum-crc32")
    assert took(body, *cut_up(data, cuts)) == CONTENT


def test_the_example_of_amazons_reference_holds():
    signatures = (
        b"ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
        b"0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
        b"b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
    )
    data = b"10000;chunk-signature=%s\r\n%s\r\n400;chunk-signature=%s\r\n%s\r\n0;chunk-signature=%s\r\n\r\n" % (
        signatures[0],
        b"a" * 65536,
        signatures[1],
        b"a" * 1024,
        signatures[2],
    )
    assert took(chunked(SIGNED, size=66560), data) == b"a" * 66560


def test_a_chunk_that_was_touched_is_refused():
    data = signed_frame(CONTENT, size=4000).replace(CONTENT[:10], b"0123456789", 1)
    assert refusal(lambda: took(chunked(SIGNED), data)).code == "SignatureDoesNotMatch"


def test_chunks_in_another_order_are_refused():
    data = signed_frame(CONTENT, size=len(CONTENT) // 2)
    first, second, *rest = data.split(b"\r\n1400;")
    swapped = b"1400;" + second + b"\r\n" + first + b"\r\n" + b"".join(rest)
    assert refusal(lambda: took(chunked(SIGNED), swapped)).code in ("SignatureDoesNotMatch", "InvalidRequest")


def test_a_trailer_that_was_touched_is_refused():
    data = signed_frame(CONTENT, size=4000, trailers=f"x-amz-checksum-crc32:{crc32_text()}\r\n".encode())
    data = data.replace(crc32_text().encode(), crc32_text(b"other").encode())
    body = chunked(SIGNED_TRAILER, x_amz_trailer="x-amz-checksum-crc32")
    assert refusal(lambda: took(body, data)).code == "SignatureDoesNotMatch"


def test_a_signed_trailer_needs_its_signature():
    data = signed_frame(CONTENT, size=4000)[:-2] + f"x-amz-checksum-crc32:{crc32_text()}\r\n\r\n".encode()
    body = chunked(SIGNED_TRAILER, x_amz_trailer="x-amz-checksum-crc32")
    assert refusal(lambda: took(body, data)).code == "SignatureDoesNotMatch"


@pytest.mark.parametrize(
    "trailers, code",
    [
        (b"", "InvalidRequest"),
        (b"x-amz-checksum-crc32:AAAAAA==\r\n", "BadDigest"),
        (b"x-amz-checksum-crc32:A\r\n", "InvalidRequest"),
        (b"no colon\r\n", "InvalidRequest"),
        (b"".join(b"x-%d:%s\r\n" % (number, b"v" * 200) for number in range(30)), "InvalidRequest"),
    ],
)
def test_the_announced_trailer_must_come_and_be_right(trailers: bytes, code: str):
    body = chunked(x_amz_trailer="x-amz-checksum-crc32")
    assert refusal(lambda: took(body, frame(CONTENT, size=4000, trailers=trailers))).code == code


@pytest.mark.parametrize("announced", ["x-amz-meta-a", "x-amz-checksum-crc64nvme", "x-amz-checksum-"])
def test_a_trailer_that_cannot_be_checked_is_refused(announced: str):
    assert refusal(lambda: chunked(x_amz_trailer=announced)).code in ("InvalidRequest", "NotImplemented")


def test_a_checksum_may_not_stand_in_header_and_trailer():
    body = {"x_amz_trailer": "x-amz-checksum-crc32", "x_amz_checksum_crc32": "AAAAAA=="}
    size = str(len(CONTENT))
    assert (
        refusal(lambda: body_with(UNSIGNED_TRAILER, x_amz_decoded_content_length=size, **body)).code == "InvalidRequest"
    )


@pytest.mark.parametrize(
    "data, code",
    [
        (frame(CONTENT, size=4000)[:-4], "IncompleteBody"),
        (frame(CONTENT, size=4000) + b"more", "InvalidRequest"),
        (frame(CONTENT[:-1], size=4000), "IncompleteBody"),
        (frame(CONTENT + b"x", size=4000), "IncompleteBody"),
        (b"xyz\r\n", "InvalidRequest"),
        (b"-5\r\n", "InvalidRequest"),
        (b"5;chunk-signature=" + b"0" * 64 + b"\r\n", "InvalidRequest"),
        (b"f" * 300, "InvalidRequest"),
        (b"2\r\nabc\r\n", "InvalidRequest"),
        (b"ffffffff\r\n" + b"x" * 20_000, "IncompleteBody"),
    ],
)
def test_chunks_that_are_malformed_are_refused(data: bytes, code: str):
    assert refusal(lambda: took(chunked(), data)).code == code


def test_unsigned_chunks_are_refused_where_signed_ones_were_promised():
    assert refusal(lambda: took(chunked(SIGNED), frame(CONTENT, size=4000))).code == "InvalidRequest"


@given(st.binary(max_size=600))
def test_any_bytes_are_content_or_a_refusal(data: bytes):
    code = "fits"
    try:
        took(chunked(size=20), data)
    except Refusal as refused:
        code = refused.code
    assert code in ("fits", "InvalidRequest", "IncompleteBody")
