"""The hub as a whole: its start, its commands, its end, and what a kill leaves."""

from __future__ import annotations

import configparser
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from awscrt import mqtt5
from awsiot import mqtt5_client_builder
from cryptography import x509

from pinthesky.device import flags
from pinthesky.errors import InvalidInput, InvariantBroken, Unavailable
from pinthesky.hub import app, commands, host_names
from pinthesky.hub import registry as registry_module
from pinthesky.hub.app import Hub
from pinthesky.hub.authority import Authority
from pinthesky.hub.camera_folder import HubAddress
from pinthesky.hub.data_folder import DataFolder
from pinthesky.hub.foundation import Foundation
from pinthesky.hub.ports import MEDIA_BUCKET
from pinthesky.hub.server_tls import CertificateWatch, ServerTls
from pinthesky.hub.settings import HubSettings, Listen, Media, Tls
from pinthesky.link import configuration as link_configuration
from pinthesky.model.identifiers import GroupName, ThingName
from tests.support.aws_servers import CertificateAuthority
from tests.support.daemon_process import PROJECT, eventually, running
from tests.support.fleet import get
from tests.support.hub_process import HOST, HubProcess, add_camera, new_camera, try_connect

FREE = HubSettings(
    listen=Listen(address="127.0.0.1", console_port=0, localhost_port=0, device_port=0, mqtt_ports=[0]),
    media=Media(min_free="0"),
)


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A hub in this process, for the tests that leave it as it is."""
    made = Hub(tmp_path_factory.mktemp("app") / "hub", FREE)
    try:
        made.start()
        yield made
    finally:
        assert made.stop(), made.late
        assert not made.failed


def trusting(hub: Hub) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(hub.foundation.authority.root_certificate))


def pits_hub(*arguments: str | Path, timeout_s: float = 30.0, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program."""
    return subprocess.run(
        [sys.executable, "-m", "pinthesky.hub", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        env={**os.environ, "PYTHONPATH": str(PROJECT), **environment},
    )


def run_main(capsys, *arguments: str | Path) -> tuple[int, str, str]:
    """The program in this process: exit code, and what it said."""
    code = app.main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


# What is served


def test_the_console_is_served_under_our_authority_and_on_localhost_without(hub):
    for url, tls in (
        (f"https://localhost:{hub.ports.console}", trusting(hub)),
        (f"https://127.0.0.1:{hub.ports.console}", trusting(hub)),
        (f"http://localhost:{hub.ports.localhost}", None),
    ):
        status, body = get(f"{url}/healthz", tls)
        assert (status, json.loads(body)["status"]) == (200, "ok")


def test_metrics_tell_how_many_cameras_there_are(hub):
    body = get(f"http://localhost:{hub.ports.localhost}/metrics")[1].decode()
    assert re.search(r"^pits_things \d", body, re.MULTILINE)
    assert "pits_media_bytes" in body


def test_a_camera_is_served_credentials_on_the_device_port_and_nobody_else(hub, tmp_path):
    camera = new_camera(hub.foundation, "credentials", tmp_path / "camera")
    url = f"https://localhost:{hub.ports.device}/role-aliases/pits-camera/credentials"
    status, body = get(url, camera.tls(), **{"x-amzn-iot-thingname": "credentials"})
    assert (status, "accessKeyId" in json.loads(body)["credentials"]) == (200, True)
    assert get(url, trusting(hub), **{"x-amzn-iot-thingname": "credentials"})[0] == 403


def test_a_shadow_update_is_answered_by_way_of_the_broker(hub, tmp_path):
    camera = new_camera(hub.foundation, "shadowed", tmp_path / "camera")
    with crt_client(hub, camera) as client:
        client.subscribe("$aws/things/shadowed/shadow/name/pinthesky/update/accepted")
        client.publish("$aws/things/shadowed/shadow/name/pinthesky/update", {"state": {"reported": {"a": 1}}})
        eventually(lambda: client.heard, "the update is accepted")
        assert json.loads(client.heard[0])["state"] == {"reported": {"a": 1}}
        assert hub.shadows.get(ThingName("shadowed"), "pinthesky")["state"]["reported"] == {"a": 1}
        eventually(lambda: hub.presence.of(ThingName("shadowed")).connected, "its presence is known")


class CrtClient:
    """A camera on awscrt, as our device client is."""

    def __init__(self, hub: Hub, camera) -> None:
        self.heard: list[bytes] = []
        self.connected, self.ended, self.stopped = threading.Event(), threading.Event(), threading.Event()
        self.failures: list[str] = []
        self.client = mqtt5_client_builder.mtls_from_path(
            str(camera.pair.cert),
            str(camera.pair.key),
            endpoint=HOST,
            port=hub.ports.mqtt[0],
            ca_filepath=str(camera.root),
            client_id=str(camera.thing),
            min_reconnect_delay_ms=50,
            max_reconnect_delay_ms=100,
            on_publish_received=lambda data: self.heard.append(data.publish_packet.payload),
            on_lifecycle_connection_success=lambda _data: self.connected.set(),
            on_lifecycle_connection_failure=lambda data: self.failures.append(str(data.exception)),
            on_lifecycle_disconnection=lambda _data: self.ended.set(),
            on_lifecycle_stopped=lambda _data: self.stopped.set(),
        )

    def subscribe(self, topic: str) -> None:
        packet = mqtt5.SubscribePacket([mqtt5.Subscription(topic, mqtt5.QoS.AT_LEAST_ONCE)])
        self.client.subscribe(packet).result(10.0)

    def publish(self, topic: str, document: object) -> None:
        packet = mqtt5.PublishPacket(topic=topic, qos=mqtt5.QoS.AT_LEAST_ONCE, payload=json.dumps(document))
        self.client.publish(packet).result(10.0)


@contextlib.contextmanager
def crt_client(hub: Hub, camera):
    made = CrtClient(hub, camera)
    made.client.start()
    try:
        assert made.connected.wait(10.0), made.failures
        yield made
    finally:
        made.client.stop()
        assert made.stopped.wait(10.0)


# Removal


def test_a_camera_removed_by_another_process_is_shut_out_everywhere_within_5_s(hub, tmp_path):
    name = ThingName("removed")
    camera = add_camera(hub.foundation.folder.root, name, tmp_path / "camera")
    url = f"https://localhost:{hub.ports.device}/role-aliases/pits-camera/credentials"
    with crt_client(hub, camera) as client:
        client.publish("$aws/things/removed/shadow/name/pinthesky/update", {"state": {"reported": {"a": 1}}})
        eventually(lambda: hub.shadows.names(name) == ["pinthesky"], "its shadow is there")
        assert pits_hub("--data", hub.foundation.folder.root, "remove-camera", name).returncode == 0
        begun = time.monotonic()
        assert client.ended.wait(5.0)
        client.connected.clear()
        eventually(lambda: client.failures, "it tries to come back", timeout_s=5.0)
        assert get(url, camera.tls(), **{"x-amzn-iot-thingname": name})[0] == 403
        eventually(lambda: hub.presence.of(name) is None, "its presence is forgotten", timeout_s=5.0)
        assert time.monotonic() - begun < 5.0
        assert not client.connected.is_set()
    assert hub.shadows.names(name) == []
    again = add_camera(hub.foundation.folder.root, name, tmp_path / "again")
    assert try_connect(camera, hub.ports.mqtt[0])[0] is False
    assert try_connect(again, hub.ports.mqtt[0])[0] is True
    assert get(url, camera.tls(), **{"x-amzn-iot-thingname": name})[0] == 403
    assert get(url, again.tls(), **{"x-amzn-iot-thingname": name})[0] == 200


def test_a_camera_removed_while_no_hub_ran_is_refused_from_the_start(tmp_path, capsys):
    camera = add_camera(tmp_path / "hub", "garden", tmp_path / "camera")
    assert run_main(capsys, "--data", tmp_path / "hub", "remove-camera", "garden")[0] == 0
    made = Hub(tmp_path / "hub", FREE)
    try:
        made.start()
        assert try_connect(camera, made.ports.mqtt[0])[0] is False
        with made.foundation.database.reading() as connection:
            assert connection.execute("SELECT count(*) FROM registry_removals").fetchone()[0] == 0
    finally:
        assert made.stop()


# The process


@pytest.fixture
def process(tmp_path):
    made = HubProcess(tmp_path)
    with running(made):
        yield made


def test_it_says_where_everything_is_and_ends_in_order(process):
    process.wait_ready()
    process.wait_log(
        rf"console  https://127\.0\.0\.1:{process.console_port}  .*http://localhost:{process.localhost_port}"
    )
    process.wait_log(rf"cameras  127\.0\.0\.1: MQTT {process.mqtt_port}, HTTPS {process.device_port}")
    process.wait_log(f"data     {process.data}")
    process.wait_log("add-camera NAME")
    begun = time.monotonic()
    assert process.stop() == 0
    assert time.monotonic() - begun < 5.0
    assert [line for line in process.log if re.search("ERROR|WARNING|Traceback", line)] == []


def test_killed_it_takes_mosquitto_with_it_and_comes_back_as_it_was(process, tmp_path):
    process.wait_ready()
    camera = add_camera(process.data, "garden", tmp_path / "camera")
    assert try_connect(camera, process.mqtt_port)[0] is True
    root = (process.data / "authority" / "ca.crt").read_bytes()
    mosquitto = mosquitto_of(process.data)
    process.kill()
    eventually(lambda: mosquitto_of(process.data) == [], "mosquitto ends with the hub", timeout_s=5.0)
    assert len(mosquitto) == 1
    process.start()
    process.wait_ready()
    assert (process.data / "authority" / "ca.crt").read_bytes() == root
    assert try_connect(camera, process.mqtt_port)[0] is True
    assert get(f"http://localhost:{process.localhost_port}/healthz")[0] == 200


def mosquitto_of(data: Path) -> list[int]:
    """Process ids of the mosquittos that were started for `data`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(data / "broker" / "mosquitto.conf").encode() in entry.read_bytes():
                found.append(int(entry.parent.name))
    return found


def test_a_part_that_fails_ends_the_process_with_1(tmp_path, monkeypatch):
    made = Hub(tmp_path / "hub", FREE)
    monkeypatch.setattr(app, "Hub", lambda _data: made)
    monkeypatch.setattr(made, "start", lambda: made._crashed("part", ZeroDivisionError()))
    monkeypatch.setattr(app, "_welcome", lambda _hub: "")
    assert app.main(["--data", str(tmp_path / "hub")]) == 1


def test_the_watchdog_is_fed_only_while_the_hub_is_well(hub):
    assert hub.is_well()
    before = hub._removals.last_beat
    hub._removals.last_beat = time.monotonic() - 100.0
    hub_was_well = hub.is_well()
    hub._removals.last_beat = before
    assert not hub_was_well


def test_ctrl_c_at_a_terminal_ends_it_in_order(process):
    process.wait_ready()
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(10.0) == 0
    assert not [line for line in process.log if "mosquitto has ended" in line]


class UnitFile(configparser.ConfigParser):
    """systemd's keys have capitals."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def test_the_service_does_not_start_again_what_its_owner_has_to_mend():
    unit = UnitFile(strict=False, interpolation=None)
    unit.read(PROJECT / "service" / "systemd" / "pits-hub.service")
    service = unit["Service"]
    assert service["RestartPreventExitStatus"] == str(app.EXIT_CONFIGURATION)
    assert float(service["TimeoutStopSec"]) > app.STOP_DEADLINE_S
    assert float(service["WatchdogSec"]) > app.BEAT_LIMIT_S
    assert (service["Type"], service["StateDirectoryMode"], service["KillMode"]) == ("notify", "0700", "mixed")
    words = service["ExecStart"].split()
    assert commands.parse(words[1:], {"STATE_DIRECTORY": "/var/lib/pits-hub"}).data == Path("/var/lib/pits-hub")


# The first start


def test_a_first_start_killed_at_any_step_is_made_good_by_the_second(tmp_path):
    """Every step of writing files; what each leaves must do for a start."""
    for steps in range(40):
        data = tmp_path / f"hub{steps}"
        child = os.fork()
        if child == 0:
            _lay_until_killed(data, steps)
        if os.waitpid(child, 0)[1] == 0:
            assert steps > 10
            return
        made = Foundation.lay(data)
        made.authority.ensure_server_certificate(["localhost"])
        made.authority.write_revocations([])
        assert made.authority.issue(ThingName("garden")).certificate_der
        assert (data / "hub.toml").read_text().startswith("# Settings")
        made.close()
    pytest.fail("it never ended by itself")


def _lay_until_killed(data: Path, steps: int) -> None:
    from pinthesky.machine import durable_files

    left = steps

    def step(call):
        def counted(*given, **more):
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*given, **more)

        return counted

    for name in ("write_new", "move"):
        setattr(durable_files, name, step(getattr(durable_files, name)))
    made = Foundation.lay(data)
    made.authority.ensure_server_certificate(["localhost"])
    made.authority.write_revocations([])
    os._exit(0)


