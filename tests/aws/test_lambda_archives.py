"""What the functions in Lambda are made of: this machine's archives run here, those for Lambda are looked at closely.

The archives for arm64 were never executed: what is in them, and what for, is all that can be said here.
"""

from __future__ import annotations

import ast
import json
import re
import struct
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conversion.test_streams import bare
from tests.support import lambda_permissions
from tests.support.aws_servers import DataPlaneServer
from tests.support.lambda_function import Account, RunningFunction, new_account
from tests.support.recorded_events import FOLDER, recorded
from tools import lambda_archives, prepare
from tools.lambda_archives import LIBRARIES, SIZE_MAX_MB, CannotBuild, build, imports_of, is_needed

pytestmark = pytest.mark.no_cover
"""Archives are built under it three times as slowly, and what runs in them is another process."""

EVENT = f"{7:032x}"
STEM = f"motion_videos/garden/1799999970-{EVENT}.motion"
STREAM = f"motion_videos/garden/1799999980-{8:032x}.motion"
SOCKET = "JKJbYdDmliACEqw="

CALLS = (
    "http_without_sign_in",
    "http_list_cameras",
    "presence_connected",
    "http_new_ticket",
    "socket_connect",
    "socket_status",
    "device_event_motion",
    "device_event_health",
    "media_stored",
    "media_still_stored",
    "media_removed",
    "job_execution_failed",
    "presence_lost",
    "schedule_silence",
    "schedule_sockets",
    "schedule_sweep",
    "schedule_reconcile",
    "socket_disconnect",
    "pre_sign_up_by_invitation",
    "pre_sign_up_by_themselves",
    "pre_sign_up_external",
)
"""The recorded events for the archive of the planes, in the order of a day."""


def handler_of(name: str) -> str:
    """Which handler an event is for."""
    return next(
        handler for handler in (*lambda_permissions.ENTRANCES, "pre_sign_up", "conversion") if name.startswith(handler)
    )


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """All four, with the quickest compression: what is deployed is smaller."""
    into = tmp_path_factory.mktemp("archives")
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(lambda_archives, "COMPRESSION", 1)
        return {(kind, arch): build(kind, arch, into).path for kind in LIBRARIES for arch in ("native", "arm64")}


@pytest.fixture(
    scope="module", params=[(kind, arch) for kind in LIBRARIES for arch in ("native", "arm64")], ids="-".join
)
def archive(request, archives: dict[tuple[str, str], Path]) -> tuple[str, str, zipfile.ZipFile]:
    kind, arch = request.param
    return kind, arch, zipfile.ZipFile(archives[kind, arch])


@pytest.fixture(scope="module")
def sockets() -> Iterator[DataPlaneServer]:
    with DataPlaneServer() as server:
        yield server


@pytest.fixture(scope="module")
def account(moto_port: int, sockets: DataPlaneServer) -> Account:
    return new_account(moto_port, sockets.url)


