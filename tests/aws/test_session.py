from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    SSLError,
)

from pinthesky.aws.session import CLIENTS_MAX, AwsSession
from pinthesky.device.fakes import FakeClock
from pinthesky.errors import InvalidInput, NotAuthorized, NotFound, PinTheSkyError, Unavailable
from tests.support.aws_servers import REGION, CredentialsServer

S3_URL = "http://127.0.0.1:9"


@pytest.fixture
def session() -> AwsSession:
    return AwsSession(clock=FakeClock(1_800_000_000), region=REGION, s3_endpoint=S3_URL)


def client_error(code: str, status: int, **headers: str) -> ClientError:
    answer: Any = {
        "Error": {"Code": code, "Message": "words"},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers},
    }
    return ClientError(answer, "PutObject")


@pytest.mark.parametrize(
    "code, status, kind",
    [
        ("AccessDenied", 403, NotAuthorized),
        ("SignatureDoesNotMatch", 403, NotAuthorized),
        ("InvalidAccessKeyId", 403, NotAuthorized),
        ("AccessDeniedException", 400, NotAuthorized),
        ("InvalidSignatureException", 403, NotAuthorized),
        ("SomethingNew", 401, NotAuthorized),
        ("NoSuchBucket", 404, NotFound),
        ("InvalidBucketName", 400, NotFound),
        ("PermanentRedirect", 301, NotFound),
        ("GoneException", 410, NotFound),
        ("ResourceNotFoundException", 400, NotFound),
        ("SlowDown", 503, Unavailable),
        ("RequestTimeout", 400, Unavailable),
        ("IncompleteBody", 400, Unavailable),
        ("ConditionalRequestConflict", 409, Unavailable),
        ("ThrottlingException", 400, Unavailable),
        ("SomethingNew", 429, Unavailable),
        ("SomethingNew", 500, Unavailable),
        ("ExpiredToken", 400, Unavailable),
        ("RequestTimeTooSkewed", 403, Unavailable),
        ("EntityTooLarge", 400, InvalidInput),
        ("BadDigest", 400, InvalidInput),
        ("KeyTooLongError", 400, InvalidInput),
    ],
)
def test_an_answer_of_aws_becomes_one_of_our_errors(
    session: AwsSession, code: str, status: int, kind: type[PinTheSkyError]
):
    error = client_error(code, status)
    with pytest.raises(kind, match=f"doing it: {code} words") as caught, session.errors("doing it"):
        raise error
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url=S3_URL),
        ConnectTimeoutError(endpoint_url=S3_URL),
        SSLError(endpoint_url=S3_URL, error=OSError("handshake failure")),
        NoCredentialsError(),
        ConnectionResetError("reset by peer"),
    ],
)
def test_what_may_pass_is_unavailable(session: AwsSession, error: Exception):
    with pytest.raises(Unavailable, match=r"^doing it: ."), session.errors("doing it"):
        raise error


def test_what_botocore_itself_refuses_is_invalid(session: AwsSession):
    with pytest.raises(InvalidInput, match=r"doing it: .*Bucket"), session.errors("doing it"):
        raise ParamValidationError(report="Invalid bucket name:\nBucket")


def test_our_own_errors_pass_unchanged(session: AwsSession):
    error = NotAuthorized("role alias")
    with pytest.raises(NotAuthorized) as caught, session.errors("doing it"):
        raise error
    assert caught.value is error


@pytest.mark.parametrize("code", ["RequestTimeTooSkewed", "InvalidSignatureException"])
def test_a_refused_signature_names_the_clock_by_the_servers_date(session: AwsSession, code: str):
    error = client_error(code, 403, date="Fri, 15 Jan 2027 09:00:00 GMT")  # an hour after the session's clock
    with pytest.raises(Unavailable, match="this machine's clock is 1:00:00 behind"), session.errors("doing it"):
        raise error


@pytest.mark.parametrize("date", ["", "nonsense", "Fri, 15 Jan 2027 08:00:00 GMT"])
def test_a_skewed_time_is_told_even_where_the_date_says_nothing(session: AwsSession, date: str):
    with pytest.raises(Unavailable, match="this machine has the wrong time"), session.errors("doing it"):
        raise client_error("RequestTimeTooSkewed", 403, date=date)


def test_a_certificate_out_of_its_time_points_at_the_clock(session: AwsSession):
    error = SSLError(endpoint_url=S3_URL, error=OSError("certificate is not yet valid (_ssl.c:1)"))
    words = r"not valid yet at 2027-01-15 08:00 UTC.*clock is behind"
    with pytest.raises(Unavailable, match=words), session.errors("doing it"):
        raise error


def test_a_client_is_made_once(session: AwsSession):
    assert session.s3() is session.s3()
    assert session.logs(REGION) is session.logs(REGION)
    assert session.logs(REGION) is not session.logs("us-east-1")


def test_the_number_of_clients_is_bounded(session: AwsSession):
    first = session.connections("http://127.0.0.1:1/a", REGION)
    for number in range(CLIENTS_MAX):
        session.connections(f"http://127.0.0.1:1/{number}", REGION)
    assert session.connections("http://127.0.0.1:1/a", REGION) is not first


def test_every_client_has_time_outs_and_few_attempts(session: AwsSession):
    clients: list[Any] = [session.s3(), session.logs(REGION), session.connections("http://127.0.0.1:1", REGION)]
    for client in clients:
        config = client.meta.config
        assert config.connect_timeout <= 20
        assert config.read_timeout <= 60
        assert config.retries["total_max_attempts"] <= 2


def test_a_hub_is_addressed_by_path_and_aws_by_its_own_rules(session: AwsSession):
    at_hub: Any = session.s3()
    assert at_hub.meta.endpoint_url == S3_URL
    assert at_hub.meta.config.s3["addressing_style"] == "path"
    at_aws = AwsSession(clock=FakeClock(), region=REGION).s3()
    assert at_aws.meta.endpoint_url == f"https://s3.{REGION}.amazonaws.com"


def test_the_environment_cannot_send_clips_elsewhere(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    session = AwsSession(clock=FakeClock(), region=REGION)
    assert session.s3().meta.endpoint_url == f"https://s3.{REGION}.amazonaws.com"


def test_the_ca_bundle_is_trusted_for_the_hub_and_not_for_aws(credentials_server: CredentialsServer):
    bundle = credentials_server.authority.cert
    session = AwsSession(clock=FakeClock(), region=REGION, s3_endpoint="https://127.0.0.1:1", ca_bundle=bundle)
    clients: list[Any] = [session.s3(), session.connections("https://127.0.0.1:1", REGION), session.logs(REGION)]
    trusted = [client._endpoint.http_session._verify for client in clients]
    assert [trust == str(bundle) for trust in trusted] == [True, True, False]


def test_a_region_that_is_none_is_told(session: AwsSession):
    with pytest.raises((InvalidInput, Unavailable), match="making the logs client"):
        session.logs("no region!")


def test_botocore_is_not_loaded_with_our_modules():
    modules = ["credentials", "session", "object_store", "log_store", "connections"]
    program = "import sys\n" + "".join(f"import pinthesky.aws.{name}\n" for name in modules)
    program += "sys.exit(any(name in sys.modules for name in ('boto3', 'botocore', 'urllib3')))"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", program], cwd=root, check=False).returncode == 0
