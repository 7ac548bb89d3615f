"""The promise of durability, proven on every state of the disk that a power cut may leave."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import msgspec
import pytest

from pinthesky.device.clip_journal import JournalWriter
from pinthesky.device.clip_spool import ClipSpool
from pinthesky.device.clip_writer import ClipFinisher
from pinthesky.device.ports import Packet
from pinthesky.device.spool_folder import SpooledItem
from pinthesky.machine import durable_files
from pinthesky.model.recording import Item, Moment
from tests.support.packets import (
    EVENT_ID,
    clip_header,
    h264_packets,
    length_prefixed_units,
    nal_units,
    plain_numbers,
    plain_packets,
)
from tests.support.power_loss import Content, Disk, restore

Clip = tuple[str, int]
_S = 1_000_000
STEP = 8 if os.environ.get("HYPOTHESIS_PROFILE") == "versions" else 1
"""The suite on other Pythons looks for differences between them; the proof is given on the main one."""


class Ledger:
    """What the camera thread, the finisher and the uploader were told is done, and after how many operations."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.recorded: dict[Clip, list[tuple[int, Packet]]] = {}
        self.closed: dict[Clip, int] = {}
        self.giving_away: dict[str, int] = {}
        self.items: dict[str, tuple[int, Item]] = {}

    def append(self, clip: Clip, packet: Packet) -> None:
        self.recorded.setdefault(clip, []).append((self._disk.moment, packet))

    def close(self, clip: Clip) -> None:
        self.closed[clip] = self._disk.moment

    def store(self, name: str) -> None:
        self.giving_away[name] = self._disk.moment

    def know(self, spool: ClipSpool) -> None:
        for kept in spool.items():
            self.items.setdefault(kept.name, (self._disk.moment, kept.item))

    def sure_packets(self, clip: Clip, moment: int) -> int:
        """How many packets of the clip must survive a cut at `moment`."""
        packets = [packet for appended, packet in self.recorded[clip] if appended <= moment]
        if not packets or self.closed.get(clip, moment + 1) <= moment:
            return len(packets)
        return sum(packet.timestamp_us <= packets[-1].timestamp_us - _S for packet in packets)

    def may_be_gone(self, name: str, moment: int) -> bool:
        return self.giving_away.get(name, moment + 1) <= moment


class Scene:
    """A camera's day in some hundred disk operations: recording, finishing and upload overlap."""

    def __init__(self, disk: Disk, *, as_mp4: bool) -> None:
        self.as_mp4 = as_mp4
        self.stream = list(h264_packets(110, gop=10)) if as_mp4 else plain_packets(110, gop=10, size=60)
        self.disk = disk
        self.ledger = Ledger(disk)
        self.spool = open_spool(disk.root)
        self.finisher = ClipFinisher(self.spool, as_mp4=as_mp4)
        self.now_s = 0.0

    def clip(self, number: int) -> Clip:
        return EVENT_ID[:-1] + str(number), 1

    def record(self, clip: Clip, writer: JournalWriter, first: int, count: int) -> None:
        for packet in self.stream[first : first + count]:
            writer.append(packet)
            self.ledger.append(clip, packet)
            self.now_s += 0.05
            writer.sync_if_due(self.now_s)

    def begin(self, clip: Clip) -> JournalWriter:
        self.ledger.recorded[clip] = []
        return self.spool.create_journal(clip_header(*clip[:1], part=clip[1]))

    def end(self, clip: Clip, writer: JournalWriter) -> Path:
        writer.close()
        self.ledger.close(clip)
        return writer.path

    def finish(self, journal: Path) -> None:
        self.finisher.finish(journal)
        self.ledger.know(self.spool)

    def picture(self, number: int) -> str:
        start = Moment(boot_id="boot", monotonic_s=1.0, wall_s=None)
        item = Item(kind="still", event_id=self.clip(number)[0], start=start, suffix=".jpg", size=0, sha256="0" * 64)
        kept = self.spool.add_bytes(b"jpeg" * 50, item)
        self.ledger.know(self.spool)
        return kept.name

    def store(self, name: str) -> None:
        self.ledger.store(name)
        self.spool.mark_stored(name)

    def play(self) -> None:
        one, two, three = self.clip(1), self.clip(2), self.clip(3)
        writer = self.begin(one)
        self.record(one, writer, 0, 20)
        name = self.picture(1)
        self.record(one, writer, 20, 20)
        first = self.end(one, writer)
        writer = self.begin(two)
        self.record(two, writer, 40, 10)
        self.finish(first)
        for kept in self.spool.items():
            timed = msgspec.structs.replace(kept.item, start=Moment(boot_id="boot", monotonic_s=1.0, wall_s=9.0))
            self.spool.update(kept.name, timed)
        self.store(name)
        self.record(two, writer, 50, 20)
        for kept in self.spool.items():
            self.store(kept.name)
        second = self.end(two, writer)
        writer = self.begin(three)
        self.record(three, writer, 70, 10)
        self.finish(second)
        self.picture(3)
        self.record(three, writer, 80, 30)
        self.end(three, writer)


