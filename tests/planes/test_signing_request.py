"""Certificate requests, as the door reads them: against requests that a real library has made."""

from __future__ import annotations

import base64
import hashlib

import hypothesis
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from hypothesis import strategies

from pinthesky.errors import InvalidInput
from pinthesky.planes.signing_request import REQUEST_MAX, requested_key


def request_of(key) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "camera")])
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, algorithm)
    return made.public_bytes(serialization.Encoding.PEM).decode()


def fingerprint_of(key) -> str:
    info = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(info).hexdigest()


P256 = ec.generate_private_key(ec.SECP256R1())
REQUEST = request_of(P256)
DER = base64.b64decode("".join(REQUEST.splitlines()[1:-1]))


def pem(der: bytes) -> str:
    return f"-----BEGIN CERTIFICATE REQUEST-----\n{base64.b64encode(der).decode()}\n-----END CERTIFICATE REQUEST-----\n"


@pytest.mark.parametrize(
    "key, kind",
    [
        (P256, "EC P-256"),
        (ec.generate_private_key(ec.SECP384R1()), "EC P-384"),
        (rsa.generate_private_key(65537, 2048), "RSA 2048"),
    ],
)
def test_kind_and_fingerprint_are_those_of_the_key(key, kind):
    found = requested_key(request_of(key))
    assert (found.kind, found.fingerprint.replace(":", "").lower()) == (kind, fingerprint_of(key))


def test_an_older_label_and_other_line_ends_are_taken():
    older = REQUEST.replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST").replace("\n", "\r\n")
    assert requested_key(older) == requested_key(REQUEST)


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP521R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 1024),
    ],
    ids=["P-521", "Ed25519", "RSA 1024"],
)
def test_other_keys_are_refused(key):
    with pytest.raises(InvalidInput, match="csr: must be of an EC key"):
        requested_key(request_of(key))


@pytest.mark.parametrize(
    "text, reason",
    [
        ("", "must be one certificate request in PEM"),
        ("x" * (REQUEST_MAX + 1), f"must have at most {REQUEST_MAX}"),
        (REQUEST + REQUEST, "must be one certificate request in PEM"),
        (REQUEST.replace("REQUEST", "").replace("CERTIFICATE ", "CERTIFICATE"), "must be one certificate request"),
        (pem(b"")[:-1] + "!", "must be one certificate request in PEM"),
        (pem(b""), "is not a certificate request"),
        (pem(DER + b"\0"), "is not a certificate request"),
        (pem(DER[:-1]), "is not a certificate request"),
        ("-----BEGIN CERTIFICATE REQUEST-----" + " " * 4000 + "x", "must be one certificate request in PEM"),
    ],
)
def test_what_is_no_request_is_refused(text, reason):
    with pytest.raises(InvalidInput, match=reason):
        requested_key(text)


@hypothesis.given(strategies.integers(0, len(DER) - 1), strategies.integers(1, 255), strategies.integers(0, len(DER)))
def test_a_damaged_request_is_read_or_refused_and_nothing_else(place, change, length):
    damaged = bytes([*DER[:place], DER[place] ^ change, *DER[place + 1 :]])
    for der in (damaged, DER[:length]):
        try:
            assert requested_key(pem(der)).kind
        except InvalidInput as error:
            assert error.field == "csr"
