"""Whatever comes through the files, the flags or from a damaged disk: an answer or an error of ours, never a crash."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pinthesky.device import flags
from pinthesky.device.clip_journal import ClipHeader, JournalWriter, read_journal
from pinthesky.device.ports import Packet
from pinthesky.errors import InvalidInput, InvariantBroken
from pinthesky.model.commands import COMMANDS as KNOWN_COMMANDS
from pinthesky.model.commands import DEPTH_MAX, CommandStream, Rejected
from pinthesky.model.recording import Moment
from pinthesky.model.settings import SECTIONS, DeviceSettings, parse_section
from pinthesky.model.shadow import fingerprint, parse_document
from tests.faults.hostile import COMMANDS, HEALTH, NASTY, SHADOWS, as_json, hostile_value, mutated
from tests.faults.recorded import say
from tests.support.daemon_process import DaemonProcess, eventually, running
from tests.support.fake_device_client import FakeDeviceClient

ClientOf = Callable[[DaemonProcess], FakeDeviceClient]
SCENE = ("--resolution", "160x120", "--framerate", "5", "--encoding-bitrate", "100000")
SEED = int(os.environ.get("PINTHESKY_FUZZ_SEED", "20260101"))
pytestmark = pytest.mark.no_cover
SOAK_INPUTS = {"commands": 250_000, "documents": 5_000_000, "sections": 1_000_000, "flags": 50_000, "journals": 200_000}
SOAK_SHARE = 50 if os.environ.get("SOAK") == "short" else 1


def outcome(parse: Callable[..., Any], *arguments: Any) -> tuple[Any, InvalidInput | None]:
    """What `parse` gives, or how it refuses; anything else that it raises fails the test."""
    try:
        return parse(*arguments), None
    except InvalidInput as error:
        return None, error


def check_commands(inputs: int, seed: int) -> None:
    source = random.Random(seed)
    kinds = tuple(KNOWN_COMMANDS.values())
    for _ in range(inputs):
        stream = CommandStream()
        data = mutated(source, COMMANDS)
        found = []
        cuts = sorted(source.randint(0, len(data)) for _ in range(source.randint(0, 3)))
        for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            found += stream.feed(data[begin:end])
        found += stream.expire()
        assert stream.pending == 0
        assert stream.bytes_read <= 2 * (DEPTH_MAX + 1) * len(data)
        assert all(isinstance(one, (Rejected, *kinds)) for one in found)
        assert all(one.sample.isprintable() for one in found if isinstance(one, Rejected))
        assert isinstance(stream.feed(HEALTH)[-1], KNOWN_COMMANDS["health"]), "a good command is served afterwards"


def check_documents(inputs: int, seed: int) -> None:
    source = random.Random(seed)
    for _ in range(inputs):
        try:
            document = parse_document(mutated(source, SHADOWS))
        except InvalidInput:
            continue
        if document.desired is not None:
            assert len(fingerprint(document.desired)) == 32


def check_sections(inputs: int, seed: int) -> None:
    source = random.Random(seed)
    settings = DeviceSettings()
    names = {name: [field.name for field in msgspec.structs.fields(kind)] for name, kind in SECTIONS.items()}
    for _ in range(inputs):
        section = source.choice([*SECTIONS, "cloud_connection", "../etc", ""])
        fields = names.get(section, ["x"])
        desired = {source.choice([*fields, "no_such"]): hostile_value(source) for _ in range(source.randint(0, 3))}
        base = getattr(settings, section, settings.camera)
        taken, refusal = outcome(
            parse_section, section, desired if source.random() < 0.95 else hostile_value(source), base
        )
        if refusal is not None:
            assert refusal.field.startswith(section)
            continue
        assert parse_section(section, msgspec.to_builtins(taken), base) == taken, "what was taken is valid itself"


def check_flags(inputs: int, seed: int) -> None:
    source = random.Random(seed)
    known = [
        option for action in flags.parser()._actions for option in action.option_strings if option.startswith("--")
    ]
    known = [option for option in known if option not in ("--help", "--version")]
    variables = ("CLOUDWATCH", "CLOUDWATCH_THREADED", "CLOUDWATCH_DELINEATE_STREAM", "DATAPLANE", "AWS_DEFAULT_REGION")
    for _ in range(inputs):
        arguments = []
        for _ in range(source.randint(0, 5)):
            value = hostile_value(source)
            arguments += [source.choice(known), value if isinstance(value, str) else str(value)[:400]]
        environment = {source.choice(variables): str(hostile_value(source))[:100] for _ in range(source.randint(0, 2))}
        options, refusal = outcome(flags.parse, arguments, environment)
        if refusal is not None:
            assert refusal.field
            assert "\n" not in str(refusal)
            continue
        assert options.spool_dir.is_absolute()


def check_journals(inputs: int, seed: int, folder: Path) -> None:
    source = random.Random(seed)
    path = folder / "whole.journal"
    start = Moment(boot_id="b", monotonic_s=1.0, wall_s=1.8e9)
    writer = JournalWriter.create(path, ClipHeader(event_id="0" * 32, start=start, width=160, height=120))
    packets = [
        Packet(source.randbytes(source.randint(0, 300)), number * 100_000, number % 5 == 0) for number in range(40)
    ]
    for packet in packets:
        writer.append(packet)
    writer.close()
    whole = path.read_bytes()
    damaged = folder / "damaged.journal"
    for _ in range(inputs):
        data = bytearray(whole if source.random() < 0.9 else mutated(source, (whole[:500],)))
        for _ in range(source.randint(1, 3)):
            at = source.randrange(len(data) + 1)
            kind = source.randrange(4)
            if kind == 0:
                data[at : at + 1] = source.randbytes(1)
            elif kind == 1:
                del data[at:]
            elif kind == 2:
                data[at:at] = data[max(0, at - 100) : at]
            else:
                data[at : at + 64] = bytes(64)
        damaged.write_bytes(data)
        try:
            with read_journal(damaged) as journal:
                found = list(journal)
        except InvariantBroken:
            continue
        assert found == packets[: len(found)], "what is read is what was written, up to the damage"


def test_commands_of_any_bytes_end_in_a_command_or_a_reason() -> None:
    check_commands(1500, SEED)


def test_shadow_documents_of_any_bytes_are_read_or_refused() -> None:
    check_documents(5000, SEED)


def test_sections_of_any_values_are_taken_whole_or_refused_by_name() -> None:
    check_sections(5000, SEED)


def test_flags_of_any_values_are_taken_or_refused_by_name() -> None:
    check_flags(400, SEED)


def test_journals_with_any_damage_give_what_was_written_up_to_it(tmp_path: Path) -> None:
    check_journals(1500, SEED, tmp_path)


@pytest.mark.soak
@pytest.mark.timeout(3500)
@pytest.mark.parametrize("target", SOAK_INPUTS)
def test_millions_of_hostile_inputs(tmp_path: Path, target: str) -> None:
    seed = random.SystemRandom().randrange(2**32)
    say(f"PINTHESKY_FUZZ_SEED={seed}")
    inputs = SOAK_INPUTS[target] // SOAK_SHARE
    if target == "journals":
        check_journals(inputs, seed, tmp_path)
    else:
        checks = {
            "commands": check_commands,
            "documents": check_documents,
            "sections": check_sections,
            "flags": check_flags,
        }
        checks[target](inputs, seed)


# The whole daemon


def check_still_serving(daemon: DaemonProcess, client: FakeDeviceClient, capture_id: str) -> None:
    def answered() -> bool:
        try:
            eventually(lambda: served_once(client, capture_id), "an answer", 3.0)
        except AssertionError:
            client.command("configuration", capture_id=capture_id)
            assert daemon.is_running, daemon.log[-20:]
            return False
        return True

    client.command("configuration", capture_id=capture_id)
    eventually(answered, f"the good command {capture_id} is answered", 60)


def served_once(client: FakeDeviceClient, capture_id: str) -> bool:
    return any(
        event["name"] == "configuration_end" and event.get("capture_id") == capture_id for event in client.events
    )


@pytest.mark.needs_av
def test_the_daemon_outlives_hostile_commands(tmp_path: Path, client_of: ClientOf) -> None:
    source = random.Random(SEED)
    daemon = DaemonProcess(tmp_path, "synthetic:?script=quiet:3600", *SCENE, is_covered=False)
    with running(daemon):
        daemon.wait_log("Watching synthetic")
        client = client_of(daemon)
        client.deliver(*(mutated(source, COMMANDS) for _ in range(300)))
        client.deliver(*NASTY, os.urandom(1_000_000), b"[" * 1_000_000, b'{"a":' * 200_000, b'"' * 300_001)
        client.deliver(b'{"name":"capture_image","context":{"file_name":"' + b"A" * 3_000_000 + b'"}}')
        check_still_serving(daemon, client, "after-bytes")
        assert daemon.stop() == 0
        check_nothing_escaped(daemon)


@pytest.mark.needs_av
def test_the_daemon_outlives_a_hundred_thousand_commands(tmp_path: Path, client_of: ClientOf) -> None:
    daemon = DaemonProcess(tmp_path, "synthetic:?script=quiet:3600", *SCENE, is_covered=False)
    with running(daemon):
        daemon.wait_log("Watching synthetic")
        client = client_of(daemon)
        for _ in range(100):
            client.deliver(b'{"name":"health"}' * 1000)
        check_still_serving(daemon, client, "after-flood")
        assert sum("Too many commands" in line for line in daemon.log) < 100, "a flood of commands is none of warnings"
        assert daemon.stop() == 0
        check_nothing_escaped(daemon)


@pytest.mark.needs_av
def test_the_daemon_outlives_hostile_shadow_documents(tmp_path: Path, client_of: ClientOf) -> None:
    source = random.Random(SEED)
    daemon = DaemonProcess(tmp_path, "synthetic:?script=quiet:3600", *SCENE, is_covered=False)
    hostile = [mutated(source, SHADOWS) for _ in range(150)]
    hostile += [
        as_json({"state": {"desired": {section: {field.name: hostile_value(source)}}}})
        for section, kind in SECTIONS.items()
        for field in msgspec.structs.fields(kind)
    ]
    hostile += [os.urandom(300_000), b"[" * 250_000, b'{"state":' * 50_000, b" " * 2_000_000, b""]
    with running(daemon):
        daemon.wait_log("Watching synthetic")
        client = client_of(daemon)
        for document in hostile:
            daemon.configure_output.write_bytes(document)
        client.shadow.desire(health={"interval": 78})
        eventually(lambda: client.shadow.reported.get("health", {}).get("interval") == 78, "a good edit is taken", 60)
        check_still_serving(daemon, client, "after-shadows")
        assert daemon.stop() == 0
        check_nothing_escaped(daemon)


def check_nothing_escaped(daemon: DaemonProcess) -> None:
    """No traceback, no file outside the daemon's own folders, nothing printed that a terminal would obey."""
    assert not any("Traceback" in line for line in daemon.log), [line for line in daemon.log if "rror" in line]
    assert all(line.isprintable() for line in daemon.log)
    assert {path.name for path in daemon.folder.iterdir()} <= {"state", "spool", "files"}
