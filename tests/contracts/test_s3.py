"""What our device, planes and console use of S3, by unmodified boto3, held on the hub and on moto.

Where the two differ, DIFFERENCES says so and names who is right by AWS's documentation; a difference that goes away
fails its test.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import pytest
import urllib3
from boto3.exceptions import S3UploadFailedError
from boto3.s3.transfer import S3Transfer
from botocore.exceptions import ClientError

from tests.support.aws_fixtures import moto_client
from tests.support.house.source import ROOT
from tests.support.hub_objects import BUCKET, ObjectsHub, running

CONTENT = bytes(range(256)) * 300
OTHER = b"something else"


class Store(NamedTuple):
    """A bucket, its client, and a client of other settings."""

    name: str
    bucket: str
    s3: Any
    careful: Any
    """`request_checksum_calculation=when_required`."""
    pool: urllib3.PoolManager


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectsHub]:
    with running(ObjectsHub(tmp_path_factory.mktemp("hub"))) as hub:
        yield hub


@pytest.fixture(scope="module", params=["hub", "moto"])
def store(request: pytest.FixtureRequest) -> Store:
    if request.param == "hub":
        # What is presigned is signed by version 4 only when asked for; the hub knows no other.
        hub: ObjectsHub = request.getfixturevalue("hub")
        careful = hub.client(None, request_checksum_calculation="when_required")
        pool = urllib3.PoolManager(ca_certs=str(hub.authority.cert))
        return Store("hub", BUCKET, hub.client(None, signature_version="s3v4"), careful, pool)
    port: int = request.getfixturevalue("moto_port")
    client = moto_client(port, "s3")
    bucket = f"media-{secrets.token_hex(8)}"
    client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    return Store("moto", bucket, client, client, urllib3.PoolManager())


@pytest.fixture
def key() -> str:
    return f"motion_videos/garden/1800000000-{secrets.token_hex(16)}.motion.mp4"


def put(store: Store, key: str, body: Any = CONTENT, **more: Any) -> dict[str, Any]:
    return store.s3.put_object(Bucket=store.bucket, Key=key, Body=body, **more)


def body_of(store: Store, key: str, **more: Any) -> bytes:
    return store.s3.get_object(Bucket=store.bucket, Key=key, **more)["Body"].read()


def status_and_code(error: pytest.ExceptionInfo[ClientError]) -> tuple[int, str]:
    response: Any = error.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


# Both alike


def test_what_was_put_comes_back(store: Store, key: str):
    put(store, key, ContentType="video/mp4", Metadata={"event_id": "e", "start": "1800000000.5"})
    found = store.s3.get_object(Bucket=store.bucket, Key=key)
    assert found["Body"].read() == CONTENT
    assert found["ContentType"] == "video/mp4"
    assert found["Metadata"] == {"event_id": "e", "start": "1800000000.5"}
    assert found["ContentLength"] == len(CONTENT)
    assert found["AcceptRanges"] == "bytes"


def test_the_etag_is_the_md5_of_the_content(store: Store, key: str):
    expected = f'"{hashlib.md5(CONTENT).hexdigest()}"'
    assert put(store, key)["ETag"] == expected
    assert store.s3.head_object(Bucket=store.bucket, Key=key)["ETag"] == expected


def test_an_empty_object_is_an_object(store: Store, key: str):
    put(store, key, b"")
    assert body_of(store, key) == b""


def test_a_client_that_sends_no_checksum_of_its_own_is_served(store: Store, key: str):
    store.careful.put_object(Bucket=store.bucket, Key=key, Body=CONTENT)
    assert body_of(store, key) == CONTENT


def test_a_file_is_streamed(store: Store, key: str, tmp_path: Path):
    path = tmp_path / "clip"
    path.write_bytes(CONTENT * 20)
    with path.open("rb") as file:
        put(store, key, file)
    assert body_of(store, key) == CONTENT * 20


def test_a_put_of_something_new_must_not_replace_anything(store: Store, key: str):
    put(store, key, IfNoneMatch="*")
    with pytest.raises(ClientError) as refused:
        put(store, key, OTHER, IfNoneMatch="*")
    assert status_and_code(refused) == (412, "PreconditionFailed")
    assert body_of(store, key) == CONTENT


def test_a_put_replaces_what_was_there(store: Store, key: str):
    put(store, key)
    put(store, key, OTHER)
    assert body_of(store, key) == OTHER


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_a_checksum_that_the_client_computes_is_kept(store: Store, key: str, algorithm: str):
    put(store, key, ChecksumAlgorithm=algorithm)
    expected = {
        "CRC32": zlib.crc32(CONTENT).to_bytes(4, "big"),
        "SHA1": hashlib.sha1(CONTENT).digest(),
        "SHA256": hashlib.sha256(CONTENT).digest(),
    }[algorithm]
    found = store.s3.head_object(Bucket=store.bucket, Key=key, ChecksumMode="ENABLED")
    assert base64.b64decode(found[f"Checksum{algorithm}"]) == expected


@pytest.mark.parametrize(
    "wanted, expected",
    [
        ("bytes=0-0", CONTENT[:1]),
        ("bytes=100-199", CONTENT[100:200]),
        ("bytes=76000-", CONTENT[76000:]),
        ("bytes=-7", CONTENT[-7:]),
        ("bytes=76000-999999", CONTENT[76000:]),
    ],
)
def test_a_range_is_served(store: Store, key: str, wanted: str, expected: bytes):
    put(store, key)
    found = store.s3.get_object(Bucket=store.bucket, Key=key, Range=wanted)
    assert found["Body"].read() == expected
    assert found["ResponseMetadata"]["HTTPStatusCode"] == 206
    start = (
        CONTENT.rindex(expected) if len(expected) > 256 or wanted == "bytes=-7" else int(wanted[6:].partition("-")[0])
    )
    assert found["ContentRange"] == f"bytes {start}-{start + len(expected) - 1}/{len(CONTENT)}"


def test_a_range_behind_the_end_is_refused(store: Store, key: str):
    put(store, key)
    with pytest.raises(ClientError) as refused:
        body_of(store, key, Range="bytes=999999-")
    assert status_and_code(refused) == (416, "InvalidRange")


def test_a_get_with_the_known_etag_is_answered_with_304(store: Store, key: str):
    etag = put(store, key)["ETag"]
    with pytest.raises(ClientError) as refused:
        body_of(store, key, IfNoneMatch=etag)
    assert status_and_code(refused)[0] == 304


def test_a_get_with_another_etag_is_answered_with_412(store: Store, key: str):
    put(store, key)
    with pytest.raises(ClientError) as refused:
        body_of(store, key, IfMatch='"00000000000000000000000000000000"')
    assert status_and_code(refused) == (412, "PreconditionFailed")


def test_what_is_not_there_is_not_found(store: Store, key: str):
    with pytest.raises(ClientError) as refused:
        body_of(store, key)
    assert status_and_code(refused) == (404, "NoSuchKey")
    with pytest.raises(ClientError) as refused:
        store.s3.head_object(Bucket=store.bucket, Key=key)
    assert status_and_code(refused) == (404, "404")


def test_another_bucket_is_not_found(store: Store, key: str):
    with pytest.raises(ClientError) as refused:
        store.s3.get_object(Bucket="no-such-bucket-anywhere", Key=key)
    assert status_and_code(refused) == (404, "NoSuchBucket")


def test_the_bucket_is_there(store: Store):
    assert store.s3.head_bucket(Bucket=store.bucket)["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_deleting_is_final_and_may_be_repeated(store: Store, key: str):
    put(store, key)
    for _ in range(2):
        answer = store.s3.delete_object(Bucket=store.bucket, Key=key)
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    with pytest.raises(ClientError) as refused:
        body_of(store, key)
    assert status_and_code(refused) == (404, "NoSuchKey")


def test_tags_of_the_put_are_there(store: Store, key: str):
    put(store, key, Tagging="retention=standard&a%20b=c%2Fd")
    found = store.s3.get_object_tagging(Bucket=store.bucket, Key=key)["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in found} == {"retention": "standard", "a b": "c/d"}
    assert store.s3.get_object(Bucket=store.bucket, Key=key)["TagCount"] == 2


def test_tags_are_replaced_as_a_whole_and_taken_away(store: Store, key: str):
    put(store, key, Tagging="retention=standard")
    tags = [{"Key": "a", "Value": "1+2@home"}, {"Key": "b", "Value": ""}]
    store.s3.put_object_tagging(Bucket=store.bucket, Key=key, Tagging={"TagSet": tags})
    assert store.s3.get_object_tagging(Bucket=store.bucket, Key=key)["TagSet"] == tags
    store.s3.delete_object_tagging(Bucket=store.bucket, Key=key)
    assert store.s3.get_object_tagging(Bucket=store.bucket, Key=key)["TagSet"] == []


def test_a_presigned_link_serves_a_player_with_ranges(store: Store, key: str):
    put(store, key, ContentType="video/mp4")
    link = store.s3.generate_presigned_url("get_object", {"Bucket": store.bucket, "Key": key}, ExpiresIn=60)
    answer = store.pool.request("GET", link, headers={"Range": "bytes=10-19"})
    assert (answer.status, answer.data, answer.headers["Content-Type"]) == (206, CONTENT[10:20], "video/mp4")


def test_a_presigned_link_can_say_under_which_name_to_save(store: Store, key: str):
    put(store, key)
    parameters = {
        "Bucket": store.bucket,
        "Key": key,
        "ResponseContentDisposition": 'attachment; filename="garden 1.mp4"',
        "ResponseContentType": "video/x",
    }
    answer = store.pool.request("GET", store.s3.generate_presigned_url("get_object", parameters, ExpiresIn=60))
    assert answer.headers["Content-Disposition"] == 'attachment; filename="garden 1.mp4"'
    assert answer.headers["Content-Type"] == "video/x"


def test_a_presigned_put_stores(store: Store, key: str):
    link = store.s3.generate_presigned_url("put_object", {"Bucket": store.bucket, "Key": key}, ExpiresIn=60)
    assert store.pool.request("PUT", link, body=OTHER).status == 200
    assert body_of(store, key) == OTHER


def test_headers_of_the_content_come_back(store: Store, key: str):
    put(
        store, key, ContentEncoding="gzip", CacheControl="max-age=60", ContentLanguage="de", ContentDisposition="inline"
    )
    found = store.s3.head_object(Bucket=store.bucket, Key=key)
    assert found["ContentEncoding"] == "gzip"
    assert (found["CacheControl"], found["ContentLanguage"], found["ContentDisposition"]) == (
        "max-age=60",
        "de",
        "inline",
    )


def test_an_upload_by_the_transfer_manager_that_fits_one_put_is_stored(store: Store, key: str, tmp_path: Path):
    path = tmp_path / "small"
    path.write_bytes(CONTENT)
    with S3Transfer(store.s3) as transfer:
        transfer.upload_file(str(path), store.bucket, key)
    assert body_of(store, key) == CONTENT


def test_eleven_tags_are_too_many(store: Store, key: str):
    with pytest.raises(ClientError) as refused:
        put(store, key, Tagging="&".join(f"t{number}=1" for number in range(11)))
    assert status_and_code(refused) == (400, "BadRequest")


def test_head_says_what_get_says(store: Store, key: str):
    put(store, key, ContentType="video/mp4", Metadata={"trigger": "motion"}, Tagging="a=b")
    get = store.s3.get_object(Bucket=store.bucket, Key=key)
    head = store.s3.head_object(Bucket=store.bucket, Key=key)
    get.pop("Body").close()
    same = ("ContentLength", "ContentType", "ETag", "LastModified", "Metadata", "AcceptRanges")
    assert {name: head[name] for name in same} == {name: get[name] for name in same}
    assert abs(head["LastModified"].timestamp() - time.time()) < 60


def test_head_of_a_range_says_its_length(store: Store, key: str):
    put(store, key)
    head = store.s3.head_object(Bucket=store.bucket, Key=key, Range="bytes=100-199")
    assert (head["ContentLength"], head["ResponseMetadata"]["HTTPStatusCode"]) == (100, 206)


@pytest.mark.parametrize("operation", ["get_object", "head_object"])
@pytest.mark.parametrize("condition, status", [("IfModifiedSince", 304), ("IfUnmodifiedSince", 412)])
def test_conditions_on_the_time_of_change_are_held(store: Store, key: str, operation: str, condition: str, status: int):
    put(store, key)
    when = datetime(2100, 1, 1, tzinfo=UTC) if condition == "IfModifiedSince" else datetime(2010, 1, 1, tzinfo=UTC)
    with pytest.raises(ClientError) as refused:
        getattr(store.s3, operation)(Bucket=store.bucket, Key=key, **{condition: when})
    assert status_and_code(refused)[0] == status


def test_a_checksum_that_the_client_knows_already_is_taken(store: Store, key: str):
    sha256 = base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()
    put(store, key, ChecksumSHA256=sha256)
    assert body_of(store, key, ChecksumMode="ENABLED") == CONTENT


def test_a_right_content_md5_is_taken(store: Store, key: str):
    md5 = base64.b64encode(hashlib.md5(CONTENT).digest()).decode()
    store.careful.put_object(Bucket=store.bucket, Key=key, Body=CONTENT, ContentMD5=md5)
    assert body_of(store, key) == CONTENT


def test_what_is_replaced_loses_its_metadata_and_tags(store: Store, key: str):
    put(store, key, Metadata={"a": "b"}, Tagging="a=b", ContentType="video/mp4")
    put(store, key, OTHER)
    found = store.s3.head_object(Bucket=store.bucket, Key=key)
    assert (found["Metadata"], found["ContentLength"]) == ({}, len(OTHER))
    assert store.s3.get_object_tagging(Bucket=store.bucket, Key=key)["TagSet"] == []


def test_tags_of_what_is_not_there_are_not_found(store: Store, key: str):
    with pytest.raises(ClientError) as refused:
        store.s3.get_object_tagging(Bucket=store.bucket, Key=key)
    assert status_and_code(refused) == (404, "NoSuchKey")


def test_without_a_signature_nothing_is_given(store: Store, key: str):
    put(store, key)
    link = store.s3.generate_presigned_url("get_object", {"Bucket": store.bucket, "Key": key}, ExpiresIn=60)
    assert store.pool.request("GET", link.partition("?")[0]).status == 403


def test_the_page_has_the_table_of_differences():
    page = (ROOT / "docs" / "reference" / "hub-objects.md").read_text(encoding="utf-8")
    for what, how in DIFFERENCES.items():
        status, code = how.hub
        assert f"| {what} | {status} {code} | {how.moto} | {how.right} |" in page


# Where they differ


class Difference(NamedTuple):
    """An operation, what each answers, and who is right."""

    hub: Any
    moto: Any
    right: str


DIFFERENCES: dict[str, Difference] = {
    "a checksum that is not the content's": Difference(
        (400, "BadDigest"), 200, "the hub: 'S3 … returns the error BadDigest' (checking object integrity)"
    ),
    "Content-MD5 that is not the content's": Difference(
        (400, "BadDigest"), 200, "the hub: PutObject compares Content-MD5, 'if they do not match, returns an error'"
    ),
    "a wrong secret": Difference(
        (403, "SignatureDoesNotMatch"), 200, "the hub: moto verifies no signature unless it is told to"
    ),
    "too much metadata": Difference(
        (400, "MetadataTooLarge"), 200, "the hub: 'the user-defined metadata is limited to 2 KB in size'"
    ),
    "a server-side encryption": Difference(
        (501, "NotImplemented"), 200, "moto: S3 encrypts; the hub says that it does not rather than pretend to"
    ),
    "CRC32C": Difference(
        (501, "NotImplemented"), 200, "moto: S3 takes it; the hub checks what Python can check quickly"
    ),
    "a multipart upload": Difference(
        (501, "NotImplemented"), 200, "moto: S3 has it; no part of ours uses it, and the hub says so"
    ),
    "a list of objects": Difference(
        (501, "NotImplemented"), 200, "moto: S3 has it; no part of ours uses it, and the hub says so"
    ),
    "CRC64NVME": Difference((501, "NotImplemented"), 200, "moto: S3 takes it; the same as CRC32C"),
    "a PUT on condition of an ETag": Difference(
        (501, "NotImplemented"), 200, "moto: S3 has If-Match for PUT; no part of ours uses it"
    ),
    "a version of an object": Difference((501, "NotImplemented"), 200, "moto: S3 has versions, the folder has none"),
    "a copy": Difference((501, "NotImplemented"), 200, "moto: S3 has it; no part of ours uses it"),
    "an ACL": Difference((501, "NotImplemented"), 200, "moto: S3 has ACLs; the hub's rules are fixed"),
    "another storage class": Difference((501, "NotImplemented"), 200, "moto: S3 has classes, a folder has one"),
    "several deletions in one": Difference((501, "NotImplemented"), 200, "moto: S3 has it; no part of ours uses it"),
    "a key outside the prefixes": Difference(
        (403, "AccessDenied"), 200, "moto: S3 takes any key; the hub's folder has a place for recordings only"
    ),
}


def attempt(what: str, store: Store, key: str, request: pytest.FixtureRequest) -> Any:
    """Do it; the status of success, or status and code of the refusal."""
    zero = base64.b64encode(bytes(32)).decode()
    other: Any = boto3.client(
        "s3",
        region_name="us-east-1",
        endpoint_url=store.s3.meta.endpoint_url,
        aws_access_key_id="ASIA" + "A" * 16,
        aws_secret_access_key="wrong",
        verify=store.s3._endpoint.http_session._verify,
        config=store.s3.meta.config,
    )
    if what == "a wrong secret" and store.name == "hub":
        issued = request.getfixturevalue("hub").keys.issue_for_hub()
        other._request_signer._credentials.access_key = issued.access_key_id
        other._request_signer._credentials.token = issued.session_token
    actions: dict[str, Any] = {
        "a checksum that is not the content's": lambda: put(store, key, ChecksumSHA256=zero),
        "Content-MD5 that is not the content's": lambda: store.careful.put_object(
            Bucket=store.bucket, Key=key, Body=CONTENT, ContentMD5=base64.b64encode(bytes(16)).decode()
        ),
        "a wrong secret": lambda: other.put_object(Bucket=store.bucket, Key=key),
        "too much metadata": lambda: put(store, key, Metadata={"a": "x" * 2100}),
        "a server-side encryption": lambda: put(store, key, ServerSideEncryption="AES256"),
        "CRC32C": lambda: put(store, key, ChecksumAlgorithm="CRC32C"),
        "a multipart upload": lambda: store.s3.create_multipart_upload(Bucket=store.bucket, Key=key),
        "a list of objects": lambda: store.s3.list_objects_v2(Bucket=store.bucket),
        "CRC64NVME": lambda: put(store, key, ChecksumCRC64NVME=base64.b64encode(bytes(8)).decode()),
        "a PUT on condition of an ETag": lambda: put(store, key, IfMatch=put(store, key)["ETag"]),
        "a version of an object": lambda: (
            put(store, key) and store.s3.get_object(Bucket=store.bucket, Key=key, VersionId="null")
        ),
        "a copy": lambda: (
            put(store, key)
            and store.s3.copy_object(Bucket=store.bucket, Key=f"{key}2", CopySource=f"{store.bucket}/{key}")
        ),
        "an ACL": lambda: put(store, key, ACL="private"),
        "another storage class": lambda: put(store, key, StorageClass="GLACIER"),
        "several deletions in one": lambda: store.s3.delete_objects(
            Bucket=store.bucket, Delete={"Objects": [{"Key": key}]}
        ),
        "a key outside the prefixes": lambda: put(store, "elsewhere/garden/a.mp4"),
    }
    try:
        answer = actions[what]()
    except ClientError as error:
        response: Any = error.response
        return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]
    finally:
        other.close()
    return answer["ResponseMetadata"]["HTTPStatusCode"]


@pytest.mark.parametrize("what", DIFFERENCES)
def test_hub_and_moto_differ_as_the_table_says(what: str, store: Store, key: str, request: pytest.FixtureRequest):
    assert attempt(what, store, key, request) == getattr(DIFFERENCES[what], store.name)


def test_a_large_upload_by_the_transfer_manager_is_told_that_there_is_no_multipart(
    hub: ObjectsHub, tmp_path: Path, key: str
):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(9 * 1024 * 1024)
    with pytest.raises(S3UploadFailedError, match="NotImplemented"):
        hub.client(None).upload_file(str(path), BUCKET, key)
