"""The daemon's command line: every flag, its environment variable, its default and its bound.

Bounds come from `pinthesky.model.settings`; a wrong value is InvalidInput whose field is the flag.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Optional

import msgspec

from pinthesky.errors import InvalidInput
from pinthesky.model.identifiers import ThingName
from pinthesky.model.settings import SECTIONS, CloudConnection, DeviceSettings, parse_field
from pinthesky.version import __version__

# flag -> (section, field, help); its default and bound are the section's.
SETTING_FLAGS: Mapping[str, tuple[str, str, str]] = {
    "--log-level": ("cloudwatch", "log_level", "least severe records that are logged"),
    "--health-interval": ("health", "interval", "seconds between two health reports"),
    "--rotation": ("camera", "rotation", "degrees clockwise by which the picture is turned"),
    "--encoding-bitrate": ("camera", "encoding_bitrate", "bits per second"),
    "--encoding-profile": ("camera", "encoding_profile", "H.264 profile"),
    "--encoding-level": ("camera", "encoding_level", "H.264 level"),
    "--resolution": ("camera", "resolution", "width and height in pixels"),
    "--framerate": ("camera", "framerate", "frames per second"),
    "--buffer": ("camera", "buffer", "seconds before motion that are in a clip"),
    "--buffer-size": ("camera", "buffer_size", "most bytes of the pre-roll; wins over --buffer"),
    "--sensitivity": ("camera", "sensitivity", "higher is less sensitive"),
    "--recording-window": ("camera", "recording_window", "hours HH-HH in which motion is recorded"),
    "--post-roll": ("motion", "post_roll", "seconds after the last motion that are in a clip"),
    "--bucket-name": ("storage", "bucket_name", "where clips and stills go; none: they stay on the disk"),
    "--bucket-prefix": ("storage", "video_prefix", "first part of a clip's key"),
    "--bucket-image-prefix": ("storage", "image_prefix", "first part of a still's key"),
    "--cloudwatch-region": ("cloudwatch", "region_name", "AWS region of logs and metrics"),
    "--cloudwatch-event-type": ("cloudwatch", "event_type", "what is shipped"),
    "--cloudwatch-metric-namespace": ("cloudwatch", "metric_namespace", "namespace of metrics"),
    "--cloudwatch-log-group": ("cloudwatch", "log_group_name", "log group"),
    "--dataplane-endpoint": ("dataplane", "endpoint_url", "endpoint of the data plane"),
    "--dataplane-region": ("dataplane", "region_name", "AWS region of the data plane"),
}
SWITCHES: Mapping[str, tuple[str, str, bool, Optional[str], str]] = {
    "--cloudwatch": ("cloudwatch", "enabled", True, "CLOUDWATCH", "ship logs to CloudWatch"),
    "--cloudwatch-thread": ("cloudwatch", "threaded", True, "CLOUDWATCH_THREADED", "kept for installed units"),
    "--disable-cloudwatch-stream-split": (
        "cloudwatch",
        "delineate_stream",
        False,
        "CLOUDWATCH_DELINEATE_STREAM",
        "one log stream for all things",
    ),
    "--dataplane": ("dataplane", "enabled", True, "DATAPLANE", "answer to connections of the data plane"),
}
REGION_VARIABLE = "AWS_DEFAULT_REGION"
REGION_FLAGS = ("--cloudwatch-region", "--dataplane-region")
STATE_DIR = "/var/lib/pinthesky"
_SIZE_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off", ""})


@dataclass(frozen=True)
class Options:
    """What the command line and the environment say, validated. Sizes in bytes."""

    settings: DeviceSettings
    camera: str
    thing_name: ThingName
    event_input: Path
    event_output: Path
    configure_input: Path
    configure_output: Path
    event_queue: Optional[Path]
    shadow_update: str
    spool_dir: Path
    spool_max_bytes: int
    spool_min_free: int
    state_dir: Path
    s3_endpoint: Optional[str]
    ca_bundle: Optional[Path]
    region: Optional[str]
    cloud_connection: CloudConnection
    camera_fields_given: frozenset[str] = frozenset()
    """Fields of section `camera` that were given; for the others a preset may speak."""
    allow_destinations: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    """Flags that are accepted for installed units and have no effect."""
    older_folders: list[Path] = field(default_factory=list)
    """Where an older version may have left recordings."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # It may quote anything that was given, and what is said is one line.
        message = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in message)
        found = re.match(r"argument (--[a-z0-9-]+): (.*)", message)
        if found is not None:
            raise InvalidInput(found.group(1), found.group(2))
        raise InvalidInput("pinthesky", f"{message} (see pinthesky --help)")


