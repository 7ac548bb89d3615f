"""Signature Version 4, as unmodified signers make it and as they do not."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from pinthesky.errors import InvalidInput
from pinthesky.hub.credentials import Key, Keys
from pinthesky.hub.database import Database
from pinthesky.hub.refusals import Refusal
from pinthesky.hub.registry import Registry
from pinthesky.hub.signatures import Signatures, SignedRequest, object_url
from pinthesky.model.identifiers import ThingName
from tests.support.aws_servers import CertificateAuthority
from tests.support.hub_media import Clock
from tests.support.hub_objects import SECRET, der

HOST = "hub.local:8443"
PATH = "/pits-media/motion_videos/garden/1800000000-a.motion.mp4"
GARDEN = ThingName("garden")


class Bench:
    """A verifier with a registry that knows two things, and signers."""

    def __init__(self, folder: Path) -> None:
        authority = CertificateAuthority(folder)
        self.clock = Clock()
        self.registry = Registry(Database(folder / "hub.sqlite"))
        self.certificates = {}
        for name in ("garden", "yard"):
            self.registry.add(ThingName(name))
            self.certificates[name] = der(authority.issue(name))
            self.registry.register_certificate(ThingName(name), self.certificates[name])
        self.stranger = der(authority.issue("stranger"))
        self.keys = Keys(SECRET, clock=self.clock)
        self.signatures = Signatures(self.keys, self.registry, clock=self.clock)
        self.key = self.keys.issue_for_thing(GARDEN, self.certificates["garden"], lifetime_s=3600)

    def signed(self, method: str = "PUT", path: str = PATH, *, key: Key | None = None, **more: Any) -> SignedRequest:
        """As boto3 signs for S3: in the header."""
        asked = AWSRequest(method=method, url=f"https://{HOST}{path}", data=more.get("body", b""))
        set_headers(asked, {"Host": HOST} | more.get("headers", {}))
        asked.context["payload_signing_enabled"] = more.get("signs_payload", True)
        botocore.auth.S3SigV4Auth(credentials(key or self.key), "s3", "eu-west-1").add_auth(asked)
        return request_of(asked)

    def presigned(self, method: str = "GET", path: str = PATH, *, expires_s: int = 60, **headers: str) -> SignedRequest:
        """As boto3 presigns for S3."""
        asked = AWSRequest(method=method, url=f"https://{HOST}{path}")
        set_headers(asked, {"Host": HOST} | {name.replace("_", "-"): value for name, value in headers.items()})
        botocore.auth.S3SigV4QueryAuth(credentials(self.key), "s3", "eu-west-1", expires=expires_s).add_auth(asked)
        return request_of(asked)

    def refusal(self, request: SignedRequest, **more: Any) -> Refusal:
        """Why it is refused."""
        with pytest.raises(Refusal) as refused:
            self.signatures.verify(request, **more)
        return refused.value


def credentials(key: Key) -> Credentials:
    return Credentials(key.access_key_id, key.secret_access_key, key.session_token)


def set_headers(asked: AWSRequest, headers: dict[str, str]) -> None:
    for name, value in headers.items():
        asked.headers[name] = value


def request_of(asked: AWSRequest) -> SignedRequest:
    parts = urlsplit(str(asked.url))
    return SignedRequest(
        method=str(asked.method),
        raw_path=parts.path.encode(),
        query_string=parts.query.encode(),
        headers=[(name.lower().encode(), str(value).encode("latin-1")) for name, value in asked.headers.items()],
    )


def changed(request: SignedRequest, **changes: Any) -> SignedRequest:
    """The same with other attributes; `header_x_y` sets a header, None takes it away."""
    headers = list(request.headers)
    for name in [name for name in changes if name.startswith("header_")]:
        wire = name.removeprefix("header_").replace("_", "-").encode()
        value = changes.pop(name)
        headers = [pair for pair in headers if pair[0] != wire]
        headers += [] if value is None else [(wire, value.encode("latin-1"))]
    values = {name: getattr(request, name) for name in ("method", "raw_path", "query_string", "certificate")}
    return SignedRequest(**{**values, "headers": headers, **changes})


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(autouse=True)
def right_time(bench: Bench):
    yield
    bench.clock.ahead_s = 0.0


# What holds


def test_a_signature_in_the_header_names_the_thing(bench: Bench):
    verified = bench.signatures.verify(bench.signed(body=b"abc"))
    assert verified.principal.thing == "garden"
    assert verified.payload == hashlib.sha256(b"abc").hexdigest()


def test_a_signature_in_the_query_names_the_thing(bench: Bench):
    verified = bench.signatures.verify(bench.presigned())
    assert (verified.principal.thing, verified.payload) == ("garden", "UNSIGNED-PAYLOAD")


def test_the_hubs_own_key_names_no_thing(bench: Bench):
    assert bench.signatures.verify(bench.signed(key=bench.keys.issue_for_hub())).principal.thing is None


def test_a_presigned_url_of_the_hub_holds(bench: Bench):
    url = bench.signatures.presigned_url(
        object_url(f"https://{HOST}", "pits-media", "motion_videos/garden/a:b c.mp4"),
        query={"response-content-disposition": 'attachment; filename="a b.mp4"'},
    )
    parts = urlsplit(url)
    request = SignedRequest(
        method="GET",
        raw_path=parts.path.encode(),
        query_string=parts.query.encode(),
        headers=[(b"host", HOST.encode()), (b"range", b"bytes=0-1")],
    )
    assert parts.path == "/pits-media/motion_videos/garden/a%3Ab%20c.mp4"
    assert bench.signatures.verify(request).principal.thing is None


@pytest.mark.parametrize("expires_s", [0, 7 * 24 * 3600 + 1])
def test_a_presigned_url_of_another_length_is_refused(bench: Bench, expires_s: int):
    with pytest.raises(InvalidInput, match="expires_s"):
        bench.signatures.presigned_url(f"https://{HOST}{PATH}", expires_s=expires_s)


def test_headers_that_are_not_signed_may_be_there(bench: Bench):
    request = changed(bench.signed(), header_user_agent="anything", header_range="bytes=0-")
    assert bench.signatures.verify(request).principal.thing == "garden"


@given(name=st.text(min_size=1, max_size=30))
def test_whatever_stands_in_a_key_is_signed_alike(bench: Bench, name: str):
    try:
        path = urlsplit(object_url(f"https://{HOST}", "pits-media", f"a/b/{name}")).path
    except UnicodeEncodeError:  # half of a surrogate pair is no text
        return
    assert bench.signatures.verify(bench.signed(path=path)).principal.thing == "garden"


@given(pairs=st.lists(st.tuples(st.text("abcAZ09-_.~ +/=&%é", min_size=1), st.text("ab +/=&%é")), max_size=4))
def test_whatever_stands_in_a_query_is_signed_alike(bench: Bench, pairs: list[tuple[str, str]]):
    asked = AWSRequest(method="GET", url=f"https://{HOST}{PATH}", params=dict(pairs), headers={"Host": HOST})
    botocore.auth.S3SigV4Auth(credentials(bench.key), "s3", "eu-west-1").add_auth(asked)
    prepared = urlsplit(asked.prepare().url)
    request = changed(request_of(asked), query_string=prepared.query.replace("+", "%20").encode())
    assert bench.signatures.verify(request).principal.thing == "garden"


def test_a_path_of_another_service_is_normalised_and_encoded_twice(bench: Bench):
    body = b"{}"
    asked = AWSRequest(method="POST", url=f"https://{HOST}/stage//@connections/a%3D", data=body, headers={"Host": HOST})
    botocore.auth.SigV4Auth(credentials(bench.key), "execute-api", "eu-west-1").add_auth(asked)
    digest = hashlib.sha256(body).hexdigest()
    verified = bench.signatures.verify(request_of(asked), service="execute-api", payload_sha256=digest)
    assert verified.principal.thing == "garden"
    other = hashlib.sha256(b"other").hexdigest()
    assert bench.refusal(request_of(asked), service="execute-api", payload_sha256=other).code == "SignatureDoesNotMatch"
    assert bench.refusal(request_of(asked)).code == "NotImplemented"
    with pytest.raises(InvalidInput, match="payload_sha256"):
        bench.signatures.verify(request_of(asked), service="execute-api")


# What does not


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "DELETE"},
        {"raw_path": PATH.replace("garden", "yard").encode()},
        {"query_string": b"tagging"},
        {"header_x_amz_content_sha256": "0" * 64},
        {"header_host": "elsewhere"},
        {"header_x_amz_tagging": "a=c"},
    ],
)
def test_what_was_changed_on_the_way_does_not_match(bench: Bench, changes: dict[str, Any]):
    request = bench.signed(headers={"x-amz-tagging": "a=b"})
    assert bench.refusal(changed(request, **changes)).code == "SignatureDoesNotMatch"


def test_another_signature_does_not_match(bench: Bench):
    request = bench.signed()
    authorization = re.sub("Signature=.{8}", "Signature=00000000", str(request.header("authorization")))
    assert bench.refusal(changed(request, header_authorization=authorization)).code == "SignatureDoesNotMatch"


def test_a_header_of_amazons_that_is_not_signed_is_refused(bench: Bench):
    refused = bench.refusal(changed(bench.signed(), header_x_amz_tagging="retention=none"))
    assert (refused.code, "x-amz-tagging" in refused.message) == ("AccessDenied", True)


def test_a_signature_without_the_host_is_refused(bench: Bench):
    request = bench.signed()
    authorization = str(request.header("authorization")).replace("SignedHeaders=host;", "SignedHeaders=")
    assert bench.refusal(changed(request, header_authorization=authorization)).code == "AccessDenied"


@pytest.mark.parametrize("ahead_s, holds", [(890, True), (-890, True), (910, False), (-910, False)])
def test_clocks_may_differ_by_a_quarter_of_an_hour(bench: Bench, ahead_s: float, holds: bool):
    request = bench.signed()
    bench.clock.ahead_s = ahead_s
    if holds:
        assert bench.signatures.verify(request).principal.thing == "garden"
    else:
        refused = bench.refusal(request)
        assert refused.code == "RequestTimeTooSkewed"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", refused.details["ServerTime"])


@pytest.mark.parametrize("ahead_s, says", [(62, "has expired"), (-910, "not yet valid")])
def test_a_presigned_request_has_its_time(bench: Bench, ahead_s: float, says: str):
    request = bench.presigned(expires_s=60)
    bench.clock.ahead_s = ahead_s
    assert says in bench.refusal(request).message


def test_the_token_is_demanded(bench: Bench):
    asked = AWSRequest(method="GET", url=f"https://{HOST}{PATH}", headers={"Host": HOST})
    botocore.auth.S3SigV4Auth(
        Credentials(bench.key.access_key_id, bench.key.secret_access_key), "s3", "eu-west-1"
    ).add_auth(asked)
    assert bench.refusal(request_of(asked)).code == "InvalidAccessKeyId"


@pytest.mark.parametrize(
    "authorization, code",
    [
        (None, "AccessDenied"),
        ("AWS AKIDEXAMPLE:abc", "InvalidRequest"),
        ("Bearer x", "InvalidRequest"),
        ("AWS4-HMAC-SHA256 Credential=x", "AuthorizationHeaderMalformed"),
        ("AWS4-HMAC-SHA256 " + "x" * 9000, "AuthorizationHeaderMalformed"),
    ],
)
def test_what_is_no_signature_is_refused(bench: Bench, authorization: str | None, code: str):
    assert bench.refusal(changed(bench.signed(), header_authorization=authorization)).code == code


@pytest.mark.parametrize(
    "changes, code",
    [
        ({"header_x_amz_date": None}, "AccessDenied"),
        ({"header_x_amz_date": "20010101T000000Z"}, "SignatureDoesNotMatch"),
        ({"header_x_amz_content_sha256": None}, "InvalidRequest"),
        ({"query_string": b"a=%ff"}, "InvalidURI"),
        ({"query_string": b"&".join([b"a=1"] * 60)}, "InvalidURI"),
        ({"query_string": b"AWSAccessKeyId=a&Signature=b", "header_authorization": None}, "InvalidRequest"),
        ({"query_string": b"X-Amz-Algorithm=AWS4-HMAC-SHA256"}, "InvalidArgument"),
    ],
)
def test_a_request_that_lacks_or_muddles_something_is_refused(bench: Bench, changes: dict[str, Any], code: str):
    assert bench.refusal(changed(bench.signed(), **changes)).code == code


def test_a_date_that_is_none_is_refused(bench: Bench):
    request = bench.signed()
    stamp = str(request.header("x-amz-date"))
    broken = changed(request, header_x_amz_date=f"{stamp[:8]}T999999Z")
    assert bench.refusal(broken).code == "AccessDenied"


@pytest.mark.parametrize(
    "pattern, replacement",
    [
        ("X-Amz-Algorithm=AWS4-HMAC-SHA256", "X-Amz-Algorithm=AWS4-ECDSA"),
        ("X-Amz-Expires=60", "X-Amz-Expires=604801"),
        ("X-Amz-Expires=60", "X-Amz-Expires=0"),
        ("X-Amz-Expires=60", "X-Amz-Expires=x"),
        ("X-Amz-Expires=60", "X-Amz-Expires=60&X-Amz-Expires=600"),
        ("&X-Amz-Expires=60", ""),
        ("X-Amz-SignedHeaders=host", "X-Amz-SignedHeaders=%0A"),
        ("aws4_request", "aws4"),
        ("X-Amz-Signature=.*", "X-Amz-Signature=short"),
    ],
)
def test_a_presigned_request_that_is_malformed_is_refused(bench: Bench, pattern: str, replacement: str):
    request = bench.presigned()
    query = re.sub(pattern, replacement, request.query_string.decode(), count=1)
    assert query.encode() != request.query_string
    assert bench.refusal(changed(request, query_string=query.encode())).code == "AuthorizationQueryParametersError"


def test_a_longer_life_than_was_signed_does_not_match(bench: Bench):
    request = bench.presigned()
    query = request.query_string.replace(b"X-Amz-Expires=60", b"X-Amz-Expires=600")
    assert bench.refusal(changed(request, query_string=query)).code == "SignatureDoesNotMatch"


# Identity at every request


def test_a_certificate_beside_the_signature_must_be_the_same_things(bench: Bench):
    request = bench.signed()
    same = changed(request, certificate=bench.certificates["garden"])
    assert bench.signatures.verify(same).principal.thing == "garden"
    for certificate in (bench.certificates["yard"], bench.stranger):
        assert bench.refusal(changed(request, certificate=certificate)).code == "AccessDenied"


def test_a_removed_thing_is_refused_at_once(tmp_path: Path):
    bench = Bench(tmp_path)
    request = bench.signed()
    bench.registry.remove(GARDEN)
    assert bench.refusal(request).code == "AccessDenied"


def test_a_namesake_of_a_removed_thing_does_not_inherit_its_key(tmp_path: Path):
    bench = Bench(tmp_path)
    request = bench.signed()
    bench.registry.remove(GARDEN)
    bench.registry.add(GARDEN)
    assert bench.refusal(request).code == "ExpiredToken"


def test_a_certificate_that_speaks_for_another_thing_by_now_is_refused(tmp_path: Path):
    bench = Bench(tmp_path)
    key = bench.keys.issue_for_thing(ThingName("old"), bench.certificates["garden"], lifetime_s=900)
    assert bench.refusal(bench.signed(key=key)).code == "AccessDenied"
