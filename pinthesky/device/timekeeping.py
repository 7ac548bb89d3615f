"""What time it is, and whether that can be believed.

A Raspberry Pi has no battery behind its clock: after a power cut it goes on from where it was saved, hours late, until
the network corrects it. Everything here therefore counts in CLOCK_BOOTTIME and adds an *anchor* (wall time minus
monotonic time) once the wall clock is known to be right. A clip is stamped from one `Moment`; a later correction of
the clock moves the clips that come after it, never the parts of one event against each other.

The clock is known to be right when the kernel says that a time source disciplines it, or when it is later than a clock
that stood still while the power was off could be: later than the last right time seen, plus the time since boot, plus
two minutes.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import threading
import time
from pathlib import Path
from typing import Annotated, NamedTuple, Optional

import msgspec
from msgspec import Meta, Struct

from pinthesky.device.ports import Clock
from pinthesky.machine.durable_files import replace_file
from pinthesky.model.recording import Moment

logger = logging.getLogger(__name__)

EARLIEST_S = 1_767_225_600.0
"""2026-01-01: this program is not older, so no right clock shows less."""
LATEST_S = 4_102_444_800.0
"""2100-01-01."""

_STEP_S = 0.25
"""Wall and monotonic clock are slewed together; a difference larger than this means that somebody set the clock."""
_SETTLE_S = 60.0
"""A clock that was set while nothing synchronises it is believed after it stood for this long."""
_RESTORED_S = 120.0
"""Our own note and the one from which the system restores its clock at boot are each at most a minute old."""
_PATIENCE_S = 600.0
"""Uptime after which a plausible clock that nothing ever confirmed is used all the same, marked uncertain. A router
that lost its power together with the camera needs some minutes to bring the network back."""
_SAVE_EVERY_S = 60.0
_BOOTS_MAX = 16
_DAY_S = 86_400.0

_TIME_ERROR = 5
_STA_UNSYNC = 0x0040
_SYNC_CACHE_S = 5.0


class _Timex(ctypes.Structure):
    """`struct timex` of <sys/timex.h>; C longs give it the right shape on 32-bit and 64-bit systems."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 40),
    )


class SystemClock:
    """The machine's clocks. Raises OSError where the kernel tells no boot id (not Linux)."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.boot_id = (root / "proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        self._timesync_mark = root / "run/systemd/timesync/synchronized"
        self._lock = threading.Lock()
        self._asked_at: Optional[float] = None
        self._synchronised = False

    def monotonic(self) -> float:
        """Seconds of CLOCK_BOOTTIME."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall(self) -> float:
        """Epoch seconds, right or not."""
        return time.time()

    def synchronised(self) -> bool:
        """Whether a time source disciplines the clock, as of at most five seconds ago.

        The kernel knows (adjtimex). Where a sandbox forbids the question (`ProtectClock=`), the mark that
        systemd-timesyncd leaves after its first answer from a server stands in.
        """
        with self._lock:
            now_s = self.monotonic()
            if self._asked_at is None or now_s - self._asked_at >= _SYNC_CACHE_S:
                told = _kernel_synchronised()
                self._synchronised = self._timesync_mark.exists() if told is None else told
                self._asked_at = now_s
            return self._synchronised


def _kernel_synchronised() -> Optional[bool]:
    """Ask adjtimex; None where that is forbidden."""
    state = _Timex(modes=0)
    try:
        outcome = int(ctypes.CDLL(None).adjtimex(ctypes.byref(state)))
    except (OSError, AttributeError):
        return None
    if outcome < 0:
        return None
    return outcome != _TIME_ERROR and not state.status & _STA_UNSYNC


class _Boot(Struct, kw_only=True):
    """What is known of one boot: its anchor, once it had one, and how far its monotonic clock came."""

    boot_id: Annotated[str, Meta(max_length=64)]
    anchor_s: Optional[Annotated[float, Meta(ge=0, le=LATEST_S)]] = None
    last_s: Annotated[float, Meta(ge=0)] = 0.0


class _Memory(Struct, kw_only=True):
    """The state file. `boots` is in order, the present one last."""

    seen_s: Optional[Annotated[float, Meta(ge=EARLIEST_S, le=LATEST_S)]] = None
    boots: list[_Boot] = []


