"""The planes' port `Things` on the hub's registry and its authority."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from pinthesky.errors import NotFound
from pinthesky.hub.authority import Authority
from pinthesky.hub.camera_folder import HubAddress
from pinthesky.hub.ports import MEDIA_BUCKET, REGION, ROLE_ALIAS, ThingRegistry
from pinthesky.model.identifiers import ThingName
from pinthesky.planes.ports import DeviceIdentity

GROUP = "cameras"
"""The one group, of all things."""
GROUP_MAX = 1000


class HubThings:
    """The adapter of `planes.ports.Things`."""

    def __init__(self, registry: ThingRegistry, authority: Authority, address: Callable[[], HubAddress]) -> None:
        """`address` tells where cameras find this hub."""
        self._registry = registry
        self._authority = authority
        self._address = address

    def groups(self) -> Sequence[str]:
        """See `planes.ports.Things`."""
        return [GROUP]

    def in_group(self, group: str) -> Sequence[ThingName]:
        """See `planes.ports.Things`."""
        if group != GROUP:
            raise NotFound(f"there is no group {group}")
        return self._registry.things()[:GROUP_MAX]

    def exists(self, thing: ThingName) -> bool:
        """See `planes.ports.Things`."""
        return self._registry.is_active(thing)

    def register(self, thing: ThingName, csr: str) -> DeviceIdentity:
        """See `planes.ports.Things`."""
        certificate = self._authority.certify(thing, csr)
        self._registry.add(thing)
        try:
            self._registry.register_certificate(thing, certificate.der)
        except BaseException:
            self.remove(thing)
            raise
        address = self._address()
        device = f"https://{address.device_endpoint}"
        return DeviceIdentity(
            certificate=certificate.pem.decode(),
            authority=self._authority.root_certificate.read_text(),
            endpoints={
                "mqtt_host": address.host,
                "mqtt_port": str(address.mqtt_port),
                "credentials_endpoint": address.device_endpoint,
                "role_alias": ROLE_ALIAS,
                "bucket_name": MEDIA_BUCKET,
                "region_name": REGION,
                "s3_endpoint": device,
                "connections_endpoint": device,
            },
        )

    def remove(self, thing: ThingName) -> None:
        """See `planes.ports.Things`."""
        with suppress(NotFound):
            self._registry.remove(thing)
