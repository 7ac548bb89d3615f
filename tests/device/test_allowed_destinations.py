"""Allowed destinations: what the flags say and what was added, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinthesky.device.allowed_destinations import AllowedDestinations
from pinthesky.errors import InvalidInput
from pinthesky.model.settings import (
    CloudWatchSettings,
    DataPlaneSettings,
    DeviceSettings,
    HealthSettings,
    Section,
    StorageSettings,
)

INSTALLED = DeviceSettings(
    storage=StorageSettings(bucket_name="my-bucket"),
    cloudwatch=CloudWatchSettings(region_name="eu-central-1"),
    dataplane=DataPlaneSettings(endpoint_url="https://abc.example.com/prod", region_name="eu-west-1"),
)
EXTRA = [
    "bucket=second-bucket",
    "prefix=house/garden",
    "endpoint=other.example.com:8443",
    "region=us-east-1",
    "log-group=/my/group",
]


def refusal(name: str, section: Section, *extra: str) -> str | None:
    """The field that leads where it must not; None if all is allowed."""
    try:
        AllowedDestinations(INSTALLED, extra).check(name, section)
    except InvalidInput as error:
        return error.field
    return None


def test_what_the_flags_say_is_allowed():
    for name in ("storage", "cloudwatch", "dataplane"):
        assert refusal(name, getattr(INSTALLED, name)) is None


def test_a_region_of_one_section_is_allowed_in_the_other():
    assert refusal("cloudwatch", CloudWatchSettings(region_name="eu-west-1")) is None


@pytest.mark.parametrize(
    "name, section, field",
    [
        ("storage", StorageSettings(bucket_name="evil-bucket"), "storage.bucket_name"),
        ("storage", StorageSettings(video_prefix="elsewhere"), "storage.video_prefix"),
        ("storage", StorageSettings(image_prefix="elsewhere"), "storage.image_prefix"),
        ("cloudwatch", CloudWatchSettings(log_group_name="/evil"), "cloudwatch.log_group_name"),
        ("cloudwatch", CloudWatchSettings(region_name="us-east-1"), "cloudwatch.region_name"),
        ("dataplane", DataPlaneSettings(endpoint_url="https://evil.example.com"), "dataplane.endpoint_url"),
        ("dataplane", DataPlaneSettings(region_name="us-east-1"), "dataplane.region_name"),
    ],
)
def test_anything_else_is_refused_by_its_field(name, section, field):
    assert refusal(name, section) == field


@pytest.mark.parametrize(
    "name, section",
    [
        (
            "storage",
            StorageSettings(bucket_name="second-bucket", video_prefix="house/garden", image_prefix="house/garden"),
        ),
        ("cloudwatch", CloudWatchSettings(log_group_name="/my/group", region_name="us-east-1")),
        ("dataplane", DataPlaneSettings(endpoint_url="https://other.example.com:8443/x", region_name="us-east-1")),
    ],
)
def test_what_was_added_is_allowed(name, section):
    assert refusal(name, section) is not None
    assert refusal(name, section, *EXTRA) is None


def test_no_destination_at_all_is_always_allowed():
    assert refusal("storage", StorageSettings(bucket_name=None)) is None
    assert refusal("health", HealthSettings(interval=60)) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bucket",
        "bucket=",
        "Bucket=x",
        "host=x",
        "=x",
        "endpoint=ftp://x",
        "endpoint=u@h",
        "endpoint=h:x",
        "endpoint=https://",
    ],
)
def test_a_flag_that_says_nothing_is_refused(text):
    with pytest.raises(InvalidInput) as caught:
        AllowedDestinations(INSTALLED, [text])
    assert caught.value.field == "--allow-destination"


@pytest.mark.parametrize(
    "url",
    [
        "https://abc.example.com",
        "https://abc.example.com/prod/x",
        "https://ABC.example.com:443/",
        "https://abc.example.com./prod",
    ],
)
def test_an_endpoint_is_known_by_host_and_port(url):
    assert AllowedDestinations(INSTALLED).allows_endpoint(url)


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "abc.example.com",
        "http://abc.example.com",
        "https://abc.example.com:444",
        "https://xabc.example.com",
        "https://abc.example.com.evil.com",
        "https://abc.example.com@evil.com",
        "https://evil.com/https://abc.example.com",
        "https://evil.com#abc.example.com",
        "https://evil.com?abc.example.com",
        "https://evil.com\\abc.example.com",
        "https://abc.example.com\n.evil.com",
        "https://abc.example.com:0x1bb",
        "https://abc.example.com:99999",
        "https://[abc.example.com",
        "https://аbc.example.com",
        "https:abc.example.com",
        "https:///abc.example.com",
        "//abc.example.com",
        "ftp://abc.example.com",
        "file:///etc/passwd",
        "http://localhost",
        "http://169.254.169.254/latest",
        "https://169.254.169.254",
    ],
)
def test_what_only_looks_like_an_allowed_endpoint_is_none(url):
    assert not AllowedDestinations(INSTALLED).allows_endpoint(url)


@pytest.mark.parametrize(
    "entry, url, allowed",
    [
        ("hub.local:8080", "https://hub.local:8080", True),
        ("hub.local:8080", "http://hub.local:8080", False),
        ("http://hub.local:8080", "http://hub.local:8080/x", True),
        ("http://hub.local:8080", "https://hub.local:8080", False),
        ("http://hub.local", "http://hub.local:80", True),
        ("localhost:9000", "http://localhost:9000", True),
        ("https://localhost:9000", "http://localhost:9000", True),
        ("127.0.0.1:9000", "http://127.0.0.1:9000", True),
        ("127.0.0.1:9000", "http://127.0.0.2:9000", False),
        ("127.0.0.1:9000", "http://localhost:9000", False),
        ("[::1]:9000", "http://[::1]:9000", True),
        ("192.168.1.5:9000", "http://192.168.1.5:9000", False),
    ],
)
def test_plain_http_goes_to_this_machine_or_where_it_was_allowed_by_name(entry, url, allowed):
    assert AllowedDestinations(DeviceSettings(), [f"endpoint={entry}"]).allows_endpoint(url) is allowed


@given(url=st.text(max_size=60) | st.from_regex(r"\Ahttps?://[a-z.@:/\\#?\[\]0-9]{0,40}\Z"))
def test_no_address_raises_or_is_allowed_by_chance(url):
    assert not AllowedDestinations(INSTALLED).allows_endpoint(url) or url.lower().startswith("https://abc.example.com")
