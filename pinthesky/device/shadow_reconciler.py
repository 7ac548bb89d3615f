"""From what the shadow desires to what the device does, and back as what it reports.

In two phases, because applying takes time and may fail: `consider` says what is to change, `conclude` stores and
reports what became of it. Each section is taken whole or rejected whole. The truth about a desired document is in
`sync` of the report: the device client itself reports every desired value at once, before anybody has looked at it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Optional, Union

import msgspec
from msgspec import Struct

from pinthesky.device.allowed_destinations import AllowedDestinations
from pinthesky.errors import InvalidInput
from pinthesky.machine.durable_files import replace_file
from pinthesky.machine.slot_file import create_if_missing, write_slot
from pinthesky.model.identifiers import plain
from pinthesky.model.settings import SECTIONS, CloudConnection, DeviceSettings, parse_section
from pinthesky.model.shadow import DESIRED_MAX, STATE_MAX, ShadowDocument, canonical, fingerprint, parse_document

logger = logging.getLogger(__name__)

REPORTED_MAX = STATE_MAX - DESIRED_MAX
"""Most bytes of our report, so that desired and reported together stay within the shadow's bound."""
ATTEMPTS_MAX = 3
"""A document that was being applied this often when the process ended is not tried again."""
_REASON_SIZES = (160, 80, 40, 20)
_NAME_MAX = 48
_STRANGERS_MAX = 6
"""Unknown sections that are named in a report; the others are counted."""
_SHOWN_MAX = 50
_VALUE_MAX = 128
"""Longer values of `cloud_connection` are not reported."""


class SettingsChange(NamedTuple):
    """What a desired document asks for, as far as it is valid and allowed."""

    fingerprint: str
    settings: DeviceSettings
    """All sections as they will be in force."""
    changed: frozenset[str]
    """Names of the sections that differ from those in force."""
    accepted: Mapping[str, Mapping[str, Any]]
    """The desired fields of each accepted section, as they arrived."""
    rejected: Mapping[str, str]
    """`section.field`, or `section`, to the reason."""
    kept: Mapping[str, Mapping[str, Any]]
    """The fields, taken over earlier, of sections that are rejected now and therefore stay as they are."""


class Conclusion(NamedTuple):
    """What became of a desired document."""

    fingerprint: str
    applied: list[str]
    """Desired sections that are in force."""
    rejected: dict[str, str]


class _State(Struct, frozen=True):
    """What survives a restart."""

    fingerprint: Optional[str] = None
    overrides: dict[str, dict[str, Any]] = {}
    applied: list[str] = []
    rejected: dict[str, str] = {}
    attempted: Optional[str] = None
    """Fingerprint that was considered and not yet concluded."""
    attempts: int = 0


