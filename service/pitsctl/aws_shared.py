"""What all cameras of an account share, where nobody has deployed it: group, role, alias, policy, bucket, log group.

Each is adopted as it is where it is there already. What is made here is written down before it is made, in attributes
of the cameras' thing group: state that is in the account, so that any workstation can take it back. It goes with the
last camera, and only if it was made here.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from pinthesky.errors import InvalidInput, NotFound
from pinthesky.model import camera_policy
from pitsctl.aws_account import Account, errors
from pitsctl.person import Person
from pitsctl.steps import Found, Say, Verdict

TAG = ("pinthesky:made-by", "pitsctl")
"""On everything that takes tags: for people, and for the bill."""
MADE_BY = "madeBy"
_PATIENCE = 8
_PAUSE_S = 3.0
"""A role that was just made is not known everywhere in AWS for some seconds."""


@dataclass(frozen=True)
class CloudNames:
    """What is called how. Empty: there is none."""

    thing: str
    group: str
    policy: str
    role: str
    role_alias: str
    bucket: str
    log_group: str
    prefixes: tuple[str, str]
    """Of clips, and of stills."""


class Record:
    """Which of the shared resources pitsctl has made, as attributes of the thing group."""

    def __init__(self, account: Account, group: str) -> None:
        self._account = account
        self.group = group

    def attributes(self) -> dict[str, str] | None:
        """The attributes of the group; None: there is no group."""
        try:
            with errors(f"looking for the thing group {self.group}"):
                found = self._account.client("iot").describe_thing_group(thingGroupName=self.group)
        except NotFound:
            return None
        payload = found.get("thingGroupProperties", {}).get("attributePayload", {})
        return dict(payload.get("attributes") or {})

    def made(self, kind: str, name: str) -> bool:
        """Whether it was made, or was about to be."""
        return (self.attributes() or {}).get(kind) == name

    def note(self, kind: str, name: str) -> None:
        """Write down that it is about to be made."""
        self._update({kind: name})

    def forget(self, kind: str) -> None:
        """Write down that it is gone. An attribute without a value is removed by AWS."""
        if (self.attributes() or {}).get(kind):
            self._update({kind: ""})

    def others(self, but: str) -> list[str]:
        """Things of the group other than `but`, at most a few."""
        with errors(f"listing the thing group {self.group}"):
            found = self._account.client("iot").list_things_in_thing_group(thingGroupName=self.group, maxResults=10)
        return [name for name in found.get("things", []) if name != but]

    def _update(self, attributes: dict[str, str]) -> None:
        with errors(f"writing to the thing group {self.group}"):
            self._account.client("iot").update_thing_group(
                thingGroupName=self.group,
                thingGroupProperties={"attributePayload": {"attributes": attributes, "merge": True}},
            )


class SharedStep(ABC):
    """Makes or adopts one resource, and takes it back with the last camera."""

    name: str
    title: str
    kind: str
    """Its attribute in the record."""
    called: str
    """Its field of CloudNames."""

    def __init__(self, account: Account, names: CloudNames, person: Person) -> None:
        self.account = account
        self.names = names
        self.person = person
        self.record = Record(account, names.group)
        self.pause: Callable[[float], None] = time.sleep

    @property
    def resource(self) -> str:
        """Its name."""
        return str(getattr(self.names, self.called))

    @abstractmethod
    def _exists(self) -> bool:
        """Whether it is there."""

    @abstractmethod
    def _is_whole(self) -> bool:
        """Whether it is as it was made: asked of what was made here only."""

    @abstractmethod
    def _make(self) -> None:
        """Make it, or go on with what was begun."""

    @abstractmethod
    def _delete(self, say: Say) -> bool:
        """Remove it. False: it is kept, and `say` was told why."""

    def check(self) -> Found:
        """See `Step`."""
        ours = self.record.made(self.kind, self.resource)
        if not self._exists():
            return Found(Verdict.NEEDED, f"make {self.resource}")
        if not ours:
            return Found(Verdict.DONE, f"{self.resource} is there, and is used as it is")
        if self._is_whole():
            return Found(Verdict.DONE, f"{self.resource} is there")
        return Found(Verdict.NEEDED, f"{self.resource} is there, and is not what it should be")

    def apply(self, say: Say) -> None:
        """See `Step`."""
        if self.check().verdict is Verdict.DONE:
            return
        if not self._exists():
            self.record.note(self.kind, self.resource)
        self._make()
        say(f"{self.resource} is there")

    def undo(self, say: Say) -> None:
        """See `Step`."""
        if not self.record.made(self.kind, self.resource):
            return
        if self.record.others(self.names.thing):
            say(f"{self.resource} is kept: other cameras use it")
        elif not self._exists() or self._delete(say):
            self.record.forget(self.kind)
            say(f"{self.resource} is removed")

    def patiently(self, do: Callable[[], Any]) -> None:
        """Do what may be refused for some seconds, since AWS does not know everywhere yet what was just made."""
        for left in reversed(range(_PATIENCE)):
            try:
                do()
            except InvalidInput as error:
                if not left or not any(word in str(error) for word in ("MalformedPolicy", "InvalidRequest")):
                    raise
                self.pause(_PAUSE_S)
            else:
                return


def tags() -> list[dict[str, str]]:
    """TAG, as most services take it."""
    return [{"Key": TAG[0], "Value": TAG[1]}]


def same(found: Any, wanted: camera_policy.Document) -> bool:
    """Whether two policies are equal as JSON; IAM and IoT give theirs as text, quoted or not."""
    if isinstance(found, str):
        try:
            found = json.loads(found if found.lstrip().startswith("{") else unquote(found))
        except ValueError:
            return False
    return bool(found == wanted)
