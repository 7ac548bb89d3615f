"""AWS Signature Version 4, verified and made with botocore's own canonicalisation.

Both forms are taken: the `Authorization` header and the presigned query. The region that a signature names is any: the
secret belongs to this hub alone, so a region says nothing here.

Sources: "Signature Calculations for the Authorization Header", "Authenticating Requests: Using Query Parameters" and
"Transferring Payload in Multiple Chunks" of the Amazon S3 API reference.
"""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl, quote, unquote_to_bytes

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials

from pinthesky.errors import InvalidInput, NotAuthorized
from pinthesky.hub.credentials import Key, Keys, shown_certificate
from pinthesky.hub.ports import REGION
from pinthesky.hub.refusals import Refusal
from pinthesky.model.identifiers import ThingName

if TYPE_CHECKING:
    from pinthesky.hub.ports import ThingRegistry

SKEW_MAX_S = 15 * 60
PRESIGNED_MAX_S = 7 * 24 * 3600
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
ALGORITHM = "AWS4-HMAC-SHA256"
_TIMESTAMP = "%Y%m%dT%H%M%SZ"
_SCOPE = r"(?P<id>[^/,\s]{1,128})/(?P<date>\d{8})/(?P<region>[a-z0-9-]{1,32})/(?P<service>[a-z0-9-]{1,32})/aws4_request"
_NAMES = r"[a-z0-9!#$%&'*+.^_`|~-]+(?:;[a-z0-9!#$%&'*+.^_`|~-]+)*"
_CREDENTIAL = re.compile(_SCOPE)
_SIGNED_HEADERS = re.compile(_NAMES)
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_AUTHORIZATION = re.compile(
    rf"{ALGORITHM} +Credential=(?P<credential>{_SCOPE}) *, *SignedHeaders=(?P<headers>{_NAMES})"
    rf" *, *Signature=(?P<signature>[0-9a-f]{{64}})"
)
_QUERY_NAMES = ("X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature")


@dataclass(frozen=True, kw_only=True)
class Principal:
    """Who speaks: a thing, or, with None, the hub itself."""

    thing: ThingName | None


@dataclass(frozen=True, kw_only=True)
class SignedRequest:
    """A request as it came over the wire: the path still encoded, header names in lower case."""

    method: str
    raw_path: bytes
    query_string: bytes
    headers: Sequence[tuple[bytes, bytes]]
    certificate: bytes | None = None
    """DER, where the client showed one."""

    @classmethod
    def of(cls, scope: Any) -> SignedRequest:
        """The request of an ASGI scope."""
        return cls(
            method=scope["method"],
            raw_path=scope["raw_path"],
            query_string=scope["query_string"],
            headers=[(name.lower(), value) for name, value in scope["headers"]],
            certificate=shown_certificate(scope),
        )

    def header(self, name: str) -> str | None:
        """The value of a header, several joined by commas; None where it is missing."""
        values = [value for found, value in self.headers if found == name.encode("ascii")]
        return b",".join(values).decode("latin-1") if values else None

    def query(self) -> list[tuple[str, str]]:
        """Decoded names and values, in their order. Raises Refusal."""
        try:
            text = self.query_string.decode("ascii").replace("+", "%2B")
            return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=50)
        except ValueError as error:
            raise Refusal("InvalidURI", "The query cannot be read.") from error


@dataclass(frozen=True, kw_only=True)
class Verified:
    """A request whose signature holds, and what is needed to verify a body that is signed in chunks."""

    principal: Principal
    payload: str
    """The payload's SHA-256 in hexadecimal digits, or how the payload is protected instead (`UNSIGNED-PAYLOAD`, …)."""
    signature: str
    timestamp: str
    scope: str
    """`<date>/<region>/<service>/aws4_request`."""
    sign: Callable[[str], str]
    """The signature of another string under the same key."""


