"""Route of the versions of the device software that can be installed."""

from __future__ import annotations

from msgspec import Struct

from pinthesky.planes.authorization import Permission
from pinthesky.planes.listing import Items, ListQuery
from pinthesky.planes.routing import Call, Routes
from pinthesky.planes.table import Key, Position

routes = Routes("versions")


class Version(Struct, kw_only=True, rename="camel"):
    """A release. A camera takes the wheel only if its SHA-256 is this one."""

    version: str
    wheel_url: str
    sha256: str
    released_at: str
    latest: bool


@routes.get("/versions", Permission.READ, "Known releases of the device software, the newest first")
def list_versions(call: Call, query: ListQuery) -> Items[Version]:
    """From the manifests of the releases."""
    after = call.home.page_tokens.open(query.next_token, "versions")
    known = call.home.releases.known()
    # A release that came out meanwhile is before all others, so the page goes on behind a version, not a number.
    start = 0 if after is None else _behind([release.version for release in known], after.key.sort)
    chosen = known[start : start + query.limit]
    more = Position(Key("version", chosen[-1].version)) if start + query.limit < len(known) else None
    return Items(
        items=[
            Version(
                version=release.version,
                wheel_url=release.wheel_url,
                sha256=release.sha256,
                released_at=release.released_at,
                latest=release is known[0],
            )
            for release in chosen
        ],
        next_token=call.home.page_tokens.seal(more, "versions"),
    )


def _behind(versions: list[str], version: str) -> int:
    return versions.index(version) + 1 if version in versions else len(versions)