class Resolved(NamedTuple):
    """A moment with its wall time, and whether that is only an estimate."""

    moment: Moment
    uncertain: bool


class TimeKeeper:
    """Gives moments their wall time. All methods may be called from any thread; only `tick` and `save` touch the disk.

    The state file holds the last right time seen, which a clock that is not known to be right never moves, and the
    anchors of the last boots, so that what an earlier boot recorded gets its right time.
    """

    def __init__(self, clock: Clock, state_file: Path) -> None:
        self._clock = clock
        self._state_file = state_file
        self._lock = threading.Lock()
        self._memory = _load(state_file)
        self._boot = self._present_boot()
        self._set_to: Optional[tuple[float, float]] = None
        self._saved_at: Optional[float] = None
        self._saved_anchor = self._boot.anchor_s
        self._save_failed = False
        if not self.trusted:
            logger.warning("The clock is not known to be right yet; what is recorded gets its time when it is")

    def _present_boot(self) -> _Boot:
        boots = self._memory.boots
        if not boots or boots[-1].boot_id != self._clock.boot_id:
            boots.append(_Boot(boot_id=self._clock.boot_id))
            del boots[:-_BOOTS_MAX]
        return boots[-1]

    @property
    def trusted(self) -> bool:
        """Whether the time is known to be right."""
        return self.now().wall_s is not None

    @property
    def synchronised(self) -> bool:
        """Whether a time source disciplines the clock right now (for the health report)."""
        return self._clock.synchronised()

    def now(self) -> Moment:
        """Return this moment; `wall_s` is None until the clock is known to be right."""
        return self._moment(None)

    def at(self, monotonic_s: float) -> Moment:
        """Return the moment of this boot at which the monotonic clock showed `monotonic_s`."""
        return self._moment(monotonic_s)

    def _moment(self, monotonic_s: Optional[float]) -> Moment:
        with self._lock:
            now_s, wall_now_s = self._read_clocks()
            news = self._examine(now_s, wall_now_s)
            anchor_s = self._boot.anchor_s
        if news is not None:
            # Outside the lock: a log handler may ask for the time.
            logger.info("%s", news)
        at_s = now_s if monotonic_s is None else monotonic_s
        wall_s = None if anchor_s is None else anchor_s + at_s
        return Moment(boot_id=self._boot.boot_id, monotonic_s=at_s, wall_s=wall_s)

    def resolve(self, moment: Moment) -> Optional[Resolved]:
        """`moment` with its wall time, or None while that must still wait for the clock.

        A moment that has one keeps it. One of this boot, or of an earlier boot that learned the time later on, gets
        the exact one. One of a boot that never learned it gets an estimate: that boot is taken to have ended when the
        next one began.
        """
        if moment.wall_s is not None:
            return Resolved(moment, uncertain=False)
        self.now()
        with self._lock:
            boots = self._memory.boots
            known = next((boot for boot in boots if boot.boot_id == moment.boot_id), None)
            if known is not None and known.anchor_s is not None:
                return _resolved(moment, known.anchor_s, uncertain=False)
            base_s = self._boot.anchor_s
            if base_s is None:
                base_s = self._guess()
            if base_s is None:
                return None
            if known is self._boot:
                return _resolved(moment, base_s, uncertain=True)
            if known is None:
                # Nothing is known of that boot's length: whole days keep its moments in order.
                length_s = (moment.monotonic_s // _DAY_S + 1) * _DAY_S
                return _resolved(moment, base_s - length_s, uncertain=True)
            for boot in reversed(boots[boots.index(known) : -1]):
                base_s = base_s - boot.last_s if boot.anchor_s is None else boot.anchor_s
            return _resolved(moment, base_s, uncertain=True)

    def _guess(self) -> Optional[float]:
        """Return an anchor for want of a right one, once patience has run out."""
        now_s, wall_s = self._read_clocks()
        if now_s < _PATIENCE_S or not EARLIEST_S <= wall_s <= LATEST_S:
            return None
        return max(wall_s, self._memory.seen_s or 0.0) - now_s

    def _read_clocks(self) -> tuple[float, float]:
        """Read both clocks at one instant, even where the thread is suspended in between."""
        took_s, tries = _STEP_S, 5
        now_s = wall_s = 0.0
        while took_s > _STEP_S / 5 and tries > 0:
            before_s = self._clock.monotonic()
            wall_s = self._clock.wall()
            now_s = self._clock.monotonic()
            took_s, tries = now_s - before_s, tries - 1
        return now_s, wall_s

    def _examine(self, now_s: float, wall_s: float) -> Optional[str]:
        """Set or renew the anchor where the clock deserves it; returns what there is to say about it."""
        if not EARLIEST_S <= wall_s <= LATEST_S:
            self._set_to = None
            return None
        anchor_s = wall_s - now_s
        old_s = self._boot.anchor_s
        if old_s is None:
            if not (self._clock.synchronised() or self._ran_on_while_off(now_s, wall_s)):
                return None
            self._boot.anchor_s = anchor_s
            return f"The clock is right: {_utc(wall_s)}"
        step_s = anchor_s - old_s
        if abs(step_s) < _STEP_S:
            self._set_to = None
            return None
        if not (self._clock.synchronised() or self._stood(anchor_s, now_s)):
            return None
        self._set_to = None
        self._boot.anchor_s = anchor_s
        return f"The clock was set by {step_s:+.1f} s to {_utc(wall_s)}; new clips follow it"

    def _ran_on_while_off(self, now_s: float, wall_s: float) -> bool:
        """Whether the clock cannot be one that merely went on from where it was saved."""
        seen_s = self._memory.seen_s
        return seen_s is None or wall_s > seen_s + now_s + _RESTORED_S

    def _stood(self, anchor_s: float, now_s: float) -> bool:
        """Whether the clock has kept to this new anchor for a while."""
        if self._set_to is None or abs(self._set_to[0] - anchor_s) >= _STEP_S:
            self._set_to = (anchor_s, now_s)
        return now_s - self._set_to[1] >= _SETTLE_S

    def tick(self) -> None:
        """To be called every few seconds: notices a clock that became right or was set, and saves every minute."""
        moment = self.now()
        due = self._saved_at is None or moment.monotonic_s - self._saved_at >= _SAVE_EVERY_S
        if due or self._boot.anchor_s != self._saved_anchor:
            self.save()

    def save(self) -> None:
        """Write what is known, atomically. A disk that refuses is logged once; the next tick but some tries again."""
        moment = self.now()
        with self._lock:
            self._boot.last_s = moment.monotonic_s
            if moment.wall_s is not None and EARLIEST_S <= moment.wall_s <= LATEST_S:
                self._memory.seen_s = moment.wall_s
            content = msgspec.json.format(msgspec.json.encode(self._memory), indent=1)
            self._saved_at = moment.monotonic_s
            self._saved_anchor = self._boot.anchor_s
        try:
            replace_file(self._state_file, content)
        except OSError as error:
            if not self._save_failed:
                logger.warning("Cannot save the time to %s: %s", self._state_file, error.strerror)
            self._save_failed = True
            return
        if self._save_failed:
            logger.info("The time is saved to %s again", self._state_file)
        self._save_failed = False


def _resolved(moment: Moment, anchor_s: float, *, uncertain: bool) -> Resolved:
    wall_s = anchor_s + moment.monotonic_s
    return Resolved(msgspec.structs.replace(moment, wall_s=wall_s), uncertain)


def _load(state_file: Path) -> _Memory:
    """Read the state file. One that cannot be read still says by its date that this time has been."""
    try:
        return msgspec.json.decode(state_file.read_bytes(), type=_Memory)
    except FileNotFoundError:
        return _Memory(boots=[])
    except (OSError, msgspec.MsgspecError) as error:
        logger.warning("Cannot read the last time seen from %s: %s", state_file, error)
    written_s = LATEST_S
    with contextlib.suppress(OSError):
        written_s = state_file.stat().st_mtime
    return _Memory(seen_s=min(max(written_s, EARLIEST_S), LATEST_S), boots=[])


def _utc(wall_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(wall_s))
