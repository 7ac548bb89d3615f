"""The person before the screen, as a port: what only they can say, asked on whichever screen there is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Registration:
    """What a person needs in order to let a camera in (RFC 8628)."""

    user_code: str
    address: str
    """Where the code is to be typed, for a browser."""
    fingerprint: str
    """SHA-256 of the camera's public key, which the person compares with the one shown there."""
    expires_in_s: int


class Person(Protocol):
    """Questions that come up while something is done; called from the thread that does it, which waits for the answer.

    What a person types here is never kept, logged or written into answers.
    """

    def secret(self, question: str) -> str | None:
        """Ask for a password (root's by sudo, a key's passphrase) without echo; None: none is given, give it up."""
        ...

    def confirm(self, question: str, detail: str = "") -> bool:
        """Ask a question of yes or no, such as whether an unknown host key is to be trusted; no where nobody answers.

        `detail` is what the answer hangs on, of several lines if need be: the key's kind and fingerprint.
        """
        ...

    def show_registration(self, registration: Registration | None) -> None:
        """Show a code until None comes: it was approved, was denied, or has expired. Does not wait."""
        ...