@dataclass(frozen=True, kw_only=True)
class _Claim:
    """What a request says about its own signature."""

    access_key_id: str
    token: str | None
    date: str
    region: str
    service: str
    timestamp: str
    expires_s: int | None
    """Of a presigned request."""
    signed_headers: tuple[str, ...]
    signature: str
    query: list[tuple[str, str]]
    """What the signature is over."""


class _SignsWhatIsNamed(SigV4Auth):
    """botocore's signer, over the headers that `SignedHeaders` names."""

    named: HTTPHeaders

    def headers_to_sign(self, request: AWSRequest) -> HTTPHeaders:  # noqa: ARG002 - botocore's signature
        return self.named


class _S3SignsWhatIsNamed(_SignsWhatIsNamed, S3SigV4Auth):
    """The same by the rules of S3, where a path is encoded once and never normalised."""


class Signatures:
    """Verifies requests, and presigns those of the hub's own planes. Thread-safe."""

    def __init__(self, keys: Keys, registry: ThingRegistry, *, clock: Callable[[], float] = time.time) -> None:
        """`clock` gives epoch seconds."""
        self._keys = keys
        self._registry = registry
        self._clock = clock

    def verify(self, request: SignedRequest, *, service: str = "s3", payload_sha256: str | None = None) -> Verified:
        """Find out who sent `request`.

        For S3 the header `x-amz-content-sha256` says how the payload is protected, and whoever reads the payload holds
        it against `Verified.payload`. For any other service `payload_sha256` is that of the body that came. Raises
        Refusal. Looks into the registry, so it may wait for the disk.
        """
        claim = _claim_of(request)
        if claim.service != service:
            raise Refusal("NotImplemented", f"This is {service}, and the request is signed for {claim.service}.")
        self._check_time(claim)
        key, holder = self._keys.open(claim.access_key_id, claim.token)
        payload = _payload_of(request, claim) if service == "s3" else payload_sha256
        if payload is None:
            raise InvalidInput("payload_sha256", f"must be given for {service}")
        verified = _verified(request, claim, key, payload=payload)
        thing = None if holder.thing is None else self._thing_now(ThingName(holder.thing), holder.certificate)
        self._check_certificate(request.certificate, thing)
        return verified(Principal(thing=thing))

    def presigned_url(
        self, url: str, *, method: str = "GET", expires_s: int = 3600, query: Mapping[str, str] | None = None
    ) -> str:
        """`url` (as `object_url` makes it) with a signature of the hub, good for `expires_s` from now, at most 7 days.

        `query` may hold `response-content-disposition` and its like. Raises InvalidInput.
        """
        if not 1 <= expires_s <= PRESIGNED_MAX_S:
            raise InvalidInput("expires_s", f"must be 1 to {PRESIGNED_MAX_S}, got {expires_s}")
        key = self._keys.issue_for_hub(lifetime_s=expires_s)
        credentials = Credentials(key.access_key_id, key.secret_access_key, key.session_token)
        asked = AWSRequest(method=method, url=url, params=dict(query or {}))
        S3SigV4QueryAuth(credentials, "s3", REGION, expires=expires_s).add_auth(asked)
        return str(asked.url)

    def _thing_now(self, thing: ThingName, certificate: bytes) -> ThingName:
        """The holder of a key, unless its certificate has been revoked since."""
        try:
            if self._registry.thing_of(certificate) == thing:
                return thing
        except NotAuthorized as error:
            if self._registry.is_active(thing):
                # The thing has another certificate by now: it is to fetch another key with that.
                raise Refusal("ExpiredToken", "The certificate behind the token is no longer in use.") from error
            raise Refusal("AccessDenied", "The thing has been removed.") from error
        raise Refusal("AccessDenied", "The certificate behind the token speaks for another thing by now.")

    def _check_certificate(self, certificate: bytes | None, thing: ThingName | None) -> None:
        """A client that shows a certificate beside its signature must be the same thing by both."""
        if certificate is None:
            return
        try:
            shown = self._registry.thing_of(certificate)
        except NotAuthorized as error:
            raise Refusal("AccessDenied", "The client certificate is not, or no longer, registered.") from error
        if shown != thing:
            raise Refusal("AccessDenied", "The client certificate is not that of the signature's thing.")

    def _check_time(self, claim: _Claim) -> None:
        now_s = self._clock()
        signed_s = _epoch_s(claim.timestamp)
        server_time = datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if claim.expires_s is None:
            if abs(now_s - signed_s) > SKEW_MAX_S:
                raise Refusal(
                    "RequestTimeTooSkewed",
                    "The difference between the request time and the current time is too large.",
                    RequestTime=claim.timestamp,
                    ServerTime=server_time,
                    MaxAllowedSkewMilliseconds=str(SKEW_MAX_S * 1000),
                )
        elif signed_s - now_s > SKEW_MAX_S:
            raise Refusal("AccessDenied", "Request is not yet valid", ServerTime=server_time)
        elif now_s > signed_s + claim.expires_s:
            raise Refusal("AccessDenied", "Request has expired", ServerTime=server_time)


