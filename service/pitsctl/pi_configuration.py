"""Steps that write the configuration of device client, daemon and root helper, with the modes they ask for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import msgspec

from pinthesky.errors import InvalidInput
from pinthesky.model.identifiers import SHADOW_NAME, ThingName, command_topic, event_topic
from pinthesky.model.presets import ROTATION, preset_for
from pitsctl import places
from pitsctl.camera_home import CameraHome
from pitsctl.machine import FileMode
from pitsctl.pi_older import RECORDINGS, OlderVersion
from pitsctl.placed_files import Placed, PlacedFiles
from pitsctl.site import Site
from pitsctl.steps import Say

_NOT_YET = "follows when the camera is let in (--home-kind aws, hub or code)"
_FOR_THE_USER = FileMode("root", places.USER, 0o640)
_CLIENT_FILE_MAX = 5000
"""Bytes: aws-iot-device-client reads no more."""
_DAEMON_HEAD = "# From here on written by pitsctl from its answers; docs/reference/flags.md says what the flags mean."
_ADMIN_HEAD = "# From here on written by pitsctl; docs/reference/admin.md says what it means."
_EMPTY_FILES = """
set -eu
user=$1; shift
for path; do
  [ -e "$path" ] || install -o "$user" -g "$user" -m 600 /dev/null "$path"
  chown -- "$user:$user" "$path"
  chmod -- 600 "$path"
done
for path; do
  # The C++ client breaks over an empty file that it is to publish.
  case $path in */configure-input.json | */event-output.json) [ -s "$path" ] || printf '{}' > "$path" ;; esac
done
"""


class DeviceClient(PlacedFiles):
    """device-client.json, which our device client and the C++ one both read."""

    name = "device-client"
    title = "Configure the device client"

    def wanted(self) -> Sequence[Placed] | str:
        """One file, mode 640."""
        home = self._site.ledger.home
        if self._site.client == "none":
            return ()
        if home is None:
            return _NOT_YET
        data = msgspec.json.format(msgspec.json.encode(client_configuration(home, self._site))) + b"\n"
        if len(data) > _CLIENT_FILE_MAX:
            raise InvalidInput(str(places.CLIENT_FILE), f"would have {len(data)} bytes, {_CLIENT_FILE_MAX} at most")
        return (Placed(places.CLIENT_FILE, data, _FOR_THE_USER),)

    def after(self, say: Say) -> None:
        """Make the files that the C++ client insists on: it does not start without them."""
        if self._site.client == "cpp":
            names = ("configure-input.json", "configure-output.json", "event-output.json", "event-input.json")
            paths = [str(places.STATE / name) for name in names]
            self._site.must("sh", "-c", _EMPTY_FILES, "files", places.USER, *paths)
            say("made the files that it shares with the daemon")


class Daemon(PlacedFiles):
    """pinthesky.env: the daemon's flags. What its owner, or an older version, has put above them stays."""

    name = "daemon"
    title = "Configure the daemon"

    def wanted(self) -> Sequence[Placed] | str:
        """One file, mode 640."""
        home = self._site.ledger.home
        if home is None:
            return _NOT_YET
        older = self._site.ledger.notes(OlderVersion.name)
        flags = " ".join(daemon_flags(home, self._site))
        ours = {"AWS_DEFAULT_REGION": home.region, "PINTHESKY_FLAGS": f'"{flags}"'}
        before = str(older.get("environment", "")).splitlines()
        lines = [*_kept(self._site, places.DAEMON_FILE, before=before, ours=ours), _DAEMON_HEAD, *_settings(ours)]
        return (Placed(places.DAEMON_FILE, ("\n".join(lines) + "\n").encode(), _FOR_THE_USER),)


