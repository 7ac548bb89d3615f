"""The hub's certificate authority: the root that cameras trust, the server's certificate, and one for each camera.

EC P-256 throughout: every TLS library on a camera has it, and a handshake costs a Pi Zero least. The root outlives the
cameras; the server's certificate is short enough for phones, and is renewed by the running hub.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pinthesky.errors import InvalidInput, InvariantBroken
from pinthesky.hub.data_folder import check_private
from pinthesky.hub.registry import Revoked
from pinthesky.hub.settings import is_address
from pinthesky.machine.durable_files import replace_file
from pinthesky.model.identifiers import ThingName

ROOT_VALIDITY = timedelta(days=25 * 365)
SERVER_VALIDITY = timedelta(days=397)
"""Longer ones are refused by Apple's and Google's systems, the day before `now` included."""
RENEW_BEFORE = timedelta(days=60)
BACKDATED = timedelta(days=1)
"""Certificates begin before they are made, for cameras whose clock is behind."""
NAMES_MAX = 100
THING_NAME_MAX = 64
"""X.520's bound of a common name; AWS allows things 128 characters."""


@dataclass(frozen=True)
class Identity:
    """What a camera shows: private key and certificate as PEM, and the certificate as DER."""

    key_pem: bytes
    certificate_pem: bytes
    certificate_der: bytes


@dataclass(frozen=True)
class Certificate:
    """A certificate as PEM and as DER."""

    pem: bytes
    der: bytes


