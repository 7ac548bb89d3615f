"""Files that a person can copy, and an index that can be made again from them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinthesky.errors import Conflict, InvalidInput, InvariantBroken, NotFound, Unavailable
from pinthesky.hub.media_folder import MediaFolder, NoRoom
from pinthesky.hub.media_record import Address, MediaRecord, media_name
from pinthesky.hub.media_recovery import recover
from pinthesky.hub.objects import PREFIXES
from pinthesky.model.identifiers import ThingName
from tests.support.hub_media import STANDARD, MediaBench, a_record, clip_address
from tests.support.kill_at_step import ADDRESS, CHANGES, NEW, OLD

CLIP = clip_address()
LATEST = Address("capture_images", "garden", "thumbnail_latest.jpg")


@pytest.fixture
def bench(tmp_path: Path) -> MediaBench:
    return MediaBench(tmp_path)


def again(bench: MediaBench, *, without_database: bool = False) -> MediaBench:
    """The next start of the hub."""
    bench.database.close()
    if without_database:
        for path in bench.root.glob("hub.sqlite*"):
            path.unlink()
    return MediaBench(bench.root)


# Names


@pytest.mark.parametrize(
    "address, file",
    [
        (CLIP, f"garden/2027-01-15/08-00-00-{1:032x}.motion.mp4"),
        (Address("motion_videos", "a:b", "1800000000-x.jpg"), "a=b/2027-01-15/08-00-00-x.jpg"),
        (LATEST, "garden/2001-09-09/01-46-40-thumbnail_latest.jpg"),
        (Address("motion_videos", "garden", ".probe"), "garden/2001-09-09/.01-46-40-probe"),
        (Address("motion_videos", "garden", "12-short.jpg"), "garden/2001-09-09/01-46-40-12-short.jpg"),
    ],
)
def test_a_file_is_named_by_camera_day_and_time(address: Address, file: str):
    assert address.file(1_000_000_000) == file


@given(st.text(max_size=60) | st.builds("motion_videos/garden/{}".format, st.text(max_size=60)))
def test_no_key_leads_out_of_its_cameras_folder(key: str):
    try:
        address = Address.parse(key, PREFIXES)
    except InvalidInput:
        return
    parts = address.file(1_000_000_000).split("/")
    assert address.key == key
    assert len(parts) == 3
    assert not any(part in ("", ".", "..") or "\0" in part for part in parts)


@pytest.mark.parametrize(
    "name, media", [(".a.mp4.json", "a.mp4"), ("a.mp4.json", None), (".json", None), (".a.mp4", None)]
)
def test_a_sidecar_is_known_by_its_name(name: str, media: str | None):
    assert media_name(name) == media


def test_a_record_reads_back(bench: MediaBench):
    record = bench.store(
        CLIP, headers={"content-type": "video/mp4"}, metadata={"a": "b"}, checksum=("crc32", "AAAAAA==")
    )
    assert MediaRecord.decode(record.encode()) == record
    with pytest.raises(InvariantBroken, match="unreadable sidecar"):
        MediaRecord.decode(b"{}")


# Storing


def test_what_is_stored_is_a_plain_file_with_a_sidecar(bench: MediaBench):
    record = bench.store(CLIP, b"abc", metadata={"event_id": "e"})
    path = bench.folder.root / record.file
    assert path.read_bytes() == b"abc"
    sidecar = json.loads(path.with_name(f".{path.name}.json").read_text())
    assert sidecar["address"] == {"prefix": "motion_videos", "thing": "garden", "name": CLIP.name}
    assert sidecar["metadata"] == {"event_id": "e"}
    assert bench.files() == {record.file, f"{Path(record.file).parent}/.{path.name}.json"}


def test_nothing_is_replaced_unless_it_is_said(bench: MediaBench):
    bench.store(CLIP, b"first")
    with pytest.raises(Conflict):
        bench.store(CLIP, b"second")
    assert bench.content(CLIP) == b"first"
    assert len(bench.files()) == 2


def test_what_replaces_takes_the_place_of_the_old(bench: MediaBench):
    first = bench.store(LATEST, b"first")
    second = bench.store(LATEST, b"second", replace=True)
    assert bench.content(LATEST) == b"second"
    assert second.stored_at_s > first.stored_at_s
    assert len(bench.files()) == 2


def test_two_files_of_one_second_and_name_get_two_names(bench: MediaBench):
    other = Address("capture_images", "garden", CLIP.name)
    files = {bench.store(CLIP, b"1").file, bench.store(other, b"2").file}
    assert len(files) == 2
    assert (bench.content(CLIP), bench.content(other)) == (b"1", b"2")


def test_a_camera_whose_name_differs_in_case_only_is_another(bench: MediaBench):
    other = clip_address("GARDEN")
    bench.store(CLIP, b"1")
    bench.store(other, b"2")
    assert (bench.content(CLIP), bench.content(other)) == (b"1", b"2")


def test_what_is_discarded_leaves_nothing(bench: MediaBench):
    incoming = bench.folder.begin(10)
    incoming.write(b"x")
    assert bench.folder.usage().size == 10
    incoming.discard()
    incoming.discard()
    assert bench.files() == set()
    assert bench.folder.usage().size == 0
    for use in (lambda: incoming.write(b"x"), incoming.seal):
        with pytest.raises(Unavailable, match="no longer open"):
            use()


def test_an_object_larger_than_the_disk_is_refused_before_it_comes(bench: MediaBench):
    with pytest.raises(NoRoom):
        bench.folder.begin(2**50)
    assert bench.files() == set()


def test_a_folder_that_cannot_be_made_is_unavailable(bench: MediaBench):
    (bench.root / "file").touch()
    with pytest.raises(Unavailable):
        MediaFolder(bench.root / "file" / "media", bench.index)


def test_deleting_takes_file_sidecar_and_empty_folders(bench: MediaBench):
    bench.store(CLIP)
    assert bench.folder.delete(CLIP.key)
    assert not bench.folder.delete(CLIP.key)
    assert [path.name for path in bench.folder.root.iterdir()] == [".incoming"]
    with pytest.raises(NotFound):
        bench.folder.find(CLIP.key)


def test_deleting_leaves_what_is_not_ours(bench: MediaBench):
    record = bench.store(CLIP)
    note = (bench.folder.root / record.file).with_name("note.txt")
    note.write_text("mine")
    bench.folder.delete(CLIP.key)
    assert note.read_text() == "mine"


def test_an_object_whose_file_was_taken_away_is_gone_and_can_be_deleted(bench: MediaBench):
    record = bench.store(CLIP)
    shutil.rmtree((bench.folder.root / record.file).parent)
    with pytest.raises(NotFound):
        bench.folder.open(CLIP.key)
    assert bench.folder.delete(CLIP.key)


def test_a_star_is_a_tag_taken_away(bench: MediaBench):
    bench.store(CLIP, tags={**STANDARD, "colour": "red"})
    assert bench.folder.star(CLIP.key, starred=True).is_starred
    assert bench.folder.find(CLIP.key).tags == {"colour": "red"}
    assert not bench.folder.star(CLIP.key, starred=False).is_starred
    assert bench.folder.find(CLIP.key).tags == {**STANDARD, "colour": "red"}
    with pytest.raises(NotFound):
        bench.folder.set_tags("motion_videos/garden/none.mp4", {})


# Listing


def test_recordings_are_listed_by_camera_and_time_in_pages(bench: MediaBench):
    for number in range(7):
        bench.store(clip_address("garden", epoch_s=1800000000 + 60 * (number // 2), number=number))
    bench.store(clip_address("yard"))
    bench.store(Address("motion_videos", "garden", ".probe"), b"")
    seen: list[str] = []
    after, pages = None, 0
    while pages == 0 or after is not None:
        page = bench.index.page(thing=ThingName("garden"), after=after, limit=3)
        seen += [record.address.name for record in page.records]
        after, pages = page.next, pages + 1
    assert pages == 3
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) == 7


def test_a_stretch_of_time_is_listed(bench: MediaBench):
    for number in range(5):
        bench.store(clip_address(epoch_s=1800000000 + number, number=number))
    found = bench.index.page(since_s=1800000001, until_s=1800000003).records
    assert [record.recorded_at_s for record in found] == [1800000002, 1800000001]


@pytest.mark.parametrize("limit", [0, 1001])
def test_a_page_has_a_bound(bench: MediaBench, limit: int):
    with pytest.raises(InvalidInput, match="limit"):
        bench.index.page(limit=limit)


# The next start


def test_a_quiet_start_finds_everything_as_it_was(bench: MediaBench):
    bench.store(CLIP)
    found = again(bench).recovery
    assert found.is_quiet
    assert found.kept == 1


def test_the_index_is_made_again_from_the_folder_alone(bench: MediaBench):
    clip = bench.store(CLIP, b"clip", headers={"content-type": "video/mp4"}, metadata={"event_id": "e"})
    bench.store(clip_address("yard"), b"other")
    starred = bench.folder.star(CLIP.key, starred=True)
    rebuilt = again(bench, without_database=True)
    assert rebuilt.recovery.entered == 2
    assert rebuilt.folder.find(CLIP.key) == starred
    assert rebuilt.folder.find(CLIP.key).is_starred
    assert rebuilt.content(CLIP) == b"clip"
    assert clip.file == starred.file


def test_a_folder_that_a_person_renamed_is_taken_as_it_is(bench: MediaBench):
    bench.store(CLIP, b"clip")
    (bench.folder.root / "garden").rename(bench.folder.root / "The garden")
    rebuilt = again(bench)
    assert rebuilt.content(CLIP) == b"clip"
    assert rebuilt.folder.find(CLIP.key).file.startswith("The garden/")


def test_what_a_person_took_away_is_forgotten(bench: MediaBench):
    record = bench.store(CLIP)
    (bench.folder.root / record.file).unlink()
    found = again(bench)
    assert (found.recovery.forgotten, found.recovery.swept) == (1, 1)
    assert found.files() == set()
    assert [(news.kind, news.record.key) for news in found.index.news()] == [
        ("stored", CLIP.key),
        ("removed", CLIP.key),
    ]


def test_a_file_that_a_person_changed_is_taken_as_it_is(bench: MediaBench):
    record = bench.store(CLIP, b"before")
    (bench.folder.root / record.file).write_bytes(b"shorter")
    found = again(bench)
    assert found.content(CLIP) == b"shorter"
    assert found.folder.find(CLIP.key).md5 == a_record(CLIP, b"shorter").md5
    assert found.folder.find(CLIP.key).size == 7


def test_tags_in_a_sidecar_that_the_index_does_not_know_count(bench: MediaBench):
    record = bench.store(CLIP)
    path = bench.folder.root / record.file
    path.with_name(f".{path.name}.json").write_bytes(record.with_tags({}).encode())
    found = again(bench)
    assert found.folder.find(CLIP.key).is_starred


def test_files_without_a_sidecar_are_somebody_elses(bench: MediaBench):
    record = bench.store(CLIP)
    day = (bench.folder.root / record.file).parent
    for path in (day / "holiday.mp4", bench.folder.root / "README", day.parent / "notes.txt", day / ".notes.json"):
        path.write_text("mine")
    found = again(bench)
    assert found.recovery.is_quiet
    assert {"garden/notes.txt", "README"} <= found.files()
    assert (day / ".notes.json").read_text() == "mine"


def test_a_sidecar_that_cannot_be_read_leaves_its_file_alone(bench: MediaBench):
    record = bench.store(CLIP)
    path = bench.folder.root / record.file
    path.with_name(f".{path.name}.json").write_bytes(b"{")
    found = again(bench)
    assert found.recovery.unreadable == 1
    assert path.is_file()


@pytest.mark.parametrize("newest_first", [True, False])
def test_of_two_files_of_one_key_the_newer_counts(bench: MediaBench, newest_first: bool):
    """What a crash leaves between storing what replaces an object and removing what it replaces."""
    old = bench.store(LATEST, b"old")
    day = (bench.folder.root / old.file).parent
    kept = day.with_name("0000-00-00" if newest_first else "9999-99-99")
    shutil.copytree(day, kept)
    bench.store(LATEST, b"newer", replace=True)
    found = again(bench, without_database=True)
    assert found.content(LATEST) == b"newer"
    assert len(found.files()) == 2
    assert again(found).recovery.is_quiet


def test_folders_of_others_are_not_followed(bench: MediaBench, tmp_path_factory: pytest.TempPathFactory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    other = MediaBench(elsewhere)
    other.store(clip_address("yard"), b"theirs")
    (bench.folder.root / "yard").symlink_to(other.folder.root / "yard")
    assert recover(bench.folder).is_quiet


def test_a_folder_that_cannot_be_looked_through_is_unavailable(bench: MediaBench):
    shutil.rmtree(bench.folder.root)
    with pytest.raises(Unavailable):
        recover(bench.folder)


# Killed at every step


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("killed")
    subprocess.run([sys.executable, "-m", "tests.support.kill_at_step", str(root)], check=True, timeout=120)
    return root


BEFORE_AND_AFTER: dict[str, set[bytes | None]] = {
    "store": {None, NEW},
    "replace": {OLD, NEW},
    "delete": {OLD, None},
    "star": {OLD},
}


@pytest.mark.parametrize("change", CHANGES)
def test_killed_at_any_step_a_change_has_happened_or_not(killed: Path, change: str):
    places = sorted(killed.glob(f"{change}-*"))
    outcomes = set()
    for place in places:
        bench = MediaBench(place)
        content = bench.content(ADDRESS)
        assert content in BEFORE_AND_AFTER[change], place
        if content is None:
            assert bench.files() == set(), place
            assert bench.index.usage().objects == 0, place
            outcomes.add("nothing")
        else:
            record = bench.folder.find(ADDRESS.key)
            assert len(bench.files()) == 2, place
            assert record.md5 == a_record(ADDRESS, content).md5, place
            path = bench.folder.root / record.file
            assert MediaRecord.decode(path.with_name(f".{path.name}.json").read_bytes()) == record, place
            outcomes.add(f"{content!r}{record.is_starred}")
        assert recover(bench.folder).is_quiet, place
        told = [(news.kind, news.record.md5) for news in bench.index.news()]
        if content is None:
            assert not told or told[-1][0] == "removed", place
        else:
            assert told[-1] == ("stored", a_record(ADDRESS, content).md5), place
        bench.store(ADDRESS, b"life goes on", replace=True)
        assert bench.content(ADDRESS) == b"life goes on", place
        bench.database.close()
    assert sum((place / "done").exists() for place in places) == 1
    assert len(places) > 3
    assert len(outcomes) == 2
