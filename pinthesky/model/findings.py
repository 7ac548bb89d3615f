"""What a look at a running camera has found: the words that the self-test on the device and `pitsctl doctor` share."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

State = Literal["ok", "warning", "failed", "skipped"]
FINDINGS_MAX = 100
Text = Annotated[str, Meta(max_length=1000)]


class Finding(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that was looked at."""

    check: Annotated[str, Meta(max_length=60)]
    """What was looked at, in a word or two: "clock", "test PUT"."""
    state: State
    what: Text
    """What was found, for people."""
    advice: Text = ""
    """What to do about it; empty where there is nothing to do."""


class Findings(Struct, frozen=True, kw_only=True):
    """Everything that was looked at, in order."""

    version: Annotated[str, Meta(max_length=60)]
    """Of the software on the device."""
    findings: Annotated[list[Finding], Meta(max_length=FINDINGS_MAX)]

    @property
    def is_well(self) -> bool:
        """Whether nothing has failed; warnings are no failures."""
        return not any(finding.state == "failed" for finding in self.findings)


def found(check: str, state: State, what: str, *, advice: str = "") -> Finding:
    """A finding, its texts cut to what travels."""
    return Finding(check=check, state=state, what=what[:1000], advice=advice[:1000])
