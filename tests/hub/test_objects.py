"""The bucket over TLS: what a camera may, what nobody may, and what happens when something goes wrong midway."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pinthesky.errors import InvariantBroken
from pinthesky.hub import objects as objects_module
from pinthesky.hub.credentials import Key
from pinthesky.hub.media_retention import RetentionLimits
from pinthesky.hub.object_bodies import SIZE_MAX
from pinthesky.hub.object_reads import Download
from pinthesky.hub.signatures import object_url
from pinthesky.machine import durable_files
from pinthesky.model.identifiers import ThingName
from tests.support.aws_servers import KeyPair, wait_until
from tests.support.hub_objects import BUCKET, ObjectsHub, plain_request, raw_request, running

ROOT = f"/{BUCKET}"
CLIP = "1800000000-00000000000000000000000000000001.motion.mp4"
MINE = f"{ROOT}/motion_videos/garden/{CLIP}"
YARDS = f"{ROOT}/motion_videos/yard/{CLIP}"
LATEST = f"{ROOT}/capture_images/garden/thumbnail_latest.jpg"


class Yard:
    """A hub with two cameras, of which each has a clip."""

    def __init__(self, hub: ObjectsHub) -> None:
        self.hub = hub
        self.pairs: dict[str, KeyPair] = {name: hub.add_camera(name) for name in ("garden", "yard")}
        self.keys = {name: hub.key_of(name, pair) for name, pair in self.pairs.items()}
        self.own = hub.keys.issue_for_hub(lifetime_s=3600)
        for name in ("garden", "yard"):
            assert self.put(f"{ROOT}/motion_videos/{name}/{CLIP}", name, body=b"first").status == 200

    def put(self, path: str, who: str = "garden", *, body: bytes = b"x", **headers: Any):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return raw_request(self.hub, self.keys[who], "PUT", path, body=body, headers=named)

    def ask(self, method: str, path: str, key: Key | None = None, **headers: Any):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return raw_request(self.hub, key or self.own, method, path, headers=named)

    def files(self) -> dict[str, bytes]:
        """Everything below the hub's folder that could be media, by path."""
        root = self.hub.folder.root.parent
        return {
            str(path.relative_to(root)): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file() and ".sqlite" not in path.name
        }


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with running(ObjectsHub(tmp_path_factory.mktemp("hub"))) as hub:
        yield Yard(hub)


# What a thing may not


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
@pytest.mark.parametrize("query", ["", "?tagging", "?acl", "?uploads", "?uploadId=x&partNumber=1", "?versionId=null"])
def test_no_operation_on_anothers_object_is_allowed(yard: Yard, method: str, query: str):
    before = yard.files()
    answer = raw_request(yard.hub, yard.keys["garden"], method, YARDS + query, body=b"x" if method == "PUT" else b"")
    assert answer.status in (403, 501)
    assert answer.code in (("",) if method == "HEAD" else ("AccessDenied", "NotImplemented"))
    assert yard.files() == before


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_a_thing_may_not_even_read_or_delete_what_it_stored(yard: Yard, method: str):
    assert raw_request(yard.hub, yard.keys["garden"], method, MINE).status == 403


