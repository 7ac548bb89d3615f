"""The planes' port `Things` on AWS IoT's registry."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pinthesky.aws.clients import Clients, errors
from pinthesky.errors import Conflict, InvalidInput, NotFound, PinTheSkyError, Unavailable
from pinthesky.model.amazon_roots import AMAZON_ROOTS
from pinthesky.model.identifiers import ThingName
from pinthesky.planes.ports import DeviceIdentity

logger = logging.getLogger(__name__)

LISTED_MAX = 1000
PAGE = 100
CSR_MAX = 4096
MQTT_PORT = "8883"
REGISTRATION = "registration"
"""The attribute that tells one registration of a name from another: a thing is taken by whoever wrote it."""
_PATIENCE_S = (0.2, 0.5, 1.0)
"""Detaching a certificate takes AWS moments, and until then the thing cannot be removed."""


@dataclass(frozen=True, kw_only=True)
class CameraDefaults:
    """What every new camera gets."""

    policy: str
    """Name of the IoT policy of cameras."""
    group: str
    """Name of the thing group of cameras; empty: none."""
    endpoints: Mapping[str, str]
    """See `DeviceIdentity.endpoints`; the addresses of IoT itself are added."""


class IotThings:
    """The adapter of `planes.ports.Things`."""

    def __init__(
        self, clients: Clients, defaults: CameraDefaults, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._clients = clients
        self._defaults = defaults
        self._sleep = sleep
        self._lock = threading.Lock()
        self._iot_endpoints: dict[str, str] = {}

    def groups(self) -> Sequence[str]:
        """See `planes.ports.Things`. At most 1000."""
        with errors("listing the thing groups"):
            pages = self._pages(self._client.list_thing_groups, "thingGroups")
            return [each["groupName"] for each in pages]

    def in_group(self, group: str) -> Sequence[ThingName]:
        """See `planes.ports.Things`."""
        with errors(f"listing the thing group {group}", field="group"):
            names = list(self._pages(self._client.list_things_in_thing_group, "things", thingGroupName=group))
        return [ThingName(name) for name in names]

    def exists(self, thing: ThingName) -> bool:
        """See `planes.ports.Things`."""
        try:
            with errors(f"looking for thing {thing}"):
                self._client.describe_thing(thingName=str(thing))
        except NotFound:
            return False
        return True

    def register(self, thing: ThingName, csr: str) -> DeviceIdentity:
        """See `planes.ports.Things`."""
        if "BEGIN CERTIFICATE REQUEST" not in csr[:100] or len(csr) > CSR_MAX:
            raise InvalidInput("csr", f"must be a certificate request in PEM of at most {CSR_MAX} characters")
        endpoints = self._endpoints()
        if self.exists(thing):
            raise Conflict(f"there is a thing {thing} already")
        with errors(f"registering {thing}"):
            # AWS takes the making of a thing that is there for a success if nothing differs, so something does.
            self._client.create_thing(
                thingName=str(thing), attributePayload={"attributes": {REGISTRATION: secrets.token_hex(16)}}
            )
        try:
            certificate = self._certify(thing, csr)
        except BaseException:
            self._undo(thing)
            raise
        return DeviceIdentity(certificate=certificate, authority=AMAZON_ROOTS, endpoints=endpoints)

    def remove(self, thing: ThingName) -> None:
        """See `planes.ports.Things`. A certificate that other things use too is only detached from this one."""
        name = str(thing)
        try:
            with errors(f"removing thing {thing}"):
                principals = list(self._pages(self._client.list_thing_principals, "principals", thingName=name))
        except NotFound:
            return
        for principal in principals:
            # What is gone already was removed by somebody else, at the same time or before a crash.
            with suppress(NotFound), errors(f"removing thing {thing}"):
                self._client.detach_thing_principal(thingName=name, principal=principal)
            with suppress(NotFound), errors(f"removing thing {thing}"):
                if not any(self._pages(self._client.list_principal_things, "things", principal=principal)):
                    self._discard(principal)
        with suppress(NotFound), errors(f"removing thing {thing}"):
            for group in self._pages(self._client.list_thing_groups_for_thing, "thingGroups", thingName=name):
                self._client.remove_thing_from_thing_group(thingName=name, thingGroupName=group["groupName"])
        self._delete_thing(thing)

    def _certify(self, thing: ThingName, csr: str) -> str:
        """Make a certificate, and attach it to the thing and to the policy. It is active at the end alone."""
        client = self._client
        with errors(f"certifying {thing}", field="csr", invalid=("InvalidRequestException", "400")):
            made = client.create_certificate_from_csr(certificateSigningRequest=csr, setAsActive=False)
        arn = made["certificateArn"]
        with errors(f"attaching the certificate of {thing}"):
            try:
                client.attach_thing_principal(thingName=str(thing), principal=arn, thingPrincipalType="EXCLUSIVE_THING")
            except BaseException:
                self._discard(arn)  # nothing leads to it
                raise
        try:
            with errors(f"activating the certificate of {thing}"):
                client.attach_policy(policyName=self._defaults.policy, target=arn)
                if self._defaults.group:
                    client.add_thing_to_thing_group(thingGroupName=self._defaults.group, thingName=str(thing))
                client.update_certificate(certificateId=made["certificateId"], newStatus="ACTIVE")
        except NotFound as error:
            raise Unavailable(f"the policy or the group of cameras is missing in this account: {error}") from error
        return str(made["certificatePem"])

    def _undo(self, thing: ThingName) -> None:
        try:
            self.remove(thing)
        except PinTheSkyError as error:
            logger.error(
                "The registration of %s failed, and what there is of it could not be removed: %s", thing, error
            )

    def _discard(self, arn: str) -> None:
        """Deactivate a certificate, and remove it with what it may do."""
        certificate = arn.rpartition("/")[2]
        with suppress(NotFound), errors(f"removing certificate {certificate}"):
            self._client.update_certificate(certificateId=certificate, newStatus="INACTIVE")
            for policy in self._client.list_attached_policies(target=arn).get("policies", []):
                self._client.detach_policy(policyName=policy["policyName"], target=arn)
            self._client.delete_certificate(certificateId=certificate, forceDelete=True)

    def _delete_thing(self, thing: ThingName) -> None:
        for pause_s in (*_PATIENCE_S, None):
            try:
                with errors(f"removing thing {thing}"):
                    self._client.delete_thing(thingName=str(thing))
            except NotFound:
                return
            except InvalidInput as error:
                if pause_s is None:
                    raise Unavailable(f"thing {thing} cannot be removed yet: {error}") from error
                self._sleep(pause_s)
            else:
                return

    def _endpoints(self) -> dict[str, str]:
        with self._lock:
            if not self._iot_endpoints:
                with errors("asking for the endpoints of IoT"):
                    found = {
                        name: self._client.describe_endpoint(endpointType=kind)["endpointAddress"]
                        for name, kind in (
                            ("mqtt_host", "iot:Data-ATS"),
                            ("credentials_endpoint", "iot:CredentialProvider"),
                        )
                    }
                self._iot_endpoints = {**found, "mqtt_port": MQTT_PORT}
            return {**self._defaults.endpoints, **self._iot_endpoints}

    @staticmethod
    def _pages(operation: Callable[..., Any], member: str, **request: Any) -> Iterator[Any]:
        """What a list of IoT gives, up to LISTED_MAX."""
        count = 0
        token: str | None = None
        while count < LISTED_MAX:
            answer = operation(**request, maxResults=PAGE, **({"nextToken": token} if token else {}))
            for each in answer.get(member, [])[: LISTED_MAX - count]:
                count += 1
                yield each
            token = answer.get("nextToken")
            if not token:
                return

    @property
    def _client(self) -> Any:
        return self._clients.get("iot")
