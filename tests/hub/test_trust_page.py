"""The page that helps a phone to trust the hub."""

from __future__ import annotations

import plistlib
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from starlette.applications import Starlette
from starlette.testclient import TestClient

from pinthesky.hub.trust_page import TrustPage, fingerprint_of
from tests.support.aws_servers import CertificateAuthority


@pytest.fixture
def authority(tmp_path: Path) -> bytes:
    return CertificateAuthority(tmp_path).cert.read_bytes()


@pytest.fixture
def client(authority: bytes) -> TestClient:
    return TestClient(Starlette(routes=TrustPage(authority).routes()))


def test_the_page_shows_the_fingerprint_that_the_hub_prints(authority, client):
    page = client.get("/trust")
    assert fingerprint_of(authority) in page.text
    assert len(fingerprint_of(authority)) == 32 * 3 - 1
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_every_link_of_the_page_works(client):
    page = client.get("/trust").text
    links = {part.partition("'")[0] for part in page.split("href='")[1:]}
    assert links == {"/trust/pits-hub.crt", "/trust/pits-hub.mobileconfig"}
    assert {client.get(link).status_code for link in links} == {200}


def test_the_certificate_is_the_authority(authority, client):
    answer = client.get("/trust/pits-hub.crt")
    assert answer.headers["content-type"] == "application/x-x509-ca-cert"
    assert answer.content == x509.load_pem_x509_certificate(authority).public_bytes(serialization.Encoding.DER)
    ssl.create_default_context(cadata=answer.content)


def test_the_profile_installs_the_authority_and_replaces_itself(authority, client):
    first, second = (plistlib.loads(client.get("/trust/pits-hub.mobileconfig").content) for _ in range(2))
    assert first == second
    [payload] = first["PayloadContent"]
    assert payload["PayloadType"] == "com.apple.security.root"
    assert payload["PayloadContent"] == client.get("/trust/pits-hub.crt").content
    assert first["PayloadUUID"] != payload["PayloadUUID"]
