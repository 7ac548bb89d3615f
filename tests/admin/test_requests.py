"""What may be asked, and what is refused before anything is done."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinthesky.admin import requests
from pinthesky.errors import InvalidInput

SHA256 = "a" * 64


@pytest.mark.parametrize(
    "request_",
    [
        requests.Status(),
        requests.Reboot(),
        requests.Shutdown(),
        requests.StartServices(("pinthesky",)),
        requests.StopServices(),
        requests.RestartServices(),
        requests.ReadServiceLogs("pinthesky-upgrade", 7),
        requests.Upgrade("https://host/a/b.whl?token=x", SHA256, "wish-1", allow_downgrade=True),
        requests.RotateCertificate(),
    ],
    ids=lambda request: request.name,
)
def test_a_request_arrives_as_it_was_sent(request_: requests.Request):
    assert requests.parse_request(requests.encode(request_)) == request_


@pytest.mark.parametrize(
    "document, words",
    [
        ({"verb": "format-disk"}, "format-disk"),
        ({"verb": "reboot", "now": True}, "now"),
        ({"verb": "start-services", "services": []}, "one at least"),
        ({"verb": "start-services", "services": ["ssh"]}, "ssh"),
        ({"verb": "start-services", "services": ["pinthesky", "pinthesky"]}, "at most once"),
        ({"verb": "stop-services", "services": ["pits-device-client"]}, "could not be reached"),
        ({"verb": "read-service-logs", "service": "pinthesky", "lines": 0}, "from 1 to 1000"),
        ({"verb": "read-service-logs", "service": "../x"}, "../x"),
        ({"verb": "upgrade", "source": "x.whl", "sha256": "A" * 64, "identity": "i"}, "sha256"),
        ({"verb": "upgrade", "source": "x.whl", "sha256": SHA256, "identity": "a b"}, "identity"),
        ({"verb": "upgrade", "source": "../x.whl", "sha256": SHA256, "identity": "i"}, "source"),
        ({"verb": "upgrade", "source": "-r.whl", "sha256": SHA256, "identity": "i"}, "source"),
        ({"verb": "upgrade", "source": "x.whl\n", "sha256": SHA256, "identity": "i"}, "source"),
        ({"verb": "upgrade", "source": "http://h/x.whl", "sha256": SHA256, "identity": "i"}, "https"),
        ({"verb": "upgrade", "source": "https://u@h/x.whl", "sha256": SHA256, "identity": "i"}, "without a user"),
        ({"verb": "upgrade", "source": "https://h/a/../x.whl", "sha256": SHA256, "identity": "i"}, "upwards"),
        ({"verb": "upgrade", "source": "https://h/a/%2E%2e/x", "sha256": SHA256, "identity": "i"}, "upwards"),
        ({"verb": "upgrade", "source": "https://h/" + "x" * 5000, "sha256": SHA256, "identity": "i"}, "4096"),
        ({"verb": "upgrade", "source": "file:///etc/shadow", "sha256": SHA256, "identity": "i"}, "https"),
    ],
)
def test_what_is_not_of_the_closed_set_is_refused_with_the_reason(document: dict[str, object], words: str):
    with pytest.raises(InvalidInput) as caught:
        requests.parse_request(json.dumps(document).encode())
    assert words in str(caught.value)


@given(st.binary(max_size=300))
def test_no_bytes_do_anything_but_parse_or_be_refused(data: bytes):
    try:
        requests.parse_request(data)
    except InvalidInput as error:
        assert error.field == "request"


def test_the_log_of_a_request_holds_no_secret_of_its_address():
    request = requests.Upgrade("https://host/a.whl?X-Amz-Signature=secret", SHA256, "wish-1", allow_downgrade=True)
    assert request.summary == f"upgrade https://host/a.whl sha256 {SHA256} as wish-1 allow-downgrade"


@given(st.text(max_size=3000))
def test_what_is_shown_is_one_line_of_bounded_length(text: str):
    shown = requests.shown(text)
    assert shown.isprintable()
    assert len(shown) <= requests.LOG_LINE_MAX


def test_what_is_no_message_of_the_root_helper_is_told_from_one():
    assert requests.parse_message(requests.encode(requests.Line("x"))) == requests.Line("x")
    with pytest.raises(InvalidInput):
        requests.parse_message(msgspec.json.encode({"kind": "song"}))
