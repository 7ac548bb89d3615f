"""Who may use a home's fleet: people and their roles."""

from __future__ import annotations

import enum
import re
import secrets
from dataclasses import dataclass
from typing import Optional

from pinthesky.errors import InvalidInput
from pinthesky.model.identifiers import Identifier

EMAIL_MAX = 254


class Role(enum.Enum):
    """What a person is in a home."""

    OWNER = "owner"
    MEMBER = "member"
    VIEWER = "viewer"


class PersonId(Identifier):
    """What a person is called in tokens and records: the identity provider's subject."""

    __slots__ = ()
    _field = "person"
    _pattern = re.compile(r"[A-Za-z0-9_-]{1,64}")
    _rule = "must be 1 to 64 letters, digits, '_' or '-'"

    @classmethod
    def new(cls) -> PersonId:
        """A fresh id."""
        return cls(secrets.token_hex(16))


class Email(Identifier):
    """An e-mail address. Compared in lower case, which is how it is kept."""

    __slots__ = ()
    _field = "email"
    _pattern = re.compile(r"[a-z0-9.!#$%&'*+/=?^_{|}~-]{1,64}@(?:[a-z0-9-]{1,63}\.)*[a-z0-9-]{1,63}")
    _rule = "must be an e-mail address"

    @classmethod
    def parse(cls, value: object, field: Optional[str] = None) -> Email:
        """Take an address in any case, of at most 254 characters (RFC 5321, 4.5.3.1.3)."""
        if isinstance(value, str) and len(value.strip()) > EMAIL_MAX:
            raise InvalidInput(field or cls._field, f"{cls._rule} of at most {EMAIL_MAX} characters")
        return super().parse(value.strip().lower() if isinstance(value, str) else value, field)


@dataclass(frozen=True)
class Person:
    """Somebody who can sign in."""

    id: PersonId
    email: Optional[Email]
    """None: signs in with what the hub prints to its terminal."""
    role: Optional[Role]
    """None: known to the identity provider, invited by nobody."""
    groups: Optional[frozenset[str]] = None
    """Groups whose cameras a viewer is limited to; None: every camera."""