def open_spool(folder: Path) -> ClipSpool:
    spool = ClipSpool(folder / "spool", max_bytes=10**9, min_free_bytes=0)
    spool.open()
    return spool


def played(folder: Path, *, as_mp4: bool) -> Scene:
    folder.mkdir()
    disk = Disk(folder)
    with pytest.MonkeyPatch.context() as patch:
        disk.record(patch)
        scene = Scene(disk, as_mp4=as_mp4)
        scene.play()
    scene.spool.close()
    return scene


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return played(tmp_path_factory.mktemp("bare") / "disk", as_mp4=False)


@pytest.fixture
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing depends on the real disk here: what is synced is decided by the recorded one."""
    for name in ("sync_file", "sync_data", "sync_folder"):
        monkeypatch.setattr(durable_files, name, lambda _: None)


def recover(folder: Path, *, as_mp4: bool) -> ClipSpool:
    """What the daemon does at its start."""
    spool = open_spool(folder)
    finisher = ClipFinisher(spool, as_mp4=as_mp4)
    for journal in spool.pending_journals():
        finisher.finish(journal)
    assert spool.pending_journals() == []
    return spool


def packets_in(clip: SpooledItem, stream: list[Packet]) -> list[int]:
    """Numbers in `stream` of the packets that the clip holds, in order."""
    if clip.item.suffix == ".h264":
        return plain_numbers(clip.path.read_bytes())
    import av

    numbers = {tuple(nal_units(packet.data)): number for number, packet in enumerate(stream)}
    with av.open(str(clip.path)) as container:
        return [numbers[tuple(length_prefixed_units(bytes(packet)))] for packet in container.demux() if packet.size]


def check(spool: ClipSpool, scene: Scene, moment: int) -> None:
    """What was promised by `moment` is there, once, and nothing else is."""
    ledger = scene.ledger
    kept = {spooled.name: spooled for spooled in spool.items()}
    for name, (known, item) in ledger.items.items():
        if known <= moment and name in kept:
            # What comes back of an item that was given away is the same object, so the store knows it has it.
            assert kept[name].item.sha256 == item.sha256
        elif known <= moment:
            assert ledger.may_be_gone(name, moment), f"{name} is missing"
    clips = [spooled for spooled in kept.values() if spooled.item.kind == "clip"]
    recovered = {(clip.item.event_id, clip.item.part): packets_in(clip, scene.stream) for clip in clips}
    assert len(recovered) == len(clips), "a clip is there twice"
    assert set(recovered) <= set(ledger.recorded)
    for clip, appended in ledger.recorded.items():
        all_numbers = [scene.stream.index(packet) for _, packet in appended]
        numbers = recovered.get(clip, [])
        assert numbers == all_numbers[: len(numbers)]
        name = f"{clip[0]}-{clip[1]:04d}-clip{'.mp4' if scene.as_mp4 else '.h264'}"
        if name in kept or not ledger.may_be_gone(name, moment):
            assert len(numbers) >= ledger.sure_packets(clip, moment), f"{clip} lacks packets"
    for clip_file in clips:
        beside = kept.get(clip_file.name.replace("-clip.h264", "-timestamps.timestamps.txt"))
        if not scene.as_mp4 and beside is not None:
            assert beside.path.read_bytes().count(b"\n") == 1 + len(recovered[clip_file.item.event_id, 1])


def survive(content: Content, folder: Path, scene: Scene, moment: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    restore(content, folder)
    spool = recover(folder, as_mp4=scene.as_mp4)
    check(spool, scene, moment)
    after = sorted(spool.items())
    spool.close()
    again = recover(folder, as_mp4=scene.as_mp4)
    assert sorted(again.items()) == after, "the second start sees what the first one saw"
    again.close()


def survive_everything(scene: Scene, folder: Path, *, states: int, every: int = 1, seed: int = 1) -> int:
    """Cut after each operation (or each `every`th), `states` times. Returns the number of states."""
    chance = random.Random(seed)
    count = 0
    for moment in range(0, scene.disk.moment + 1, every):
        for content in scene.disk.states(moment, chance, states):
            survive(content, folder, scene, moment)
            count += 1
    return count


def survive_cut_recoveries(scene: Scene, folder: Path, *, cuts: int, states: int, seed: int) -> int:
    """The power goes again while the start after the first cut is still clearing up. Returns the number of states."""
    chance = random.Random(seed)
    count = 0
    for _ in range(cuts):
        moment = chance.randint(0, scene.disk.moment)
        (*_, content) = scene.disk.states(moment, chance, 4)
        first = folder / "first"
        shutil.rmtree(first, ignore_errors=True)
        first.mkdir(parents=True)
        restore(content, first)
        disk = Disk(first)
        begun = disk.moment
        with pytest.MonkeyPatch.context() as patch:
            disk.record(patch)
            recover(first, as_mp4=scene.as_mp4).close()
        for _ in range(states):
            again = chance.randint(begun, disk.moment)
            (*_, content) = disk.states(again, chance, 4)
            survive(content, folder / "second", scene, moment)
            count += 1
    return count


@pytest.mark.no_cover
@pytest.mark.usefixtures("quick_disk")
def test_whatever_a_power_cut_leaves_nothing_closed_is_missing_and_an_open_clip_lacks_at_most_a_second(bare, tmp_path):
    assert survive_everything(bare, tmp_path / "cut", states=5, every=STEP) > 1000 // STEP


@pytest.mark.no_cover
@pytest.mark.usefixtures("quick_disk")
def test_a_power_cut_during_the_recovery_from_a_power_cut_costs_nothing_more(bare, tmp_path):
    assert survive_cut_recoveries(bare, tmp_path, cuts=40 // STEP, states=5, seed=1) == 200 // STEP


@pytest.mark.no_cover
@pytest.mark.needs_av
@pytest.mark.usefixtures("quick_disk")
def test_the_same_holds_for_clips_in_mp4(tmp_path):
    scene = played(tmp_path / "disk", as_mp4=True)
    assert survive_everything(scene, tmp_path / "cut", states=3, every=3) > 150
    assert survive_cut_recoveries(scene, tmp_path, cuts=10, states=3, seed=1) == 30


@pytest.mark.soak
@pytest.mark.usefixtures("quick_disk")
@pytest.mark.parametrize("seed", range(6))
def test_tens_of_thousands_of_cuts(bare, tmp_path, seed):
    assert survive_everything(bare, tmp_path / "cut", states=15, seed=100 + seed) > 3000
    assert survive_cut_recoveries(bare, tmp_path, cuts=150, states=10, seed=100 + seed) == 1500


# The proof is worth what the disk model can break: without the syncs it must fail.


def broken_by(leaving_out: str, folder: Path) -> bool:
    """Whether a program that leaves this sync out is caught."""
    folder.mkdir()
    disk = Disk(folder / "disk")
    disk.root.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        disk.record(patch)
        patch.setattr(durable_files, leaving_out, lambda _: None)
        scene = Scene(disk, as_mp4=False)
        scene.play()
    scene.spool.close()
    try:
        survive_everything(scene, folder / "cut", states=4, every=3)
    except AssertionError:
        return True
    return False


@pytest.mark.usefixtures("quick_disk")
@pytest.mark.parametrize("sync", ["sync_data", "sync_file", "sync_folder"])
def test_a_program_that_forgets_a_sync_does_not_pass(tmp_path, sync):
    assert broken_by(sync, tmp_path / sync)
