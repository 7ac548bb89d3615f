"""The camera's own key: made on its machine by OpenSSL, and never anywhere else."""

from __future__ import annotations

import base64
import hashlib
import ssl
from typing import NamedTuple

from pinthesky.errors import Conflict, Unavailable
from pitsctl import places
from pitsctl.machine import Machine, Ran
from pitsctl.steps import Found, Say, Verdict


class Request(NamedTuple):
    """A certificate request in PEM, and the fingerprint of its key: SHA-256 of the SubjectPublicKeyInfo."""

    csr: str
    fingerprint: str


class DeviceKey:
    """The key of one machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def is_there(self) -> bool:
        """Whether there is a key that can be used."""
        return self._openssl("pkey", "-in", str(places.KEY), "-noout").code == 0

    def is_theirs(self) -> bool:
        """Whether daemon and device client can read it, and nobody else."""
        return self._machine.mode_of(places.KEY) == places.KEY_MODE

    def make(self) -> None:
        """Make the key where there is none: EC P-256, mode 600, of the camera's user. Raises Unavailable.

        One that an earlier installation has left becomes the camera's again. Raises Conflict for what is no key.
        """
        new = f"{places.KEY}.new"
        if self._machine.mode_of(places.KEY) is None:
            # The empty file has its mode before the key is in it, and OpenSSL keeps the mode of what is there.
            mode = ("-m", f"{places.KEY_MODE.mode:o}", "-o", places.KEY_MODE.owner, "-g", places.KEY_MODE.group)
            self._must("install", *mode, "/dev/null", new)
            curve = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
            self._must("openssl", "genpkey", *curve, "-out", new)
            self._must("sync", new)
            self._must("mv", "-n", new, str(places.KEY))
        elif not self.is_there():
            raise Conflict(f"{places.KEY} is no key without a password; move it away, and begin again")
        elif not self.is_theirs():
            theirs = places.KEY_MODE
            self._must("chmod", f"{theirs.mode:o}", str(places.KEY))
            self._must("chown", f"{theirs.owner}:{theirs.group}", str(places.KEY))

    def request(self, name: str) -> Request:
        """A certificate request for `name`, signed with the key. Raises Unavailable."""
        asked = self._must("openssl", "req", "-new", "-batch", "-key", str(places.KEY), "-subj", f"/CN={name}")
        return Request(asked.out, fingerprint_of_key(self.public_key()))

    def public_key(self) -> str:
        """The public key in PEM. Raises Unavailable."""
        return self._must("openssl", "pkey", "-in", str(places.KEY), "-pubout").out

    def trouble_with_certificate(self) -> str | None:
        """Why the certificate that is there cannot be used; None: it can."""
        certificate = ("-in", str(places.CERTIFICATE), "-noout")
        if self._machine.mode_of(places.CERTIFICATE) is None:
            return "there is no certificate"
        told = self._openssl("x509", *certificate, "-pubkey")
        if told.code != 0:
            return f"{places.CERTIFICATE} is no certificate"
        if not self.is_there() or told.out.split() != self.public_key().split():
            return f"{places.CERTIFICATE} is of another key"
        if self._openssl("x509", *certificate, "-checkend", "0").code != 0:
            return f"{places.CERTIFICATE} has expired"
        return None

    def _openssl(self, *words: str) -> Ran:
        return self._machine.run("openssl", *words, root=True)

    def _must(self, *words: str) -> Ran:
        ran = self._machine.run(*words, root=True)
        if ran.code != 0:
            said = (ran.error or ran.out).strip().splitlines()
            raise Unavailable(f"{words[0]} {words[1]} failed on {self._machine.name}: {said[-1] if said else ran.code}")
        return ran


class KeyStep:
    """Makes the camera's key on its machine."""

    name = "device-key"
    title = "Make the camera's key, which never leaves it"

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._key = DeviceKey(machine)

    def check(self) -> Found:
        """See `Step`."""
        if self._machine.run("openssl", "version").code != 0:
            return Found(Verdict.IMPOSSIBLE, "the program openssl is missing: sudo apt install openssl")
        if self._key.is_there() and not self._key.is_theirs():
            return Found(Verdict.NEEDED, f"{places.KEY} is there; give it to {places.USER} alone")
        if self._key.is_there():
            return Found(Verdict.DONE, f"{places.KEY} is there")
        if self._machine.mode_of(places.KEY) is not None:
            return Found(Verdict.IMPOSSIBLE, f"{places.KEY} is no key without a password: move it away")
        return Found(Verdict.NEEDED, f"an EC P-256 key in {places.KEY}")

    def apply(self, say: Say) -> None:
        """See `Step`."""
        self._key.make()
        say(f"Fingerprint of the key: {fingerprint_of_key(self._key.public_key())}")

    def undo(self, say: Say) -> None:
        """See `Step`. Nobody has a copy of the key: whoever takes this back has asked before."""
        if self._machine.mode_of(places.KEY) is not None:
            self._machine.run("rm", "-f", "--", str(places.KEY), root=True)
            say(f"{places.KEY} is deleted")


def fingerprint_of_key(public_key_pem: str) -> str:
    """SHA-256 of a public key in PEM, of its DER (SubjectPublicKeyInfo), as 32 pairs of digits with colons."""
    body = "".join(line for line in public_key_pem.split("\n") if line and "-----" not in line)
    return _pairs(hashlib.sha256(base64.b64decode(body)).hexdigest())


def fingerprint_of_certificate(der: bytes) -> str:
    """SHA-256 of a certificate in DER, as 32 pairs of digits with colons."""
    return _pairs(hashlib.sha256(der).hexdigest())


def first_certificate(pem: str) -> bytes:
    """The first certificate of a PEM text, in DER. Raises ValueError."""
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    if begin not in pem or end not in pem:
        raise ValueError("holds no certificate in PEM")
    return ssl.PEM_cert_to_DER_cert(pem[pem.index(begin) : pem.index(end) + len(end)])


def _pairs(hexadecimal: str) -> str:
    digits = hexadecimal.upper()
    return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))