@pytest.fixture(scope="module")
def said(
    archives: dict[tuple[str, str], Path],
    account: Account,
    sockets: DataPlaneServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """What this machine's archive of the planes has made of the recorded events; and of its import, as `imported`."""
    account.store(f"{STEM}.jpg", b"jpeg", "image/jpeg")
    account.store("capture_images/garden/thumbnail_latest.jpg", b"jpeg", "image/jpeg")
    account.store(f"{STEM}.mp4", b"a clip", "video/mp4", trigger="motion", duration="30.000", part="1")
    sockets.open_connections.add(SOCKET)
    folder = tmp_path_factory.mktemp("planes")
    found: dict[str, Any] = {}
    ticket = ""
    with RunningFunction(archives["planes", "native"], folder, account.environment) as function:
        found["imported"] = function.imported
        for name in CALLS:
            if name == "media_removed":
                account.client("s3").delete_object(Bucket=account.bucket, Key=f"{STEM}.mp4")
            event = recorded(name, bucket=account.bucket, pool=account.pool, owner=account.owner, ticket=ticket)
            found[name] = function.call(handler_of(name), event)
            if name == "http_new_ticket":
                ticket = json.loads(found[name]["answer"]["body"])["token"]
        found["videos"] = function.call("http", http(account, "/videos"))
        found["events"] = function.call("http", http(account, "/events"))
    return found


def http(account: Account, path: str) -> dict[str, Any]:
    """Another request of the same person."""
    event = recorded("http_list_cameras", pool=account.pool, owner=account.owner)
    event["rawPath"] = event["requestContext"]["http"]["path"] = path
    return event


class TestEveryHandler:
    def test_every_recorded_event_is_given_to_the_handler_of_its_name(self):
        assert {path.stem for path in FOLDER.glob("*.json")} == {*CALLS, "conversion_stream"}
        given = {handler_of(name) for name in (*CALLS, "conversion_stream")}
        assert given == {*lambda_permissions.ENTRANCES, "pre_sign_up", "conversion"}
        assert given == {grant.handler for grant in lambda_permissions.documented()}

    @pytest.mark.parametrize(
        "name", [name for name in CALLS if name not in ("pre_sign_up_by_themselves", "pre_sign_up_external")]
    )
    def test_a_recorded_event_is_taken(self, said: dict[str, Any], name: str):
        assert "error" not in said[name], said[name]

    def test_the_control_plane_answers_who_has_signed_in_and_nobody_else(self, said: dict[str, Any]):
        assert said["http_without_sign_in"]["answer"]["statusCode"] == 401
        assert said["http_list_cameras"]["answer"]["statusCode"] == 200
        assert said["http_new_ticket"]["answer"]["statusCode"] == 201

    def test_a_socket_opens_by_its_ticket_and_is_answered(self, said: dict[str, Any], sockets: DataPlaneServer):
        assert said["socket_connect"]["answer"] == {"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": "manager"}}
        assert said["socket_status"]["answer"] == {"statusCode": 200}
        messages = [json.loads(payload) for _, _, payload in sockets.posts]
        assert [each["response"]["statusCode"] for each in messages if "response" in each] == [200]
        told = [each["event"]["type"] for each in messages if "event" in each]
        assert {"motion_started", "clip_stored", "health_reported", "camera_offline", "job_progress"} <= set(told)

    def test_a_clip_came_with_labels_and_went(self, said: dict[str, Any]):
        assert said["media_stored"]["answer"] == {"batchItemFailures": []}, "a batch of SQS"
        assert said["media_still_stored"]["answer"] == {}, "an event of EventBridge itself"
        assert said["media_removed"]["answer"] == {"batchItemFailures": []}
        pushed = json.loads(said["events"]["answer"]["body"])["items"]
        (stored,) = [push for push in pushed if push["type"] == "clip_stored"]
        assert stored["labels"]
        assert [push["type"] for push in pushed if push["type"] == "clip_deleted"] == ["clip_deleted"]
        assert json.loads(said["videos"]["answer"]["body"])["items"] == []

    def test_only_the_invited_become_users(self, said: dict[str, Any]):
        assert said["pre_sign_up_by_invitation"]["answer"]["triggerSource"] == "PreSignUp_AdminCreateUser"
        for name in ("pre_sign_up_by_themselves", "pre_sign_up_external"):
            assert said[name]["error"] == "NotAuthorized"

    def test_a_stream_becomes_a_clip_in_the_archive_with_pyav(
        self, archives: dict[tuple[str, str], Path], account: Account, tmp_path: Path
    ):
        account.store(f"{STREAM}.h264", bare(30), "video/h264", trigger="motion")
        wish = recorded("conversion_stream")
        with RunningFunction(archives["media", "native"], tmp_path, account.environment) as function:
            missing = function.call("conversion", {**wish, "source": f"{STREAM}.gone.h264"})
            made = function.call("conversion", wish)
            modules = function.imported["modules"]
        assert (missing["answer"]["error"], made["answer"]) == ("NotFound", {})
        clip = account.client("s3").get_object(Bucket=account.bucket, Key=wish["clip"])
        assert clip["Body"].read()[4:8] == b"ftyp"
        operations = {operation_of(each) for each in made["operations"]}
        assert lambda_permissions.actions_of(operations) <= lambda_permissions.granted("conversion")
        assert not {"av", "numpy"} & set(modules), "PyAV is loaded by the first call, and needs no numpy"

    @pytest.mark.parametrize("name", CALLS)
    def test_a_handler_asks_aws_for_nothing_that_it_may_not(self, said: dict[str, Any], name: str):
        asked = {operation_of(each) for each in said[name]["operations"]}
        assert lambda_permissions.actions_of(asked) <= lambda_permissions.granted(handler_of(name))

    def test_everything_that_is_loaded_comes_from_the_archive_or_from_python_itself(self, said: dict[str, Any]):
        modules: dict[str, str] = said["imported"]["modules"]
        strangers = [
            name for name, file in modules.items() if "site-packages" in file or str(lambda_archives.ROOT) in file
        ]
        assert strangers == []
        late = {"av", "boto3", "botocore.session", "cryptography", "jwt", "numpy"}
        assert not late & set(modules), "loaded by whoever needs it"


