"""Versions of the software: which texts are one, and which of two is newer."""

from __future__ import annotations

import re

from pinthesky.errors import InvalidInput

_VERSION = re.compile(
    r"(?P<release>\d{1,9}(?:\.\d{1,9}){0,5})"
    r"(?:(?P<pre>a|b|rc)(?P<pre_number>\d{1,9}))?"
    r"(?:\.post(?P<post>\d{1,9}))?"
    r"(?:\.dev(?P<dev>\d{1,9}))?"
    r"(?:\+(?P<local>[a-z0-9]{1,32}(?:\.[a-z0-9]{1,32}){0,4}))?\Z",
    re.ASCII,
)


def is_version(text: str) -> bool:
    """Whether `text` is a version in PEP 440's normal form."""
    return _VERSION.match(text) is not None


def check_version(text: str) -> str:
    """Return `text` if it is a version in PEP 440's normal form, which is also safe as a folder's name.

    Raises InvalidInput.
    """
    if not _VERSION.match(text):
        raise InvalidInput("version", f"{text[:80]!r} is no version such as 1.4.0 or 1.4.0rc1")
    return text


def order_of(version: str) -> tuple[object, ...]:
    """Return what sorts versions as PEP 440 does: 1.0.dev1 < 1.0a1 < 1.0rc1 < 1.0 < 1.0.post1; of locals, by text."""
    match = _VERSION.match(version)
    if match is None:
        raise InvalidInput("version", f"{version[:80]!r} is no version")
    release = [int(part) for part in match["release"].split(".")]
    while release and release[-1] == 0:
        release.pop()
    endless = 10**10
    is_dev_only = match["dev"] is not None and match["pre"] is None and match["post"] is None
    pre = (match["pre"], int(match["pre_number"])) if match["pre"] else ("", 0) if is_dev_only else ("z", 0)
    post = int(match["post"]) if match["post"] is not None else -1
    dev = int(match["dev"]) if match["dev"] is not None else endless
    return tuple(release), pre, post, dev, match["local"] or ""