class ShadowReconciler:
    """Settings in force = those of the installation, overlaid by the accepted sections. Belongs to one thread.

    A section that is no longer desired falls back to the installation's. One that is rejected stays as it was. A
    report is written for a new document only, so our own report, which comes back as a document, ends there.
    """

    def __init__(
        self,
        *,
        installed: DeviceSettings,
        allowed: AllowedDestinations,
        state_path: Path,
        report_path: Path,
        cloud_connection: CloudConnection,
    ) -> None:
        self.installed = installed
        """The settings of flags, environment and preset."""
        self._allowed = allowed
        self._state_path = state_path
        self._report_path = report_path
        self._cloud_connection = cloud_connection
        self._state = self._load()
        # What was refused is looked at again after a restart: flags or the program may be others now.
        self._handled = None if self._state.rejected else self._state.fingerprint
        self._open: Optional[SettingsChange] = None
        self._shown: frozenset[str] = frozenset()
        """Rejections that the shadow shows, as far as the last document tells."""
        self._withdrawn: list[str] = []
        """Of these, and of our own, those that hold no more: a shadow forgets only what is reported as null."""
        self.effective = self._overlaid(self._state.overrides)
        """The settings in force, or to be put in force at the start."""

    def consider(self, document: Union[bytes, ShadowDocument]) -> Optional[SettingsChange]:
        """What the document asks to change, to be applied and then concluded; None when there is nothing to do.

        That is so for a document that was handled or is being applied, and for one that says nothing of desired. One
        that arrives before the last change is concluded takes that one's place. A change without any changed section is
        concluded all the same, so that the document is answered. Raises InvalidInput for bytes that are no shadow
        document.
        """
        if isinstance(document, bytes):
            document = parse_document(document)
        desired = document.desired
        if desired is None or (not desired and self._state.fingerprint is None and self._open is None):
            return None
        mark = fingerprint(desired)
        if mark == (self._handled if self._open is None else self._open.fingerprint):
            return None
        accepted, refused = self._sorted_out(desired, mark)
        kept = {name: fields for name, fields in self._state.overrides.items() if name in refused}
        settings = self._overlaid({**accepted, **kept})
        changed = self._differing(settings, self.effective)
        if self._open is not None:
            # Any part of that change, and of those whose place it took, may have been applied already.
            changed |= self._open.changed | self._differing(settings, self._open.settings)
        self._open = SettingsChange(mark, settings, changed, accepted, _rejections(refused), kept)
        self._shown = _rejections_in(document)
        if changed:
            self._note_attempt(mark)
        return self._open

    def conclude(self, change: SettingsChange, failed: Mapping[str, str]) -> Conclusion:
        """Take note that `change` is in force but for the sections of `failed`, and report that.

        `failed` maps a section, or one of its fields as `section.field`, to the reason. `change` is the newest that was
        considered: one whose place a later one took is never concluded. A failed section stays as it was; it is tried
        once more after a restart. The disk may refuse both files: that is logged, and the settings are in force.
        """
        rejected = {**change.rejected, **failed}
        overrides = {name: dict(fields) for name, fields in {**change.accepted, **change.kept}.items()}
        failed_sections = {field.partition(".")[0] for field in failed}
        for name in failed_sections:
            overrides.pop(name, None)
            if name in self._state.overrides:
                overrides[name] = self._state.overrides[name]
        applied = [name for name in SECTIONS if name in change.accepted and name not in failed_sections]
        self.effective = self._overlaid(overrides)
        self._withdrawn = sorted({*self._shown, *self._state.rejected} - rejected.keys())
        self._state = _State(change.fingerprint, overrides, applied, rejected)
        self._handled = change.fingerprint
        self._open = None
        self.save()
        for field, reason in rejected.items():
            logger.warning("Settings not taken over: %s %s", field, reason)
        self.report()
        return Conclusion(change.fingerprint, applied, rejected)

    def refuse(self, field: str, reason: str) -> Optional[Conclusion]:
        """Give up an accepted section, since the camera refuses `field` (`section.field`) of it, and report that.

        The section is the installation's then, until other settings are desired or the daemon starts anew. None when no
        such section is in force: another change has come between.
        """
        section = field.partition(".")[0]
        state = self._state
        if section not in state.overrides:
            return None
        overrides = {name: fields for name, fields in state.overrides.items() if name != section}
        applied = [name for name in state.applied if name != section]
        rejected = {**state.rejected, field: reason}
        self._state = msgspec.structs.replace(state, overrides=overrides, applied=applied, rejected=rejected)
        self.effective = self._overlaid(overrides)
        self.save()
        self.report()
        return Conclusion(state.fingerprint or "", applied, rejected)

    def abandon(self) -> None:
        """Forget the change that is being applied, at an orderly end: not that change has ended the process."""
        if self._open is not None:
            self._open = None
            self._state = msgspec.structs.replace(self._state, attempted=None, attempts=0)
            self.save()

    def prepare(self) -> None:
        """Make the report file if it is missing, as the device client demands. Raises OSError."""
        create_if_missing(self._report_path, b"{}")

    def report_at_start(self, policy: str, *, reported_known: bool) -> bool:
        """Write the report if `policy` says so: `always`, `never`, or `empty` (while nothing is reported)."""
        if policy == "always" or (policy == "empty" and not reported_known):
            return self.report()
        return False

    def report(self) -> bool:
        """Write the report. False when the disk refuses, which is logged."""
        try:
            write_slot(self._report_path, self.reported_document())
        except OSError as error:
            logger.warning("Cannot write the report to %s: %s", self._report_path, error.strerror)
            return False
        return True

    def reported_document(self) -> bytes:
        """The report: every section in force, `cloud_connection` and `sync`, as one JSON object.

        At most REPORTED_MAX bytes: reasons are shortened for that, and what is withdrawn waits for the next report;
        sections are never shortened.
        """
        document = self.effective.as_document()
        document["cloud_connection"] = {
            name: value for name, value in self._cloud_connection_fields() if value is None or len(value) <= _VALUE_MAX
        }
        encoded = b""
        for reason_max, withdrawn in (*((size, self._withdrawn) for size in _REASON_SIZES), (_REASON_SIZES[-1], ())):
            reasons = {field: _shortened(reason, reason_max) for field, reason in self._state.rejected.items()}
            document["sync"] = {
                "fingerprint": self._state.fingerprint,
                "applied": self._state.applied,
                "rejected": {**dict.fromkeys(withdrawn), **reasons},
            }
            encoded = msgspec.json.encode(document, enc_hook=plain)
            if len(encoded) <= REPORTED_MAX:
                break
        return encoded

    def save(self) -> None:
        """Store what survives a restart. The disk may refuse, which is logged."""
        try:
            replace_file(self._state_path, msgspec.json.encode(self._state))
        except OSError as error:
            logger.warning("Cannot store the settings in %s: %s", self._state_path, error.strerror)

    @staticmethod
    def _differing(one: DeviceSettings, other: DeviceSettings) -> frozenset[str]:
        return frozenset(name for name in SECTIONS if getattr(one, name) != getattr(other, name))

    def _sorted_out(
        self, desired: dict[str, Any], mark: str
    ) -> tuple[dict[str, dict[str, Any]], dict[str, InvalidInput]]:
        """The desired fields of valid sections, and what is wrong with the others."""
        accepted: dict[str, dict[str, Any]] = {}
        refused: dict[str, InvalidInput] = {}
        is_too_large = len(canonical(desired)) > DESIRED_MAX
        is_deadly = mark == self._state.attempted and self._state.attempts >= ATTEMPTS_MAX
        for name, fields in desired.items():
            refusal = self._refusal(name, fields)
            if is_too_large:
                refusal = InvalidInput(name, f"is part of a desired state of more than {DESIRED_MAX} bytes")
            elif is_deadly:
                refusal = InvalidInput(name, "ended the program each time it was to be taken over")
            if refusal is None:
                accepted[name] = fields
            else:
                refused[name] = refusal
        return accepted, refused

    def _refusal(self, name: str, fields: object) -> Optional[InvalidInput]:
        """What is wrong with a section from outside; None if it is valid and leads nowhere that is not allowed."""
        base: Any = getattr(self.installed, name, None)
        try:
            self._allowed.check(name, parse_section(name, fields, base))
        except InvalidInput as error:
            return error
        return None

    def _overlaid(self, overrides: Mapping[str, Mapping[str, Any]]) -> DeviceSettings:
        settings = self.installed
        for name, fields in overrides.items():
            settings = settings.with_section(name, parse_section(name, fields, getattr(self.installed, name)))
        return settings

    def _note_attempt(self, mark: str) -> None:
        attempts = self._state.attempts + 1 if mark == self._state.attempted else 1
        self._state = msgspec.structs.replace(self._state, attempted=mark, attempts=attempts)
        self.save()

    def _cloud_connection_fields(self) -> list[tuple[str, Optional[str]]]:
        # With nulls, which remove from the shadow what a client has echoed there.
        return list(msgspec.structs.asdict(self._cloud_connection).items())

    def _load(self) -> _State:
        try:
            state = msgspec.json.decode(self._state_path.read_bytes(), type=_State)
        except FileNotFoundError:
            return _State()
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            logger.warning("Cannot read the settings in %s, using those of the flags: %s", self._state_path, error)
            return _State()
        refused = {name: self._refusal(name, fields) for name, fields in state.overrides.items()}
        for refusal in filter(None, refused.values()):
            logger.warning("Settings taken over earlier are not valid any more: %s", refusal)
            state.rejected[refusal.field] = refusal.reason
        overrides = {name: fields for name, fields in state.overrides.items() if refused[name] is None}
        return msgspec.structs.replace(state, overrides=overrides)


