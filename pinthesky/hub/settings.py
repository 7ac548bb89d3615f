"""`hub.toml`: every setting of the hub with its default and its bound, once, for the file, its messages and its page.

The structs below are the only place that names a setting. The file that the first start writes, the messages about
wrong values and `docs/reference/hub-settings.md` are made of them. A wrong value is InvalidInput whose field is file
and key.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import textwrap
import tomllib
import zoneinfo
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta

from pinthesky.errors import InvalidInput
from pinthesky.model.identifiers import GroupName
from pinthesky.model.settings import bound_of

FILE_MAX = 256 * 1024
LOCATIONS_MAX = 100
_SIZES = {"K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_HOST_NAME = re.compile(r"(?=.{1,253}\Z)(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")
_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_{|}~-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.)*[A-Za-z0-9-]{1,63}")

Port = Annotated[int, Meta(ge=0, le=65535)]
Size = Annotated[str, Meta(pattern=r"^[0-9]{1,15}[KMGT]?\Z", max_length=16)]
Text = Annotated[str, Meta(max_length=255)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of the file. The text below each field stands above it in the file."""


class Listen(Section, frozen=True, kw_only=True):
    """Where the hub listens."""

    address: Annotated[Text, Meta(description="The address to listen on; empty: every address of this machine.")] = ""
    console_port: Annotated[
        Port, Meta(description="Port of the console, for browsers (HTTPS). 0 takes a free one.")
    ] = 8443
    localhost_port: Annotated[
        Port, Meta(description="Port of the console for this machine alone, by http://localhost. 0 takes a free one.")
    ] = 8480
    device_port: Annotated[
        Port, Meta(description="Port of credentials, objects and sockets, for cameras (HTTPS). 0 takes a free one.")
    ] = 8444
    mqtt_ports: Annotated[
        list[Port],
        Meta(
            min_length=1,
            max_length=4,
            description="Ports of MQTT, for cameras (TLS). aws-iot-device-client dials 443 only.",
        ),
    ] = msgspec.field(default_factory=lambda: [8883])
    names: Annotated[
        list[Text],
        Meta(
            max_length=50,
            description="Further names and addresses by which this machine is reached. They go into its certificate; "
            "cameras use the first.",
        ),
    ] = msgspec.field(default_factory=list)
    announce: Annotated[
        bool,
        Meta(
            description="Whether the hub tells the network around where it is (mDNS), so that pitsctl finds it. A hub "
            "that listens for its own machine alone tells nobody."
        ),
    ] = True
    trusted_proxies: Annotated[
        list[Text],
        Meta(max_length=20, description="Addresses or networks of reverse proxies whose X-Forwarded-* is believed."),
    ] = msgspec.field(default_factory=list)


class Tls(Section, frozen=True, kw_only=True):
    """A certificate of your own for the console. Cameras always use the hub's own authority."""

    certificate_file: Annotated[
        Text, Meta(description="PEM file of the certificate and those between; read again when it changes.")
    ] = ""
    key_file: Annotated[Text, Meta(description="PEM file of its key.")] = ""


class Media(Section, frozen=True, kw_only=True):
    """How much is kept. The oldest goes first; what is starred stays."""

    maxspace: Annotated[Size, Meta(description='Most bytes of all clips and pictures; "0": no limit.')] = "50G"
    min_free: Annotated[Size, Meta(description="Bytes of the disk that stay free.")] = "2G"
    retention_days: Annotated[
        int, Meta(ge=0, le=3650, description="Days after which a clip goes; 0: only when space is needed.")
    ] = 30
    stills_days: Annotated[
        int, Meta(ge=0, le=3650, description="Days after which a still goes; 0: only when space is needed.")
    ] = 30
    health_days: Annotated[
        int, Meta(ge=1, le=3650, description="Days after which a health report of a camera is forgotten.")
    ] = 90

    @property
    def longest_days(self) -> int | None:
        """Days after which nothing is left that is not starred; None: never by its age."""
        return max(self.retention_days, self.stills_days) if self.retention_days and self.stills_days else None

    @property
    def maxspace_bytes(self) -> int | None:
        """`maxspace` in bytes; None: no limit."""
        return size_of(self.maxspace) or None

    @property
    def min_free_bytes(self) -> int:
        """`min_free` in bytes."""
        return size_of(self.min_free)


class Credentials(Section, frozen=True, kw_only=True):
    """What cameras upload with."""

    validity_minutes: Annotated[
        int, Meta(ge=15, le=720, description="Minutes for which the keys that a camera fetches are good.")
    ] = 60


class SignIn(Section, frozen=True, kw_only=True):
    """Who may use the console."""

    emails: Annotated[
        list[Text],
        Meta(
            max_length=200,
            description="Addresses of owners, who may sign in with a link sent by mail. Others are invited in the "
            "console.",
        ),
    ] = msgspec.field(default_factory=list)
    link_minutes: Annotated[int, Meta(ge=1, le=1440, description="Minutes for which a sign-in link is good.")] = 10
    token_days: Annotated[int, Meta(ge=1, le=365, description="Days until a browser has to sign in again.")] = 30


