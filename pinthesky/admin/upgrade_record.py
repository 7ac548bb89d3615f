"""What is kept on the disk of an upgrade: the wish while it is not over, and how the last one ended."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from pinthesky.admin.requests import Service, Upgrade
from pinthesky.errors import InvariantBroken
from pinthesky.machine import durable_files

logger = logging.getLogger(__name__)

Stage = Literal["asked", "switched", "back"]


class Wish(msgspec.Struct, frozen=True):
    """An upgrade that is not over, as it is kept on the disk."""

    request: Upgrade
    stage: Stage = "asked"
    attempts: int = 0
    version: str | None = None
    """The new version, from `switched` on."""
    before: str | None = None
    """The version to go back to, from `switched` on."""
    services: tuple[Service, ...] = ()
    """What ran before, and has to run after."""
    connected: bool = False
    """Whether the device client was connected before, and has to be after."""
    reason: str = ""
    """Why it goes back, in stage `back`."""

    def __post_init__(self) -> None:
        if self.stage != "asked" and (self.version is None or self.before is None):
            raise ValueError(f"an upgrade in stage {self.stage} without its versions")


class UpgradeOutcome(msgspec.Struct, frozen=True):
    """How the last upgrade ended."""

    identity: str
    sha256: str
    succeeded: bool
    refused: bool
    """Failed in a way that the same wish would fail again."""
    text: str


class UpgradeRecord:
    """Wish and outcome on the disk, and the lock that lets one process at a time carry a wish out."""

    def __init__(self, state: Path) -> None:
        self._wish = state / "upgrade.json"
        self._outcome = state / "upgrade-outcome.json"
        self._state = state

    def ask(self, request: Upgrade) -> bool:
        """Write the wish down. False when there is one already: whoever comes first is served."""
        durable_files.make_folder(self._state)
        temporary = self._state / f".wish-{os.getpid()}"
        durable_files.remove(temporary)
        try:
            durable_files.write_new(temporary, msgspec.json.encode(Wish(request)))
            os.link(temporary, self._wish)
        except FileExistsError:
            return False
        finally:
            durable_files.remove(temporary)
        durable_files.sync_folder(self._state)
        return True

    @property
    def has_wish(self) -> bool:
        """Whether an upgrade is not over, be it one that cannot be read."""
        return self._wish.exists()

    def wish(self) -> Wish | None:
        """Return the upgrade that is not over, if there is one. Raises InvariantBroken for one that cannot be read."""
        data = _read(self._wish)
        return None if data is None else _decode(self._wish, data, _wish_decoder)

    def keep(self, wish: Wish) -> Wish:
        """Replace the wish by one that has come further."""
        durable_files.replace_file(self._wish, msgspec.json.encode(wish))
        return wish

    def outcome(self) -> UpgradeOutcome | None:
        """Return how the last upgrade ended, if that is known: nothing depends on an outcome that cannot be read."""
        data = _read(self._outcome)
        try:
            return None if data is None else _decode(self._outcome, data, _outcome_decoder)
        except InvariantBroken as error:
            logger.error("%s", error)
            return None

    def finish(self, outcome: UpgradeOutcome) -> None:
        """Write the outcome down, and then take the wish away."""
        durable_files.replace_file(self._outcome, msgspec.json.encode(outcome))
        self.drop()

    def drop(self) -> None:
        """Take the wish away."""
        durable_files.remove(self._wish)
        durable_files.sync_folder(self._state)


_wish_decoder: msgspec.json.Decoder[Wish] = msgspec.json.Decoder(Wish)
_outcome_decoder: msgspec.json.Decoder[UpgradeOutcome] = msgspec.json.Decoder(UpgradeOutcome)
_Kept = TypeVar("_Kept", Wish, UpgradeOutcome)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _decode(path: Path, data: bytes, decoder: msgspec.json.Decoder[_Kept]) -> _Kept:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvariantBroken(f"{path} cannot be read: {error}") from error
