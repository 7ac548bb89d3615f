"""Brings what waits in the spool to the store, and never takes anything out of it that the store has not confirmed.

Two lanes, a worker thread each: pictures and clips, so that no picture waits for a clip of minutes. When what is tried
is the business of `upload_schedule`, where it goes that of `destination`.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Callable, NamedTuple, Optional

import msgspec

from pinthesky.device.clip_spool import ClipSpool
from pinthesky.device.destination import Destination, DestinationKeeper
from pinthesky.device.ports import Clock, ObjectStore, PutOutcome
from pinthesky.device.spool_folder import SpooledItem
from pinthesky.device.upload_schedule import Lane, Trouble, UploadSchedule
from pinthesky.errors import InvalidInput, NotAuthorized, NotFound, PinTheSkyError, Unavailable
from pinthesky.model.identifiers import ThingName
from pinthesky.model.recording import Item

logger = logging.getLogger(__name__)

PICTURES = frozenset({"still", "thumbnail"})
TIME_RETRY_S = 10.0
"""How often an item without a time asks for one, should nobody say that the clock is right."""
WAIT_MAX_S = 30.0
UNFORESEEN_PAUSE_S = 10.0
FILE_NAME_MAX = 128

StoreFactory = Callable[[threading.Event], ObjectStore]
"""Makes the store at the first attempt; the event is set when running transfers are to be given up."""
ResolveTime = Callable[[Item], Optional[Item]]
"""The item with its wall time, or None while that is not known."""
OnStored = Callable[[Item, str, str], None]
"""Called with (item, bucket, key) when the store has confirmed it. Must not block."""


class UploadStatus(NamedTuple):
    """For the health report."""

    available: bool
    """Whether the store took the last thing it was offered, in each lane; True before the first."""
    waiting: int
    """Items in the spool."""
    refused: int
    """Items that the store refuses for what they are; they stay."""
    last_error: Optional[str]
    """What is wrong now, or None."""
    destination: Optional[Destination]
    """Where items go; None when nothing is uploaded."""
    pending_destination: Optional[Destination]
    """What the settings ask for and no probe has proven yet."""


def own_name(item: Item) -> Item:
    """The still under a name that nobody else can have: what was asked for, with the event id in it."""
    asked = Path(item.file_name or f"still{item.suffix}")
    tail = f"-{item.event_id}{asked.suffix[:16]}"
    return msgspec.structs.replace(item, file_name=asked.stem[: FILE_NAME_MAX - len(tail)] + tail)


def _newest_first(item: Item) -> tuple[float, int]:
    return -(item.start.wall_s or 0.0), -item.part


class Uploader:
    """Owns the two workers and their store. All public methods may be called from any thread."""

    def __init__(
        self,
        spool: ClipSpool,
        store_factory: StoreFactory,
        *,
        thing_name: ThingName,
        clock: Clock,
        state_file: Path,
        resolve_time: ResolveTime,
        on_stored: OnStored,
        may_use: Callable[[Destination], bool] = lambda _: True,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`state_file` remembers the proven destination, if it `may_use` it; `jitter` gives numbers in [0, 1)."""
        self._spool = spool
        self._store_factory = store_factory
        self._thing_name = thing_name
        self._clock = clock
        self._resolve_time = resolve_time
        self._on_stored = on_stored
        self._store: Optional[ObjectStore] = None
        self._stopping = threading.Event()
        # Guards everything below; never held during a request or a write to the disk of the spool.
        self._changed = threading.Condition()
        self._news = 0
        self._schedule = UploadSchedule(jitter)
        self._keeper = DestinationKeeper(state_file, jitter, may_use)
        self._errors: dict[str, str] = {}
        # What the log says is wrong. The schedule forgets a lane's trouble when the other lane gets through.
        self._told: dict[Lane, Trouble] = {}
        self._attempted = dict.fromkeys(Lane, "")
        self._threads: list[threading.Thread] = []

    # The daemon's side

    def set_destination(self, wanted: Destination) -> None:
        """Take over what section `storage` says. A new place has to pass a probe first; the old one stays till then."""
        with self._changed:
            if self._keeper.set(wanted):
                self._schedule.start_afresh()
                self._errors.clear()
                self._told.clear()
            if self._keeper.candidate is None:
                self._errors.pop("probe", None)
            self._wake_locked()

    def start(self) -> None:
        """Start the workers, and hear of new items from the spool."""
        self._spool.add_listener(self.wake)
        for lane in Lane:
            # Daemonic: a request that hangs until its time-out must not keep the process from ending.
            thread = threading.Thread(target=self._run, args=(lane,), name=f"upload-{lane.name.lower()}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self, timeout_s: float) -> list[str]:
        """End the workers; running transfers are given up. Returns the names of those that did not end in time."""
        self._stopping.set()
        self.wake()
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        late = [thread.name for thread in self._threads if thread.is_alive()]
        if late:
            logger.warning("Still waiting for the store, given up: %s", ", ".join(late))
        return late

    def wake(self) -> None:
        """Look at the spool again: there is something new in it."""
        with self._changed:
            self._wake_locked()

    def nudge(self) -> None:
        """Something says that the network is back, or that the clock is right: try at once."""
        with self._changed:
            self._schedule.nudge()
            self._keeper.probe_soon()
            self._wake_locked()

    def status(self) -> UploadStatus:
        """A snapshot for the health report."""
        waiting = len(self._spool.items())
        with self._changed:
            return UploadStatus(
                available=all(self._schedule.trouble_of(lane) is None for lane in Lane),
                waiting=waiting,
                refused=self._schedule.refused_items,
                last_error=next(iter(self._errors.values()), None),
                destination=self._keeper.current,
                pending_destination=self._keeper.candidate,
            )

    def _wake_locked(self) -> None:
        self._news += 1
        self._changed.notify_all()

    # The workers' side

    def _run(self, lane: Lane) -> None:
        while not self._stopping.is_set():
            with self._changed:
                news = self._news
            try:
                wait_s = self.step(lane)
            except Exception:
                # A fault of ours in one upload must not end the recording, which a crash of the process would.
                logger.exception("Uploading %s failed in a way that nobody foresaw; the item waits", lane.value)
                with self._changed:
                    self._schedule.refused(lane, self._attempted[lane], self._clock.monotonic())
                wait_s = UNFORESEEN_PAUSE_S
            with self._changed:
                if not self._stopping.is_set() and self._news == news:
                    self._changed.wait(WAIT_MAX_S if wait_s is None else wait_s)

    def step(self, lane: Lane) -> Optional[float]:
        """One attempt at most. Returns the seconds until the next may be due (None: when something changes).

        What a worker does in a loop; tests call it themselves, with a clock of their own.
        """
        now = self._clock.monotonic()
        waits = [self._probe_if_due(now)] if lane is Lane.IMAGES else []
        with self._changed:
            destination = self._keeper.current
        if destination is None:
            return None
        everything = self._spool.items()
        timed, some_wait_for_time = self._with_times(lane, everything)
        with self._changed:
            self._schedule.forget_all_but({spooled.name for spooled in everything})
            choice = self._schedule.choose(lane, list(timed), now)
        if choice.name is not None:
            self._attempted[lane] = choice.name
            self._attempt(lane, timed[choice.name], destination, everything=everything)
            return 0.0
        waits += [choice.wait_s, TIME_RETRY_S if some_wait_for_time else None]
        return min((wait for wait in waits if wait is not None), default=None)

    def _with_times(self, lane: Lane, everything: Sequence[SpooledItem]) -> tuple[dict[str, SpooledItem], bool]:
        """The lane's items that have a time, newest first, by name; and whether some have none yet."""
        found: list[SpooledItem] = []
        some_wait = False
        for spooled in everything:
            if (spooled.item.kind in PICTURES) is not (lane is Lane.IMAGES):
                continue
            item = spooled.item if spooled.item.start.wall_s is not None else self._resolve_time(spooled.item)
            if item is None:
                some_wait = True
            else:
                found.append(spooled._replace(item=item))
        found.sort(key=lambda spooled: _newest_first(spooled.item))
        return {spooled.name: spooled for spooled in found}, some_wait

    def _attempt(
        self, lane: Lane, spooled: SpooledItem, destination: Destination, *, everything: Sequence[SpooledItem]
    ) -> None:
        name = spooled.name
        try:
            spooled = self._settled(spooled, everything)
            key = self._key_of(spooled.item, destination)
            outcome = self._put(spooled, destination, key)
            if outcome is PutOutcome.ALREADY_STORED and spooled.item.event_id not in key:
                # Somebody else's picture has the name that was asked for.
                self._spool.update(name, own_name(spooled.item))
                return
        except PinTheSkyError as error:
            self._failed(lane, name, error)
            return
        self._spool.mark_stored(name)
        self._succeeded(lane, name, destination)
        self._on_stored(spooled.item, str(destination.bucket), key)

    def _settled(self, spooled: SpooledItem, everything: Sequence[SpooledItem]) -> SpooledItem:
        """The item with everything that decides its key in its sidecar, so that each attempt uses the same key.

        Of several waiting stills that replace the latest one, only the newest may; the others get names of their own.
        Raises NotFound when an item has left the spool, Unavailable when the disk refuses.
        """
        item = spooled.item
        if item.overwrites:
            rivals = [other for other in everything if other.item.overwrites and other.name != spooled.name]
            newer = [other for other in rivals if self._is_newer(other.item, item)]
            if newer:
                item = own_name(item)
            else:
                for older in rivals:
                    with contextlib.suppress(NotFound):
                        self._spool.update(older.name, own_name(older.item))
        recorded = next((other.item for other in everything if other.name == spooled.name), None)
        if item != recorded:
            return self._spool.update(spooled.name, item)
        return spooled

    def _is_newer(self, one: Item, other: Item) -> bool:
        if one.start.boot_id == other.start.boot_id:
            return one.start.monotonic_s > other.start.monotonic_s
        timed = one if one.start.wall_s is not None else self._resolve_time(one)
        # Without a time it is of a boot that has yet to learn it: the present one, so it is newer.
        return timed is None or (timed.start.wall_s or 0.0) > (other.start.wall_s or 0.0)

    def _key_of(self, item: Item, destination: Destination) -> str:
        return item.key(
            video_prefix=destination.video_prefix, image_prefix=destination.image_prefix, thing=self._thing_name
        )

    def _put(self, spooled: SpooledItem, destination: Destination, key: str) -> PutOutcome:
        item = spooled.item
        return self._object_store().put(
            bucket=str(destination.bucket),
            key=key,
            path=spooled.path,
            sha256_hex=item.sha256,
            content_type=item.content_type,
            metadata=item.metadata(),
            overwrite=item.overwrites,
        )

    def _object_store(self) -> ObjectStore:
        with self._changed:
            if self._store is None:
                self._store = self._store_factory(self._stopping)
            return self._store

    def _succeeded(self, lane: Lane, name: str, destination: Destination) -> None:
        with self._changed:
            self._schedule.stored(lane, name, self._clock.monotonic())
            ended = self._told.pop(lane, None)
            self._errors.pop(lane.name, None)
            self._keeper.prove(destination)
            self._wake_locked()
        if ended is not None:
            logger.info("Uploading %s works again", lane.value)

    def _failed(self, lane: Lane, name: str, error: PinTheSkyError) -> None:
        now = self._clock.monotonic()
        if self._stopping.is_set() or not any(spooled.name == name for spooled in self._spool.items()):
            # Given up by us, or dropped from the spool while it was on its way: that says nothing about the store.
            return
        with self._changed:
            if isinstance(error, Unavailable):
                is_new = self._lane_failed(lane, name, Trouble.UNAVAILABLE, now=now)
            elif isinstance(error, (NotAuthorized, NotFound)):
                is_new = self._lane_failed(lane, name, Trouble.DENIED, now=now)
            else:
                is_new = self._schedule.refused(lane, name, now) == 1
            self._errors[lane.name] = str(error)
        if is_new:
            kept = "kept and tried again" if isinstance(error, Unavailable) else "kept; this needs a person"
            logger.warning("Cannot upload %s (%s): %s", lane.value, kept, error)

    def _lane_failed(self, lane: Lane, name: str, trouble: Trouble, *, now: float) -> bool:
        self._schedule.failed(lane, name, trouble, now=now)
        is_new = self._told.get(lane) is not trouble
        self._told[lane] = trouble
        return is_new

    def _probe_if_due(self, now: float) -> Optional[float]:
        """Probe the candidate where it is time. Returns the seconds until the next probe, None without a candidate."""
        with self._changed:
            candidate = self._keeper.candidate
            wait_s = self._keeper.probe_wait_s(now)
        if candidate is None or wait_s is None or wait_s > 0:
            return wait_s
        store = self._object_store()
        try:
            for prefix in sorted({candidate.video_prefix, candidate.image_prefix}):
                store.probe(bucket=str(candidate.bucket), prefix=f"{prefix}/{self._thing_name}")
        except (InvalidInput, NotAuthorized, NotFound, Unavailable) as error:
            with self._changed:
                is_first = self._keeper.probe_failed(now) if candidate is self._keeper.candidate else False
                self._errors["probe"] = str(error)
            if is_first:
                logger.warning("Bucket %s takes nothing yet, so the old one stays: %s", candidate.bucket, error)
            return 0.0
        with self._changed:
            takes_over = self._keeper.prove(candidate)
            if takes_over:
                self._schedule.start_afresh()
                self._errors.clear()
                self._told.clear()
                self._wake_locked()
        if takes_over:
            logger.info("Uploading to bucket %s from now on", candidate.bucket)
        return None