@pytest.mark.parametrize(
    "method, query", [("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "?delete"), ("GET", "?location")]
)
def test_no_operation_on_the_bucket_is_there(yard: Yard, method: str, query: str):
    answer = raw_request(yard.hub, yard.keys["garden"], method, f"{ROOT}{query}")
    assert (answer.status, answer.code) == (501, "NotImplemented")


HOSTILE_PATHS = [
    f"{ROOT}/motion_videos/yard/new.mp4",
    f"{ROOT}/capture_images/yard/new.jpg",
    f"{ROOT}/elsewhere/garden/new.mp4",
    f"{ROOT}/garden/new.mp4",
    f"{ROOT}/new.mp4",
    f"{ROOT}/motion_videos/garden",
    f"{ROOT}/motion_videos/garden/",
    f"{ROOT}/motion_videos/garden/deep/new.mp4",
    f"{ROOT}/motion_videos//garden/new.mp4",
    f"{ROOT}/motion_videos/garden//new.mp4",
    f"{ROOT}//motion_videos/garden/new.mp4",
    f"{ROOT}/motion_videos/garden/../yard/new.mp4",
    f"{ROOT}/motion_videos/garden/%2e%2e/yard/new.mp4",
    f"{ROOT}/motion_videos/garden/..%2fyard%2fnew.mp4",
    f"{ROOT}/motion_videos/garden/%2E%2E%2F%2E%2E%2F%2E%2E%2Fhub.sqlite",
    f"{ROOT}/motion_videos/garden/..",
    f"{ROOT}/motion_videos/garden/.",
    f"{ROOT}/motion_videos/garden/.hidden",
    f"{ROOT}/motion_videos/garden/.probe.json",
    f"{ROOT}/motion_videos/../../etc/passwd",
    f"{ROOT}/../motion_videos/garden/new.mp4",
    f"{ROOT}/motion_videos/garden/%00.mp4",
    f"{ROOT}/motion_videos/garden/a%00.mp4",
    f"{ROOT}/motion_videos/garden/a%0a.mp4",
    f"{ROOT}/motion_videos/garden/a%5c..%5cb.mp4",
    f"{ROOT}/motion_videos/garden/" + "a" * 129,
    f"{ROOT}/motion_videos/garden/" + "a" * 5000,
    f"{ROOT}/motion_videos/garden/%C3%BC.mp4",
    f"{ROOT}/motion_videos/garden/%E2%80%AEgpj.mp4",
    f"{ROOT}/motion_videos/garden/a b.mp4".replace(" ", "%20"),
    f"{ROOT}/motion_videos/GARDEN/new.mp4",
    f"{ROOT}/motion_videos/garden%20/new.mp4",
    f"{ROOT}/Motion_videos/garden/new.mp4",
]


@pytest.mark.parametrize("path", HOSTILE_PATHS)
def test_a_key_that_is_not_the_things_own_is_refused_and_touches_nothing(yard: Yard, path: str):
    before = yard.files()
    answer = yard.put(path)
    # A line feed in a path is no address of anything on this server.
    assert (answer.status, answer.code) == ((404, "") if "%0a" in path else (403, "AccessDenied"))
    assert yard.files() == before


def test_bytes_that_are_no_text_are_no_key(yard: Yard):
    assert yard.put(f"{ROOT}/motion_videos/garden/%ff.mp4").code == "InvalidURI"


def test_another_bucket_is_not_there(yard: Yard):
    assert yard.put("/other-bucket/motion_videos/garden/new.mp4").code == "NoSuchBucket"


def test_nothing_recorded_can_be_replaced_by_the_thing(yard: Yard):
    assert yard.put(MINE, body=b"second").code == "AccessDenied"
    assert yard.put(MINE, body=b"second", If_None_Match="*").status == 412
    assert yard.ask("GET", MINE).body == b"first"


def test_the_latest_still_is_replaced(yard: Yard):
    assert yard.put(LATEST, body=b"one").status == 200
    assert yard.put(LATEST, body=b"two").status == 200
    assert yard.ask("GET", LATEST).body == b"two"
    assert sum(content in (b"one", b"two") for content in yard.files().values()) == 1


def test_a_probe_holds_nothing_and_is_no_recording(yard: Yard):
    probe = f"{ROOT}/motion_videos/garden/.probe"
    assert yard.put(probe, body=b"x").code == "AccessDenied"
    assert yard.put(probe, body=b"", If_None_Match="*").status == 200
    assert yard.put(probe, body=b"", If_None_Match="*").status == 412
    assert not any(record.address.is_probe for record in yard.hub.index.page(limit=1000).records)


def test_a_thing_cannot_star_what_it_stores(yard: Yard):
    path = f"{ROOT}/motion_videos/garden/untagged.mp4"
    assert yard.put(path, x_amz_tagging="retention=forever&colour=red").status == 200
    assert yard.hub.folder.find(path.removeprefix(f"{ROOT}/")).tags == {"retention": "standard", "colour": "red"}


def test_a_certificate_of_another_thing_beside_the_signature_is_refused(yard: Yard):
    link = yard.hub.signatures.presigned_url(object_url(yard.hub.url, BUCKET, MINE.removeprefix(f"{ROOT}/")))
    path = link.removeprefix(yard.hub.url)
    assert plain_request(yard.hub, "GET", path).status == 200
    assert plain_request(yard.hub, "GET", path, pair=yard.pairs["garden"]).code == "AccessDenied"


def test_without_a_signature_nothing_is_answered(yard: Yard):
    for method, path in [("GET", MINE), ("PUT", MINE), ("GET", "/"), ("GET", "/anything/else"), ("HEAD", ROOT)]:
        assert plain_request(yard.hub, method, path).status == 403


# What the hub itself may, and what it is told


def test_a_refusal_is_s3s_xml_with_a_request_id(yard: Yard):
    answer = yard.ask("GET", f"{ROOT}/motion_videos/garden/none.mp4")
    assert answer.headers["content-type"] == "application/xml"
    assert f"<RequestId>{answer.headers['x-amz-request-id']}</RequestId>".encode() in answer.body
    assert b"<Key>motion_videos/garden/none.mp4</Key>" in answer.body


@pytest.mark.parametrize("method, code", [("GET", "NoSuchKey"), ("PUT", "AccessDenied"), ("DELETE", "NoSuchKey")])
def test_the_hub_too_uses_keys_of_recordings_only(yard: Yard, method: str, code: str):
    assert yard.ask(method, f"{ROOT}/motion_videos/garden/../x").code == code


@pytest.mark.parametrize(
    "name",
    [
        "x-amz-acl",
        "x-amz-copy-source",
        "x-amz-server-side-encryption",
        "x-amz-object-lock-mode",
        "x-amz-website-redirect",
    ],
)
def test_a_header_that_would_change_the_meaning_is_not_passed_over(yard: Yard, name: str):
    answer = yard.put(f"{ROOT}/motion_videos/garden/h.mp4", **dict[str, Any]({name.replace("-", "_"): "a"}))
    assert (answer.status, answer.code) == (501, "NotImplemented")
    assert name.encode() in answer.body


def test_the_standard_storage_class_is_what_there_is(yard: Yard):
    path = f"{ROOT}/motion_videos/garden/standard.mp4"
    assert yard.put(path, x_amz_storage_class="GLACIER").status == 501
    assert yard.put(path, x_amz_storage_class="STANDARD").status == 200


@pytest.mark.parametrize("name, value", [("If_None_Match", '"a"'), ("If_Match", '"a"')])
def test_other_conditions_of_a_put_are_not_there(yard: Yard, name: str, value: str):
    assert yard.put(f"{ROOT}/motion_videos/garden/c.mp4", **dict[str, Any]({name: value})).code == "NotImplemented"


@pytest.mark.parametrize(
    "headers, code",
    [
        ({"x_amz_tagging": "a=1&a=2"}, "InvalidTag"),
        ({"x_amz_tagging": "=1"}, "InvalidTag"),
        ({"x_amz_tagging": "&".join(f"t{number}=1" for number in range(11))}, "BadRequest"),
        ({"x_amz_tagging": "a=%00"}, "InvalidTag"),
        ({"x_amz_tagging": "a=" + "x" * 257}, "InvalidTag"),
        ({"x_amz_tagging": "novalue"}, "InvalidArgument"),
        ({"x_amz_meta_a": "x" * 2048}, "MetadataTooLarge"),
        ({"Cache_Control": "x" * 1025}, "InvalidArgument"),
    ],
)
def test_attributes_out_of_bounds_are_refused(yard: Yard, headers: dict[str, Any], code: str):
    assert yard.put(f"{ROOT}/motion_videos/garden/attributes.mp4", **headers).code == code


@pytest.mark.parametrize(
    "body, code",
    [
        (b"<Tagging><TagSet><Tag><Key>a</Key>", "MalformedXML"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><Tagging/>', "MalformedXML"),
        (b"<Tagging>" + b" " * 20_000 + b"</Tagging>", "EntityTooLarge"),
        (b"<Tagging><TagSet><Tag><Key></Key><Value/></Tag></TagSet></Tagging>", "InvalidTag"),
    ],
)
def test_tags_that_cannot_be_read_are_refused(yard: Yard, body: bytes, code: str):
    assert raw_request(yard.hub, yard.own, "PUT", f"{MINE}?tagging", body=body).code == code


def test_tags_are_set_read_and_taken_away(yard: Yard):
    body = b"<Tagging><TagSet><Tag><Key>stars</Key><Value>\xc3\xbcber &amp; out</Value></Tag></TagSet></Tagging>"
    path = f"{MINE}?tagging"
    assert raw_request(yard.hub, yard.own, "PUT", path, body=body).status == 200
    assert "<Key>stars</Key><Value>über &amp; out</Value>" in yard.ask("GET", path).body.decode()
    assert yard.ask("HEAD", MINE).headers["x-amz-tagging-count"] == "1"
    assert yard.ask("DELETE", path).status == 204
    assert b"<Key>" not in yard.ask("GET", path).body
    assert "x-amz-tagging-count" not in yard.ask("HEAD", MINE).headers


def test_an_encoding_beside_aws_chunked_is_kept(yard: Yard):
    path = f"{ROOT}/motion_videos/garden/encoded.mp4"
    assert yard.put(path, Content_Encoding="aws-chunked, gzip").status == 200
    assert yard.ask("HEAD", path).headers["content-encoding"] == "gzip"


def test_a_file_that_somebody_cuts_while_it_is_sent_ends_short(tmp_path: Path):
    path = tmp_path / "cut"
    path.write_bytes(b"x" * 10)
    sent: list[bytes] = []

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))

    download = Download(path.open("rb"), start=0, size=1000, status=200, headers={})
    asyncio.run(download({"type": "http"}, send, send))  # type: ignore[arg-type]  # it receives nothing
    assert b"".join(sent) == b"x" * 10


def test_a_file_that_goes_between_the_look_and_the_opening_is_not_found(yard: Yard, monkeypatch: pytest.MonkeyPatch):
    path = f"{ROOT}/motion_videos/yard/gone.mp4"
    assert yard.put(path, "yard").status == 200
    record = yard.hub.folder.find(path.removeprefix(f"{ROOT}/"))
    (yard.hub.folder.root / record.file).unlink()
    monkeypatch.setattr(yard.hub.folder, "find", lambda _key: record)
    assert yard.ask("GET", path).code == "NoSuchKey"


def test_what_a_camera_has_stored_cannot_become_a_page_of_the_hub(yard: Yard):
    path = f"{ROOT}/motion_videos/garden/page.html"
    assert yard.put(path, body=b"<script>", Content_Type="text/html").status == 200
    headers = yard.ask("GET", path).headers
    assert (headers["x-content-type-options"], headers["content-security-policy"]) == ("nosniff", "sandbox")


@pytest.mark.parametrize(
    "headers, status",
    [
        ({"Range": "bytes=1-2"}, 206),
        ({"Range": "bytes=2-1"}, 200),
        ({"Range": "bytes=-0"}, 416),
        ({"Range": "bytes=-"}, 200),
        ({"Range": "bytes=0-1,3-4"}, 200),
        ({"Range": "pages=1-2"}, 200),
        ({"Range": "bytes=1-2", "If_Range": '"other"'}, 200),
        ({"If_Modified_Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, 304),
        ({"If_Modified_Since": "no date"}, 200),
        ({"If_Unmodified_Since": "Fri, 01 Jan 2010 00:00:00 GMT"}, 412),
        ({"If_Unmodified_Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, 200),
        ({"If_None_Match": "*"}, 304),
        ({"If_None_Match": '"other"'}, 200),
        ({"If_Match": "*"}, 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_ranges_and_conditions_are_those_of_http(yard: Yard, method: str, headers: dict[str, Any], status: int):
    assert yard.ask(method, MINE, **headers).status == status


def test_a_range_with_the_right_etag_is_served(yard: Yard):
    etag = f'"{hashlib.md5(b"first").hexdigest()}"'
    answer = yard.ask("GET", MINE, Range="bytes=1-2", If_Range=etag)
    assert (answer.status, answer.body) == (206, b"ir")


def test_a_label_for_logs_in_the_query_changes_nothing(yard: Yard):
    assert yard.ask("GET", f"{MINE}?x-id=GetObject").body == b"first"


def test_a_file_that_somebody_took_away_is_not_found(yard: Yard):
    path = f"{ROOT}/motion_videos/yard/taken.mp4"
    yard.put(path, "yard")
    key = path.removeprefix(f"{ROOT}/")
    (yard.hub.folder.root / yard.hub.folder.find(key).file).unlink()
    assert yard.ask("GET", path).code == "NoSuchKey"
    assert yard.put(path, "yard", If_None_Match="*").status == 200


def test_a_socket_is_not_spoken_here(yard: Yard):
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "A" * 22 + "==",
        "Sec-WebSocket-Version": "13",
    }
    assert plain_request(yard.hub, "GET", "/anything", headers=headers).status == 403


# When something goes wrong midway


class Half:
    """A PUT of 100 KB of which the first half was sent."""

    def __init__(self, yard: Yard, name: str, who: str = "garden") -> None:
        key = yard.keys[who]
        self.path = f"{ROOT}/motion_videos/{who}/{name}"
        client = yard.hub.client(key, signature_version="s3v4")
        parameters = {"Bucket": BUCKET, "Key": self.path.removeprefix(f"{ROOT}/")}
        target = client.generate_presigned_url("put_object", parameters).removeprefix(yard.hub.url)
        context = ssl.create_default_context(cafile=str(yard.hub.authority.cert))
        plain = socket.create_connection(("localhost", yard.hub.server.port), timeout=10)
        self.socket = context.wrap_socket(plain, server_hostname="localhost")
        head = f"PUT {target} HTTP/1.1\r\nHost: localhost:{yard.hub.server.port}\r\nContent-Length: 100000\r\n\r\n"
        self.socket.sendall(head.encode() + b"x" * 50_000)
        self.incoming = yard.hub.folder.root / ".incoming"
        wait_until(lambda: any(self.incoming.iterdir()))

    def answer(self) -> bytes:
        """What the hub says before it closes."""
        received = b""
        while more := self.socket.recv(65536):
            received += more
        return received


def test_a_broken_connection_leaves_nothing(yard: Yard):
    before = yard.files()
    half = Half(yard, "broken.mp4")
    half.socket.close()
    wait_until(lambda: not any(half.incoming.iterdir()))
    assert yard.files() == before
    wait_until(lambda: yard.hub.folder.usage().size == yard.hub.index.usage().size)


def test_a_removed_cameras_upload_is_cut_within_seconds(yard: Yard, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(objects_module, "LOOK_EVERY_S", 0.05)
    pair = yard.hub.add_camera("shed")
    yard.keys["shed"] = yard.hub.key_of("shed", pair)
    half = Half(yard, "a.mp4", "shed")
    yard.hub.objects._cut(ThingName("garden"))
    yard.hub.registry.remove(ThingName("shed"))
    yard.hub.objects._cut(ThingName("shed"))  # the registry's watcher says it within a second
    assert b"AccessDenied" in half.answer()
    wait_until(lambda: not any(half.incoming.iterdir()))
    half.socket.close()


def test_a_camera_removed_between_its_last_byte_and_the_storing_stores_nothing(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
):
    pair = yard.hub.add_camera("gate")
    yard.keys["gate"] = yard.hub.key_of("gate", pair)
    admit = yard.hub.retention.admit

    def removed_meanwhile(size: int) -> Any:
        yard.hub.registry.remove(ThingName("gate"))
        return admit(size)

    monkeypatch.setattr(yard.hub.retention, "admit", removed_meanwhile)
    assert yard.put(f"{ROOT}/motion_videos/gate/a.mp4", "gate").code == "AccessDenied"
    assert not yard.hub.folder.has("motion_videos/gate/a.mp4")


def test_a_client_that_sends_nothing_more_is_given_up(yard: Yard, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(objects_module, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(objects_module, "STALLED_S", 0.1)
    half = Half(yard, "stalled.mp4")
    assert b"RequestTimeout" in half.answer()
    half.socket.close()
    wait_until(lambda: not any(half.incoming.iterdir()))
    assert not yard.hub.folder.has("motion_videos/garden/stalled.mp4")


def test_one_put_too_many_is_asked_to_come_again(yard: Yard, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(objects_module, "UPLOADS_MAX", 0)
    answer = yard.put(f"{ROOT}/motion_videos/garden/busy.mp4")
    assert (answer.status, answer.code) == (503, "SlowDown")


def failing(number: int) -> Callable[..., None]:
    def fail(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("operation", ["append", "sync_data", "write_new", "move", "sync_folder", "make_folder"])
@pytest.mark.parametrize("number, status", [(errno.ENOSPC, 507), (errno.EIO, 503)])
def test_a_disk_that_fails_anywhere_stores_nothing_and_says_so(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, operation: str, number: int, status: int
):
    path = f"{ROOT}/motion_videos/garden/1900000000-{operation}{number}.mp4"
    before = yard.files()
    with monkeypatch.context() as patch:
        patch.setattr(durable_files, operation, failing(number))
        assert yard.put(path).status == status
    wait_until(lambda: yard.files() == before)
    assert not yard.hub.index.find(path.removeprefix(f"{ROOT}/"))
    assert yard.put(path, If_None_Match="*").status == 200


def test_a_full_disk_is_known_before_anything_is_sent(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with running(ObjectsHub(tmp_path, limits=RetentionLimits(min_free_bytes=2**62))) as hub:
        pair = hub.add_camera("garden")
        for _ in range(2):
            answer = raw_request(hub, hub.key_of("garden", pair), "PUT", MINE, body=b"x")
            assert (answer.status, answer.code) == (507, "InsufficientStorage")
        assert sum("Objects cannot be stored" in line for line in caplog.messages) == 1


def test_what_the_database_says_against_itself_is_an_internal_error(yard: Yard, monkeypatch: pytest.MonkeyPatch):
    def broken(_key: str) -> Any:
        raise InvariantBroken("row 7 is damaged")

    monkeypatch.setattr(yard.hub.folder, "open", broken)
    assert yard.ask("GET", MINE).code == "InternalError"


def test_a_body_beyond_the_cap_is_refused_at_its_announcement(yard: Yard):
    parameters = {"Bucket": BUCKET, "Key": "motion_videos/garden/huge.mp4"}
    client = yard.hub.client(yard.keys["garden"], signature_version="s3v4")
    path = client.generate_presigned_url("put_object", parameters).removeprefix(yard.hub.url)
    answer = plain_request(yard.hub, "PUT", path, headers={"Content-Length": str(SIZE_MAX + 1)})
    assert (answer.status, answer.code, answer.headers["connection"]) == (400, "EntityTooLarge", "close")


def test_two_cameras_that_store_the_same_key_at_once_store_one(yard: Yard):
    path = f"{ROOT}/motion_videos/garden/1800000001-race.mp4"
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(yard.put(path, body=b"r" * 200_000, If_None_Match="*").status))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200] + [412] * 5


def test_a_download_goes_on_when_the_object_is_removed_meanwhile(yard: Yard):
    path = f"{ROOT}/motion_videos/garden/1800000002-long.mp4"
    content = os.urandom(5_000_000)
    yard.put(path, body=content)
    key = path.removeprefix(f"{ROOT}/")
    body = yard.hub.client(None).get_object(Bucket=BUCKET, Key=key)["Body"]
    first = body.read(1000)
    yard.hub.folder.delete(key)
    assert first + body.read() == content
