"""The thread that looks after files, and the gate before publishing."""

from __future__ import annotations

import threading
import time
from collections.abc import Set as AbstractSet
from pathlib import Path

from pinthesky.link.file_watch import FileThread, Gate, signature_of


class Watched:
    def __init__(self, *files: Path, folder: Path | None = None, due_s: float | None = None) -> None:
        self.files: AbstractSet[Path] = frozenset(files)
        self.folders: AbstractSet[Path] = frozenset(() if folder is None else {folder})
        self.due_s = due_s
        self.looks: list[set[Path]] = []
        self.news = threading.Condition()

    def look(self, changed: AbstractSet[Path]) -> None:
        with self.news:
            self.looks.append(set(changed))
            self.news.notify_all()

    def due_in(self) -> float | None:
        return self.due_s

    def wait_for(self, changed: set[Path], timeout_s: float = 10.0) -> bool:
        with self.news:
            return self.news.wait_for(lambda: any(changed <= look for look in self.looks), timeout_s)

    def wait_count(self, count: int) -> bool:
        with self.news:
            return self.news.wait_for(lambda: len(self.looks) >= count, 10.0)


def test_changes_of_files_and_folders_are_told_and_waking_makes_everyone_look(tmp_path: Path) -> None:
    folder = tmp_path / "queue"
    folder.mkdir()
    crashes: list[str] = []
    thread = FileThread(lambda name, _: crashes.append(name), recheck_s=60.0)
    one, other = Watched(tmp_path / "a"), Watched(folder=folder)
    thread.add(one)
    thread.add(other)
    thread.start()
    assert one.wait_count(1)
    (tmp_path / "a").write_text("x")
    assert one.wait_for({tmp_path / "a"})
    (folder / "event").write_text("x")
    assert other.wait_for({folder})
    looks = len(one.looks)
    thread.wake()
    assert one.wait_count(looks + 1)
    thread.stop()
    assert thread.join(5.0)
    assert crashes == []


def test_what_is_due_is_looked_at_without_a_sign(tmp_path: Path) -> None:
    thread = FileThread(lambda *_: None, recheck_s=60.0)
    watched = Watched(tmp_path / "a", due_s=0.01)
    thread.add(watched)
    thread.start()
    assert watched.wait_count(5)
    thread.stop()
    assert thread.join(5.0)


def test_a_defect_in_a_part_is_a_crash_of_the_thread(tmp_path: Path) -> None:
    class Broken(Watched):
        def look(self, changed: AbstractSet[Path]) -> None:
            raise ZeroDivisionError

    crashes: list[str] = []
    thread = FileThread(lambda name, _: crashes.append(name))
    thread.add(Broken(tmp_path / "a"))
    thread.start()
    assert thread.join(10.0)
    assert crashes == ["files"]


def test_the_gate_opens_with_a_connection_and_closes_for_a_while_after_a_failure() -> None:
    now_s = 0.0
    gate = Gate(lambda: now_s)
    assert gate.opens_in() is None
    gate.open()
    assert gate.opens_in() == 0.0
    gate.close(5.0)
    assert gate.opens_in() == 5.0
    now_s = 6.0
    assert gate.opens_in() == 0.0


def test_a_signature_changes_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    assert signature_of(path) is None
    path.write_text("a")
    first = signature_of(path)
    assert first == signature_of(path)
    deadline = time.monotonic() + 5.0
    while signature_of(path) == first and time.monotonic() < deadline:
        path.write_text("b")
    assert signature_of(path) != first
