"""What an older version of the daemon has left on a machine, taken over: its flags, identity, recordings and shadow.

pits-device 0.9 ran as root by a unit whose ExecStart names its flags, partly by variables of an environment file,
beside aws-iot-device-client with a configuration of its own. Both are read as systemd and that client read them.
Nothing of theirs is changed but that recordings move to where the daemon may take them.
"""

from __future__ import annotations

import re
import shlex
from pathlib import PurePosixPath
from typing import Any

import msgspec

from pinthesky.errors import Conflict, InvalidInput
from pitsctl import places
from pitsctl.camera_home import CameraHome
from pitsctl.machine import FileMode
from pitsctl.site import Site
from pitsctl.steps import Found, Say, Verdict

UNIT = places.UNITS / "pinthesky.service"
CLIENT_FILES = (
    PurePosixPath("/etc/.aws-iot-device-client/aws-iot-device-client.conf"),
    PurePosixPath("/root", ".aws-iot-device-client/aws-iot-device-client.conf"),
)
"""Where the C++ client's configuration is: as its service has it, and as a start by hand has it."""
RECORDINGS = ("capture-dir", "combine-dir")
_IDENTITY = {
    "thing-cert": ("cert", places.CERTIFICATE),
    "thing-key": ("key", places.KEY),
    "ca-cert": ("root-ca", places.ROOT_CA),
}
_REPLACED = {
    *(
        "thing-name",
        "thing-cert",
        "thing-key",
        "ca-cert",
        "credentials-endpoint",
        "role-alias",
        "ca-bundle",
        "state-dir",
    ),
    *("event-input", "event-output", "configure-input", "configure-output", "event-queue", "spool-dir"),
    *("bucket-name", "dataplane-endpoint", "dataplane-region", "s3-endpoint", *RECORDINGS),
}
"""Flags that the new installation writes anew, from what they said."""

# Arguments: from, to, user. Plain files only; what has the same name there already stays where it is.
_MOVE = """
set -eu
[ -d "$1" ] || exit 0
install -d -o "$3" -g "$3" -m 700 -- "$2"
find "$1" -mindepth 1 -maxdepth 1 -type f -exec mv -n -t "$2" -- {} +
chown -R "$3:$3" -- "$2"
"""
_MOVE_BACK = """
set -eu
[ -d "$1" ] || exit 0
install -d -- "$2"
find "$1" -mindepth 1 -maxdepth 1 -type f -exec chown root:root {} + -exec mv -n -t "$2" -- {} +
rm -rf -- "$1"
"""