class RootHelper(PlacedFiles):
    """admin.env: where upgrades may come from, and what is trusted for them. What its owner has put above it stays."""

    name = "admin"
    title = "Configure the root helper"

    def wanted(self) -> Sequence[Placed] | str:
        """One file, for root; with a home of its own authority, that too."""
        home = self._site.ledger.home
        if not self._site.facts.runs_root_helper:
            return ()
        if home is None:
            return _NOT_YET
        sources = dict.fromkeys((*self._site.answers.paths.upgrade_sources, *home.upgrade_sources))
        ours = {"PINTHESKY_UPGRADE_SOURCES": " ".join(sources)}
        ours["PINTHESKY_CA_BUNDLE"] = str(places.UPGRADE_CA) if home.own_authority else ""
        lines = [*_kept(self._site, places.ADMIN_FILE, before=(), ours=ours), _ADMIN_HEAD, *_settings(ours)]
        lines += [] if self._site.facts.runs_our_client else ["PINTHESKY_EXTRAS="]
        files = [Placed(places.ADMIN_FILE, ("\n".join(lines) + "\n").encode())]
        if home.own_authority:
            authority = self._site.machine.read(places.ROOT_CA, root=True)
            if authority is None:
                return _NOT_YET
            files.append(Placed(places.UPGRADE_CA, authority))
        return files


def _kept(site: Site, path: PurePosixPath, *, before: Sequence[str], ours: dict[str, str]) -> list[str]:
    """The lines of a file of settings that are the owner's: all above ours, but for settings that have a value now."""
    data = site.machine.read(path, root=True, limit=64 * 1024)
    there = "" if data is None else data.decode("utf-8", "replace")
    above = re.split(r"^# From here on written by pitsctl", there, maxsplit=1, flags=re.MULTILINE)[0].splitlines()
    lines = [*before, *(line for line in above if line not in before)]
    return [line for line in lines if not ours.get(line.partition("=")[0].strip())]