class Mail(Section, frozen=True, kw_only=True):
    """The mail server that sign-in links and notifications go through."""

    host: Annotated[Text, Meta(description="Name of the SMTP server; empty: no mail is sent.")] = ""
    port: Annotated[int, Meta(ge=1, le=65535, description="Its port.")] = 587
    security: Annotated[
        Literal["starttls", "tls", "none"],
        Meta(description='How the connection is protected; "none" sends no password.'),
    ] = "starttls"
    user: Annotated[Text, Meta(description="User at the server; empty: without signing in.")] = ""
    password_file: Annotated[Text, Meta(description="File whose first line is the password. chmod 600 it.")] = ""
    sender: Annotated[Text, Meta(description="Address that mails come from; empty: the user.")] = ""


class Log(Section, frozen=True, kw_only=True):
    """What the hub says on its standard error."""

    level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], Meta(description="Least severe records that are logged.")
    ] = "INFO"


class HubSettings(Section, frozen=True, kw_only=True):
    """The whole file."""

    listen: Listen = Listen()
    tls: Tls = Tls()
    media: Media = Media()
    credentials: Credentials = Credentials()
    sign_in: SignIn = SignIn()
    mail: Mail = Mail()
    log: Log = Log()
    locations: Annotated[
        dict[str, Text],
        Meta(
            max_length=LOCATIONS_MAX,
            description="Places and their time zones (IANA), which are made when the hub starts. Cameras belong to "
            'one: home = "Europe/Vienna". What is changed in the console stays.',
        ),
    ] = msgspec.field(default_factory=dict)


def load(path: Path) -> HubSettings:
    """The settings in `path`; the defaults where there is no file. Raises InvalidInput."""
    try:
        with path.open("rb") as file:
            data = file.read(FILE_MAX + 1)
    except FileNotFoundError:
        return HubSettings()
    except OSError as error:
        raise InvalidInput(str(path), f"cannot be read ({error.strerror})") from error
    if len(data) > FILE_MAX:
        raise InvalidInput(str(path), f"must be at most {FILE_MAX} bytes")
    try:
        tables = tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(str(path), f"is not TOML: {error}") from error
    return parse(tables, path)


def parse(tables: Mapping[str, Any], path: Path) -> HubSettings:
    """The settings that `tables` say; `path` is named in messages, and files are relative to its folder."""
    _check_names(tables, HubSettings, lambda key: f"{path}: {key}")
    sections: dict[str, Any] = {}
    for field in msgspec.structs.fields(HubSettings):
        if field.name not in tables:
            continue
        if field.name == "locations":
            sections[field.name] = _value(tables[field.name], field.type, f"{path}: locations")
            continue
        sections[field.name] = _section(tables[field.name], field.type, f"{path}: {field.name}")
    settings = HubSettings(**sections)
    for key, reason in _contradictions(settings):
        raise InvalidInput(f"{path}: {key}", reason)
    tls = settings.tls
    if tls.certificate_file:
        files = {name: str(path.parent / getattr(tls, name)) for name in ("certificate_file", "key_file")}
        settings = msgspec.structs.replace(settings, tls=Tls(**files))
    if settings.mail.password_file:
        file = str(path.parent / settings.mail.password_file)
        settings = msgspec.structs.replace(settings, mail=msgspec.structs.replace(settings.mail, password_file=file))
    return settings


def size_of(text: str) -> int:
    """Bytes of "500", "10M", "2G"."""
    return int(text[:-1]) * _SIZES[text[-1]] if text[-1:] in _SIZES else int(text)


def template() -> str:
    """The file that the first start writes: every setting with its default, behind a comment sign."""
    lines = ["# Settings of the hub. Take the # away from a line to change it, then start the hub again."]
    for table in described():
        lines += ["", "", f"# {table.summary}", f"[{table.name}]"]
        for key in table.keys:
            lines += ["", *(f"# {line}" for line in textwrap.wrap(f"{key.description} {key.bound}", 110))]
            lines.append(f"#{key.name} = {key.default}")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Key:
    """One key of the file; `default` as TOML."""

    name: str
    default: str
    description: str
    bound: str


@dataclass(frozen=True)
class Table:
    """One table of the file and what it is for."""

    name: str
    summary: str
    keys: list[Key]


def described() -> list[Table]:
    """Everything that can be set, for the file and for the page."""
    tables = []
    for table in msgspec.structs.fields(HubSettings):
        if table.name == "locations":
            example = Key("home", '"Europe/Vienna"', "An example; there is none until you name one.", "")
            tables.append(Table(table.name, _description(table.type), [example]))
            continue
        fields = msgspec.structs.fields(table.type)
        keys = [Key(f.name, _toml(_default(f)), _description(f.type), f"M{_bound(f.type)[1:]}.") for f in fields]
        tables.append(Table(table.name, table.type.__doc__ or "", keys))
    return tables