class OlderVersion:
    """Takes over what pits-device 0.9 has left."""

    name = "older-version"
    title = "Take over an older version"

    def __init__(self, site: Site) -> None:
        self._site = site

    def check(self) -> Found:
        """Whether a unit of another version is there."""
        if self._site.ledger.is_finished(self.name):
            return Found(Verdict.DONE, "what an older version has left is taken over")
        told = self._told()
        if told is None:
            return Found(Verdict.DONE, "there is none")
        flags, _, _ = told
        thing = flags.get("thing-name", "")
        kept = ", ".join(filter(None, [f"thing {thing}" if thing else "", "its flags", "its recordings"]))
        return Found(Verdict.NEEDED, f"take over {kept}; its certificate stays as it is")

    def apply(self, say: Say) -> None:
        """Copy the identity, move the recordings, and write down what the steps after this one need."""
        told = self._told()
        if told is None:
            return
        flags, environment, folder = told
        kept = [word for name, value in flags.items() if name not in _REPLACED for word in _words(name, value)]
        moves = self._moves(flags, folder)
        notes: dict[str, Any] = {"flags": kept, "environment": environment, "moves": moves}
        self._site.ledger.keep(self.name, notes)
        for source, target in moves.items():
            self._site.must("sh", "-c", _MOVE, "move", source, target, places.USER, timeout_s=3600)
            say(f"recordings of {source} go to {target}")
        home = self._adopt(flags, environment, say)
        if home is not None:
            self._site.ledger.keep_home(home)
            say(f"it stays the thing {home.thing_name}")

    def undo(self, say: Say) -> None:
        """Move back what recordings are left."""
        for source, target in self._site.ledger.notes(self.name).get("moves", {}).items():
            self._site.must("sh", "-c", _MOVE_BACK, "move-back", target, source, timeout_s=3600)
            say(f"recordings are back in {source}")
        adopted = self._site.ledger.notes(self.name).get("adopted", [])
        if adopted:
            # Copies: what they were made from lies where it always was.
            self._site.must("rm", "-f", "--", *adopted)

    def _told(self) -> tuple[dict[str, str], str, str] | None:
        """Flags, environment file and working folder of the unit that is there; None where it is ours, or none is."""
        unit = self._site.machine.read(UNIT, root=True)
        if unit is None:
            return None
        text = unit.decode("utf-8", "replace").replace("\\\n", " ")
        starts = re.findall(r"^ExecStart=[-@:+!]*(.+)$", text, re.MULTILINE)
        if not starts or str(places.CURRENT) in starts[-1]:
            return None
        environment = ""
        for name in re.findall(r"^EnvironmentFile=-?(/\S+)$", text, re.MULTILINE):
            read = self._site.machine.read(PurePosixPath(name), root=True)
            environment += "" if read is None else read.decode("utf-8", "replace").rstrip("\n") + "\n"
        folders = re.findall(r"^WorkingDirectory=(/\S+)$", text, re.MULTILINE)
        return flags_of(starts[-1], values_of(environment)), environment, folders[-1] if folders else "/"

    def _moves(self, flags: dict[str, str], folder: str) -> dict[str, str]:
        moves = {}
        for name in RECORDINGS:
            path = PurePosixPath(folder) / flags.get(name, "")
            is_far = len(path.parts) > 2 and ".." not in path.parts and not path.is_relative_to(places.STATE)
            if flags.get(name) and is_far:
                moves[str(path)] = str(places.STATE / f"older-{name}")
        return moves

    def _adopt(self, flags: dict[str, str], environment: str, say: Say) -> CameraHome | None:
        """Copy the identity; what the camera has to know of its home, or None where something is missing."""
        told = self._client()
        files = {}
        for flag, (key, place) in _IDENTITY.items():
            path = flags.get(flag) or str(told.get(key, ""))
            data = self._site.machine.read(PurePosixPath(path), root=True) if path.startswith("/") else None
            if data is None:
                say(f"its identity is not whole (no --{flag}): the camera is let in anew")
                return None
            files[place] = data
        thing = flags.get("thing-name") or str(told.get("thing-name", ""))
        host = str(told.get("endpoint", ""))
        if not thing or not host or not flags.get("credentials-endpoint") or not flags.get("role-alias"):
            say("it does not say which thing it is, and where its home: the camera is let in anew")
            return None
        notes = self._site.ledger.notes(self.name)
        self._site.ledger.keep(self.name, {**notes, "adopted": [str(place) for place in files]})
        for place, data in files.items():
            mode = places.KEY_MODE if place == places.KEY else places.CERTIFICATE_MODE
            self._site.machine.write(place, data, mode)
        self._keep_shadow(told, flags)
        return _home(thing, host, flags=flags, region=values_of(environment).get("AWS_DEFAULT_REGION", ""))

    def _client(self) -> dict[str, Any]:
        for path in CLIENT_FILES:
            data = self._site.machine.read(path, root=True, limit=64 * 1024)
            if data is not None:
                try:
                    told = msgspec.json.decode(data)
                except msgspec.DecodeError as error:
                    raise Conflict(f"{path} of the older version cannot be read: {error}") from error
                return told if isinstance(told, dict) else {}
        return {}

    def _keep_shadow(self, told: dict[str, Any], flags: dict[str, str]) -> None:
        """The last known shadow: the C++ client asks for none, so without it the next start would know no settings."""
        section = told.get("sample-shadow")
        named = section.get("shadow-output-file", "") if isinstance(section, dict) else ""
        path = flags.get("configure-output") or str(named)
        data = self._site.machine.read(PurePosixPath(path), root=True) if path.startswith("/") else None
        target = places.STATE / "configure-output.json"
        if data is not None and self._site.look([target])[target] is None:
            self._site.machine.write(target, data, FileMode(places.USER, places.USER, 0o600))


def values_of(environment: str) -> dict[str, str]:
    """Names and values of an environment file, as systemd reads it."""
    values = {}
    for line in environment.splitlines():
        name, mark, value = line.strip().partition("=")
        if mark and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            value = value.strip()
            quoted = re.fullmatch(r"""(["'])(.*)\1""", value)
            values[name] = quoted[2] if quoted else value
    return values


def flags_of(start: str, values: dict[str, str]) -> dict[str, str]:
    """Flags of an ExecStart line, without dashes; a switch has the empty text. `$X` are words, `${X}` part of one."""
    try:
        words = shlex.split(start)[1:]
    except ValueError as error:
        raise Conflict(f"the older version's unit cannot be read: {error}") from error
    expanded: list[str] = []
    for word in words:
        whole = re.fullmatch(r"\$([A-Za-z_][A-Za-z0-9_]*)", word)
        if whole:
            expanded += values.get(whole[1], "").split()
        else:
            expanded.append(re.sub(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", lambda m: values.get(m[1], ""), word))
    flags: dict[str, str] = {}
    name = ""
    for word in expanded:
        if word.startswith("--"):
            name, mark, value = word[2:].partition("=")
            flags[name] = value
            name = "" if mark else name
        elif name:
            flags[name] = word
            name = ""
    return flags


def _home(thing: str, host: str, *, flags: dict[str, str], region: str) -> CameraHome:
    told = {
        "thing_name": thing,
        "mqtt_host": host,
        "mqtt_port": 443,
        "credentials_endpoint": flags.get("credentials-endpoint", ""),
        "role_alias": flags.get("role-alias", ""),
        "region": region or flags.get("cloudwatch-region", "") or flags.get("dataplane-region", ""),
        "bucket": flags.get("bucket-name", ""),
        "s3_endpoint": flags.get("s3-endpoint", ""),
        "dataplane_endpoint": flags.get("dataplane-endpoint", ""),
        "dataplane_region": flags.get("dataplane-region", ""),
    }
    try:
        return msgspec.convert(told, CameraHome)
    except msgspec.ValidationError as error:
        raise InvalidInput("the older version's flags", str(error)) from error


def _words(name: str, value: str) -> list[str]:
    if re.search(r"[\s\"'\\$`]", value):
        raise InvalidInput(f"--{name}", "of the older version has spaces or quotes, which cannot be taken over")
    return [f"--{name}", *([value] if value else [])]
