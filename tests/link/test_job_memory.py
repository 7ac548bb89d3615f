from __future__ import annotations

import random
from pathlib import Path

import pytest

from pinthesky.errors import Unavailable
from pinthesky.link.job_memory import GIVEN_UP_MAX, MEMORY_MAX, JobMemory, Progress, Report, read_boot_id
from pinthesky.machine import durable_files
from pinthesky.model.jobs import JobStatus
from tests.support.power_loss import Disk

REPORT = Report(
    job_id="one", execution_number=2, status=JobStatus.FAILED, details={"reason": "because", "stderr": "x"}, version=4
)


def progress_at(step: int) -> Progress:
    return Progress(job_id="one", execution_number=2, step=step, starts=1, running=True, boot_id="boot", ends_at_s=99)


def test_progress_is_remembered_for_the_same_execution_alone(tmp_path):
    JobMemory(tmp_path / "state").keep_progress(progress_at(3))
    memory = JobMemory(tmp_path / "state")
    assert memory.progress_of("one", 2) == progress_at(3)
    assert memory.progress_of("one", 3) is None
    assert memory.progress_of("two", 2) is None


def test_a_report_takes_the_place_of_the_progress_until_it_is_forgotten(tmp_path):
    memory = JobMemory(tmp_path)
    memory.keep_progress(progress_at(3))
    memory.keep_report(REPORT)
    memory = JobMemory(tmp_path)
    assert memory.progress_of("one", 2) is None
    assert memory.report == REPORT
    memory.forget()
    assert JobMemory(tmp_path).report is None


def test_given_up_reports_are_kept_without_details_and_only_the_last_ones(tmp_path):
    memory = JobMemory(tmp_path)
    for number in range(GIVEN_UP_MAX + 5):
        memory.give_up(Report(job_id="one", execution_number=number, status=JobStatus.FAILED, details={"reason": "x"}))
    memory.give_up(Report(job_id="one", execution_number=GIVEN_UP_MAX, status=JobStatus.SUCCEEDED))
    memory = JobMemory(tmp_path)
    assert memory.given_up("one", 0) is None
    again = memory.given_up("one", GIVEN_UP_MAX)
    assert again is not None
    assert (again.status, again.details) == (JobStatus.SUCCEEDED, {})


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"progress": {"job_id": 3}}', b" " * (MEMORY_MAX + 1),
     b'{"progress": {"job_id": "../x", "execution_number": 1}}'],
    ids=["empty", "torn", "list", "wrong", "long", "name"],
)  # fmt: skip
def test_what_is_not_ours_is_as_nothing_and_can_be_replaced(tmp_path, content, caplog):
    (tmp_path / "jobs.json").write_bytes(content)
    memory = JobMemory(tmp_path)
    assert memory.report is None
    assert "a job on its way begins anew" in caplog.text
    memory.keep_report(REPORT)
    assert JobMemory(tmp_path).report == REPORT


def test_a_folder_in_its_place_is_as_nothing(tmp_path, caplog):
    (tmp_path / "jobs.json").mkdir()
    assert JobMemory(tmp_path).report is None
    assert "cannot read" in caplog.text


def test_progress_that_the_disk_refuses_is_an_error_and_changes_nothing(tmp_path, monkeypatch):
    memory = JobMemory(tmp_path)
    memory.keep_progress(progress_at(1))
    monkeypatch.setattr(durable_files, "replace_file", no_room)
    with pytest.raises(Unavailable, match="No space left"):
        memory.keep_progress(progress_at(2))
    assert memory.progress_of("one", 2) == progress_at(1)


def test_a_report_that_the_disk_refuses_lives_on_in_memory_and_is_logged(tmp_path, monkeypatch, caplog):
    memory = JobMemory(tmp_path)
    monkeypatch.setattr(durable_files, "replace_file", no_room)
    memory.keep_report(REPORT)
    assert memory.report == REPORT
    assert "No space left" in caplog.text


def test_a_power_cut_at_any_moment_leaves_the_old_memory_or_the_new_one(tmp_path):
    root = tmp_path / "disk"
    root.mkdir()
    memories: list[tuple[int, object]] = [(0, (None, None))]
    disk = Disk(root)
    with pytest.MonkeyPatch.context() as patch:
        disk.record(patch)
        memory = JobMemory(root)
        for step in range(4):
            memory.keep_progress(progress_at(step))
            memories.append((disk.moment, (progress_at(step), None)))
        memory.keep_report(REPORT)
        memories.append((disk.moment, (None, REPORT)))
    chance = random.Random(4)
    for moment in range(disk.moment + 1):
        certain = max(number for number, (at, _) in enumerate(memories) if at <= moment)
        for number, content in enumerate(disk.states(moment, chance, 6)):
            place = tmp_path / f"{moment}-{number}"
            place.mkdir()
            for name, data in content.items():
                (place / name).write_bytes(data)
            found = JobMemory(place)
            assert (found.progress_of("one", 2), found.report) in [kept for _, kept in memories[certain : certain + 2]]


def test_the_kernel_s_boot_has_a_name(monkeypatch, tmp_path):
    assert len(read_boot_id()) == 36
    monkeypatch.setattr("pinthesky.link.job_memory._BOOT_ID", tmp_path / "missing")
    assert read_boot_id() == ""


def no_room(path: Path, data: bytes) -> None:
    raise OSError(28, "No space left on device")