def object_url(base: str, bucket: str, key: str) -> str:
    """The address of an object below `base` (`https://hub:8443`), encoded as signatures need it."""
    return f"{base.rstrip('/')}/{bucket}/{quote(key, safe='/~')}"


def _claim_of(request: SignedRequest) -> _Claim:
    query = request.query()
    authorization = request.header("authorization")
    names = [name for name, _ in query]
    if "X-Amz-Algorithm" in names or "X-Amz-Signature" in names:
        if authorization is not None:
            raise Refusal("InvalidArgument", "Only one auth mechanism allowed, header or query.")
        claim = _claim_of_query(query, names)
    elif "AWSAccessKeyId" in names:
        raise Refusal("InvalidRequest", f"The authorization mechanism is not supported. Please use {ALGORITHM}.")
    elif authorization is None:
        raise Refusal("AccessDenied", "Access Denied: the request is not signed.")
    else:
        claim = _claim_of_header(request, query, authorization)
    if claim.timestamp[:8] != claim.date:
        raise Refusal("SignatureDoesNotMatch", "The date of the credential's scope is not that of the request.")
    present = {name.decode("latin-1") for name, _ in request.headers}
    unsigned = {name for name in present if name.startswith("x-amz-")} - set(claim.signed_headers)
    if "host" not in claim.signed_headers or unsigned:
        missing = ", ".join(sorted(unsigned)) or "host"
        raise Refusal("AccessDenied", f"There were headers present in the request which were not signed: {missing}")
    return claim


def _claim_of_header(request: SignedRequest, query: list[tuple[str, str]], authorization: str) -> _Claim:
    found = _AUTHORIZATION.fullmatch(authorization.strip())
    if found is None:
        if not authorization.startswith(ALGORITHM):
            raise Refusal("InvalidRequest", f"The authorization mechanism is not supported. Please use {ALGORITHM}.")
        raise Refusal("AuthorizationHeaderMalformed", "The authorization header is malformed.")
    timestamp = request.header("x-amz-date")
    if timestamp is None:
        raise Refusal("AccessDenied", "AWS authentication requires a valid x-amz-date header")
    return _Claim(
        access_key_id=found["id"],
        token=request.header("x-amz-security-token"),
        date=found["date"],
        region=found["region"],
        service=found["service"],
        timestamp=timestamp,
        expires_s=None,
        signed_headers=tuple(found["headers"].split(";")),
        signature=found["signature"],
        query=query,
    )