class Authority:
    """The folder `authority/`: ca.key, ca.crt, server.key, server.crt, revoked.crl, secret; all with mode 600.

    Every file is written whole or not at all, and the key before its certificate, so that what a crash interrupts is
    made good by the next `prepare`.
    """

    def __init__(self, folder: Path, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """`now` is the wall clock."""
        self._now = now
        self._root_key_file = folder / "ca.key"
        self._secret_file = folder / "secret"
        self.root_certificate = folder / "ca.crt"
        self.server_key = folder / "server.key"
        self.server_certificate = folder / "server.crt"
        self.revocations = folder / "revoked.crl"

    def prepare(self, host: str) -> None:
        """Make the root and the secret, where there are none. `host` is for people who see the root's name.

        Raises InvalidInput where others may read a key, InvariantBroken for files that do not belong together.
        """
        for path in (self._root_key_file, self.server_key, self._secret_file):
            if path.exists():
                check_private(path)
        if not self._secret_file.exists():
            replace_file(self._secret_file, secrets.token_bytes(32))
        if not self._root_key_file.exists():
            if self.root_certificate.exists():
                raise InvariantBroken(
                    f"{self._root_key_file} is missing: bring it back from a copy, or remove {self.root_certificate} "
                    "as well and add every camera again"
                )
            replace_file(self._root_key_file, _pem(ec.generate_private_key(ec.SECP256R1())))
        if not self.root_certificate.exists():
            replace_file(self.root_certificate, self._new_root(host))
        if _public_bytes(self._root_key().public_key()) != _public_bytes(self._root().public_key()):
            raise InvariantBroken(f"{self._root_key_file} is not the key of {self.root_certificate}")

    @property
    def secret(self) -> bytes:
        """32 random bytes that never leave the hub. Raises InvariantBroken where they are damaged."""
        data = self._secret_file.read_bytes()
        if len(data) != 32:
            raise InvariantBroken(f"{self._secret_file} is damaged: remove it, and a new one is made at the next start")
        return data

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the root certificate, as people compare it: `AB:CD:…`."""
        return self._root().fingerprint(hashes.SHA256()).hex(":").upper()

    def issue(self, thing: ThingName) -> Identity:
        """Make a key and a certificate that speaks for `thing`, once it is registered. Raises InvalidInput."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._certified(thing, key.public_key())
        return Identity(_pem(key), certificate.pem, certificate.der)

    def certify(self, thing: ThingName, request: str) -> Certificate:
        """Make a certificate that speaks for `thing` of a request (PKCS#10, PEM), whose key stays where it is.

        Of the request only its key counts. Raises InvalidInput (`csr`): it is none, is not signed with its own key,
        or has a key that is too weak.
        """
        try:
            csr = x509.load_pem_x509_csr(request.encode())
            is_signed, key = csr.is_signature_valid, csr.public_key()
        except (ValueError, UnsupportedAlgorithm) as error:
            raise InvalidInput("csr", "must be a certificate request in PEM") from error
        strong = (isinstance(key, ec.EllipticCurvePublicKey) and key.key_size >= 256) or (
            isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048
        )
        if not (is_signed and strong):
            raise InvalidInput("csr", "must be signed with its own key, of EC P-256 or RSA 2048 at least")
        return self._certified(thing, key)

    def _certified(self, thing: ThingName, key: CertificatePublicKeyTypes) -> Certificate:
        if len(thing) > THING_NAME_MAX:
            raise InvalidInput("name", f"must be at most {THING_NAME_MAX} characters, got {len(thing)}")
        root = self._root()
        certificate = self._signed(
            self._leaf(_name(str(thing)), key, root.not_valid_after_utc).add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
            )
        )
        return Certificate(certificate.public_bytes(Encoding.PEM), certificate.public_bytes(Encoding.DER))

    def ensure_server_certificate(self, names: Iterable[str]) -> bool:
        """Have a server certificate for `names` (host names and addresses). True where a new one was made.

        The one at hand stays while it covers all of them and has RENEW_BEFORE left.
        """
        wanted = sorted(set(names))[:NAMES_MAX]
        if not self.server_key.exists():
            replace_file(self.server_key, _pem(ec.generate_private_key(ec.SECP256R1())))
        key = _load_key(self.server_key)
        if self._server_certificate_serves(key, set(wanted)):
            return False
        names_in_it = x509.SubjectAlternativeName([_general_name(name) for name in wanted])
        end = min(self._now() - BACKDATED + SERVER_VALIDITY, self._root().not_valid_after_utc)
        certificate = self._signed(
            self._leaf(_name("pits-hub"), key.public_key(), end)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(names_in_it, critical=False)
        )
        replace_file(self.server_certificate, certificate.public_bytes(Encoding.PEM))
        return True

    def write_revocations(self, revoked: Iterable[Revoked]) -> None:
        """Write the list of certificates that TLS refuses.

        Of two lists OpenSSL believes the one with the later `lastUpdate`, which has whole seconds, and refuses one
        from the future. So it is counted on from the list before, beginning a day back.
        """
        now = self._now().replace(microsecond=0)
        made_at = now - BACKDATED
        with contextlib.suppress(FileNotFoundError, ValueError):
            before = x509.load_pem_x509_crl(self.revocations.read_bytes()).last_update_utc
            made_at = min(max(made_at, before + timedelta(seconds=1)), now)
        root = self._root()
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(root.subject)
            .last_update(made_at)
            .next_update(root.not_valid_after_utc)
            .add_extension(x509.CRLNumber(int(made_at.timestamp())), critical=False)
            .add_extension(_issuer_key(root), critical=False)
        )
        for one in revoked:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(one.serial)
                .revocation_date(datetime.fromtimestamp(one.revoked_at_s, UTC))
                .build()
            )
        revocations = builder.sign(self._root_key(), hashes.SHA256())
        replace_file(self.revocations, revocations.public_bytes(Encoding.PEM))

    def _new_root(self, host: str) -> bytes:
        key = self._root_key()
        public = key.public_key()
        host = re.sub(r"[^A-Za-z0-9.-]", "-", host)[:30]
        name = _name(f"Pi In The Sky on {host} {secrets.token_hex(3)}")
        start = self._now() - BACKDATED
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + ROOT_VALIDITY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(key, hashes.SHA256())
        )
        return certificate.public_bytes(Encoding.PEM)

    def _leaf(self, subject: x509.Name, key: CertificatePublicKeyTypes, end: datetime) -> x509.CertificateBuilder:
        root = self._root()
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(root.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(max(self._now() - BACKDATED, root.not_valid_before_utc))
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(_issuer_key(root), critical=False)
        )

    def _signed(self, builder: x509.CertificateBuilder) -> x509.Certificate:
        return builder.sign(self._root_key(), hashes.SHA256())

    def _server_certificate_serves(self, key: ec.EllipticCurvePrivateKey, wanted: set[str]) -> bool:
        try:
            certificate = x509.load_pem_x509_certificate(self.server_certificate.read_bytes())
            certificate.verify_directly_issued_by(self._root())
            covered = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (FileNotFoundError, ValueError, InvalidSignature, TypeError, x509.ExtensionNotFound):
            return False
        names = {str(name.value) for name in covered}
        begun = certificate.not_valid_before_utc <= max(self._now(), self._root().not_valid_before_utc)
        in_time = begun and self._now() <= certificate.not_valid_after_utc - RENEW_BEFORE
        ours = _public_bytes(certificate.public_key()) == _public_bytes(key.public_key())
        return in_time and ours and wanted <= names

    def _root(self) -> x509.Certificate:
        try:
            return x509.load_pem_x509_certificate(self.root_certificate.read_bytes())
        except ValueError as error:
            raise InvariantBroken(f"{self.root_certificate} is damaged: bring it back from a copy") from error

    def _root_key(self) -> ec.EllipticCurvePrivateKey:
        return _load_key(self._root_key_file)


def _general_name(name: str) -> x509.GeneralName:
    return x509.IPAddress(ipaddress.ip_address(name)) if is_address(name) else x509.DNSName(name)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _issuer_key(root: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    identifier = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _public_bytes(key: object) -> bytes:
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return b""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except ValueError as error:
        raise InvariantBroken(f"{os.fspath(path)} is damaged: bring it back from a copy") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise InvariantBroken(f"{os.fspath(path)} is not a key that this program made")
    return key