def _settings(ours: dict[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in ours.items() if value]


def client_configuration(home: CameraHome, site: Site) -> dict[str, object]:
    """What device-client.json says."""
    thing = ThingName.parse(home.thing_name, "thing_name")
    ours = site.client == "python"
    # Where no port is named, ours dials 443 as AWS has it, by ALPN.
    port: dict[str, object] = {} if home.mqtt_port == 443 else {"port": home.mqtt_port}
    events = (
        {"publish-queue": str(places.EVENT_QUEUE)}
        if ours
        else {"publish-file": str(places.STATE / "event-output.json")}
    )
    return {
        "endpoint": home.mqtt_host,
        **(port | {"state-directory": str(places.STATE)} if ours else {}),
        "cert": str(places.CERTIFICATE),
        "key": str(places.KEY),
        "root-ca": str(places.ROOT_CA),
        "thing-name": str(thing),
        "logging": {"level": "INFO", "type": "STDOUT"},
        "jobs": {"enabled": True, "handler-directory": str(places.HANDLERS)},
        "tunneling": {"enabled": not ours},
        "device-defender": {"enabled": False},
        "samples": {
            "pub-sub": {
                "enabled": True,
                "publish-topic": event_topic(thing),
                **events,
                "publish-on-change": True,
                "subscribe-topic": command_topic(thing),
                "subscribe-file": str(places.STATE / "event-input.json"),
            }
        },
        "sample-shadow": {
            "enabled": True,
            "shadow-name": SHADOW_NAME,
            "shadow-input-file": str(places.STATE / "configure-input.json"),
            "shadow-output-file": str(places.STATE / "configure-output.json"),
        },
    }


def daemon_flags(home: CameraHome, site: Site) -> list[str]:
    """The words of PINTHESKY_FLAGS. Raises InvalidInput for one that would not stay one word."""
    answers = site.answers
    flags: dict[str, object] = {"thing-name": home.thing_name}
    if home.credentials_endpoint:
        flags |= {"thing-cert": places.CERTIFICATE, "thing-key": places.KEY, "ca-cert": places.ROOT_CA}
        flags |= {"credentials-endpoint": home.credentials_endpoint, "role-alias": home.role_alias}
    if home.own_authority:
        flags["ca-bundle"] = places.ROOT_CA
    if home.s3_endpoint:
        flags["s3-endpoint"] = home.s3_endpoint
    if answers.storage.enabled and (answers.storage.bucket or home.bucket):
        flags["bucket-name"] = answers.storage.bucket or home.bucket
        flags["bucket-prefix"] = answers.storage.video_prefix
        flags["bucket-image-prefix"] = answers.storage.image_prefix
    endpoint = answers.dataplane.endpoint or home.dataplane_endpoint
    if answers.dataplane.enabled and endpoint:
        flags |= {"dataplane": "", "dataplane-endpoint": endpoint}
        flags |= {"dataplane-region": home.dataplane_region} if home.dataplane_region else {}
    if site.client == "python":
        flags["event-queue"] = places.EVENT_QUEUE
    flags["state-dir"] = places.STATE
    if answers.paths.spool_max_mb is not None:
        flags["spool-max-bytes"] = f"{answers.paths.spool_max_mb}M"
    older = site.ledger.notes(OlderVersion.name)
    moved = [name for name in RECORDINGS if str(places.STATE / f"older-{name}") in older.get("moves", {}).values()]
    flags |= {name: places.STATE / f"older-{name}" for name in moved}
    chosen = flags | _camera_flags(site, is_older="flags" in older) | _cloudwatch_flags(home, site)
    return [*_older_flags(older.get("flags", []), chosen), *_words(chosen)]


def _camera_flags(site: Site, *, is_older: bool) -> dict[str, object]:
    """The camera's: what was answered over the preset. A camera that was there before keeps what its flags said."""
    camera = site.answers.camera
    given: dict[str, object] = {}
    if not is_older:
        given = {"camera": camera.device, "rotation": camera.rotation or ROTATION}
        preset = preset_for(site.facts.pi_model, site.facts.sensor)
        if preset is not None and camera.device == "auto" and site.facts.stack in ("libcamera", "legacy"):
            given |= {name.replace("_", "-"): value for name, value in preset.camera_fields.items()}
        if camera.resolution or camera.framerate is not None:
            given.pop("encoding-level", None)  # the preset's is for the preset's picture
    answered: dict[str, object] = {
        "resolution": camera.resolution,
        "framerate": camera.framerate,
        "encoding-bitrate": camera.bitrate,
        "sensitivity": camera.sensitivity,
        "recording-window": camera.recording_window,
    }
    if is_older and camera.device != "auto":
        answered["camera"] = camera.device
    return given | {name: value for name, value in answered.items() if value not in ("", None)}


def _cloudwatch_flags(home: CameraHome, site: Site) -> dict[str, object]:
    cloudwatch = site.answers.cloudwatch
    if not cloudwatch.enabled:
        return {}
    region = {"cloudwatch-region": home.region} if home.region else {}
    return {
        "cloudwatch": "",
        "cloudwatch-log-group": cloudwatch.log_group,
        "cloudwatch-metric-namespace": cloudwatch.namespace,
        "cloudwatch-event-type": cloudwatch.event_type,
        "log-level": cloudwatch.level,
        **region,
    }


def _older_flags(words: list[str], chosen: dict[str, object]) -> list[str]:
    """The flags of an older version that nobody has answered anew."""
    kept: list[str] = []
    is_kept = False
    for word in words:
        if word.startswith("--"):
            is_kept = word[2:] not in chosen
        if is_kept:
            kept.append(word)
    return kept


def _words(flags: dict[str, object]) -> list[str]:
    words = []
    for name, value in flags.items():
        text = str(value)
        if re.search(r"[\s\"'\\$`]", text):
            raise InvalidInput(
                f"--{name}", f"has spaces, quotes or $, which cannot be kept in a line of flags: {text!r}"
            )
        words += [f"--{name}", *([text] if text else [])]
    return words
