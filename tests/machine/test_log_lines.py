"""Lines for people: what may stand in one, and where they go."""

from __future__ import annotations

import io
import logging
import os
import re
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinthesky.machine.log_lines import JournalFormatter, PlainFormatter, clean, configure_logging, is_journal
from tests.support.log_records import a_record, root_logger

__all__ = ["root_logger"]


@pytest.mark.parametrize(
    "level, prefix",
    [
        (logging.CRITICAL, "<2>"),
        (logging.ERROR, "<3>"),
        (logging.WARNING, "<4>"),
        (logging.INFO, "<6>"),
        (logging.DEBUG, "<7>"),
    ],
)
def test_the_journal_gets_the_priority_before_the_line(level, prefix):
    assert JournalFormatter().format(a_record("open %s", "a", level=level)) == prefix + "camera: open a"


def test_a_person_gets_the_time_and_the_level():
    line = PlainFormatter().format(a_record("open", level=logging.WARNING))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d WARNING camera: open", line)


def test_a_traceback_goes_on_in_lines_that_have_the_priority_and_cannot_be_taken_for_others():
    with pytest.raises(ValueError, match="forged") as caught:
        int("first\n<0>forged: line")
    caught.value.args = ("first\n<0>forged: line",)
    lines = JournalFormatter().format(a_record("failed", level=logging.ERROR, error=caught.value)).split("\n")
    assert lines[0] == "<3>camera: failed"
    assert len(lines) > 3
    assert all(line.startswith("<3>camera:     ") for line in lines[1:])


def test_a_frame_of_the_traceback_is_shown():
    with pytest.raises(ValueError, match="x") as caught:
        int("x")
    assert "test_log_lines" in PlainFormatter().format(a_record("failed", error=caught.value))


def test_an_empty_exc_info_is_no_traceback():
    record = a_record("calm")
    record.exc_info = (None, None, None)
    assert JournalFormatter().format(record) == "<6>camera: calm"


def test_a_message_whose_arguments_do_not_fit_is_shown_all_the_same():
    assert "%d files" in PlainFormatter().format(a_record("%d files", "many"))


@given(st.text(st.characters(codec=None), max_size=80))
def test_nothing_from_outside_can_begin_a_line(payload):
    for formatter in (JournalFormatter(), PlainFormatter()):
        line = formatter.format(a_record("got %s", payload))
        assert len(line.splitlines()) == 1
        assert line.isprintable() or not re.search("[\x00-\x1f\x7f-\x9f]", line)
        line.encode("utf-8")


@pytest.mark.parametrize(
    "text, shown",
    [
        ("a\nb\tc\x1b[31m\x00", r"a\nb\tc\x1b[31m\x00"),
        ("\u2028\u202e\ud800", r"\u2028\u202e\ud800"),
        ("Grüße, 猫", "Grüße, 猫"),
        ("rtsp://admin:hunter2@10.0.0.5:554/h264", "rtsp://***@10.0.0.5:554/h264"),
        ("RTSP://admin:p@ss/w:rd@cam/1 and http://x:y@z", "RTSP://***@cam/1 and http://***@z"),
        ("https://tok3n@host/a", "https://***@host/a"),
        ("http://:secretpw@host/a", "http://***@host/a"),
        ("https://abc.execute-api/prod/@connections/x", "https://abc.execute-api/prod/@connections/x"),
        ("https://127.0.0.1:8443/prod/@connections/x", "https://127.0.0.1:8443/prod/@connections/x"),
        ("https://b.s3/k?X-Amz-Signature=abc&X-Amz-Date=1", "https://b.s3/k?X-Amz-Signature=***&X-Amz-Date=1"),
        ("password=hunter2 token=abc", "password=*** token=***"),
    ],
)
def test_controls_are_escaped_and_secrets_taken_out(text, shown):
    assert clean(text) == shown


@given(
    st.from_regex(r"[a-zA-Z0-9]{0,8}", fullmatch=True),
    st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="@/"), min_size=6, max_size=20),
)
def test_no_password_of_an_address_is_shown(user, password):
    shown = clean(f"cannot open rtsp://{user}:{password}Z@camera.local/stream: refused")
    assert password + "Z" not in shown
    assert shown.endswith("@camera.local/stream: refused")


def test_cleaning_a_hostile_line_takes_no_long():
    began = time.process_time()
    clean(("http://" + "a:" * 400) * 40)
    clean("x" * 100_000)
    clean("a" * 50_000 + "://" + ":" * 50_000)
    assert time.process_time() - began < 1.0


# Stdout


def test_stdout_is_written_once_at_its_level_however_often_it_is_configured(root_logger):
    out = io.StringIO()
    configure_logging("DEBUG", out, {})
    configure_logging("WARNING", out, {})
    logging.getLogger("pinthesky.device.x").info("quiet")
    logging.getLogger("pinthesky.device.x").warning("loud")
    assert out.getvalue().splitlines()[0].endswith("WARNING x: loud")
    assert len(out.getvalue().splitlines()) == 1


def test_another_stream_takes_the_place_of_the_one_before(root_logger):
    former, out = io.StringIO(), io.StringIO()
    configure_logging("INFO", former, {})
    configure_logging("INFO", out, {})
    logging.getLogger("pinthesky.device.x").warning("loud")
    assert former.getvalue() == ""
    assert "loud" in out.getvalue()


def test_no_line_is_lost_while_the_level_changes(root_logger):
    out = io.StringIO()
    configure_logging("INFO", out, {})
    logger = logging.getLogger("pinthesky.device.x")
    stop = threading.Event()

    def change():
        while not stop.is_set():
            configure_logging("WARNING", out, {})
            configure_logging("INFO", out, {})

    changer = threading.Thread(target=change)
    changer.start()
    for number in range(300):
        logger.warning("%d", number)
    stop.set()
    changer.join()
    assert [line.rpartition(" ")[2] for line in out.getvalue().splitlines()] == [str(number) for number in range(300)]


def test_a_vendor_s_debug_lines_are_never_shown(root_logger):
    out = io.StringIO()
    configure_logging("DEBUG", out, {})
    logging.getLogger("botocore.endpoint").debug("Authorization: …")
    assert out.getvalue() == ""


def test_the_journal_is_known_by_its_device_and_inode(tmp_path):
    with (tmp_path / "out").open("w") as out:
        found = os.fstat(out.fileno())
        assert is_journal(out, {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"})
        assert not is_journal(out, {"JOURNAL_STREAM": f"{found.st_dev}:1"})
        assert not is_journal(out, {})
    assert not is_journal(io.StringIO(), {"JOURNAL_STREAM": "1:1"})


def test_lines_for_the_journal_have_priorities(root_logger, tmp_path):
    with (tmp_path / "out").open("w+") as out:
        found = os.fstat(out.fileno())
        configure_logging("INFO", out, {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"})
        logging.getLogger("pinthesky.device.x").error("loud")
        out.seek(0)
        assert out.read() == "<3>x: loud\n"
