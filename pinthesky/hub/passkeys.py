"""Passkeys: keys in people's devices with which they sign in, once they have signed in by a link and added one.

Only discoverable ones are made, and only where the device makes sure who holds it (a finger, a face, a PIN), since
nothing else is asked for. A passkey belongs to one host name of the hub: WebAuthn has none for bare addresses. Source:
Web Authentication, Level 3 (W3C).
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import secrets
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import webauthn
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from webauthn.helpers import (
    bytes_to_base64url,
    decode_credential_public_key,
    decoded_public_key_to_cryptography,
    options_to_json_dict,
)
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from pinthesky.errors import Conflict, InvalidInput, NotAuthorized, NotFound
from pinthesky.hub.database import Database
from pinthesky.model.people import Person, PersonId

CHALLENGE_S = 5 * 60
CHALLENGES_MAX = 1000
PASSKEYS_MAX = 20
"""Passkeys of one person."""
NAME_MAX = 60
ID_MAX = 1023
"""Most bytes of a passkey's id (WebAuthn, 4, "Credential ID")."""
RP_NAME = "Pi In The Sky"
_BROKEN = (
    WebAuthnException,
    InvalidSignature,
    UnsupportedAlgorithm,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RecursionError,
)
"""What the library raises for what it cannot read, or does not find to be true."""
_SCHEMA = (
    """CREATE TABLE passkeys (
        id TEXT PRIMARY KEY,
        person TEXT NOT NULL REFERENCES people (id) ON DELETE CASCADE,
        host TEXT NOT NULL,
        public_key BLOB NOT NULL,
        uses INTEGER NOT NULL,
        name TEXT NOT NULL,
        made_at INTEGER NOT NULL,
        used_at INTEGER
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX passkeys_of ON passkeys (person, made_at)",
)

Purpose = Literal["add", "sign in"]


@dataclass(frozen=True)
class Passkey:
    """A key that somebody has added. Times are epoch seconds."""

    id: str
    """Base64url, without padding."""
    person: PersonId
    host: str
    """The name of the hub under which it can be used."""
    name: str
    made_at_s: int
    used_at_s: int | None


@dataclass(frozen=True)
class _Challenge:
    purpose: Purpose
    origin: str
    person: PersonId | None
    until_s: float


class Passkeys:
    """Adds passkeys, and finds out who shows one. Thread-safe. An origin is always one of the hub's own."""

    def __init__(self, database: Database, *, now_s: Callable[[], float] = time.time) -> None:
        """The tables of `people` are there already."""
        self._database = database
        self._now_s = now_s
        self._lock = threading.Lock()
        self._challenges: OrderedDict[bytes, _Challenge] = OrderedDict()
        database.migrate("passkeys", _SCHEMA)

    def of_person(self, person: PersonId) -> list[Passkey]:
        """Somebody's passkeys, the oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT * FROM passkeys WHERE person = ? ORDER BY made_at, id", (str(person),)
            ).fetchall()
        return [_passkey(row) for row in rows]

    def adding(self, person: Person, origin: str) -> dict[str, Any]:
        """What the browser needs in order to make one (`PublicKeyCredentialCreationOptions`, as JSON).

        Raises InvalidInput (the hub is not asked by a name), Conflict (there are enough).
        """
        host = host_of(origin)
        there = self.of_person(person.id)
        if len(there) >= PASSKEYS_MAX:
            raise Conflict(f"there are {PASSKEYS_MAX} passkeys already: remove one first")
        challenge = self._new_challenge(_Challenge("add", origin, person.id, self._now_s() + CHALLENGE_S))
        name = "owner" if person.email is None else str(person.email)
        options = webauthn.generate_registration_options(
            rp_id=host,
            rp_name=RP_NAME,
            user_id=person.id.encode(),
            user_name=name,
            user_display_name=name,
            challenge=challenge,
            timeout=1000 * CHALLENGE_S,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED,
                require_resident_key=True,
                user_verification=UserVerificationRequirement.REQUIRED,
            ),
            exclude_credentials=[
                PublicKeyCredentialDescriptor(id=_bytes_of(each.id)) for each in there if each.host == host
            ],
        )
        return options_to_json_dict(options)

    def add(self, person: Person, origin: str, *, name: str, credential: Mapping[str, Any]) -> Passkey:
        """Keep what the browser has made (`RegistrationResponseJSON`). Raises InvalidInput, Conflict."""
        name = _checked_name(name)
        host = host_of(origin)
        challenge = self._challenge_of(credential, "add", origin=origin, person=person.id)
        try:
            made = webauthn.verify_registration_response(
                credential=dict(credential),
                expected_challenge=challenge,
                expected_rp_id=host,
                expected_origin=origin,
                require_user_verification=True,
            )
            decoded_public_key_to_cryptography(decode_credential_public_key(made.credential_public_key))
        except _BROKEN as error:
            raise InvalidInput("credential", "is no passkey that can be used here") from error
        if len(made.credential_id) > ID_MAX:
            raise InvalidInput("credential", f"must have an id of at most {ID_MAX} bytes")
        now = int(self._now_s())
        passkey = Passkey(bytes_to_base64url(made.credential_id), person.id, host, name, now, None)
        with self._database.transaction() as connection:
            (count,) = connection.execute(
                "SELECT count(*) FROM passkeys WHERE person = ?", (str(person.id),)
            ).fetchone()
            if count >= PASSKEYS_MAX:
                raise Conflict(f"there are {PASSKEYS_MAX} passkeys already: remove one first")
            connection.execute(
                "INSERT INTO passkeys VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
                (passkey.id, str(person.id), host, made.credential_public_key, made.sign_count, name, now),
            )
        return passkey

    def rename(self, person: PersonId, passkey: str, name: str) -> None:
        """Give one of a person's passkeys another name. Raises NotFound, InvalidInput."""
        self._change(
            person, passkey, "UPDATE passkeys SET name = ?3 WHERE id = ?1 AND person = ?2", _checked_name(name)
        )

    def remove(self, person: PersonId, passkey: str) -> None:
        """Take one of a person's passkeys away: nobody signs in with it any more. Raises NotFound."""
        self._change(person, passkey, "DELETE FROM passkeys WHERE id = ?1 AND person = ?2")

    def asking(self, origin: str) -> dict[str, Any]:
        """What the browser needs in order to show one (`PublicKeyCredentialRequestOptions`, as JSON).

        Raises InvalidInput (the hub is not asked by a name).
        """
        host = host_of(origin)
        challenge = self._new_challenge(_Challenge("sign in", origin, None, self._now_s() + CHALLENGE_S))
        options = webauthn.generate_authentication_options(
            rp_id=host,
            challenge=challenge,
            timeout=1000 * CHALLENGE_S,
            user_verification=UserVerificationRequirement.REQUIRED,
        )
        return options_to_json_dict(options)

    def person_of(self, origin: str, credential: Mapping[str, Any]) -> PersonId:
        """Who shows a passkey (`AuthenticationResponseJSON`). Raises NotAuthorized, InvalidInput."""
        host = host_of(origin)
        challenge = self._challenge_of(credential, "sign in", origin=origin)
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT * FROM passkeys WHERE id = ? AND host = ?", (str(credential.get("id")), host)
            ).fetchone()
            if row is None:
                raise NotAuthorized("this passkey is not known here")
            try:
                shown = webauthn.verify_authentication_response(
                    credential=dict(credential),
                    expected_challenge=challenge,
                    expected_rp_id=host,
                    expected_origin=origin,
                    credential_public_key=row["public_key"],
                    credential_current_sign_count=row["uses"],
                    require_user_verification=True,
                )
                handle = credential["response"].get("userHandle")
                of_this_person = handle is None or _bytes_of(handle) == row["person"].encode()
            except _BROKEN as error:
                raise NotAuthorized("this passkey does not prove who you are") from error
            if not of_this_person:
                raise NotAuthorized("this passkey does not prove who you are")
            connection.execute(
                "UPDATE passkeys SET uses = ?, used_at = ? WHERE id = ?",
                (shown.new_sign_count, int(self._now_s()), row["id"]),
            )
        return PersonId(row["person"])

    def _change(self, person: PersonId, passkey: str, statement: str, *values: str) -> None:
        with self._database.transaction() as connection:
            if connection.execute(statement, (passkey, str(person), *values)).rowcount == 0:
                raise NotFound("there is no such passkey")

    def _new_challenge(self, given: _Challenge) -> bytes:
        challenge = secrets.token_bytes(32)
        with self._lock:
            self._challenges[challenge] = given
            while len(self._challenges) > CHALLENGES_MAX:
                self._challenges.popitem(last=False)
        return challenge

    def _challenge_of(
        self, credential: Mapping[str, Any], purpose: Purpose, *, origin: str, person: PersonId | None = None
    ) -> bytes:
        """The challenge that a browser has answered, which is good for one answer. Raises NotAuthorized."""
        try:
            said = json.loads(_bytes_of(credential["response"]["clientDataJSON"]))
            challenge = _bytes_of(said["challenge"])
        except _BROKEN as error:
            raise InvalidInput("credential", "is not what a browser says of a passkey") from error
        with self._lock:
            given = self._challenges.pop(challenge, None)
        if given is None or given.until_s <= self._now_s():
            raise NotAuthorized("that took too long: try again")
        if (given.purpose, given.origin, given.person) != (purpose, origin, person):
            raise NotAuthorized("this was asked of somebody else")
        return challenge


def host_of(origin: str) -> str:
    """The host name that passkeys of an origin belong to. Raises InvalidInput for a bare address."""
    host = urlsplit(origin).hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host
    raise InvalidInput("host", "passkeys need a name of this hub, such as localhost, and no bare address")


def _checked_name(name: str) -> str:
    found = " ".join(name.split())
    if not found or len(found) > NAME_MAX or not found.isprintable():
        raise InvalidInput("name", f"must be 1 to {NAME_MAX} letters")
    return found


def _bytes_of(text: str) -> bytes:
    """Raises ValueError, TypeError (no text, or no base64url)."""
    try:
        return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, AttributeError) as error:
        raise ValueError("is no base64url") from error


def _passkey(row: sqlite3.Row) -> Passkey:
    return Passkey(row["id"], PersonId(row["person"]), row["host"], row["name"], row["made_at"], row["used_at"])