def _section(values: object, kind: type[Section], label: str) -> Section:
    if not isinstance(values, dict):
        raise InvalidInput(label, "must be a table")
    _check_names(values, kind, lambda key: f"{label}.{key}")
    types = {field.name: field.type for field in msgspec.structs.fields(kind)}
    return kind(**{name: _value(value, types[name], f"{label}.{name}") for name, value in values.items()})


def _value(value: object, kind: Any, label: str) -> Any:
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, OverflowError) as error:
        shown = repr(value)
        raise InvalidInput(label, f"{_bound(kind)}, got {shown[:57] + '...' if len(shown) > 60 else shown}") from error


def _check_names(values: Mapping[str, Any], kind: type[Section], label: Callable[[str], str]) -> None:
    known = kind.__struct_fields__
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            meant = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise InvalidInput(label(name[:60]), f"there is no such setting; {meant}")


def _contradictions(settings: HubSettings) -> Iterator[tuple[str, str]]:
    """What no type says: key and reason."""
    yield from _wrong_addresses(settings.listen)
    tls, mail = settings.tls, settings.mail
    if bool(tls.certificate_file) != bool(tls.key_file):
        yield "tls.key_file" if tls.certificate_file else "tls.certificate_file", "both files must be given, or none"
    for email in settings.sign_in.emails:
        if _EMAIL.fullmatch(email) is None:
            yield "sign_in.emails", f"must be addresses such as anna@example.org, got {email!r}"
    if mail.host and not (mail.sender or mail.user):
        yield "mail.sender", "must be given where mail.host is, or mail.user with an address"
    for place, zone in settings.locations.items():
        try:
            GroupName.parse(place)
        except InvalidInput as error:
            yield "locations", f"names {error.reason}"
        if (reason := _wrong_zone(zone)) is not None:
            yield f"locations.{place}", reason


def _wrong_addresses(listen: Listen) -> Iterator[tuple[str, str]]:
    if listen.address and not is_address(listen.address):
        yield "listen.address", f"must be an IPv4 or IPv6 address, or empty, got {listen.address!r}"
    ports = [
        port for port in (listen.console_port, listen.localhost_port, listen.device_port, *listen.mqtt_ports) if port
    ]
    for port in sorted({port for port in ports if ports.count(port) > 1}):
        yield "listen", f"port {port} is given twice; each port serves one thing"
    for name in listen.names:
        if not is_address(name) and not is_host_name(name):
            yield "listen.names", f"must be host names or addresses without port, got {name!r}"
    for proxy in listen.trusted_proxies:
        if not _is_network(proxy):
            yield "listen.trusted_proxies", f'must be addresses or networks such as "10.0.0.0/8", got {proxy!r}'


def _wrong_zone(zone: str) -> str | None:
    try:
        zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        near = difflib.get_close_matches(zone, zoneinfo.available_timezones(), 1)
        meant = f"; did you mean {near[0]}?" if near else ' such as "Europe/Vienna"'
        return f"{zone!r} is no time zone of the IANA database{meant}"
    return None


def is_address(name: str) -> bool:
    """Whether `name` is an IPv4 or IPv6 address, without a zone."""
    try:
        return "%" not in name and bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def is_host_name(name: str) -> bool:
    """Whether `name` is a host's name, as DNS has it."""
    return _HOST_NAME.fullmatch(name) is not None


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


def _bound(kind: Any) -> str:
    plain, metas = _unwrapped(kind)
    if get_origin(plain) is list:
        least = next((meta.min_length for meta in metas if meta.min_length), 0)
        most = next(meta.max_length for meta in metas if meta.max_length)
        inner = _bound(get_args(plain)[0]).removeprefix("must be ")
        return f"must be a list of {least} to {most}, each {inner}"
    if get_origin(plain) is dict:
        return f"must be a table of at most {LOCATIONS_MAX} names with a time zone each"
    if any(meta.pattern for meta in metas):
        return "must be a number of bytes in quotes, with K, M, G or T if wanted"
    return bound_of(kind)


def _description(kind: Any) -> str:
    return next(meta.description for meta in _unwrapped(kind)[1] if meta.description)


def _unwrapped(kind: Any) -> tuple[Any, list[Meta]]:
    """The type, and what is said of it."""
    if get_origin(kind) is Annotated:
        plain, *metas = get_args(kind)
        return plain, metas
    return kind, []


def _default(field: msgspec.structs.FieldInfo) -> Any:
    return field.default_factory() if field.default is msgspec.NODEFAULT else field.default


def _toml(value: Any) -> str:
    """Numbers, plain strings and lists of them are the same in TOML and in JSON."""
    return msgspec.json.encode(value).decode()
