"""Registrations: cameras that ask to be let in, found by the code that a person reads and by the device's own."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from pinthesky.errors import Unavailable
from pinthesky.model.identifiers import Identifier, ThingName
from pinthesky.model.people import PersonId
from pinthesky.planes.ports import DeviceIdentity
from pinthesky.planes.records import rows
from pinthesky.planes.table import Condition, Key, Put, Record, Table

PARTITION = "registration"
OF_DEVICE = "registration-of"
LIFETIME_S = 15 * 60
REMEMBERED_S = 24 * 3600
"""For so long a device is told that its code has expired, and not that there never was one."""
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
"""RFC 8628, 6.1: no vowels, so no words, and nothing that looks like something else."""
_CODES_TRIED_MAX = 8

State = Literal["pending", "approving", "approved", "denied", "fetched"]


class UserCode(Identifier):
    """What a person reads off the device: 8 letters, kept in capitals and without the dash that is shown."""

    __slots__ = ()
    _field = "user_code"
    _pattern = re.compile(rf"[{_LETTERS}]{{8}}")
    _rule = f"must be 8 letters of {_LETTERS}"

    @classmethod
    def parse(cls, value: object, field: str | None = None) -> UserCode:
        """Take a code as people type it: in any case, with dashes or spaces."""
        return super().parse(re.sub(r"[- ]", "", value).upper() if isinstance(value, str) else value, field)

    @classmethod
    def pattern(cls) -> str:
        """Capitals with or without a dash: what is shown, and what is kept."""
        return rf"[{_LETTERS}]{{4}}-?[{_LETTERS}]{{4}}"

    @classmethod
    def new(cls) -> UserCode:
        """A fresh code: one of 25.6 thousand million."""
        return cls("".join(secrets.choice(_LETTERS) for _ in range(8)))

    @property
    def shown(self) -> str:
        """As a person reads it."""
        return f"{self[:4]}-{self[4:]}"


class Registration(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A camera that asks to be let in, and what became of it. Times are epoch milliseconds."""

    user_code: UserCode
    device_hash: str
    csr: str
    key_kind: str
    fingerprint: str
    host_name: str
    source_ip: str
    requested_at: int
    expires_at: int
    interval_s: int
    polled_at: int | None = None
    state: State = "pending"
    decided_by: PersonId | None = None
    thing: ThingName | None = None
    identity: DeviceIdentity | None = None


class _Pointer(Struct, frozen=True):
    user_code: UserCode


class Registrations:
    """The repository of the registrations."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def add(self, make: Callable[[UserCode, str], Registration]) -> tuple[Registration, str]:
        """Note a wish, made for a fresh user code and the hash of a fresh device code, which is returned with it."""
        for _ in range(_CODES_TRIED_MAX):
            device_code = secrets.token_urlsafe(32)
            registration = make(UserCode.new(), _hash(device_code))
            pointer = Record(
                Key(OF_DEVICE, registration.device_hash),
                rows.encode(_Pointer(registration.user_code)),
                expires_at_s=registration.expires_at // 1000 + REMEMBERED_S,
            )
            if rows.create_if_absent(self._table, _record(registration), Put(pointer, Condition.ABSENT)):
                return registration, device_code
        raise Unavailable("no user code is free")

    def get(self, user_code: UserCode) -> Registration:
        """Raises NotFound: there is none, or its time is over."""
        return rows.get(self._table, _key(user_code), Registration, missing=_missing(user_code))

    def user_code_of(self, device_code: str) -> UserCode:
        """The registration of a device, which may be over. Raises NotFound for a code that nobody was given."""
        missing = "there is no such device code"
        return rows.get(self._table, Key(OF_DEVICE, _hash(device_code)), _Pointer, missing=missing).user_code

    def count(self, *, most: int) -> int:
        """How many are there now; counted up to `most`, at most 100."""
        return len(self._table.query(PARTITION, limit=most).records)

    def change(self, user_code: UserCode, to: Callable[[Registration], Registration]) -> Registration:
        """Replace a registration by `to(registration)`. Raises NotFound."""
        missing = _missing(user_code)
        return rows.change(self._table, _key(user_code), Registration, to_record=_record, to=to, missing=missing)


def _hash(device_code: str) -> str:
    return hashlib.sha256(device_code.encode()).hexdigest()


def _missing(user_code: UserCode) -> str:
    return f"no camera asks with the code {user_code.shown}, or its time is over"


def _key(user_code: UserCode) -> Key:
    return Key(PARTITION, str(user_code))


def _record(registration: Registration) -> Record:
    return Record(_key(registration.user_code), rows.encode(registration), expires_at_s=registration.expires_at // 1000)
