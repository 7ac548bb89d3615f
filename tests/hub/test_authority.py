"""The authority: what it makes is good for every TLS library, survives crashes, and is renewed in time."""

from __future__ import annotations

import hashlib
import ssl
import stat
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pinthesky.errors import InvalidInput, InvariantBroken
from pinthesky.hub.authority import RENEW_BEFORE, Authority
from pinthesky.hub.registry import Revoked
from pinthesky.model.identifiers import ThingName

GARDEN = ThingName("garden")
NAMES = ["localhost", "127.0.0.1", "::1", "house.local"]


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def authority(tmp_path, clock):
    made = Authority(tmp_path, now=clock)
    made.prepare("house")
    return made


def server(authority: Authority) -> x509.Certificate:
    return x509.load_pem_x509_certificate(authority.server_certificate.read_bytes())


def root(authority: Authority) -> x509.Certificate:
    return x509.load_pem_x509_certificate(authority.root_certificate.read_bytes())


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def handshake(server_side: ssl.SSLContext, client_side: ssl.SSLContext, name: str) -> ssl.SSLObject:
    """Do a TLS handshake in memory. Returns the server's end."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server_side.wrap_bio(to_server, to_client, server_side=True)
    theirs = client_side.wrap_bio(to_client, to_server, server_hostname=name)
    for end in (theirs, ours) * 4:
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
    assert theirs.version() is not None
    return ours


def test_a_camera_and_the_server_know_each_other_by_the_strict_rules(authority, tmp_path):
    authority.ensure_server_certificate(NAMES)
    identity = authority.issue(GARDEN)
    (tmp_path / "camera").write_bytes(identity.key_pem + identity.certificate_pem)
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(authority.server_certificate, authority.server_key)
    server_side.load_verify_locations(authority.root_certificate)
    server_side.verify_mode = ssl.CERT_REQUIRED
    client_side = ssl.create_default_context(cafile=str(authority.root_certificate))
    client_side.load_cert_chain(tmp_path / "camera")
    for context in (server_side, client_side):
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    for name in NAMES:
        ours = handshake(server_side, client_side, name)
        assert ours.getpeercert(binary_form=True) == identity.certificate_der
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server_side, client_side, "elsewhere.local")


def test_a_cameras_certificate_is_its_name_and_is_for_clients_alone(authority):
    certificate = x509.load_der_x509_certificate(authority.issue(GARDEN).certificate_der)
    (name,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert name.value == "garden"
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert certificate.not_valid_after_utc == root(authority).not_valid_after_utc


def test_every_camera_has_its_own_key(authority):
    assert authority.issue(GARDEN).key_pem != authority.issue(GARDEN).key_pem


def test_a_name_too_long_for_a_certificate_is_refused(authority):
    with pytest.raises(InvalidInput, match="at most 64 characters, got 65"):
        authority.issue(ThingName("x" * 65))
    assert authority.issue(ThingName("x" * 64))


def test_the_root_signs_certificates_and_lists_and_nothing_else(authority):
    made = root(authority)
    usage = made.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert (usage.value.key_cert_sign, usage.value.crl_sign, usage.value.digital_signature) == (True, True, False)
    constraints = made.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    assert isinstance(made.public_key(), ec.EllipticCurvePublicKey)


def test_phones_take_the_servers_certificate(authority, clock):
    authority.ensure_server_certificate(NAMES)
    made = server(authority)
    assert made.not_valid_after_utc - made.not_valid_before_utc <= timedelta(days=397)
    assert made.not_valid_before_utc < clock.now
    assert list(made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.SERVER_AUTH
    ]


def test_a_second_start_changes_nothing(authority, tmp_path, clock):
    authority.ensure_server_certificate(NAMES)
    authority.write_revocations([])
    before = contents(tmp_path)
    again = Authority(tmp_path, now=clock)
    again.prepare("another-name")
    assert again.ensure_server_certificate(NAMES[:2]) is False
    assert contents(tmp_path) == before


def test_keys_and_secret_are_for_the_owner_alone(authority, tmp_path):
    authority.ensure_server_certificate(NAMES)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert {modes[name] for name in ("ca.key", "server.key", "secret")} == {0o600}


@pytest.mark.parametrize("name", ["ca.key", "server.key", "secret"])
def test_a_key_that_others_may_read_is_refused_with_the_command_that_mends_it(authority, tmp_path, name):
    authority.ensure_server_certificate(NAMES)
    (tmp_path / name).chmod(0o640)
    with pytest.raises(InvalidInput, match=f"run chmod 600 .*{name}"):
        authority.prepare("house")


@pytest.mark.parametrize("when", [timedelta(days=397) - RENEW_BEFORE, timedelta(days=500)])
def test_the_servers_certificate_is_renewed_before_its_end(authority, clock, when):
    authority.ensure_server_certificate(NAMES)
    clock.now += when
    assert authority.ensure_server_certificate(NAMES) is True
    assert server(authority).not_valid_after_utc > clock.now + RENEW_BEFORE


def test_a_server_certificate_from_the_future_is_replaced_where_that_helps(authority, clock):
    clock.now += timedelta(days=100)
    authority.ensure_server_certificate(NAMES)
    clock.now -= timedelta(days=50)
    assert authority.ensure_server_certificate(NAMES) is True
    clock.now -= timedelta(days=300)
    assert authority.ensure_server_certificate(NAMES) is True
    assert authority.ensure_server_certificate(NAMES) is False


def test_it_is_not_renewed_while_there_is_time(authority, clock):
    authority.ensure_server_certificate(NAMES)
    clock.now += timedelta(days=390) - RENEW_BEFORE
    assert authority.ensure_server_certificate(NAMES) is False


def test_a_new_name_or_address_renews_it_and_a_lost_one_does_not(authority):
    assert authority.ensure_server_certificate(NAMES) is True
    assert authority.ensure_server_certificate([*NAMES, "192.168.1.7"]) is True
    assert authority.ensure_server_certificate(NAMES) is False
    names = server(authority).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {str(name.value) for name in names} == {*NAMES, "192.168.1.7"}


@pytest.mark.parametrize("missing", ["server.key", "server.crt"])
def test_what_a_crash_left_out_of_the_servers_files_is_made_good(authority, tmp_path, missing):
    authority.ensure_server_certificate(NAMES)
    (tmp_path / missing).unlink()
    assert authority.ensure_server_certificate(NAMES) is True
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(authority.server_certificate, authority.server_key)
    assert authority.ensure_server_certificate(NAMES) is False


def test_a_server_certificate_of_another_authority_is_replaced(authority, tmp_path):
    other = Authority(tmp_path / "other")
    (tmp_path / "other").mkdir(mode=0o700)
    other.prepare("house")
    other.ensure_server_certificate(NAMES)
    for name in ("server.crt", "server.key"):
        (tmp_path / "other" / name).replace(tmp_path / name)
    assert authority.ensure_server_certificate(NAMES) is True


def test_a_crash_between_the_roots_key_and_its_certificate_is_made_good(authority, tmp_path):
    key = (tmp_path / "ca.key").read_bytes()
    (tmp_path / "ca.crt").unlink()
    authority.prepare("house")
    assert (tmp_path / "ca.key").read_bytes() == key
    assert authority.issue(GARDEN)


def test_a_root_without_its_key_is_not_replaced_in_silence(authority, tmp_path):
    (tmp_path / "ca.key").unlink()
    with pytest.raises(InvariantBroken, match=r"ca\.key is missing"):
        authority.prepare("house")


def test_a_root_with_anothers_key_is_not_used(authority, tmp_path):
    (tmp_path / "ca.crt").rename(tmp_path / "kept")
    (tmp_path / "ca.key").unlink()
    authority.prepare("house")
    (tmp_path / "kept").replace(tmp_path / "ca.crt")
    with pytest.raises(InvariantBroken, match="is not the key of"):
        authority.prepare("house")


@pytest.mark.parametrize("name", ["ca.key", "ca.crt"])
def test_a_damaged_file_is_named(authority, tmp_path, name):
    (tmp_path / name).write_bytes(b"not PEM")
    with pytest.raises(InvariantBroken, match=f"{name} is damaged"):
        authority.prepare("house")


def test_a_key_of_another_kind_is_named(authority, tmp_path):
    key = ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "ca.key").write_bytes(key)
    with pytest.raises(InvariantBroken, match="not a key that this program made"):
        authority.prepare("house")


def test_the_secret_is_random_and_stays(authority, tmp_path):
    secret = authority.secret
    authority.prepare("house")
    assert len(secret) == 32
    assert authority.secret == secret
    (tmp_path / "secret").write_bytes(b"short")
    with pytest.raises(InvariantBroken, match="secret is damaged"):
        _ = authority.secret


def test_the_fingerprint_is_the_one_that_people_compare(authority):
    der = root(authority).public_bytes(Encoding.DER)
    assert authority.fingerprint.replace(":", "").lower() == hashlib.sha256(der).hexdigest()


def lists(authority: Authority) -> x509.CertificateRevocationList:
    return x509.load_pem_x509_crl(authority.revocations.read_bytes())


def test_the_list_holds_the_revoked_and_is_signed(authority, clock):
    authority.write_revocations([Revoked(0xABC, int(clock.now.timestamp()))])
    made = lists(authority)
    assert [one.serial_number for one in made] == [0xABC]
    key = root(authority).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert made.is_signature_valid(key)


def test_of_lists_made_within_a_second_the_last_is_the_newest(authority, clock):
    times = []
    for _ in range(5):
        authority.write_revocations([])
        times.append(lists(authority).last_update_utc)
    assert times == sorted(set(times))
    assert times[-1] < clock.now


def test_a_list_is_never_from_the_future_even_if_the_clock_went_back(authority, clock):
    authority.write_revocations([])
    clock.now -= timedelta(days=400)
    authority.write_revocations([])
    assert lists(authority).last_update_utc <= clock.now


def test_a_damaged_list_is_replaced(authority):
    authority.revocations.write_bytes(b"not PEM")
    authority.write_revocations([])
    assert len(lists(authority)) == 0
