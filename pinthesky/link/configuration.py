"""What the device client is told: the JSON file of aws-iot-device-client, and the flags that override it.

The keys are those of that client, so one file serves either; it ignores the few that are ours (`port`, `keep-alive`,
`session-expiry`, `state-directory`, `last-will`, `samples.pub-sub.publish-queue`, `jobs.further-handler-directories`,
`jobs.allow-run-command`).
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from pinthesky.errors import InvalidInput
from pinthesky.link.job_handlers import JobsSettings
from pinthesky.model.identifiers import ThingName
from pinthesky.version import __version__

FILE_MAX = 5000
"""Most bytes of the file (the C++ client's bound)."""
DEFAULT_FILE = "~/.aws-iot-device-client/aws-iot-device-client.conf"
HANDLER_DIRECTORY = "~/.aws-iot-device-client/jobs"
STATE_DIRECTORY = "/var/lib/pits-device-client"
TOPIC_MAX = 256
"""Most bytes of a topic (AWS IoT)."""
_UNKNOWN_MAX = 20
_FOLDERS_MAX = 8
_NOT_HERE = ("tunneling", "device-defender", "fleet-provisioning", "config-shadow", "secure-element", "sensor-publish")
"""Features of the C++ client that this one does not have."""
_LEVELS = {"DEBUG": "DEBUG", "INFO": "INFO", "WARN": "WARNING", "WARNING": "WARNING", "ERROR": "ERROR"}


@dataclass(frozen=True)
class LoggingSettings:
    """Where the log goes: to stdout, or to `file`. `sdk` is the log of the library below, for the hunt after faults."""

    level: str
    file: Path | None
    sdk: bool


@dataclass(frozen=True)
class PubSubSettings:
    """The files beside two topics. `publish_file` and `publish_queue` are both served: a daemon fills one of them."""

    publish_topic: str | None
    publish_file: Path | None
    publish_on_change: bool
    publish_queue: Path | None
    subscribe_topic: str | None
    subscribe_file: Path | None


@dataclass(frozen=True)
class ShadowSettings:
    """The files beside a named shadow: `input_file` is reported, the shadow's document is left in `output_file`."""

    name: str
    input_file: Path | None
    output_file: Path | None


@dataclass(frozen=True)
class LastWill:
    """What the broker publishes `delay_s` after the connection was lost, unless it is back by then."""

    topic: str
    delay_s: int


@dataclass(frozen=True)
class Configuration:
    """All of it, validated. `port` None: 443 with ALPN, or 8883 where the library has no ALPN."""

    endpoint: str
    port: int | None
    cert: Path
    key: Path
    root_ca: Path | None
    thing_name: ThingName
    keep_alive_s: int
    session_expiry_s: int
    state_directory: Path
    logging: LoggingSettings
    jobs: JobsSettings | None
    pub_sub: PubSubSettings | None
    shadow: ShadowSettings | None
    last_will: LastWill | None
    file: Path | None = None
    """The file it was read from."""


@dataclass
class Findings:
    """What there is to say, one line each. The client does not start with an error; the others are logged."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What is as it may be, and good to know."""


def _text(value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("must be a text")
    return value


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise ValueError("must be true or false")


def _number(least: int, most: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 12:
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"must be a number from {least} to {most}")
        return value

    return parse


def _path(value: object) -> Path:
    path = Path(os.path.expandvars(_text(value))).expanduser()
    if not path.is_absolute():
        raise ValueError("must be an absolute path, or begin with ~")
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path keeps "..", and the checks look at the folder above


def _paths(value: object) -> tuple[Path, ...]:
    if not isinstance(value, list) or len(value) > _FOLDERS_MAX:
        raise ValueError(f"must be a list of at most {_FOLDERS_MAX} paths")
    return tuple(_path(each) for each in value)


def _matching(pattern: str, rule: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        text = _text(value)
        if re.fullmatch(pattern, text) is None:
            raise ValueError(rule)
        return text

    return parse


def _topic(value: object) -> str:
    topic = _text(value)
    if re.search(r"[+#\x00-\x1f]", topic) or len(topic.encode()) > TOPIC_MAX:
        raise ValueError(f"must be a topic of at most {TOPIC_MAX} bytes, without + and #")
    return topic


def _level(value: object) -> str:
    level = _LEVELS.get(_text(value).upper())
    if level is None:
        raise ValueError("must be one of DEBUG, INFO, WARN, ERROR")
    return level


_host = _matching(r"[A-Za-z0-9:._-]{1,253}", "must be a host name or an address, without port and https://")
_thing = _matching(r"[A-Za-z0-9:_-]{1,128}", "must be 1 to 128 letters, digits, ':', '_' or '-'")
_shadow_name = _matching(r"[A-Za-z0-9:_-]{1,64}", "must be 1 to 64 letters, digits, ':', '_' or '-'")
_log_type = _matching(r"(?i:stdout|file)", "must be STDOUT or FILE")


@dataclass(frozen=True)
class Key:
    """One key of the file: how its value is read, what it is when absent, and the flag that overrides it."""

    parse: Callable[[object], Any]
    default: Any = None
    flag: str | None = None
    help: str = ""


KEYS: Mapping[str, Key] = {
    "endpoint": Key(_host, flag="--endpoint", help="host of the broker"),
    "port": Key(_number(1, 65535), flag="--port", help="its port (default: 443 with ALPN)"),
    "cert": Key(_path, flag="--cert", help="the thing's certificate, PEM"),
    "key": Key(_path, flag="--key", help="its private key, PEM"),
    "root-ca": Key(_path, flag="--root-ca", help="who vouches for the broker, PEM (default: the system's store)"),
    "thing-name": Key(_thing, flag="--thing-name", help="name of the thing, and the client id"),
    "keep-alive": Key(_number(10, 1200), 30, help="seconds after which a silent connection is asked for life"),
    "session-expiry": Key(_number(0, 604800), 3600, help="seconds for which the broker keeps what arrives meanwhile"),
    "state-directory": Key(_path, help="what survives a restart"),
    "last-will.enabled": Key(_flag, True, help="have the broker tell when the connection is lost"),
    "last-will.topic": Key(_topic, help="where (default: the publish topic)"),
    "last-will.delay": Key(_number(0, 3600), 30, help="seconds in which the connection may come back"),
    "logging.level": Key(_level, "INFO", "--log-level", "DEBUG, INFO, WARN or ERROR"),
    "logging.type": Key(_log_type, "STDOUT", "--log-type", "STDOUT or FILE"),
    "logging.file": Key(_path, None, "--log-file", "the file"),
    "logging.enable-sdk-logging": Key(_flag, False, "--enable-sdk-logging", "log what the MQTT library says"),
    "jobs.enabled": Key(_flag, True, "--enable-jobs", "carry out jobs"),
    "jobs.handler-directory": Key(_path, None, "--jobs-handler-dir", "where their handlers are"),
    "jobs.further-handler-directories": Key(_paths, (), help="folders that a job may name as `path` too"),
    "jobs.allow-run-command": Key(_flag, False, help="let jobs run any command"),
    "samples.pub-sub.enabled": Key(_flag, False, "--enable-pub-sub", "the files beside two topics"),
    "samples.pub-sub.publish-topic": Key(_topic, None, "--publish-topic", "where the publish file goes"),
    "samples.pub-sub.publish-file": Key(_path, None, "--publish-file", "what is published"),
    "samples.pub-sub.publish-on-change": Key(_flag, True, "--publish-on-change", "and again whenever it changes"),
    "samples.pub-sub.publish-queue": Key(_path, None, "--publish-queue", "folder of events, beside the file"),
    "samples.pub-sub.subscribe-topic": Key(_topic, None, "--subscribe-topic", "what is received"),
    "samples.pub-sub.subscribe-file": Key(_path, None, "--subscribe-file", "where it is appended"),
    "sample-shadow.enabled": Key(_flag, False, "--enable-sample-shadow", "the files beside a named shadow"),
    "sample-shadow.shadow-name": Key(_shadow_name, None, "--shadow-name", "name of the shadow"),
    "sample-shadow.shadow-input-file": Key(_path, None, "--shadow-input-file", "what is reported"),
    "sample-shadow.shadow-output-file": Key(_path, None, "--shadow-output-file", "where its document is left"),
    **{f"{name}.enabled": Key(_flag, False, f"--enable-{name}") for name in _NOT_HERE},
}
_REQUIRED = ("endpoint", "cert", "key", "thing-name")
_IGNORED = re.compile(
    rf"(?:{'|'.join(_NOT_HERE)}|http-proxy|runtime-config)(?:\..*)?|logging\.sdk-log-(?:level|file)|.*\.?_?comment"
)
"""Keys that the C++ client knows and that mean nothing here, with or without their section."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InvalidInput("pits-device-client", f"{ascii(message)[1:-1]} (see pits-device-client --help)")


def parser() -> argparse.ArgumentParser:
    """The command line's grammar; a flag without a key's section is the same key."""
    made = _Parser(
        prog="pits-device-client",
        description="Connects a thing's files to its topics, shadow and jobs, by MQTT.",
        allow_abbrev=False,
    )
    made.add_argument("--version", action="version", version=f"pits-device-client {__version__}")
    made.add_argument("--config-file", metavar="FILE", help=f"(default: {DEFAULT_FILE})")
    for name, key in KEYS.items():
        if key.flag is not None:
            text = f"{key.help} (key: {name})" if key.help else argparse.SUPPRESS
            optional: dict[str, Any] = {"nargs": "?", "const": "true"} if key.parse is _flag else {}
            made.add_argument(key.flag, dest=name, metavar="VALUE", help=text, **optional)
    return made


def load(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[Configuration | None, Findings]:
    """The configuration of a command line, or None with the errors that are against it.

    --help and --version raise SystemExit(0).
    """
    findings = Findings()
    try:
        given = vars(parser().parse_args(list(arguments)))
    except InvalidInput as error:
        findings.errors.append(str(error))
        return None, findings
    asked: str | None = given.pop("config_file")
    file = Path(asked or DEFAULT_FILE).expanduser()
    known_file = file if asked is not None or file.exists() else None
    raw = {} if known_file is None else _read(known_file, findings)
    values = {name: _value(name, key, raw, given=given, findings=findings) for name, key in KEYS.items()}
    for name in _REQUIRED:
        if values[name] is None and not any(error.startswith(f"{name}:") for error in findings.errors):
            findings.errors.append(f"{name}: is missing in {file} and on the command line")
    _look_for_unknown(raw, values, findings)
    pub_sub, shadow = _pub_sub(values, findings), _shadow(values, findings)
    if values["logging.type"] == "FILE" and values["logging.file"] is None:
        findings.errors.append("logging.file: is missing, with logging.type FILE")
    if findings.errors:
        return None, findings
    state = values["state-directory"] or Path(environment.get("STATE_DIRECTORY", STATE_DIRECTORY).split(":")[0])
    configuration = Configuration(
        endpoint=values["endpoint"],
        port=values["port"],
        cert=values["cert"],
        key=values["key"],
        root_ca=values["root-ca"],
        thing_name=ThingName(values["thing-name"]),
        keep_alive_s=values["keep-alive"],
        session_expiry_s=values["session-expiry"],
        state_directory=state,
        logging=LoggingSettings(
            level=values["logging.level"],
            file=values["logging.file"] if values["logging.type"].upper() == "FILE" else None,
            sdk=values["logging.enable-sdk-logging"],
        ),
        jobs=JobsSettings(
            handler_directory=values["jobs.handler-directory"] or Path(HANDLER_DIRECTORY).expanduser(),
            further_handler_directories=values["jobs.further-handler-directories"],
            allow_run_command=values["jobs.allow-run-command"],
        )
        if values["jobs.enabled"]
        else None,
        pub_sub=pub_sub,
        shadow=shadow,
        last_will=_last_will(values, pub_sub),
        file=known_file,
    )
    return configuration, findings


def _read(file: Path, findings: Findings) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            content = opened.read(FILE_MAX + 1)
    except OSError as error:
        findings.errors.append(f"--config-file: cannot read {file}: {error.strerror}")
        return {}
    if len(content) > FILE_MAX:
        findings.errors.append(f"--config-file: {file} is longer than {FILE_MAX} bytes")
        return {}
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        findings.errors.append(f"--config-file: {file} is not a JSON object: {error}")
        return {}


def _value(name: str, key: Key, raw: Mapping[str, Any], *, given: Mapping[str, Any], findings: Findings) -> Any:
    value: Any = given.get(name)
    label = key.flag if value is not None and key.flag is not None else name
    if value is None:
        value = raw
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
    if value is None or value == "":
        return key.default
    try:
        return key.parse(value)
    except ValueError as error:
        findings.errors.append(f"{label}: {error}, got {ascii(value)[:80]}")
        return key.default


def _look_for_unknown(raw: Mapping[str, Any], values: Mapping[str, Any], findings: Findings) -> None:
    def names(inner: Mapping[str, Any], before: str) -> Iterator[str]:
        for key, value in inner.items():
            name = f"{before}{key}"
            if isinstance(value, dict) and not _IGNORED.fullmatch(name):
                yield from names(value, f"{name}.")
            else:
                yield name

    sections = {name.rpartition(".")[0] for name in KEYS}
    unknown = [name for name in names(raw, "") if name not in KEYS and not _IGNORED.fullmatch(name)]
    for name in unknown[:_UNKNOWN_MAX]:
        what = "must be an object, so it" if name in sections else "is not a key that this client knows; it"
        findings.warnings.append(f"{ascii(name)[1:-1][:80]} {what} is ignored")
    if len(unknown) > _UNKNOWN_MAX:
        findings.warnings.append(f"{len(unknown) - _UNKNOWN_MAX} further unknown keys are ignored")
    for name in _NOT_HERE:
        if values[f"{name}.enabled"]:
            findings.warnings.append(f"{name} is enabled, which this client does not do; the rest works without it")


def _pub_sub(values: Mapping[str, Any], findings: Findings) -> PubSubSettings | None:
    section = "samples.pub-sub."
    if not values[f"{section}enabled"]:
        return None
    found = PubSubSettings(
        publish_topic=values[f"{section}publish-topic"],
        publish_file=values[f"{section}publish-file"],
        publish_on_change=values[f"{section}publish-on-change"],
        publish_queue=values[f"{section}publish-queue"],
        subscribe_topic=values[f"{section}subscribe-topic"],
        subscribe_file=values[f"{section}subscribe-file"],
    )
    if (found.publish_file or found.publish_queue) and found.publish_topic is None:
        findings.errors.append(f"{section}publish-topic: is missing, with a publish file or queue")
    if found.subscribe_file and found.subscribe_topic is None:
        findings.errors.append(f"{section}subscribe-topic: is missing, with a subscribe file")
    if found.publish_file is not None and found.publish_file == found.subscribe_file:
        findings.errors.append(f"{section}subscribe-file: must be another file than the publish file")
    return found


def _shadow(values: Mapping[str, Any], findings: Findings) -> ShadowSettings | None:
    section = "sample-shadow."
    if not values[f"{section}enabled"]:
        return None
    files = values[f"{section}shadow-input-file"], values[f"{section}shadow-output-file"]
    if values[f"{section}shadow-name"] is None:
        findings.errors.append(f"{section}shadow-name: is missing, and sample-shadow is enabled")
        return None
    if files[0] is not None and files[0] == files[1]:
        findings.errors.append(f"{section}shadow-output-file: must be another file than the input file")
    return ShadowSettings(values[f"{section}shadow-name"], *files)


def _last_will(values: Mapping[str, Any], pub_sub: PubSubSettings | None) -> LastWill | None:
    topic = values["last-will.topic"] or (pub_sub.publish_topic if pub_sub is not None else None)
    if not values["last-will.enabled"] or topic is None:
        return None
    return LastWill(topic, values["last-will.delay"])
