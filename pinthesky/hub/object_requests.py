"""Reading an S3 request: which operation it is, on what, and what it says about the object. Path style only."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl, unquote_to_bytes

from pinthesky.hub.refusals import Refusal
from pinthesky.hub.signatures import SignedRequest

Operation = Literal[
    "HeadBucket",
    "PutObject",
    "GetObject",
    "HeadObject",
    "DeleteObject",
    "GetObjectTagging",
    "PutObjectTagging",
    "DeleteObjectTagging",
]

METADATA_MAX = 2048
"""Bytes of all user metadata, names and values (S3's limit)."""
TAGS_MAX, TAG_NAME_MAX, TAG_VALUE_MAX = 10, 128, 256
TAGGING_BODY_MAX = 16 * 1024
KEPT_HEADERS = (
    "content-type",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
)
"""What is given back as it came."""
KEPT_HEADER_MAX = 1024
RESPONSE_OVERRIDES = {f"response-{name}": name for name in KEPT_HEADERS}
"""Parameters of a GET, by which a presigned link can say how it is to be shown."""

_ON_OBJECTS: Mapping[str, Operation] = {
    "PUT": "PutObject",
    "GET": "GetObject",
    "HEAD": "HeadObject",
    "DELETE": "DeleteObject",
}
_ON_TAGS: Mapping[str, Operation] = {
    "PUT": "PutObjectTagging",
    "GET": "GetObjectTagging",
    "DELETE": "DeleteObjectTagging",
}
_KNOWN_HEADERS = {
    "x-amz-checksum-mode",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-decoded-content-length",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-security-token",
    "x-amz-tagging",
    "x-amz-trailer",
    "x-amz-user-agent",
}
_KNOWN_FAMILIES = ("x-amz-meta-", "x-amz-checksum-")
_XMLNS = "http://s3.amazonaws.com/doc/2006-03-01/"


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a request is about; `key` is empty for the bucket itself."""

    bucket: str
    key: str
    operation: Operation
    query: Mapping[str, str]


def target_of(request: SignedRequest) -> Target:
    """Find out what is asked for. Raises Refusal: InvalidURI, NotImplemented."""
    try:
        path = unquote_to_bytes(request.raw_path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refusal("InvalidURI", "Couldn't parse the specified URI.") from error
    bucket, _, key = path.removeprefix("/").partition("/")
    # `x-id` is a label that some SDKs add for whoever reads logs.
    query = {name: value for name, value in request.query() if not name.startswith("X-Amz-") and name != "x-id"}
    operation: Operation | None = None
    if not key:
        operation = "HeadBucket" if bucket and request.method == "HEAD" and not query else None
    elif not query or (request.method in ("GET", "HEAD") and query.keys() <= RESPONSE_OVERRIDES.keys()):
        operation = _ON_OBJECTS.get(request.method)
    elif query.keys() == {"tagging"}:
        operation = _ON_TAGS.get(request.method)
    if operation is None:
        raise _not_implemented(f"{request.method} of {'an object' if key else 'a bucket'} {sorted(query)}")
    for name, value in request.headers:
        _check_header(name.decode("latin-1"), value)
    return Target(bucket=bucket, key=key, operation=operation, query=query)


def _check_header(name: str, value: bytes) -> None:
    """What would change an operation's meaning and is not done here must not pass in silence."""
    if not name.startswith("x-amz-") or name in _KNOWN_HEADERS or name.startswith(_KNOWN_FAMILIES):
        return
    if name == "x-amz-storage-class" and value == b"STANDARD":
        return
    raise _not_implemented(name)


def _not_implemented(what: str) -> Refusal:
    return Refusal("NotImplemented", f"A header or parameter implies functionality that this hub does not have: {what}")


@dataclass(frozen=True, kw_only=True)
class Attributes:
    """What a PUT says of its object beside the content."""

    headers: dict[str, str]
    metadata: dict[str, str]
    tags: dict[str, str]


def attributes_of(request: SignedRequest) -> Attributes:
    """Read them. Raises Refusal."""
    return Attributes(headers=_kept_headers(request), metadata=_metadata_of(request), tags=_tags_in_header(request))


def must_be_new(request: SignedRequest) -> bool:
    """Whether a PUT asks not to replace anything (`If-None-Match: *`). Raises Refusal for any other condition."""
    condition = request.header("if-none-match")
    if condition not in (None, "*") or request.header("if-match") is not None:
        raise _not_implemented("a condition of a PUT other than If-None-Match: *")
    return condition is not None


def _kept_headers(request: SignedRequest) -> dict[str, str]:
    """The headers that are given back with the object. Raises Refusal."""
    found = {name: request.header(name) for name in KEPT_HEADERS}
    kept = {name: value for name, value in found.items() if value is not None}
    # aws-chunked is how it came, and not what it is.
    encodings = [one.strip() for one in kept.pop("content-encoding", "").split(",")]
    encoding = ",".join(one for one in encodings if one and one != "aws-chunked")
    if encoding:
        kept["content-encoding"] = encoding
    for name, value in kept.items():
        if len(value) > KEPT_HEADER_MAX:
            raise Refusal("InvalidArgument", f"{name} may have {KEPT_HEADER_MAX} characters")
    return kept


def _metadata_of(request: SignedRequest) -> dict[str, str]:
    """User metadata by name in lower case, without `x-amz-meta-`. Raises Refusal."""
    names = {name.decode("latin-1") for name, _ in request.headers if name.startswith(b"x-amz-meta-")}
    found = {name.removeprefix("x-amz-meta-"): request.header(name) or "" for name in sorted(names)}
    if sum(len(name) + len(value) for name, value in found.items()) > METADATA_MAX:
        raise Refusal(
            "MetadataTooLarge",
            "Your metadata headers exceed the maximum allowed metadata size",
            MaxSizeAllowed=str(METADATA_MAX),
        )
    return found


def _tags_in_header(request: SignedRequest) -> dict[str, str]:
    """The tags of `x-amz-tagging` (`a=b&c=d`). Raises Refusal."""
    text = request.header("x-amz-tagging")
    if text is None:
        return {}
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), max_num_fields=TAGS_MAX + 1)
    except ValueError as error:
        raise Refusal(
            "InvalidArgument", "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded."
        ) from error
    return _checked_tags(pairs)