def operation_of(said: str) -> str:
    """`iot-data:Publish` as the table of permissions has it."""
    service, _, name = said.partition(":")
    prefix = {"iot-data": "iot", "apigatewaymanagementapi": "execute-api"}.get(service, service)
    return f"{prefix}:{name}"


class TestWhatIsInThem:
    def test_they_are_small_enough(self, archive: tuple[str, str, zipfile.ZipFile]):
        kind, _, packed = archive
        assert packed.filename is not None
        assert Path(packed.filename).stat().st_size <= SIZE_MAX_MB[kind] * 1_000_000
        assert sum(entry.file_size for entry in packed.infolist()) <= 250_000_000, "Lambda's own bound, unpacked"

    def test_libraries_are_those_of_their_kind_with_their_licences(self, archive: tuple[str, str, zipfile.ZipFile]):
        kind, arch, packed = archive
        names = packed.namelist()
        wheels = lambda_archives.wheels_for(kind, arch)
        tops = {name.partition("/")[0] for name in names}
        assert ("av" in tops, "numpy" in tops, "boto3" in tops) == (kind == "media", False, False)
        for wheel in wheels:
            name_of = {top: re.sub(r"[-_.]+", "-", top.lower()) for top in tops if top.endswith(".dist-info")}
            (folder,) = [top for top, name in name_of.items() if re.match(rf"{wheel.name}-[0-9]", name)]
            assert any("licen" in name.lower() for name in names if name.startswith(f"{folder}/")), wheel.name
        assert {"LICENSE", "NOTICE"} <= set(names)

    def test_nothing_is_in_them_that_does_not_run(self, archive: tuple[str, str, zipfile.ZipFile]):
        for name in archive[2].namelist():
            assert not re.search(
                r"(^|/)tests?/|\.(pyi|c|h)$|RECORD$|^bin/|^pinthesky/(device|hub|link|admin)/", name
            ), name

    def test_of_botocores_services_those_are_in_that_are_asked(self, archive: tuple[str, str, zipfile.ZipFile]):
        folders = {
            name.split("/")[2]
            for name in archive[2].namelist()
            if name.startswith("botocore/data/") and name.count("/") > 2
        }
        sources = "".join(path.read_text() for path in (lambda_archives.ROOT / "pinthesky" / "aws").rglob("*.py"))
        asked = {*re.findall(r'lients\.get\("([a-z0-9-]+)"', sources), "apigatewaymanagementapi"}
        assert folders == set(lambda_archives.SERVICES) == asked

    def test_every_import_of_ours_is_in_them_or_in_python(self, archive: tuple[str, str, zipfile.ZipFile]):
        kind, _, packed = archive
        names = set(packed.namelist())
        ours = [name for name in names if name.startswith("pinthesky/") and name.endswith(".py")]
        assert "pinthesky/aws/lambda_handlers.py" in ours
        missing = {
            (name, module)
            for name in ours
            for module in modules_of(ast.parse(packed.read(name)))
            if module.partition(".")[0] not in sys.stdlib_module_names and not is_there(names, module)
        }
        allowed = {} if kind == "media" else {"pinthesky.conversion.media_converter"}
        assert {module for _, module in missing} - LAZY[kind] <= set(allowed), missing

    def test_native_code_is_for_its_machine_and_its_system(self, archive: tuple[str, str, zipfile.ZipFile]):
        _, arch, packed = archive
        shared = [name for name in packed.namelist() if ".so" in PurePosixPath(name).name]
        assert shared
        machines = {machine_of(packed.read(name)[:20]) for name in shared}
        here = "arm64" if arch == "arm64" else lambda_archives_machine()
        assert machines == {here}
        assert all(packed.getinfo(name).external_attr >> 16 == 0o755 for name in shared)

    def test_byte_code_is_that_of_the_python_that_runs_it(self, archive: tuple[str, str, zipfile.ZipFile]):
        _, arch, packed = archive
        version = lambda_archives.python_of(arch)
        if prepare.find_python(version) is None:
            assert not any(name.endswith(".pyc") for name in packed.namelist())
            return
        sources = {name for name in packed.namelist() if name.endswith(".py")}
        tag = f"cpython-{version.replace('.', '')}"
        for name in sources:
            path = PurePosixPath(name)
            assert f"{path.parent}/__pycache__/{path.stem}.{tag}.pyc".removeprefix("./") in packed.namelist(), name