def _claim_of_query(query: list[tuple[str, str]], names: list[str]) -> _Claim:
    if len({name for name in names if name.startswith("X-Amz-")}) != sum(name.startswith("X-Amz-") for name in names):
        raise _bad_query("each X-Amz- parameter may stand there once")
    values = dict(query)
    if values.get("X-Amz-Algorithm") != ALGORITHM:
        raise _bad_query(f"X-Amz-Algorithm only supports {ALGORITHM}")
    missing = [name for name in _QUERY_NAMES if name not in values]
    if missing:
        raise _bad_query(f"missing {', '.join(missing)}")
    scope = _CREDENTIAL.fullmatch(values["X-Amz-Credential"])
    if scope is None or _SIGNED_HEADERS.fullmatch(values["X-Amz-SignedHeaders"]) is None:
        raise _bad_query("X-Amz-Credential or X-Amz-SignedHeaders is malformed")
    if _SIGNATURE.fullmatch(values["X-Amz-Signature"]) is None:
        raise _bad_query("X-Amz-Signature is malformed")
    expires = values["X-Amz-Expires"]
    if re.fullmatch(r"[0-9]{1,7}", expires) is None or not 1 <= int(expires) <= PRESIGNED_MAX_S:
        raise _bad_query(f"X-Amz-Expires must be 1 to {PRESIGNED_MAX_S} seconds")
    return _Claim(
        access_key_id=scope["id"],
        token=values.get("X-Amz-Security-Token"),
        date=scope["date"],
        region=scope["region"],
        service=scope["service"],
        timestamp=values["X-Amz-Date"],
        expires_s=int(expires),
        signed_headers=tuple(values["X-Amz-SignedHeaders"].split(";")),
        signature=values["X-Amz-Signature"],
        query=[pair for pair in query if pair[0] != "X-Amz-Signature"],
    )


def _bad_query(why: str) -> Refusal:
    return Refusal("AuthorizationQueryParametersError", f"Error parsing the query parameters: {why}")


def _epoch_s(timestamp: str) -> float:
    try:
        return datetime.strptime(timestamp, _TIMESTAMP).replace(tzinfo=UTC).timestamp()
    except ValueError as error:
        raise Refusal("AccessDenied", "X-Amz-Date must be in the ISO8601 form YYYYMMDDTHHMMSSZ") from error


def _payload_of(request: SignedRequest, claim: _Claim) -> str:
    said = request.header("x-amz-content-sha256")
    if said is not None:
        return said
    if claim.expires_s is None:
        raise Refusal("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
    return UNSIGNED_PAYLOAD


def _verified(request: SignedRequest, claim: _Claim, key: Key, *, payload: str) -> Callable[[Principal], Verified]:
    """Compare signatures; Refusal (SignatureDoesNotMatch) where they differ."""
    credentials = Credentials(key.access_key_id, key.secret_access_key, key.session_token)
    is_s3 = claim.service == "s3"
    signer = (_S3SignsWhatIsNamed if is_s3 else _SignsWhatIsNamed)(credentials, claim.service, claim.region)
    signer.named = HTTPHeaders()
    for name, value in request.headers:
        if name.decode("latin-1") in claim.signed_headers:
            signer.named.add_header(name.decode("latin-1"), value.decode("latin-1"))
    path = quote(unquote_to_bytes(request.raw_path), safe="/~") if is_s3 else request.raw_path.decode("latin-1")
    asked = AWSRequest(
        method=request.method,
        url=f"https://hub{path}",
        params=cast("Any", claim.query),  # names may repeat, and botocore takes pairs too
        headers={"X-Amz-Content-SHA256": payload},
    )
    asked.context["timestamp"] = claim.timestamp
    expected = signer.signature(signer.string_to_sign(asked, signer.canonical_request(asked)), asked)
    if not hmac.compare_digest(str(expected), claim.signature):
        raise Refusal(
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. Check your key and "
            "signing method.",
        )
    return lambda principal: Verified(
        principal=principal,
        payload=payload,
        signature=claim.signature,
        timestamp=claim.timestamp,
        scope=str(signer.credential_scope(asked)),
        sign=lambda text: str(signer.signature(text, asked)),
    )
