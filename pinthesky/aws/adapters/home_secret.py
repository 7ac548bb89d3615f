"""The secret of a home in AWS: a row of the table, made by whichever function needs it first.

A row costs nothing, where a secret of Secrets Manager costs each month, and hides nothing from anybody who could not
read it otherwise: whoever reads this table reads the shares and the tickets that the secret seals.
"""

from __future__ import annotations

import secrets
from contextlib import suppress

import msgspec
from msgspec import Struct

from pinthesky.errors import Conflict, InvariantBroken, Unavailable
from pinthesky.planes.table import Condition, Key, Put, Record, Table

SECRET_BYTES = 32
KEY = Key("home", "secret")


class SecretRow(Struct, frozen=True):
    """What the row holds; in JSON the bytes are base64."""

    secret: bytes


def secret_of(table: Table) -> bytes:
    """The SECRET_BYTES random bytes that every function of a home seals page tokens and links with.

    Of several functions that find none at the same moment one makes it, and the others take that one. Raises
    Unavailable, and InvariantBroken where somebody has written something else into the row.
    """
    record = table.get(KEY)
    if record is None:
        # Another function has been faster: its secret is read below.
        with suppress(Conflict):
            made = msgspec.json.encode(SecretRow(secrets.token_bytes(SECRET_BYTES)))
            table.write(Put(Record(KEY, made), Condition.ABSENT))
        record = table.get(KEY)
    if record is None:
        raise Unavailable("the secret of this home was removed while it was made")
    try:
        found = msgspec.json.decode(record.content, type=SecretRow).secret
    except msgspec.MsgspecError as error:
        raise InvariantBroken("the row of this home's secret holds something else") from error
    if len(found) != SECRET_BYTES:
        raise InvariantBroken(f"the secret of this home must have {SECRET_BYTES} bytes, has {len(found)}")
    return found
