"""hub.toml: every default works, every wrong value is named with its file, key and bound."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import tomllib
from hypothesis import given
from hypothesis import strategies as st

from pinthesky.errors import InvalidInput
from pinthesky.hub import settings
from pinthesky.hub.settings import HubSettings
from tools import hub_settings_reference

FILE = Path("/data/hub.toml")


def parsed(text: str) -> HubSettings:
    return settings.parse(tomllib.loads(text), FILE)


def uncommented(template: str) -> str:
    return "\n".join(line[1:] if line.startswith("#") and line[1:2] != " " else line for line in template.splitlines())


def test_the_file_of_the_first_start_says_what_the_defaults_say():
    assert parsed(settings.template()) == HubSettings()


def test_its_lines_may_be_uncommented_as_they_are():
    assert parsed(uncommented(settings.template())) == msgspec.structs.replace(
        HubSettings(), locations={"home": "Europe/Vienna"}
    )


def test_the_file_names_every_setting_with_its_bound():
    template = settings.template()
    for table in msgspec.structs.fields(HubSettings):
        assert f"[{table.name}]" in template
        for key in getattr(table.type, "__struct_fields__", ()):
            assert f"\n#{key} = " in template
    assert template.count("Must be") == sum(len(table.keys) for table in settings.described()) - 1


def test_without_a_file_the_defaults_hold(tmp_path):
    assert settings.load(tmp_path / "hub.toml") == HubSettings()


def test_a_file_is_read(tmp_path):
    (tmp_path / "hub.toml").write_text('[media]\nmaxspace = "10M"\nmin_free = "5"\nretention_days = 0\n')
    media = settings.load(tmp_path / "hub.toml").media
    assert (media.maxspace_bytes, media.min_free_bytes, media.retention_days) == (10 * 1024**2, 5, 0)


def test_no_limit_is_none():
    assert parsed('[media]\nmaxspace = "0"').media.maxspace_bytes is None


@pytest.mark.parametrize(
    "text, days",
    [
        ("", 30),
        ("retention_days = 7", 30),
        ("retention_days = 7\nstills_days = 3", 7),
        ("retention_days = 0", None),
        ("stills_days = 0", None),
    ],
)
def test_the_folder_keeps_what_any_of_its_kinds_is_kept_for(text, days):
    assert parsed(f"[media]\n{text}").media.longest_days == days


def test_files_are_relative_to_the_settings():
    found = parsed('[tls]\ncertificate_file="a.pem"\nkey_file="/b.key"\n[mail]\npassword_file="word"')
    assert (found.tls.certificate_file, found.tls.key_file) == ("/data/a.pem", "/b.key")
    assert found.mail.password_file == "/data/word"


@pytest.mark.parametrize(
    "text, message",
    [
        ("[listne]", "/data/hub.toml: listne: there is no such setting; did you mean listen?"),
        ("[zzz]", "there are listen, tls, media"),
        ("[listen]\nconsole_prot = 1", "listen.console_prot: there is no such setting; did you mean console_port?"),
        ("listen = 3", "/data/hub.toml: listen: must be a table"),
        (
            "[listen]\nconsole_port = 65536",
            "listen.console_port: must be a whole number from 0 to 65535, got 65536",
        ),
        ('[listen]\nconsole_port = "443"', "listen.console_port: must be a whole number from 0 to 65535, got '443'"),
        ("[listen]\nconsole_port = 1.5", "listen.console_port: must be a whole number"),
        ("[listen]\nmqtt_ports = []", "listen.mqtt_ports: must be a list of 1 to 4"),
        ("[listen]\nmqtt_ports = [1, 2, 3, 4, 5]", "listen.mqtt_ports: must be a list of 1 to 4"),
        ("[listen]\ndevice_port = 8443", "listen: port 8443 is given twice"),
        ('[listen]\naddress = "house"', "listen.address: must be an IPv4 or IPv6 address, or empty, got 'house'"),
        ('[listen]\naddress = "fe80::1%eth0"', "listen.address: must be"),
        ('[listen]\nnames = ["a b"]', "listen.names: must be host names or addresses without port, got 'a b'"),
        ('[listen]\nnames = ["-a.example"]', "listen.names: must be"),
        ('[listen]\ntrusted_proxies = ["10.0.0.1/8"]', "listen.trusted_proxies: must be addresses or networks"),
        ('[tls]\ncertificate_file = "a"', "tls.key_file: both files must be given, or none"),
        ('[tls]\nkey_file = "a"', "tls.certificate_file: both files must be given, or none"),
        ("[media]\nmaxspace = 50", "media.maxspace: must be a number of bytes in quotes"),
        ('[media]\nmaxspace = "50 GB"', "media.maxspace: must be a number of bytes in quotes"),
        ('[media]\nmaxspace = "5G\\n"', "media.maxspace: must be a number of bytes in quotes"),
        ("[media]\nretention_days = -1", "media.retention_days: must be a whole number from 0 to 3650, got -1"),
        ("[credentials]\nvalidity_minutes = 5", "credentials.validity_minutes: must be a whole number from 15 to 720"),
        ('[sign_in]\nemails = ["anna"]', "sign_in.emails: must be addresses such as anna@example.org, got 'anna'"),
        ('[mail]\nsecurity = "ssl"', "mail.security: must be one of none, starttls, tls, got 'ssl'"),
        ('[mail]\nhost = "mail.example.org"', "mail.sender: must be given where mail.host is"),
        ('[log]\nlevel = "LOUD"', "log.level: must be one of DEBUG, ERROR, INFO, WARNING, got 'LOUD'"),
        (
            '[locations]\nhome = "Europe/Wien"',
            "locations.home: 'Europe/Wien' is no time zone of the IANA database; did",
        ),
        ('[locations]\nhome = "../etc/passwd"', "locations.home: "),
        ('[locations]\n"" = "UTC"', "locations: names must be 1 to 60 printable characters"),
        ("[locations]\nhome = 1", "locations: must be a table of at most 100 names"),
        (f'[listen]\naddress = "{"x" * 300}"', "listen.address: must be a string of at most 255 characters, got 'xxx"),
    ],
)
def test_a_wrong_value_is_named_with_file_key_and_bound(text: str, message: str):
    with pytest.raises(InvalidInput) as caught:
        parsed(text)
    assert message in str(caught.value)
    assert str(caught.value).startswith("/data/hub.toml: ")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "content, message",
    [
        (b"[listen\n", "is not TOML"),
        (b"\xff\xfe", "is not TOML"),
        (b"a = " + b"[" * 5000, "is not TOML"),
        (b"#" * (settings.FILE_MAX + 1), "must be at most 262144 bytes"),
    ],
)
def test_a_file_that_is_no_toml_is_named(tmp_path, content, message):
    file = tmp_path / "hub.toml"
    file.write_bytes(content)
    with pytest.raises(InvalidInput) as caught:
        settings.load(file)
    assert str(caught.value).startswith(f"{file}: {message}")


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "hub.toml").mkdir()
    with pytest.raises(InvalidInput, match="cannot be read"):
        settings.load(tmp_path / "hub.toml")


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=300), st.lists(st.integers(), max_size=6)
)
KEYS = [(table.name, key.name) for table in settings.described() for key in table.keys]


@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4))
def test_any_value_is_taken_or_refused_in_one_line(values):
    tables: dict[str, dict[str, object]] = {}
    for (table, key), value in values.items():
        tables.setdefault(table, {})[key] = value
    said = "taken"
    try:
        settings.parse(tables, FILE)
    except InvalidInput as error:
        said = str(error)
    assert "\n" not in said


@given(st.integers(0, 10**12), st.sampled_from(["", "K", "M", "G", "T"]))
def test_sizes_are_powers_of_1024(number, unit):
    assert settings.size_of(f"{number}{unit}") == number * 1024 ** ["", "K", "M", "G", "T"].index(unit)


def test_the_page_on_settings_is_made_from_the_settings():
    made = hub_settings_reference.page()
    text = hub_settings_reference.PAGE.read_text(encoding="utf-8")
    assert text == made, "run python -m tools.hub_settings_reference"


def test_the_page_holds_every_key():
    made = hub_settings_reference.page()
    assert [key for _, key in KEYS if f"| `{key}` |" not in made] == []
