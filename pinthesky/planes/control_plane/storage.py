"""Route of the storage: how much is stored, and for how long it is kept."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from pinthesky.planes.authorization import Permission
from pinthesky.planes.routing import Call, Routes

routes = Routes("storage")

Bytes = Annotated[int, Meta(ge=0)]
Days = Annotated[int, Meta(description="Null: for ever, or until the space is needed.")]


class Usage(Struct, kw_only=True, rename="camel"):
    """How much is stored."""

    objects: int
    bytes: Bytes
    limit_bytes: Annotated[Bytes, Meta(description="Null: as much as is paid for.")] | None
    free_bytes: Bytes | None


class StorageInfo(Struct, kw_only=True, rename="camel"):
    """How much is stored, and for how many days what is kept."""

    usage: Annotated[Usage, Meta(description="Null for a viewer of groups: it counts every camera.")] | None
    clips_days: Days | None
    stills_days: Days | None
    health_days: Days | None


@routes.get("/storage/info", Permission.READ, "How much is stored, and for how long")
def get_storage_info(call: Call) -> StorageInfo:
    """In AWS the usage is as of the last day's count."""
    usage = None
    if call.person.sees_everything:
        used = call.home.media.usage()
        usage = Usage(objects=used.objects, bytes=used.bytes, limit_bytes=used.limit_bytes, free_bytes=used.free_bytes)
    kept = call.home.retention
    return StorageInfo(
        usage=usage, clips_days=kept.clips_days, stills_days=kept.stills_days, health_days=kept.health_days
    )