def tags_in_xml(body: bytes) -> dict[str, str]:
    """The tags of a PutObjectTagging's body. Raises Refusal."""
    if b"<!" in body:
        raise Refusal("MalformedXML", "The XML you provided has declarations, which are not read.")
    try:
        root = ET.fromstring(body)  # noqa: S314 - signed by the hub itself, short, and without declarations
    except ET.ParseError as error:
        raise Refusal("MalformedXML", "The XML you provided was not well-formed.") from error
    found = root.findall("./{*}TagSet/{*}Tag")
    return _checked_tags([(tag.findtext("{*}Key") or "", tag.findtext("{*}Value") or "") for tag in found])


def _checked_tags(pairs: list[tuple[str, str]]) -> dict[str, str]:
    tags = dict(pairs)
    if len(tags) != len(pairs):
        raise Refusal("InvalidTag", "Cannot provide multiple Tags with the same key")
    if len(tags) > TAGS_MAX:
        raise Refusal("BadRequest", f"Object tags cannot be greater than {TAGS_MAX}")
    for name, value in pairs:
        if not 1 <= len(name) <= TAG_NAME_MAX or len(value) > TAG_VALUE_MAX or not (name + value).isprintable():
            raise Refusal("InvalidTag", "The TagKey or TagValue you have provided is invalid")
    return tags


def tags_as_xml(tags: Mapping[str, str]) -> bytes:
    """The answer to a GetObjectTagging."""
    root = ET.Element("Tagging", xmlns=_XMLNS)
    tag_set = ET.SubElement(root, "TagSet")
    for name, value in tags.items():
        tag = ET.SubElement(tag_set, "Tag")
        ET.SubElement(tag, "Key").text = name
        ET.SubElement(tag, "Value").text = value
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))
