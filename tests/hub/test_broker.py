"""The broker: who may say and hear what, what survives, and that a removed camera is shut out. On real mosquitto."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from pinthesky.errors import InvalidInput, Unavailable
from pinthesky.hub import broker as broker_module
from pinthesky.hub.broker import MosquittoBroker, TlsFiles, acl, configuration, end_stale, find_mosquitto
from pinthesky.hub.foundation import Foundation
from pinthesky.hub.ports import HUB_CLIENT_ID
from tests.support.aws_servers import CertificateAuthority
from tests.support.broker import MqttClient
from tests.support.daemon_process import eventually
from tests.support.hub_process import HOST, Camera, CameraSide, Session, free_ports, new_camera, try_connect


class Site:
    """A foundation with a broker on it, and what was told of its connections."""

    def __init__(self, folder: Path, *, ports: list[int] | None = None) -> None:
        self.folder = folder
        self.foundation = Foundation.lay(folder / "hub")
        self.presence: list[tuple[str, bool, str]] = []
        self.crashes: list[BaseException] = []
        authority = self.foundation.authority
        authority.ensure_server_certificate([HOST, "127.0.0.1"])
        authority.write_revocations(self.foundation.registry.revoked())
        self.broker = MosquittoBroker(
            self.foundation.folder,
            TlsFiles(
                authority.root_certificate, authority.server_certificate, authority.server_key, authority.revocations
            ),
            address="127.0.0.1",
            ports=ports or [0],
            on_presence=lambda *told: self.presence.append(told),
            on_crash=lambda _name, error: self.crashes.append(error),
        )

    @property
    def port(self) -> int:
        return self.broker.ports[0]

    def camera(self, name: str) -> Camera:
        number = len(list(self.folder.glob(f"{name}-*")))
        return new_camera(self.foundation, name, self.folder / f"{name}-{number}")

    @contextmanager
    def client(self, camera: Camera):
        made = MqttClient(CameraSide(camera, self.port), camera.thing)
        try:
            made.connect()
            yield made
        finally:
            made.close()

    @contextmanager
    def hub_client(self, *filters: str):
        """The hub's own side: everything that it hears as {topic: payloads}, and how to publish."""
        heard: dict[str, list[bytes]] = {}
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=HUB_CLIENT_ID, transport="unix")
        client.on_message = lambda _client, _data, message: heard.setdefault(message.topic, []).append(
            bytes(message.payload)
        )
        ready = []
        client.on_subscribe = lambda *_arguments: ready.append(1)
        client.connect(str(self.foundation.folder.broker_socket))
        client.loop_start()
        for topic_filter in filters:
            client.subscribe(topic_filter, 1)
        eventually(lambda: len(ready) == len(filters), "the hub's side is subscribed")
        try:
            yield client, heard
        finally:
            client.disconnect()
            client.loop_stop()

    def close(self) -> None:
        self.broker.stop()
        assert self.broker.join(8.0)
        self.foundation.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A broker for the tests that leave it as it is; each has its own cameras."""
    site = Site(tmp_path_factory.mktemp("broker"))
    site.broker.start()
    yield site
    site.close()
    assert not site.crashes


@pytest.fixture
def site(tmp_path):
    made = Site(tmp_path)
    yield made
    made.close()


SAID = ("shadow/get", "shadow/update", "shadow/name/pinthesky/update", "shadow/name/pinthesky/delete", "jobs/get")
ANSWERS = (
    "shadow/name/pinthesky/update/accepted",
    "shadow/name/pinthesky/update/rejected",
    "shadow/name/pinthesky/update/delta",
    "shadow/name/pinthesky/update/documents",
    "shadow/name/other/get/accepted",
    "shadow/update/documents",
    "jobs/notify",
    "jobs/notify-next",
    "jobs/start-next/accepted",
    "jobs/job-1/update/rejected",
    "jobs/$next/get/accepted",
)


def topics(thing: str, *tails: str) -> set[str]:
    return {f"$aws/things/{thing}/{tail}" for tail in tails}


def test_a_thing_says_what_is_its_own_and_nothing_else(shared):
    garden = shared.camera("says")
    own = topics("says", *SAID, "jobs/start-next", "jobs/$next/get", "jobs/job-1/update") | {
        "pinthesky/events/says/output"
    }
    forbidden = (
        topics("says", *ANSWERS)
        | topics("other", *SAID, *ANSWERS)
        | {"pinthesky/events/says/input", "pinthesky/events/other/output", "pinthesky/events/output", "any/other"}
        | {"$SYS/broker/x", "$aws/things/says/x/shadow/update", "$aws/things/says/shadow/name/a/b/update"}
    )
    with shared.hub_client("#", "$aws/#") as (_, heard), shared.client(garden) as client:
        for topic in sorted(forbidden) + sorted(own):
            client.publish(topic, b"said")
        eventually(lambda: own <= heard.keys(), "what is its own is heard")
        assert set(heard) == own


def test_a_thing_hears_what_is_its_own_and_nothing_else(shared):
    garden = shared.camera("hears")
    own = topics("hears", *ANSWERS) | {"pinthesky/events/hears/input"}
    foreign = (
        topics("other", *ANSWERS, *SAID)
        | topics("hears", *SAID)
        | {"pinthesky/events/other/input", "pinthesky/events/other/output", "any/other"}
    )
    with shared.client(garden) as client, shared.hub_client() as (hub, _):
        client.subscribe("#", "$aws/#", "$SYS/#", "$aws/things/other/jobs/notify", "pinthesky/events/+/input")
        for topic in sorted(foreign) + sorted(own):
            hub.publish(topic, b"said", 1).wait_for_publish(5.0)
        for topic in own:
            client.wait_for(topic)
        assert {message.topic for message in client.messages} == own


def test_certificate_user_and_client_id_are_one_whatever_the_client_says(shared):
    garden = shared.camera("named")
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="somebody-else")
    client.username_pw_set("root", "secret")
    client.tls_set_context(garden.tls())
    client.connect(HOST, shared.port)
    client.loop_start()
    try:
        eventually(lambda: ("named", True) in [told[:2] for told in shared.presence], "it is known by its certificate")
        assert "somebody-else" not in [told[0] for told in shared.presence]
    finally:
        client.disconnect()
        client.loop_stop()


def test_without_a_certificate_of_the_hubs_nobody_comes_in(shared, tmp_path):
    stranger = CertificateAuthority(tmp_path).issue("says")
    root = shared.foundation.authority.root_certificate
    bare = ssl.create_default_context(cafile=str(root))
    foreign = ssl.create_default_context(cafile=str(root))
    foreign.load_cert_chain(stranger.cert, stranger.key)
    for context in (bare, foreign):
        with (
            socket.create_connection((HOST, shared.port)) as plain,
            pytest.raises((ssl.SSLError, ConnectionError)),
            context.wrap_socket(plain, server_hostname=HOST) as connection,
        ):
            connection.sendall(b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03abc")
            connection.recv(4)


def test_the_servers_certificate_is_no_way_in_either(shared):
    authority = shared.foundation.authority
    context = ssl.create_default_context(cafile=str(authority.root_certificate))
    context.load_cert_chain(authority.server_certificate, authority.server_key)
    with (
        socket.create_connection((HOST, shared.port)) as plain,
        pytest.raises((ssl.SSLError, ConnectionError)),
        context.wrap_socket(plain, server_hostname=HOST) as connection,
    ):
        connection.sendall(b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03abc")
        connection.recv(4)


def test_a_message_of_128_kib_passes_and_a_longer_one_does_not(shared):
    garden = shared.camera("large")
    topic = "pinthesky/events/large/output"
    with shared.hub_client(topic) as (_, heard):
        with shared.client(garden) as client:
            client.publish(topic, b"x" * (128 * 1024))
            eventually(lambda: topic in heard, "the largest message is heard")
        with shared.client(garden) as client:
            client._paho.publish(topic, b"y" * (128 * 1024 + 1), qos=0)
            client.publish(topic, b"end")
            eventually(lambda: b"end" in heard[topic], "a message after it is heard")
            client._paho.publish(topic, b"z" * (1024 * 1024), qos=0)
            eventually(lambda: not client._paho.is_connected(), "who sends so much is cut off")
        assert [payload[:3] for payload in heard[topic]] == [b"xxx", b"end"]


def test_presence_is_told_with_its_reason(shared):
    garden = shared.camera("present")
    with shared.client(garden):
        eventually(lambda: ("present", True) in [told[:2] for told in shared.presence], "it is told as connected")
    eventually(lambda: ("present", False) in [told[:2] for told in shared.presence], "it is told as disconnected")
    assert ("present", False, "disconnected") in shared.presence


def test_a_camera_that_falls_silent_is_told_as_gone(shared):
    garden = shared.camera("silent")
    with (
        socket.create_connection((HOST, shared.port)) as plain,
        garden.tls().wrap_socket(plain, server_hostname=HOST) as connection,
    ):
        connection.sendall(b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x01\x00\x03abc")
        connection.recv(4)
        eventually(lambda: ("silent", False) in [told[:2] for told in shared.presence], "the silence is noticed")
    assert ("silent", False, "has exceeded timeout") in shared.presence


def revoke(site: Site, camera: Camera) -> None:
    site.foundation.registry.remove(camera.thing)
    site.foundation.authority.write_revocations(site.foundation.registry.revoked())
    site.broker.reload()
    site.broker.cut(camera.thing)


def test_a_removed_camera_is_cut_off_and_does_not_come_back(shared):
    garden, porch = shared.camera("removed"), shared.camera("stays")
    with shared.client(garden) as client, shared.client(porch) as other:
        eventually(lambda: {"removed", "stays"} <= {told[0] for told in shared.presence if told[1]}, "both are there")
        revoke(shared, garden)
        assert ("removed", False, "cut off") in shared.presence
        eventually(lambda: not client._paho.is_connected(), "its connection has ended")
        other.publish("pinthesky/events/stays/output", b"still here")
        assert ("stays", False) not in [told[:2] for told in shared.presence]
    assert try_connect(garden, shared.port)[0] is False
    assert try_connect(porch, shared.port)[0] is True


def test_two_cameras_removed_within_a_second_are_both_refused(shared):
    cameras = [shared.camera(name) for name in ("first", "second", "third")]
    for camera in cameras:
        revoke(shared, camera)
    assert [try_connect(camera, shared.port)[0] for camera in cameras] == [False] * 3


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_tls_session_from_before_cannot_be_resumed_by_a_removed_camera(shared, version):
    garden = shared.camera(f"resumes-{version.name}")
    context = garden.tls()
    context.minimum_version = context.maximum_version = version
    taken, session = try_connect(garden, shared.port, Session(context, None))
    assert taken
    revoke(shared, garden)
    assert try_connect(garden, shared.port, session)[0] is False


def test_a_new_camera_of_the_same_name_comes_in_and_the_old_certificate_does_not(shared):
    old = shared.camera("again")
    with shared.client(old) as client:
        client.subscribe("pinthesky/events/again/input")
    revoke(shared, old)
    new = shared.camera("again")
    assert try_connect(old, shared.port)[0] is False
    assert try_connect(new, shared.port)[0] is True


def test_what_waits_for_an_absent_camera_survives_a_restart_of_the_hub(tmp_path):
    (port,) = free_ports(1)
    topic = "pinthesky/events/garden/input"
    first = Site(tmp_path, ports=[port])
    try:
        first.broker.start()
        garden = first.camera("garden")
        connection = paho.Client(CallbackAPIVersion.VERSION2, client_id="garden", clean_session=False)
        connection.tls_set_context(garden.tls())
        heard, granted = [], []
        connection.on_subscribe = lambda *_arguments: granted.append(1)
        connection.on_message = lambda _client, _data, message: heard.append(message.payload)
        connection.connect(HOST, port)
        connection.loop_start()
        eventually(connection.is_connected, "the camera is connected")
        connection.subscribe(topic, 1)
        eventually(lambda: granted, "the camera has subscribed")
        connection.disconnect()
        connection.loop_stop()
        with first.hub_client() as (hub, _):
            hub.publish(topic, b"while you were away", 1).wait_for_publish(5.0)
    finally:
        first.close()
    second = Site(tmp_path, ports=[port])
    try:
        second.broker.start()
        connection.connect(HOST, port)
        connection.loop_start()
        eventually(lambda: bool(heard), "it is heard after the restart")
        assert heard == [b"while you were away"]
        connection.disconnect()
        connection.loop_stop()
    finally:
        second.close()


def test_a_broker_that_dies_is_started_again_on_the_same_port(site, caplog, monkeypatch):
    monkeypatch.setattr(broker_module, "FIRST_BACK_OFF_S", 0.05)
    site.broker.start()
    garden, port, pid = site.camera("garden"), site.port, site.broker.pid
    with site.client(garden) as client:
        eventually(lambda: ("garden", True) in [told[:2] for told in site.presence], "the camera is there")
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: ("garden", False, "the broker has ended") in site.presence, "its absence is told")
        eventually(lambda: [told[1] for told in site.presence] == [True, False, True], "the camera is back")
        client.publish("pinthesky/events/garden/output", b"back")
    assert (site.port, site.broker.pid != pid) == (port, True)
    assert "mosquitto has ended (exit code -9) and is started again" in caplog.text


def test_the_wait_before_a_restart_ends_with_the_hub(site):
    site.broker._back_off_s = 30.0
    site.broker.start()
    os.kill(site.broker.pid, signal.SIGKILL)
    eventually(lambda: site.broker.pid is None, "it has ended")
    begun = time.monotonic()
    site.broker.stop()
    assert site.broker.join(5.0)
    assert time.monotonic() - begun < 3.0


def test_mosquitto_that_does_not_read_the_list_is_started_again(site, monkeypatch, caplog):
    monkeypatch.setattr(broker_module, "RELOAD_TIMEOUT_S", 0.2)
    monkeypatch.setattr(broker_module, "FIRST_BACK_OFF_S", 0.05)
    site.broker.start()
    garden, pid = site.camera("garden"), site.broker.pid
    os.kill(pid, signal.SIGSTOP)
    site.foundation.registry.remove(garden.thing)
    site.foundation.authority.write_revocations(site.foundation.registry.revoked())
    site.broker.reload()
    eventually(lambda: site.broker.is_running and site.broker.pid != pid, "another one runs")
    assert try_connect(garden, site.port)[0] is False
    assert "does not read its certificates anew" in caplog.text


def test_nobody_is_cut_off_where_no_broker_runs(site):
    garden = site.camera("garden")
    site.broker.reload()
    with pytest.raises(Unavailable, match="the connection of garden cannot be cut"):
        site.broker.cut(garden.thing)


def test_a_broker_that_does_not_answer_is_unavailable(site, monkeypatch):
    monkeypatch.setattr(broker_module, "RELOAD_TIMEOUT_S", 0.2)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(site.foundation.folder.broker_socket))
        silent.listen()
        with pytest.raises(Unavailable, match="does not answer"):
            site.broker.cut(site.camera("garden").thing)
    site.foundation.folder.broker_socket.unlink()


def test_a_mosquitto_that_does_not_end_by_itself_is_killed(site, caplog):
    site.broker.start()
    os.kill(site.broker.pid, signal.SIGSTOP)
    site.broker.stop()
    assert site.broker.join(1.0)
    assert "does not end by itself" in caplog.text


def test_a_mosquitto_left_behind_by_an_earlier_hub_is_ended_first(tmp_path, caplog):
    (port,) = free_ports(1)
    site = Site(tmp_path, ports=[port])
    site.broker.ports = (port,)
    site.broker._write_files()
    left = subprocess.Popen(
        [find_mosquitto(), "-c", str(site.foundation.folder.broker / "mosquitto.conf")], stderr=subprocess.DEVNULL
    )
    try:
        eventually(site.foundation.folder.broker_socket.exists, "the one left behind runs")
        site.broker.start()
        assert left.wait(1.0) == 0
        assert f"left mosquitto behind (process {left.pid})" in caplog.text
    finally:
        left.kill()
        left.wait()
        site.close()


def test_one_left_behind_that_does_not_end_is_named(site, monkeypatch):
    site.broker._write_files()
    stuck = subprocess.Popen(["sleep", "60"])
    monkeypatch.setattr(broker_module, "_started_with", lambda _file: [stuck.pid])
    try:
        with pytest.raises(Unavailable, match=f"process {stuck.pid}"):
            end_stale(site.foundation.folder, timeout_s=0.2)
    finally:
        stuck.kill()
        stuck.wait()


def test_a_taken_port_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        site = Site(tmp_path, ports=[port])
        with pytest.raises(Unavailable, match=f"port {port} is taken by another program; choose another one in listen"):
            site.broker.start()
        site.close()
    assert not site.crashes


def test_a_free_port_that_somebody_else_took_first_is_tried_again(site, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = iter([taken.getsockname()[1], *free_ports(1)])
        monkeypatch.setattr(broker_module, "_free_port", lambda _address: next(ports))
        site.broker.start()
    assert site.broker.is_running


def test_a_mosquitto_that_does_not_start_is_quoted(tmp_path):
    site = Site(tmp_path, ports=free_ports(1))
    site.foundation.authority.server_key.write_bytes(b"no key")
    with pytest.raises(Unavailable, match=r"mosquitto does not start: .*server\.key"):
        site.broker.start()
    site.close()


def test_without_mosquitto_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda *_arguments, **_more: None)
    with pytest.raises(InvalidInput, match=r"is not installed; .*sudo apt-get install .*mosquitto"):
        find_mosquitto()


@pytest.mark.parametrize("says, message", [("version 1.6.12", "is version 1.6"), ("what?", "of an unknown version")])
def test_an_old_mosquitto_is_refused(tmp_path, monkeypatch, says, message):
    program = tmp_path / "mosquitto"
    program.write_text(f"#!/bin/sh\necho 'mosquitto {says}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InvalidInput, match=f"must be 2.0 or newer, and .* {message}"):
        find_mosquitto()


def test_without_setpriv_it_runs_all_the_same(site, monkeypatch):
    program = find_mosquitto()
    monkeypatch.setattr(broker_module, "find_mosquitto", lambda: program)
    monkeypatch.setattr(shutil, "which", lambda *_arguments, **_more: None)
    site.broker.start()
    assert site.broker.is_running


def test_it_has_a_process_group_of_its_own_so_that_ctrl_c_is_for_the_hub(shared):
    assert os.getpgid(shared.broker.pid) != os.getpgid(0)


def test_it_cannot_tell_the_service_manager_that_the_hub_is_ready(site, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", "@pits-test-nobody")  # Debian's mosquitto speaks to it by itself
    site.broker.start()
    assert b"NOTIFY_SOCKET" not in Path(f"/proc/{site.broker.pid}/environ").read_bytes()


def test_a_defect_in_whoever_hears_of_presence_ends_the_hub_and_no_mosquitto_is_left(site):
    def broken(*_told: object) -> None:
        raise ZeroDivisionError

    site.broker._on_presence = broken
    site.broker.start()
    pid = site.broker.pid
    try_connect(site.camera("garden"), site.port)
    eventually(lambda: site.crashes, "the crash is told")
    assert not Path(f"/proc/{pid}").exists()


def test_a_loss_of_a_connection_is_understood_in_all_of_its_forms(site):
    for line in (
        "New client connected from 10.0.0.9:4711 as garden (p2, c1, k60, u'garden').",
        "New client connected from [fd00::2]:4711 as porch (p5, c0, k60, u'porch').",
        "New client connected from /data/broker/mosquitto.sock:0 as pits.hub (p5, c0, k30).",
        "Client <unknown> disconnected: Protocol error.",
        "Client garden disconnected due to oversize packet.",
        "Bad socket read/write on client porch: Connection reset by peer",
        "Client porch closed its connection.",
    ):
        site.broker._hear(line)
    assert site.presence == [
        ("garden", True, "10.0.0.9"),
        ("porch", True, "[fd00::2]"),
        ("garden", False, "disconnected due to oversize packet"),
        ("porch", False, "Connection reset by peer"),
    ]


def test_the_files_say_what_the_settings_say(site):
    folder, authority = site.foundation.folder, site.foundation.authority
    tls = TlsFiles(
        authority.root_certificate, authority.server_certificate, authority.server_key, authority.revocations
    )
    text = configuration(folder, tls, address="192.168.1.7", ports=[8883, 443])
    assert "listener 8883 192.168.1.7\n" in text
    assert "listener 443 192.168.1.7\n" in text
    assert text.count("require_certificate true") == text.count("allow_anonymous false") == 2
    assert "listener 8883\n" in configuration(folder, tls, address="", ports=[8883])
    assert all(line.startswith(("pattern read ", "pattern write ")) and "%u" in line for line in acl().splitlines())