def parser() -> argparse.ArgumentParser:
    """The command line's grammar. Values stay strings: their bounds are checked with the flag's name at hand."""
    made = _Parser(
        prog="pinthesky",
        description="Watches a camera, records what moves and the seconds before it.",
        allow_abbrev=False,
    )
    made.add_argument("--version", action="version", version=f"pinthesky {__version__}")
    defaults = DeviceSettings()
    for flag, (section, name, text) in SETTING_FLAGS.items():
        default = getattr(getattr(defaults, section), name)
        made.add_argument(flag, metavar="VALUE", help=f"{text} (default: {'none' if default is None else default})")
    for flag, (_, _, _, variable, text) in SWITCHES.items():
        made.add_argument(flag, action="store_true", help=f"{text} (environment: {variable})")
    here = made.add_argument_group("camera and places")
    here.add_argument(
        "--camera",
        default="auto",
        help="auto, picamera2, picamera, synthetic:, a device, a file, an rtsp:// or http:// address (default: auto)",
    )
    here.add_argument("--state-dir", default=STATE_DIR, help=f"what survives a restart (default: {STATE_DIR})")
    here.add_argument("--spool-dir", help="clips that are open or wait for upload (default: spool in the state folder)")
    here.add_argument("--spool-max-bytes", default="4G", help="most bytes of the spool, K M G T (default: 4G)")
    here.add_argument("--spool-min-free", default="512M", help="bytes of the disk that stay free (default: 512M)")
    for name in ("event-input", "event-output", "configure-input", "configure-output"):
        here.add_argument(
            f"--{name}", help=f"file shared with the device client (default: {name}.json in the state folder)"
        )
    here.add_argument(
        "--event-queue",
        metavar="DIR",
        help="folder shared with pits-device-client, in place of --event-output: every event is a file of its own",
    )
    for name in ("capture-dir", "combine-dir"):
        here.add_argument(f"--{name}", help="folder of an older version, whose recordings are stored")
    cloud = made.add_argument_group("cloud")
    cloud.add_argument("--thing-name", help="name of the thing (default: the host's name)")
    for name in ("thing-cert", "thing-key", "ca-cert"):
        cloud.add_argument(f"--{name}", metavar="FILE", help="PEM file of the thing's X.509 identity")
    cloud.add_argument("--credentials-endpoint", help="host[:port] of the credentials provider")
    cloud.add_argument("--role-alias", help="role alias of the credentials provider")
    cloud.add_argument(
        "--shadow-update", default="empty", help="report settings at start: always, never, empty (default: empty)"
    )
    cloud.add_argument("--s3-endpoint", help="address of a hub's object store")
    cloud.add_argument("--ca-bundle", help="PEM file of the authorities that the object store is checked with")
    cloud.add_argument(
        "--allow-destination",
        action="append",
        default=[],
        metavar="KIND=VALUE",
        help="a bucket, prefix, endpoint, region or log-group that settings from the shadow may name; repeatable",
    )
    return made


def parse(arguments: Sequence[str], environment: Optional[Mapping[str, str]] = None) -> Options:
    """The options of a command line. Raises InvalidInput; --help and --version raise SystemExit(0)."""
    environment = os.environ if environment is None else environment
    given = vars(parser().parse_args(list(arguments)))
    settings = _settings(given, environment)
    state_dir = _path("--state-dir", given["state_dir"])
    spool_dir = _path("--spool-dir", given["spool_dir"]) if given["spool_dir"] else state_dir / "spool"
    update = given["shadow_update"]
    if update not in ("always", "never", "empty"):
        raise InvalidInput("--shadow-update", f"must be one of always, never, empty, got {update!r}")
    thing = ThingName.parse(given["thing_name"] or _host_thing_name(), "--thing-name")
    files = {
        name: _path(f"--{name.replace('_', '-')}", given[name])
        if given[name]
        else state_dir / f"{name.replace('_', '-')}.json"
        for name in ("event_input", "event_output", "configure_input", "configure_output")
    }
    _check_different(files)
    return Options(
        settings=settings,
        camera=given["camera"],
        thing_name=thing,
        event_queue=_path("--event-queue", given["event_queue"]) if given["event_queue"] else None,
        shadow_update=update,
        spool_dir=spool_dir,
        spool_max_bytes=_size("--spool-max-bytes", given["spool_max_bytes"], least=16 * 1024**2),
        spool_min_free=_size("--spool-min-free", given["spool_min_free"], least=0),
        state_dir=state_dir,
        s3_endpoint=_address("--s3-endpoint", given["s3_endpoint"]),
        ca_bundle=_readable("--ca-bundle", given["ca_bundle"]),
        region=_region(environment) or settings.cloudwatch.region_name or settings.dataplane.region_name,
        cloud_connection=_cloud_connection(given, thing),
        camera_fields_given=frozenset(
            name
            for flag, (section, name, _) in SETTING_FLAGS.items()
            if section == "camera" and given[flag[2:].replace("-", "_")] is not None
        ),
        allow_destinations=list(given["allow_destination"]),
        ignored=[f"--{name.replace('_', '-')}" for name in ("capture_dir", "combine_dir") if given[name]],
        older_folders=[Path(given[name]) for name in ("capture_dir", "combine_dir") if given[name]],
        **files,
    )


