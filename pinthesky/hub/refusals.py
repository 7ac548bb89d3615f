"""What the hub says when it refuses a request that speaks as AWS does: AWS's own codes, with the status that AWS gives.

Sources: "Error responses" of the Amazon S3 API reference, "Common errors" of API Gateway.
"""

from __future__ import annotations

from collections.abc import Mapping
from xml.sax.saxutils import escape

from pinthesky.errors import PinTheSkyError

STATUS: Mapping[str, int] = {
    "AccessDenied": 403,
    "AuthorizationHeaderMalformed": 400,
    "AuthorizationQueryParametersError": 400,
    "BadDigest": 400,
    "BadRequest": 400,
    "EntityTooLarge": 400,
    "ExpiredToken": 400,
    "IncompleteBody": 400,
    "InsufficientStorage": 507,
    "InternalError": 500,
    "InvalidAccessKeyId": 403,
    "InvalidArgument": 400,
    "InvalidDigest": 400,
    "InvalidRange": 416,
    "InvalidRequest": 400,
    "InvalidTag": 400,
    "InvalidToken": 400,
    "InvalidURI": 400,
    "MalformedXML": 400,
    "MetadataTooLarge": 400,
    "MissingContentLength": 411,
    "NoSuchBucket": 404,
    "NoSuchKey": 404,
    "NotImplemented": 501,
    "PreconditionFailed": 412,
    "RequestTimeTooSkewed": 403,
    "RequestTimeout": 400,
    "ServiceUnavailable": 503,
    "SignatureDoesNotMatch": 403,
    "SlowDown": 503,
    "XAmzContentSHA256Mismatch": 400,
}
"""`InsufficientStorage` is the one that S3 does not have: its disks are never full."""


class Refusal(PinTheSkyError):
    """A request is refused with one of AWS's codes. `details` are further elements of S3's XML."""

    def __init__(self, code: str, message: str, **details: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.details = details

    @property
    def status(self) -> int:
        """The HTTP status."""
        return STATUS[self.code]

    def xml(self, *, resource: str, request_id: str) -> bytes:
        """The body of S3's answer."""
        elements = {
            "Code": self.code,
            "Message": self.message,
            **self.details,
            "Resource": resource,
            "RequestId": request_id,
        }
        inner = "".join(f"<{name}>{escape(_printable(value))}</{name}>" for name, value in elements.items())
        return f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inner}</Error>'.encode()


class Cut(Refusal):
    """A refusal that ends the connection as well: what else comes on it is not wanted."""


def _printable(text: str) -> str:
    """`text` without what no XML document may hold."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