LAZY = {
    "planes": frozenset[str](),
    "media": frozenset({"jwt", "jwt.algorithms", "jwt.exceptions", "cryptography"}),
}
"""What only functions of the other archive load."""
WHEEL = re.compile(r"[^-]+-[^-]+(?:-[0-9][^-]*)?-(?P<python>[^-]+)-(?P<abi>[^-]+)-(?P<platform>[^-]+)\.whl")


def following(arguments: list[str], option: str) -> str:
    """The value of an option."""
    return arguments[arguments.index(option) + 1]


def lambda_archives_machine() -> str:
    """The architecture of this machine's archives."""
    import platform

    return next(name for name, machine in prepare.LAMBDA_MACHINES.items() if machine == platform.machine())


def machine_of(header: bytes) -> str:
    """What a shared library of ELF is for."""
    assert header[:4] == b"\x7fELF"
    (machine,) = struct.unpack_from("<H", header, 18)
    return {183: "arm64", 62: "amd64"}[machine]


def modules_of(tree: ast.Module) -> set[str]:
    """Modules that a source imports: of `from a import b` the first, since the second may be a name in it."""
    names = set(imports_of(tree))
    return {name for name in names if not any(name.startswith(f"{other}.") for other in names)}


def is_there(names: set[str], module: str) -> bool:
    """Whether a module is in an archive, as source or as native code."""
    path = module.replace(".", "/")
    return any(name in names for name in (f"{path}.py", f"{path}/__init__.py")) or any(
        name.startswith(f"{path}.") and ".so" in name for name in names
    )


