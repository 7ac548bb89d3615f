"""Where items go: the destination in force, and the one that a settings change asks for until it has proven itself."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Callable, Optional

import msgspec
from msgspec import Meta, Struct

from pinthesky.errors import InvalidInput
from pinthesky.machine.durable_files import replace_file
from pinthesky.model.identifiers import BucketName, KeyPrefix
from pinthesky.model.settings import StorageSettings

logger = logging.getLogger(__name__)

PROBE_FIRST_S = 10.0
PROBE_MAX_S = 900.0


class Destination(Struct, frozen=True, kw_only=True):
    """Section `storage` as the uploader sees it. Nothing is uploaded without a bucket or with `enabled` false."""

    bucket: Optional[str]
    video_prefix: Annotated[str, Meta(max_length=64)]
    image_prefix: Annotated[str, Meta(max_length=64)]
    enabled: bool = True

    @classmethod
    def of(cls, storage: StorageSettings) -> Destination:
        """What section `storage` asks for."""
        return cls(
            bucket=storage.bucket_name,
            video_prefix=storage.video_prefix,
            image_prefix=storage.image_prefix,
            enabled=storage.enabled,
        )

    @property
    def storage(self) -> StorageSettings:
        """The section that asks for it."""
        return StorageSettings(
            bucket_name=self.bucket,
            video_prefix=self.video_prefix,
            image_prefix=self.image_prefix,
            enabled=self.enabled,
        )

    def same_place(self, other: Optional[Destination]) -> bool:
        """Whether both mean the same bucket and prefixes."""
        return other is not None and (self.bucket, self.video_prefix, self.image_prefix) == (
            other.bucket,
            other.video_prefix,
            other.image_prefix,
        )


class DestinationKeeper:
    """The destination in force, remembered over restarts once it has taken something.

    A new one takes over when a probe of both its prefixes succeeded; until then the last proven one stays. Where none
    was ever proven, the new one is used at once: there is nothing better. Not thread-safe.
    """

    def __init__(
        self,
        state_file: Path,
        jitter: Callable[[], float],
        may_use: Callable[[Destination], bool] = lambda _: True,
    ) -> None:
        """`may_use` says whether a remembered destination is still allowed at this installation."""
        self._state_file = state_file
        self._jitter = jitter
        remembered = _load(state_file)
        self._proven = remembered if remembered is not None and may_use(remembered) else None
        self._enabled = False
        self._wanted: Optional[Destination] = None
        self._current: Optional[Destination] = None
        self._candidate: Optional[Destination] = None
        self._probe_failures = 0
        self._probe_at = 0.0
        self._save_failed = False

    @property
    def current(self) -> Optional[Destination]:
        """Where items go now; None when nothing is to be uploaded."""
        return self._current if self._enabled else None

    @property
    def candidate(self) -> Optional[Destination]:
        """What should take over after a successful probe."""
        return self._candidate if self._enabled else None

    def set(self, wanted: Destination) -> bool:
        """Take over what the settings say, or make it the candidate. Returns whether `current` changed.

        The same again changes nothing, the probe's back-off included: every settings change comes by here.
        """
        if wanted == self._wanted:
            return False
        before, self._wanted = self.current, wanted
        self._enabled = wanted.enabled and wanted.bucket is not None
        self._candidate, self._probe_failures, self._probe_at = None, 0, 0.0
        if self._enabled:
            if self._proven is None or wanted.same_place(self._proven):
                self._current = wanted
            else:
                self._current, self._candidate = self._proven, wanted
        return self.current != before

    def probe_wait_s(self, now: float) -> Optional[float]:
        """Seconds until the candidate is to be probed (0: now), or None without a candidate."""
        return None if self.candidate is None else max(0.0, self._probe_at - now)

    def probe_failed(self, now: float) -> bool:
        """The candidate did not take the probe. Returns whether this is the first time."""
        self._probe_failures += 1
        delay_s = min(PROBE_MAX_S, PROBE_FIRST_S * 2.0 ** min(self._probe_failures - 1, 10))
        self._probe_at = now + delay_s * (0.5 + 0.5 * self._jitter())
        return self._probe_failures == 1

    def prove(self, destination: Destination) -> bool:
        """`destination` has taken something. Returns whether it takes over from another one by that."""
        takes_over = destination.same_place(self._candidate)
        if takes_over:
            self._current, self._candidate = destination, None
        if not destination.same_place(self._proven) and (takes_over or destination.same_place(self._current)):
            self._proven = destination
            self._save()
        return takes_over

    def probe_soon(self) -> None:
        """Something says that the network is back."""
        self._probe_at = 0.0

    def _save(self) -> None:
        try:
            replace_file(self._state_file, msgspec.json.encode(self._proven))
        except OSError as error:
            if not self._save_failed:
                logger.warning("Cannot remember the proven destination in %s: %s", self._state_file, error.strerror)
            self._save_failed = True
            return
        self._save_failed = False


def _load(state_file: Path) -> Optional[Destination]:
    try:
        found = msgspec.json.decode(state_file.read_bytes(), type=Destination)
        BucketName.parse(found.bucket)
        KeyPrefix.parse(found.video_prefix)
        KeyPrefix.parse(found.image_prefix)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, InvalidInput) as error:
        logger.warning("Cannot read the proven destination from %s: %s", state_file, error)
        return None
    return found
