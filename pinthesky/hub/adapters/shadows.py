"""The planes' port `Shadows` on the hub's own shadows."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from pinthesky.errors import Conflict, NotFound
from pinthesky.hub.shadows import Shadows
from pinthesky.model.identifiers import SHADOW_NAME, ThingName
from pinthesky.planes.ports import ShadowState


class HubShadows:
    """The adapter of `planes.ports.Shadows`."""

    def __init__(self, shadows: Shadows) -> None:
        self._shadows = shadows

    def get(self, thing: ThingName) -> ShadowState | None:
        """See `planes.ports.Shadows`."""
        try:
            document = self._shadows.get(thing, SHADOW_NAME)
        except NotFound:
            return None
        state = document["state"]
        return ShadowState(state.get("desired", {}), state.get("reported", {}), document["version"])

    def desire(
        self, thing: ThingName, sections: Mapping[str, Mapping[str, Any] | None], *, expected_version: int | None = None
    ) -> int:
        """See `planes.ports.Shadows`."""
        document: dict[str, Any] = {"state": {"desired": dict(sections)}}
        if expected_version:
            document["version"] = expected_version
        elif expected_version == 0 and self.get(thing) is not None:
            # No version to send: a shadow that was deleted goes on from the one that it had.
            raise Conflict(f"the settings of {thing} have been changed meanwhile")
        return int(self._shadows.update(thing, SHADOW_NAME, document)["version"])

    def delete(self, thing: ThingName) -> None:
        """See `planes.ports.Shadows`."""
        with suppress(NotFound):
            self._shadows.delete(thing, SHADOW_NAME)