def _settings(given: Mapping[str, Any], environment: Mapping[str, str]) -> DeviceSettings:
    values: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    flag_of: dict[tuple[str, str], str] = {}
    for flag, (section, name, _) in SETTING_FLAGS.items():
        raw = given[flag[2:].replace("-", "_")]
        label = flag_of[section, name] = flag
        if flag in REGION_FLAGS and raw is None and environment.get(REGION_VARIABLE):
            raw, label = environment[REGION_VARIABLE], REGION_VARIABLE
        if raw is not None:
            kind = {info.name: info.type for info in msgspec.structs.fields(SECTIONS[section])}[name]
            values[section][name] = parse_field(label, raw.upper() if flag == "--log-level" else raw, kind)
    for flag, (section, name, meaning, variable, _) in SWITCHES.items():
        if given[flag[2:].replace("-", "_")]:
            values[section][name] = meaning
        elif variable is not None and variable in environment:
            values[section][name] = _truth(variable, environment[variable])
    sections: dict[str, Any] = {}
    for section, kind_of_section in SECTIONS.items():
        made = kind_of_section(**values[section])
        try:
            getattr(made, "check", lambda: None)()
        except InvalidInput as error:
            raise InvalidInput(flag_of.get((section, error.field), f"{section}.{error.field}"), error.reason) from error
        sections[section] = made
    return DeviceSettings(**sections)


def _cloud_connection(given: Mapping[str, Any], thing: ThingName) -> CloudConnection:
    parts = {
        "--thing-cert": given["thing_cert"],
        "--thing-key": given["thing_key"],
        "--ca-cert": given["ca_cert"],
        "--credentials-endpoint": given["credentials_endpoint"],
        "--role-alias": given["role_alias"],
    }
    missing = [flag for flag, value in parts.items() if not value]
    if missing and len(missing) < len(parts):
        present = ", ".join(flag for flag in parts if flag not in missing)
        raise InvalidInput(missing[0], f"must be given together with {present}")
    if parts["--credentials-endpoint"]:
        _host_and_port("--credentials-endpoint", parts["--credentials-endpoint"])
    if parts["--role-alias"] and re.fullmatch(r"[\w=,@-]{1,128}", parts["--role-alias"]) is None:
        raise InvalidInput("--role-alias", f"must be 1 to 128 letters, digits or =,@-_, got {parts['--role-alias']!r}")
    return CloudConnection(
        cert_path=given["thing_cert"],
        key_path=given["thing_key"],
        cacert_path=given["ca_cert"],
        thing_name=thing,
        role_alias=given["role_alias"],
        credentials_endpoint=given["credentials_endpoint"],
    )


def _check_different(files: Mapping[str, Path]) -> None:
    flag_of: dict[Path, str] = {}
    for name, path in files.items():
        flag = f"--{name.replace('_', '-')}"
        if path in flag_of:
            raise InvalidInput(flag, f"must be another file than that of {flag_of[path]}, got {str(path)!r}")
        flag_of[path] = flag


def _region(environment: Mapping[str, str]) -> Optional[str]:
    raw = environment.get(REGION_VARIABLE) or None
    kind = {info.name: info.type for info in msgspec.structs.fields(SECTIONS["dataplane"])}["region_name"]
    region: Optional[str] = parse_field(REGION_VARIABLE, raw, kind)
    return region


def _host_thing_name() -> str:
    return re.sub(r"[^A-Za-z0-9:_-]", "-", os.uname().nodename) or "camera"


def _path(flag: str, raw: str) -> Path:
    if not raw or "\0" in raw:
        raise InvalidInput(flag, f"must be a path, got {raw!r}")
    return Path(os.path.abspath(raw))  # noqa: PTH100 - Path keeps "..", and two names of one file look different then


def _readable(flag: str, raw: Optional[str]) -> Optional[Path]:
    if raw is None:
        return None
    path = _path(flag, raw)
    if not path.is_file() or not os.access(path, os.R_OK):
        raise InvalidInput(flag, f"must be a file that can be read, got {raw!r}")
    return path


def _size(flag: str, raw: str, *, least: int) -> int:
    found = re.fullmatch(r"([0-9]{1,15})([KMGT]?)", raw.strip().upper())
    if found is None:
        raise InvalidInput(flag, f"must be a number of bytes, with K, M, G or T if wanted, got {raw!r}")
    size = int(found.group(1)) * _SIZE_UNITS[found.group(2)]
    if size < least:
        raise InvalidInput(flag, f"must be at least {least} bytes, got {raw!r}")
    return size


def _truth(variable: str, raw: str) -> bool:
    word = raw.strip().lower()
    if word not in _TRUE and word not in _FALSE:
        raise InvalidInput(variable, f"must be true or false, got {raw!r}")
    return word in _TRUE


def _address(flag: str, raw: Optional[str]) -> Optional[str]:
    if raw is not None and re.fullmatch(r"https?://[^\s/@?#]{1,250}/?", raw) is None:
        raise InvalidInput(flag, f"must be http(s)://host[:port], got {raw!r}")
    return raw


def _host_and_port(flag: str, raw: str) -> None:
    found = re.fullmatch(r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:]+\])(?::([0-9]{1,5}))?", raw)
    if found is None or (found.group(1) is not None and not 1 <= int(found.group(1)) <= 65535):
        raise InvalidInput(flag, f"must be host[:port], got {raw!r}")