def test_two_hubs_do_not_share_a_folder(hub):
    with pytest.raises(InvalidInput, match="another hub runs on"):
        Hub(hub.foundation.folder.root, FREE)
    assert get(f"http://localhost:{hub.ports.localhost}/healthz")[0] == 200


def test_two_first_starts_at_once_make_one_authority(tmp_path):
    names = ("garden", "porch", "yard")
    threads = [
        threading.Thread(target=add_camera, args=(tmp_path / "hub", name, tmp_path / name), name=name) for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with contextlib.closing(Foundation.find(tmp_path / "hub")) as foundation:
        root = x509.load_pem_x509_certificate(foundation.authority.root_certificate.read_bytes())
        assert foundation.registry.things() == sorted(names)
    for name in names:
        certificate = x509.load_pem_x509_certificate((tmp_path / name / "certificate.pem").read_bytes())
        certificate.verify_directly_issued_by(root)


def test_a_key_folder_that_others_may_read_is_refused(tmp_path, capsys):
    Foundation.lay(tmp_path / "hub").close()
    (tmp_path / "hub" / "authority").chmod(0o755)
    code, _, said = run_main(capsys, "--data", tmp_path / "hub", "cameras")
    assert (code, "run chmod 700" in said) == (2, True)


def test_a_folder_that_cannot_be_used_is_named(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for data in (tmp_path / "file", tmp_path / "file" / "hub"):
        code, _, said = run_main(capsys, "--data", data)
        assert code == 2
        assert said.startswith(f"pits-hub: --data: cannot use {data} (")


def test_a_database_that_is_none_ends_the_start_and_is_left_as_it_is(tmp_path, capsys):
    Foundation.lay(tmp_path / "hub").close()
    for path in (tmp_path / "hub").glob("hub.sqlite*"):
        path.unlink()
    (tmp_path / "hub" / "hub.sqlite").write_bytes(b"no database" * 1000)
    code, _, said = run_main(capsys, "--data", tmp_path / "hub")
    assert (code, said.count("\n"), "hub.sqlite" in said) == (1, 1, True)
    assert (tmp_path / "hub" / "hub.sqlite").read_bytes().startswith(b"no database")


def test_a_database_of_a_newer_hub_is_refused_and_the_folder_left_free(tmp_path):
    made = Foundation.lay(tmp_path / "hub")
    made.database.migrate("registry", [*registry_module._SCHEMA, "CREATE TABLE of_tomorrow (a)"])
    made.close()
    for _ in range(2):
        with pytest.raises(InvariantBroken, match="newer version"):
            Foundation.lay(tmp_path / "hub")


@pytest.mark.parametrize("name", ["authority", "hub.sqlite"])
def test_a_name_that_is_taken_by_something_else_is_told(tmp_path, name):
    taken = tmp_path / "hub" / name
    Foundation.lay(tmp_path / "hub").close()
    if taken.is_dir():
        shutil.rmtree(taken)
        taken.write_text("")
    else:
        taken.unlink()
        taken.mkdir()
    with pytest.raises((InvalidInput, Unavailable), match=str(tmp_path / "hub")):
        Foundation.lay(tmp_path / "hub")


def test_a_folder_whose_lock_cannot_be_taken_is_told(tmp_path):
    Foundation.lay(tmp_path / "hub").close()
    (tmp_path / "hub" / ".lock").mkdir()
    with pytest.raises(InvalidInput, match="cannot use"):
        DataFolder(tmp_path / "hub").hold()


def test_a_camera_is_not_made_where_nothing_can_be_written(tmp_path, capsys, monkeypatch):
    (tmp_path / "locked").mkdir()
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    to = tmp_path / "locked" / "garden"
    code, _, said = run_main(capsys, "--data", tmp_path / "hub", "add-camera", "garden", "--to", to)
    assert (code, f"--to: cannot write into {tmp_path}/locked" in said) == (2, True)


@pytest.mark.parametrize("data, message", [("x" * 100, "of at most"), ("a b", "without spaces")])
def test_a_path_that_can_hold_no_hub_is_refused(tmp_path, data, message):
    with pytest.raises(InvalidInput, match=message):
        DataFolder(tmp_path / data)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_another_users_hub_is_not_run_by_root_and_its_files_stay_its_own(tmp_path, capsys):
    data = tmp_path / "hub"
    data.mkdir(mode=0o700)
    os.chown(data, 12345, 12345)
    with pytest.raises(InvalidInput, match="first start the hub as that user"):
        Foundation.lay(data)
    os.chown(data, 0, 0)
    Foundation.lay(data).close()
    for path in (data, *data.rglob("*")):
        os.chown(path, 12345, 12345)
    assert run_main(capsys, "--data", data, "add-camera", "garden", "--to", tmp_path / "garden")[0] == 0
    assert {path.stat().st_uid for path in data.rglob("*")} == {12345}
    with pytest.raises(InvalidInput, match="belongs to user 12345: start the hub as that user"):
        Hub(data, FREE)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_stranger_is_told_whose_hub_it_is(tmp_path, monkeypatch):
    Foundation.lay(tmp_path / "hub").close()
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(InvalidInput, match="say it as that user, or as root"):
        Foundation.lay(tmp_path / "hub")


def test_a_taken_port_is_named_with_its_setting(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        listen = msgspec.structs.replace(FREE.listen, device_port=port)
        made = Hub(tmp_path / "hub", msgspec.structs.replace(FREE, listen=listen))
        try:
            with pytest.raises(Unavailable, match=rf"cannot listen on 127.0.0.1 port {port}: .*listen\.device_port"):
                made.start()
        finally:
            assert made.stop()


def test_wrong_settings_end_the_start_with_2_and_leave_the_folder_free(tmp_path, capsys):
    Foundation.lay(tmp_path / "hub").close()
    (tmp_path / "hub" / "hub.toml").write_text("[media]\nmaxspcae = 1\n")
    code, _, said = run_main(capsys, "--data", tmp_path / "hub")
    assert code == 2
    assert said == (
        f"pits-hub: {tmp_path}/hub/hub.toml: media.maxspcae: there is no such setting; did you mean maxspace?\n"
    )
    Hub(tmp_path / "hub", FREE).stop()


def test_a_folder_smaller_than_a_clip_is_refused_at_the_start(tmp_path, capsys):
    Foundation.lay(tmp_path / "hub").close()
    (tmp_path / "hub" / "hub.toml").write_text('[media]\nmaxspace = "500"\n')
    code, _, said = run_main(capsys, "--data", tmp_path / "hub")
    assert (code, said) == (2, "pits-hub: media.maxspace: must be at least 1048576, got 500\n")


# Commands


def test_a_camera_is_added_listed_and_removed(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "hub"
    code, said, _ = run_main(capsys, "--data", data, "add-camera", "garden", "--hub", "house.local")
    assert code == 0
    assert f"{tmp_path}/garden holds all that camera garden needs" in said
    assert f"pits-device-client --config-file {tmp_path}/garden/device-client.json" in said
    assert run_main(capsys, "cameras", "--data", data) == (0, "garden\n", "")
    code, said, _ = run_main(capsys, "--data", data, "remove-camera", "garden")
    assert (code, "garden is refused from now on" in said) == (0, True)
    assert run_main(capsys, "--data", data, "cameras") == (0, "", "")


def test_a_camera_is_told_the_one_address_on_which_the_hub_listens(tmp_path, capsys):
    data = tmp_path / "hub"
    data.mkdir(mode=0o700)
    (data / "hub.toml").write_text('[listen]\naddress = "127.0.0.1"\n')
    code, said, _ = run_main(capsys, "--data", data, "add-camera", "garden", "--to", tmp_path / "garden")
    assert (code, "looks for this hub at 127.0.0.1" in said) == (0, True)
    assert "127.0.0.1" in (tmp_path / "garden" / "device-client.json").read_text()


KNOWN_TO_CPP = {
    *("endpoint", "cert", "key", "root-ca", "thing-name", "logging.level", "logging.type"),
    *("jobs.enabled", "jobs.handler-directory", "tunneling.enabled", "device-defender.enabled"),
    *(f"samples.pub-sub.{key}" for key in ("enabled", "publish-topic", "publish-file", "publish-on-change")),
    *(f"samples.pub-sub.{key}" for key in ("subscribe-topic", "subscribe-file")),
    *(f"sample-shadow.{key}" for key in ("enabled", "shadow-name", "shadow-input-file", "shadow-output-file")),
}


def keys_of(document: dict[str, Any], before: str = "") -> set[str]:
    """The names of all values, with their sections."""
    found: set[str] = set()
    for name, value in document.items():
        found |= keys_of(value, f"{before}{name}.") if isinstance(value, dict) else {f"{before}{name}"}
    return found


@pytest.mark.parametrize("client", ["python", "cpp"])
def test_the_folder_serves_device_client_and_daemon_as_it_is(tmp_path, capsys, client):
    data, folder = tmp_path / "hub", tmp_path / "garden"
    chosen = () if client == "python" else ("--client", client)
    arguments = ("add-camera", "garden", "--to", folder, "--hub", "house.local", *chosen)
    assert run_main(capsys, "--data", data, *arguments)[0] == 0
    found, findings = link_configuration.load(["--config-file", str(folder / "device-client.json")], {})
    assert (findings.errors, findings.warnings) == ([], [])
    assert found is not None
    assert found.pub_sub is not None
    assert found.shadow is not None
    assert (found.endpoint, found.thing_name) == ("house.local", "garden")
    assert found.jobs is not None
    assert found.jobs.handler_directory == Path("/opt/pinthesky/jobs"), "where they are installed"
    words = subprocess.run(
        ["sh", "-c", f". {folder}/pinthesky.env && printf '%s\\n' $PINTHESKY_FLAGS"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    options = flags.parse(words, {})
    assert options.settings.storage.bucket_name == MEDIA_BUCKET
    assert options.cloud_connection.credentials_endpoint == "house.local:8444"
    assert options.s3_endpoint == options.settings.dataplane.endpoint_url == "https://house.local:8444"
    assert options.event_input == found.pub_sub.subscribe_file
    written = json.loads((folder / "device-client.json").read_bytes())
    if client == "python":
        assert (found.port, found.state_directory) == (8883, folder / "state")
        assert options.event_queue == found.pub_sub.publish_queue == folder / "files" / "event-queue"
        assert found.pub_sub.publish_file is None
    else:
        assert keys_of(written) == KNOWN_TO_CPP
        assert options.event_output == found.pub_sub.publish_file == folder / "files" / "event-output.json"
        assert options.event_queue is None
    assert (options.configure_input, options.configure_output) == (found.shadow.input_file, found.shadow.output_file)
    modes = {
        str(path.relative_to(folder)): oct(stat.S_IMODE(path.stat().st_mode)) for path in (folder, *folder.rglob("*"))
    }
    assert modes == {
        ".": "0o745",
        "certificates": "0o700",
        "certificates/certificate.pem": "0o644",
        "certificates/private.key": "0o600",
        "certificates/root-ca.pem": "0o644",
        "device-client.json": "0o640",
        "files": "0o745",
        "pinthesky.env": "0o640",
        "state": "0o700",
    }


def test_a_folder_for_another_place_names_that_place(tmp_path, capsys):
    code, said, _ = run_main(
        capsys, "--data", tmp_path / "hub", "add-camera", "garden", "--to", tmp_path / "made", "--at", "/home/pi/garden"
    )
    assert (code, f"scp -rp {tmp_path}/made CAMERA:/home/pi/garden" in said) == (0, True)
    text = (tmp_path / "made" / "device-client.json").read_text() + (tmp_path / "made" / "pinthesky.env").read_text()
    assert str(tmp_path) not in text
    assert "/home/pi/garden/certificates/private.key" in text


@pytest.mark.parametrize("ports, is_told", [("[8883]", True), ("[8883, 443]", False)])
def test_who_adds_a_camera_for_the_cpp_client_is_told_which_port_it_dials(tmp_path, capsys, ports, is_told):
    Foundation.lay(tmp_path / "hub").close()
    (tmp_path / "hub" / "hub.toml").write_text(f"[listen]\nmqtt_ports = {ports}\n")
    arguments = ("add-camera", "garden", "--client", "cpp", "--to", tmp_path / "garden", "--hub", "house.local")
    code, said, _ = run_main(capsys, "--data", tmp_path / "hub", *arguments)
    assert code == 0
    assert ("dials port 443 only: add it to mqtt_ports" in said) is is_told
    assert f"  aws-iot-device-client --config-file {tmp_path}/garden/device-client.json\n" in said


def test_an_ipv6_address_is_written_as_one(tmp_path, capsys):
    arguments = ("--data", tmp_path / "hub", "add-camera", "garden", "--to", tmp_path / "made", "--hub", "fd00::2")
    assert run_main(capsys, *arguments)[0] == 0
    assert "--credentials-endpoint [fd00::2]:8444 " in (tmp_path / "made" / "pinthesky.env").read_text()
    assert HubAddress("127.0.0.1", 1, 2).device_endpoint == "127.0.0.1:2"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["add-camera", "a/b"], "NAME: must be 1 to 128 letters"),
        (["add-camera", "x" * 65], "name: must be at most 64 characters"),
        (["add-camera", "garden", "--to", "a b"], "--to: must be an absolute path"),
        (["add-camera", "garden", "--at", "relative"], "--at: must be an absolute path"),
        (["add-camera", "garden", "--to", "no/where"], "--to: there is no folder"),
        (["add-camera", "garden", "--to", "."], "exists already"),
        (["add-camera", "garden", "--client", "java"], "argument --client: invalid choice: 'java'"),
        (["add-camera", "garden", "--hub", "https://house"], "--hub: must be a host name or an address without port"),
        (["remove-camera", "garden"], "there is no hub in"),
        (["cameras"], "there is no hub in"),
        (["add-camera"], "the following arguments are required: NAME"),
        (["dance"], "invalid choice: 'dance'"),
        (["cameras", "--loud"], "unrecognized arguments: --loud"),
    ],
)
def test_a_wrong_command_is_one_line_and_exit_2(tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, _, said = run_main(capsys, "--data", tmp_path / "hub", *arguments)
    assert code == 2
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "garden").exists()


def test_a_camera_is_added_once_and_what_is_there_stays(tmp_path, capsys):
    first = ("--data", tmp_path / "hub", "add-camera", "garden", "--to")
    assert run_main(capsys, *first, tmp_path / "one")[0] == 0
    before = (tmp_path / "one" / "certificates" / "private.key").read_bytes()
    code, _, said = run_main(capsys, *first, tmp_path / "two")
    assert (code, "there is a camera garden already" in said) == (2, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hub", "one"]
    assert (tmp_path / "one" / "certificates" / "private.key").read_bytes() == before


def test_a_camera_needs_ports_that_stay(tmp_path, capsys):
    Foundation.lay(tmp_path / "hub").close()
    (tmp_path / "hub" / "hub.toml").write_text("[listen]\ndevice_port = 0\n")
    code, _, said = run_main(capsys, "--data", tmp_path / "hub", "add-camera", "garden", "--to", tmp_path / "garden")
    assert (code, "must not be 0" in said) == (2, True)


def test_a_full_disk_leaves_no_half_camera(tmp_path, capsys, monkeypatch):
    from pinthesky.hub import camera_folder

    def full(_path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(camera_folder, "sync_file", full)
    code, _, said = run_main(capsys, "--data", tmp_path / "hub", "add-camera", "garden", "--to", tmp_path / "garden")
    assert (code, "No space left on device" in said) == (2, True)
    monkeypatch.undo()
    assert run_main(capsys, "--data", tmp_path / "hub", "cameras")[1] == ""


def test_version_and_help_are_said(capsys):
    for arguments, expected in (
        (["--version"], "pits-hub "),
        (["--help"], "add-camera"),
        (["cameras", "--help"], "--data"),
    ):
        with pytest.raises(SystemExit) as ended:
            app.main(arguments)
        assert ended.value.code == 0
        assert expected in capsys.readouterr().out


def test_the_default_folder_is_the_services_or_the_systems_or_the_users(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert commands.default_data({"STATE_DIRECTORY": "/var/lib/private/pits-hub:/x"}) == Path(
        "/var/lib/private/pits-hub"
    )
    assert commands.default_data({"HOME": "/home/anna"}) == Path("/home/anna/.local/share/pits-hub")
    assert commands.default_data({"HOME": "/home/anna", "XDG_DATA_HOME": "/data"}) == Path("/data/pits-hub")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert commands.default_data({}) == Path("/var/lib/pits-hub")


# Names and certificates


ADDRESSES = """[{"addr_info": [
  {"local": "127.0.0.1", "scope": "host"}, {"local": "192.168.1.7", "scope": "global"},
  {"local": "fe80::1", "scope": "link"}, {"local": "fd00::2", "scope": "global"},
  {"local": "fd00::3", "scope": "global", "temporary": true},
  {"local": "fd00::4", "scope": "global", "deprecated": true}
]}, {}]"""


@pytest.fixture
def ip(tmp_path, monkeypatch):
    """Let the system tell other addresses."""

    def say(text: str, code: int = 0) -> None:
        program = tmp_path / "ip"
        program.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\nexit {code}\n")
        program.chmod(0o755)
        monkeypatch.setattr(shutil, "which", lambda _name, **_more: str(program))

    return say


def test_the_certificate_names_what_others_can_use(ip, monkeypatch):
    ip(ADDRESSES)
    monkeypatch.setattr(socket, "gethostname", lambda: "House.example.org")
    names = host_names.own_names(["cam.example.net"])
    assert names == [
        *("cam.example.net", "house", "house.example.org", "house.local"),
        *("localhost", "127.0.0.1", "::1", "192.168.1.7", "fd00::2"),
    ]


@pytest.mark.parametrize("text, code", [("not JSON", 0), ("[]", 1), ('[{"addr_info": 3}]', 0)])
def test_a_system_that_does_not_tell_its_addresses_has_names_all_the_same(ip, monkeypatch, text, code):
    ip(text, code)
    monkeypatch.setattr(socket, "gethostname", lambda: "not_a_host_name")
    assert host_names.own_names() == ["localhost", "127.0.0.1", "::1"]


def test_a_system_without_ip_has_names_all_the_same(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _name, **_more: None)
    assert host_names.own_addresses() == []
    assert host_names.name_for_others() in ("localhost", f"{socket.gethostname()}.local")


def test_others_are_given_the_owners_name_or_mdns_or_an_address(ip, monkeypatch, tmp_path):
    ip(ADDRESSES)
    monkeypatch.setattr(socket, "gethostname", lambda: "house")
    monkeypatch.setattr(host_names, "_AVAHI", tmp_path / "none")
    assert host_names.name_for_others(["cam.example.net"]) == "cam.example.net"
    assert host_names.name_for_others() == "192.168.1.7"
    monkeypatch.setattr(host_names, "_AVAHI", tmp_path)
    assert host_names.name_for_others() == "house.local"


@pytest.fixture
def authority(tmp_path):
    folder = tmp_path / "authority"
    folder.mkdir(mode=0o700)
    made = Authority(folder)
    made.prepare("house")
    return made


def shown(context: ssl.SSLContext, name: str, root: Path) -> str:
    """Handshake as a browser that asks for `name`; returns the issuer of what it is shown."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(to_server, to_client, server_side=True)
    browser = ssl.create_default_context(cafile=str(root))
    client = browser.wrap_bio(to_client, to_server, server_hostname=name)
    for end in (client, server) * 4:
        with contextlib.suppress(ssl.SSLWantReadError):
            end.do_handshake()
    peer = client.getpeercert()
    assert peer is not None
    return str(peer["issuer"])


def owners_files(folder: Path, serial: str) -> CertificateAuthority:
    """A certificate of an authority of the owner's, as `own.pem` and `own.key`."""
    (folder / serial).mkdir()
    made = CertificateAuthority(folder / serial)
    pair = made.issue("cam.example.net")
    pair.key.replace(folder / "own.key")
    pair.cert.replace(folder / "own.pem")
    return made


def own_settings(folder: Path) -> HubSettings:
    return HubSettings(tls=Tls(certificate_file=str(folder / "own.pem"), key_file=str(folder / "own.key")))


def test_the_owners_certificate_is_shown_but_to_localhost(authority, tmp_path):
    theirs = owners_files(tmp_path, "first")
    tls = ServerTls(authority, own_settings(tmp_path))
    assert shown(tls.console, "localhost", authority.root_certificate)
    assert shown(tls.console, "cam.example.net", theirs.cert)


def test_the_owners_renewed_certificate_is_read_while_the_hub_runs(authority, tmp_path):
    owners_files(tmp_path, "first")
    tls = ServerTls(authority, own_settings(tmp_path))
    theirs = owners_files(tmp_path, "second")
    assert tls.refresh() is False
    assert shown(tls.console, "cam.example.net", theirs.cert)


def test_a_renewal_that_cannot_be_used_leaves_the_old_one_in_use(authority, tmp_path):
    theirs = owners_files(tmp_path, "first")
    tls = ServerTls(authority, own_settings(tmp_path))
    (tmp_path / "own.key").write_text("broken")
    with pytest.raises(InvalidInput, match=r"tls\.certificate_file: cannot use .*own\.pem"):
        tls.refresh()
    assert shown(tls.console, "cam.example.net", theirs.cert)


def test_files_of_the_owner_that_are_not_there_end_the_start(authority, tmp_path):
    with pytest.raises(InvalidInput, match=r"tls\.certificate_file"):
        ServerTls(authority, own_settings(tmp_path))


def test_a_new_address_renews_the_servers_certificate_while_the_hub_runs(authority, ip):
    ip("[]")
    tls = ServerTls(authority, HubSettings())
    renewed = threading.Event()
    crashes: list[str] = []
    watch = CertificateWatch(tls, renewed.set, lambda name, _error: crashes.append(name), every_s=0.02)
    watch.start()
    try:
        ip(ADDRESSES)
        assert renewed.wait(5.0)
    finally:
        watch.stop()
        assert watch.join(5.0)
    assert shown(tls.device, "192.168.1.7", authority.root_certificate)
    assert crashes == []


def test_the_watch_says_once_that_certificates_cannot_be_renewed(authority, caplog, tmp_path, monkeypatch):
    owners_files(tmp_path, "first")
    tls = ServerTls(authority, own_settings(tmp_path))
    (tmp_path / "own.key").write_text("broken")
    looks = []
    original = tls.refresh

    def refresh() -> bool:
        looks.append(1)
        tls._own_state = ()
        return original()

    monkeypatch.setattr(tls, "refresh", refresh)
    watch = CertificateWatch(tls, lambda: None, lambda _name, _error: None, every_s=0.01)
    watch.start()
    try:
        eventually(lambda: len(looks) > 3, "it goes on looking")
    finally:
        watch.stop()
        assert watch.join(5.0)
    assert len([message for message in caplog.messages if "cannot be renewed" in message]) == 1


def test_proxies_are_known_in_both_families():
    assert app._as_both_families(["10.0.0.0/8", "fd00::/8"]) == ["10.0.0.0/8", "::ffff:10.0.0.0/104", "fd00::/8"]


def test_the_locations_of_the_settings_are_there_and_stay_as_people_change_them(tmp_path):
    settings = msgspec.structs.replace(FREE, locations={"home": "Europe/Vienna"})
    first = Hub(tmp_path / "hub", settings)
    home = first.planes.home
    assert home.groups.get(GroupName("home")).time_zone == "Europe/Vienna"
    home.groups.change(GroupName("home"), lambda group: msgspec.structs.replace(group, time_zone="Asia/Tokyo"))
    assert first.stop()
    second = Hub(tmp_path / "hub", settings)
    assert second.planes.home.groups.get(GroupName("home")).time_zone == "Asia/Tokyo"
    assert second.stop()


def test_clips_stills_and_reports_are_kept_as_long_as_the_settings_say(tmp_path):
    media = msgspec.structs.replace(FREE.media, retention_days=365, stills_days=0, health_days=7)
    hub = Hub(tmp_path / "hub", msgspec.structs.replace(FREE, media=media))
    kept = hub.planes.home.retention
    assert (kept.clips_days, kept.stills_days, kept.health_days) == (365, None, 7)
    assert hub.stop()
