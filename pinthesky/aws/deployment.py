"""What a function is told of its deployment, in environment variables that are checked when it starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

from pinthesky.errors import InvalidInput
from pinthesky.model.identifiers import BucketName, Identifier, KeyPrefix

PREFIX = "PITS_"
Region = Annotated[str, Meta(pattern=r"^[a-z0-9-]{4,32}\Z")]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:-]{1,200}\Z")]
Arn = Annotated[str, Meta(pattern=r"^arn:aws[a-z-]*:[A-Za-z0-9_.:/-]{1,400}\Z")]
Address = Annotated[str, Meta(pattern=r"^https?://[A-Za-z0-9.:-]{1,255}(/[A-Za-z0-9_/-]{0,200}[A-Za-z0-9_-])?\Z")]
Days = Annotated[int, Meta(ge=0, le=36500)]
Told = TypeVar("Told", bound=Struct)


class Deployment(Struct, frozen=True, kw_only=True):
    """One variable for each field: `PITS_` and its name in capitals. `region` is Lambda's own `AWS_REGION`."""

    region: Region
    table: Name
    """The table of the records."""
    media_bucket: BucketName
    """Without dots: links to it are by its own host name, which no certificate of AWS holds otherwise."""
    console: Address
    """The console's address, without a slash at its end."""
    connections_endpoint: Address
    """The stage of the WebSocket API, with https."""
    user_pool: Name
    client_ids: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_,]{1,1000}\Z")]
    """Clients of the pool whose tokens are taken, with commas between."""
    alerts_topic: Arn
    thing_arns: Arn
    """What the ARN of every thing begins with: `arn:aws:iot:<region>:<account>:thing/`."""
    camera_policy: Name
    role_alias: Name
    conversion_function: Name
    camera_group: str = ""
    """The thing group of new cameras; empty: none."""
    releases_bucket: BucketName | None = None
    """Where the manifests of releases are; without it the media bucket."""
    releases_prefix: KeyPrefix = KeyPrefix("releases")
    video_prefix: KeyPrefix = KeyPrefix("motion_videos")
    image_prefix: KeyPrefix = KeyPrefix("capture_images")
    clips_days: Days = 30
    """0 keeps for ever; so with the next two."""
    stills_days: Days = 30
    health_days: Days = 90
    labels: bool = False
    """Whether Rekognition is asked what is to be seen in the still of an event."""
    labels_per_month: Annotated[int, Meta(ge=1, le=1_000_000)] = 1000
    legacy_topic: bool = False
    """Whether events on the topic that older devices share are taken, as from the client that published them."""
    base_path: Annotated[str, Meta(pattern=r"^(/[A-Za-z0-9_-]{1,60})?\Z")] = ""
    """What stands before every path of the control plane, where something before the HTTP API has put it."""

    @property
    def clients(self) -> frozenset[str]:
        """`client_ids`, one by one."""
        return frozenset(self.client_ids.split(","))


class TriggerDeployment(Struct, frozen=True, kw_only=True):
    """What the trigger of the user pool is told: a pool and a trigger that name each other could not be made."""

    region: Region
    table: Name


def read(environment: Mapping[str, str]) -> Deployment:
    """The deployment that an environment describes. Raises InvalidInput with the variable's name."""
    found = _read(environment, Deployment)
    if "." in found.media_bucket:
        raise InvalidInput(variable_of("media_bucket"), f"must be a name without dots, got {found.media_bucket}")
    return found


def read_trigger(environment: Mapping[str, str]) -> TriggerDeployment:
    """The same for the trigger of the user pool."""
    return _read(environment, TriggerDeployment)


def _read(environment: Mapping[str, str], kind: type[Told]) -> Told:
    fields = {field.name: variable_of(field.name) for field in msgspec.structs.fields(kind)}
    given: dict[str, Any] = {
        name: environment[variable] for name, variable in fields.items() if environment.get(variable)
    }
    try:
        return msgspec.convert(given, kind, strict=False, dec_hook=_identifier)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `$.")
        named = place.rstrip("`") or next((name for name in fields if f"`{name}`" in message), "")
        raise InvalidInput(fields.get(named, "environment"), message[:1].lower() + message[1:]) from error


def variable_of(field: str) -> str:
    """The environment variable of a field."""
    return "AWS_REGION" if field == "region" else f"{PREFIX}{field.upper()}"


def _identifier(kind: type[Identifier], value: object) -> Identifier:
    return kind.parse(value)
