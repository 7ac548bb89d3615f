"""Lines for people on stdout or in the journal, and what may stand in one.

No line can be forged by what it quotes: control characters are escaped, so one record is one line, and only a
traceback goes on in indented lines. Passwords in URLs and signatures are taken out everywhere.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Mapping
from typing import Optional, TextIO

_VENDORS = ("botocore", "boto3", "s3transfer", "urllib3", "libav")
"""Their debug lines hold headers and tokens."""

_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))

# C0, DEL, C1, line and paragraph separator, marks that turn the direction of text, halves of surrogate pairs.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# After the host's colon a port is digits and a slash; anything else before an "@" is a password.
_USER_INFO = re.compile(
    r"\b([a-z][a-z0-9+.-]{0,15}://)(?!\*\*\*@)[^\s/@:]{0,256}(?::(?!\d+(?:/|\s|$))\S{0,512})?@", re.IGNORECASE
)
_SECRET_PARAMETERS = re.compile(
    r"\b(password|passwd|secret|token|x-amz-(?:signature|security-token|credential))=[^\s&\"']+", re.IGNORECASE
)


def clean(text: str) -> str:
    """Return `text` as it may stand in a line: secrets taken out, control characters escaped."""
    text = _USER_INFO.sub(r"\1***@", text)
    text = _SECRET_PARAMETERS.sub(r"\1=***", text)
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode("ascii"), text)


def lines_of(record: logging.LogRecord) -> list[str]:
    """Return the record's message as one clean line, and the lines of its traceback, indented."""
    try:
        message = record.getMessage()
    except (TypeError, ValueError, KeyError):
        message = f"{record.msg} (with arguments that do not fit: {record.args!r})"
    lines = [clean(message)]
    if record.exc_info and record.exc_info[0] is not None:
        traceback = logging.Formatter().formatException(record.exc_info)
        lines.extend("    " + clean(line) for line in traceback.split("\n"))
    return lines


def source_of(record: logging.LogRecord) -> str:
    """Return the module that speaks, by its own name."""
    return record.name.rpartition(".")[2]


class JournalFormatter(logging.Formatter):
    """`<priority>source: message`, as journald reads it (sd-daemon(3)); it adds the time itself."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record with its priority before each line."""
        priority = next((number for level, number in _PRIORITIES if record.levelno >= level), 7)
        return "\n".join(f"<{priority}>{source_of(record)}: {line}" for line in lines_of(record))


class PlainFormatter(logging.Formatter):
    """`2026-11-21 09:07:45 INFO source: message`, in local time, for a terminal or a file."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record with its time before the first line."""
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        return f"{when} {record.levelname} {source_of(record)}: " + "\n".join(lines_of(record))


class _ConsoleHandler(logging.StreamHandler):  # type: ignore[type-arg] # StreamHandler[…] cannot be evaluated before Python 3.11
    """The one handler that writes to stdout."""


def configure_logging(level: str, stream: Optional[TextIO] = None, environ: Optional[Mapping[str, str]] = None) -> None:
    """Send what is logged at `level` or above to stdout, in the form that its reader likes. May be called again."""
    out = sys.stdout if stream is None else stream
    root = logging.getLogger()
    console = _ConsoleHandler(out)
    for handler in list(root.handlers):
        if isinstance(handler, _ConsoleHandler) and handler.stream is out:
            console = handler
        elif isinstance(handler, _ConsoleHandler):
            root.removeHandler(handler)
    to_journal = is_journal(out, os.environ if environ is None else environ)
    console.setFormatter(JournalFormatter() if to_journal else PlainFormatter())
    console.setLevel(level)
    root.addHandler(console)
    root.setLevel(min((handler.level or logging.INFO) for handler in root.handlers))
    for name in _VENDORS:
        logging.getLogger(name).setLevel(logging.WARNING)


def is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Tell whether `stream` is connected to the journal: JOURNAL_STREAM names its device and inode."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM", "") == f"{found.st_dev}:{found.st_ino}"
