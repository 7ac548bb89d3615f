"""What a camera has to know of its home: the way from the steps that let it in to those that configure it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from pinthesky.errors import InvalidInput
from pinthesky.model.identifiers import BucketName, ThingName

Host = Annotated[str, Meta(pattern=r"^[A-Za-z0-9.:\[\]_-]{1,253}\Z")]
Url = Annotated[str, Meta(pattern=r"^(https://[^\s/@?#]{1,250}(/[^\s?#]{0,100})?)?\Z")]
Region = Annotated[str, Meta(pattern=r"^[a-z0-9-]{0,40}\Z")]


class CameraHome(Struct, frozen=True, kw_only=True):
    """Where a camera that was let in finds what. An empty text: there is none."""

    thing_name: str
    mqtt_host: Host
    mqtt_port: Annotated[int, Meta(ge=1, le=65535)] = 8883
    credentials_endpoint: Host
    """Host, with a port where it is not 443."""
    role_alias: Annotated[str, Meta(pattern=r"^[\w=,@-]{1,128}\Z")]
    region: Region = ""
    bucket: str = ""
    s3_endpoint: Url = ""
    """A hub's; empty: AWS's own."""
    dataplane_endpoint: Url = ""
    """Where answers to sockets go."""
    dataplane_region: Region = ""
    own_authority: bool = False
    """Whether what vouches for this home (`places.ROOT_CA`) is no public authority: a hub's."""
    upgrade_sources: tuple[str, ...] = ()
    """Beginnings of the addresses that releases may come from."""
    address: str = ""
    """The control plane that let the camera in; empty: it was made with the account's own credentials."""


def registered(*, address: str, thing: str, endpoints: Mapping[str, object]) -> CameraHome:
    """What a control plane answers to an approved device. Raises InvalidInput that names what cannot be used."""
    s3 = endpoints.get("s3_endpoint", "")
    region = endpoints.get("region_name", "")
    dataplane = endpoints.get("connections_endpoint", "")
    try:
        home = msgspec.convert(
            {
                "thing_name": str(ThingName.parse(thing, "thing_name")),
                "mqtt_host": endpoints["mqtt_host"],
                "mqtt_port": endpoints["mqtt_port"],
                "credentials_endpoint": endpoints["credentials_endpoint"],
                "role_alias": endpoints["role_alias"],
                "region": region,
                "bucket": endpoints.get("bucket_name", ""),
                "s3_endpoint": s3,
                "dataplane_endpoint": dataplane,
                "dataplane_region": region if dataplane else "",
                "own_authority": bool(s3),
                "upgrade_sources": (f"{s3}/releases/",) if s3 else (),
                "address": address,
            },
            CameraHome,
            strict=False,
        )
    except KeyError as error:
        raise InvalidInput("endpoints", f"{address} does not say the camera's {error.args[0]}") from error
    except msgspec.ValidationError as error:
        raise InvalidInput("endpoints", f"what {address} says cannot be used: {error}") from error
    if home.bucket:
        BucketName.parse(home.bucket, "endpoints.bucket_name")
    return home
