"""The planes' port `Shadows` on AWS IoT's named shadows."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec

from pinthesky.aws.clients import Clients, errors
from pinthesky.errors import Conflict, NotFound
from pinthesky.model.identifiers import SHADOW_NAME, ThingName, plain
from pinthesky.planes.ports import ShadowState

_TOO_LARGE = ("413", "RequestEntityTooLargeException", "InvalidRequestException")


class IotShadows:
    """The adapter of `planes.ports.Shadows`."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def get(self, thing: ThingName) -> ShadowState | None:
        """See `planes.ports.Shadows`."""
        try:
            with errors(f"reading the shadow of {thing}"):
                answer = self._client.get_thing_shadow(thingName=str(thing), shadowName=SHADOW_NAME)
        except NotFound:
            return None
        document = msgspec.json.decode(answer["payload"].read())
        state = document.get("state", {})
        return ShadowState(state.get("desired") or {}, state.get("reported") or {}, document["version"])

    def desire(
        self, thing: ThingName, sections: Mapping[str, Mapping[str, Any] | None], *, expected_version: int | None = None
    ) -> int:
        """See `planes.ports.Shadows`.

        AWS has no version of what does not exist: of two who are both the first to say something, both succeed, and
        what they say is merged field by field.
        """
        document: dict[str, Any] = {"state": {"desired": dict(sections)}}
        if expected_version:
            document["version"] = expected_version
        elif expected_version == 0 and self.get(thing) is not None:
            raise Conflict(f"the settings of {thing} have been changed meanwhile")
        with errors(f"the settings of {thing}", field="state", invalid=_TOO_LARGE):
            answer = self._client.update_thing_shadow(
                thingName=str(thing),
                shadowName=SHADOW_NAME,
                payload=msgspec.json.encode(document, enc_hook=plain),
            )
        return int(msgspec.json.decode(answer["payload"].read())["version"])

    def delete(self, thing: ThingName) -> None:
        """See `planes.ports.Shadows`."""
        with suppress(NotFound), errors(f"removing the shadow of {thing}"):
            self._client.delete_thing_shadow(thingName=str(thing), shadowName=SHADOW_NAME)

    @property
    def _client(self) -> Any:
        return self._clients.get("iot-data")