class TestTheWheels:
    @pytest.mark.parametrize("kind", sorted(LIBRARIES))
    def test_wheels_for_lambda_fit_its_python_its_machine_and_its_c_library(self, kind: str):
        for wheel in lambda_archives.wheels_for(kind, "arm64"):
            found = WHEEL.fullmatch(wheel.path.name)
            assert found is not None
            if found["platform"] == "any":
                continue
            assert found["abi"] in ("abi3", "cp313"), wheel.path.name
            platforms = [re.fullmatch(r"manylinux_2_(\d+)_aarch64", each) for each in found["platform"].split(".")]
            assert any(each is not None and int(each[1]) <= prepare.LAMBDA_GLIBC for each in platforms), wheel.path.name

    @pytest.mark.parametrize("arch", prepare.LAMBDA_MACHINES)
    @pytest.mark.parametrize("python", lambda_archives.PYTHONS)
    def test_lists_pin_by_hash_what_setup_py_admits(self, arch: str, python: str):
        text = prepare.lambda_requirements(arch, python).read_text()
        pins = dict(re.findall(r"^([a-z0-9-]+)==(\S+) \\\n    --hash=sha256:[0-9a-f]{64}$", text, re.MULTILINE))
        assert len(pins) == text.count("==")
        for text in lambda_archives.wanted():
            requirement = Requirement(text)
            assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)])

    @pytest.mark.parametrize("found", [None, "python3.13"])
    def test_setup_fetches_them_for_lambda_and_for_this_machine(
        self, monkeypatch: pytest.MonkeyPatch, found: str | None
    ):
        asked: list[list[str]] = []
        monkeypatch.setattr(prepare, "pip", lambda _environment, *arguments: asked.append(list(arguments)))
        monkeypatch.setattr(prepare, "find_python", lambda _version: found)
        prepare.fill_lambda_wheelhouse()
        main = f"{sys.version_info[0]}.{sys.version_info[1]}"
        assert [(Path(following(each, "--dest")).name, following(each, "--python-version")) for each in asked] == [
            ("lambda-arm64", "3.13"),
            ("lambda-native", "3.13" if found else main),
        ]
        assert all({"--require-hashes", "--no-deps", "--only-binary=:all:"} <= set(each) for each in asked)
        assert all(Path(following(each, "--requirement")).exists() for each in asked)

    def test_a_wheel_that_was_not_fetched_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(prepare, "WHEELHOUSE", prepare.ROOT / "build" / "nothing")
        with pytest.raises(CannotBuild, match=r"no wheel of .* run make setup"):
            build("planes", "arm64", tmp_path)

    @pytest.mark.parametrize(
        "name,needed",
        [
            ("botocore/client.py", True),
            ("botocore/data/s3/2006-03-01/service-2.json.gz", True),
            ("botocore/data/s3/2006-03-01/examples-1.json", False),
            ("botocore/data/ec2/2016-11-15/service-2.json.gz", False),
            ("botocore/data/endpoints.json", True),
            ("botocore-1.0.dist-info/RECORD", False),
            ("botocore-1.0.dist-info/licenses/LICENSE.txt", True),
            ("av.libs/libavcodec-5.so", True),
            ("av/include/avcodec.pxd", False),
            ("lib/tests/test_x.py", False),
            ("../evil.py", False),
            ("/etc/passwd", False),
            ("folder/", False),
        ],
    )
    def test_of_a_wheel_what_runs_is_taken_and_its_licence(self, name: str, needed: bool):
        assert is_needed(name) == needed


def test_the_same_sources_and_wheels_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    wheels = [wheel for wheel in lambda_archives.wheels_for("planes", "arm64") if wheel.name in ("jmespath", "msgspec")]
    monkeypatch.setattr(lambda_archives, "wheels_for", lambda *_: list(reversed(wheels)))
    once = build("planes", "arm64", tmp_path / "once").path.read_bytes()
    lambda_archives.compiled.cache_clear()
    monkeypatch.setattr(lambda_archives, "wheels_for", lambda *_: wheels)
    assert build("planes", "arm64", tmp_path / "again").path.read_bytes() == once


def test_an_archive_that_became_too_large_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lambda_archives, "SIZE_MAX_MB", {"planes": 0.01})
    monkeypatch.setattr(lambda_archives, "wheels_for", lambda *_: [])
    monkeypatch.setattr(lambda_archives, "compiled", lambda *_: {})
    with pytest.raises(CannotBuild, match=r"0\.01 at most"):
        build("planes", "arm64", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_it_made_or_why_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(lambda_archives, "compiled", lambda *_: {})
    monkeypatch.setattr(lambda_archives, "files_of", lambda _wheel: {})
    assert lambda_archives.main(["planes", "--into", str(tmp_path)]) == 0
    assert re.search(r"planes-arm64\.zip [0-9.]+ MB, without byte code", capsys.readouterr().out)
    with pytest.raises(SystemExit):
        lambda_archives.main(["everything"])
    monkeypatch.setattr(prepare, "WHEELHOUSE", prepare.ROOT / "build" / "nothing")
    assert lambda_archives.main(["planes", "--into", str(tmp_path)]) == 1