def says_reported(document: Path) -> bool:
    """Whether the file with the shadow's document tells of anything reported."""
    try:
        return b'"reported"' in document.read_bytes()
    except OSError:
        return False


def _rejections(refused: Mapping[str, InvalidInput]) -> dict[str, str]:
    """What is wrong as it is reported, bounded: known sections first, and a number for strangers beyond some."""
    strangers = [name for name in refused if name not in SECTIONS]
    named = [name for name in refused if name in SECTIONS] + strangers[:_STRANGERS_MAX]
    rejections = {_shortened(refused[name].field, _NAME_MAX): refused[name].reason for name in named}
    if len(strangers) > _STRANGERS_MAX:
        rejections["..."] = f"{len(strangers) - _STRANGERS_MAX} more sections are not known"
    return rejections


def _rejections_in(document: ShadowDocument) -> frozenset[str]:
    """The rejected fields of which the shadow's reported state tells, bounded, whoever wrote them there."""
    sync = (document.reported or {}).get("sync")
    rejected = sync.get("rejected") if isinstance(sync, dict) else None
    return frozenset(sorted(rejected)[:_SHOWN_MAX]) if isinstance(rejected, dict) else frozenset()


def _shortened(text: str, longest: int) -> str:
    text = ascii(text)[1:-1]
    return text if len(text) <= longest else text[: longest - 3] + "..."
