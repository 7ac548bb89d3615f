"""The steps by which a camera is made in an account, by its owner's own credentials."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pinthesky.errors import Conflict, InvalidInput, NotFound
from pinthesky.model.amazon_roots import AMAZON_ROOTS
from pinthesky.model.identifiers import BucketName, ThingName
from pitsctl import places
from pitsctl.answers import Answers
from pitsctl.aws_account import Account, Deployment, errors
from pitsctl.aws_resources import BucketStep, GroupStep, LogGroupStep, PolicyStep, RoleAliasStep, RoleStep
from pitsctl.aws_shared import CloudNames, SharedStep
from pitsctl.camera_home import CameraHome
from pitsctl.device_key import DeviceKey
from pitsctl.ledger import Ledger
from pitsctl.machine import Machine
from pitsctl.person import Person
from pitsctl.registration import put_identity
from pitsctl.steps import Found, Say, Step, Verdict

MQTT_PORT = 8883
REGISTRATION = "registration"
"""The attribute that tells one registration of a name from another; the planes write the same."""
_PATIENCE_S = (0.2, 0.5, 1.0, 2.0)
"""Detaching a certificate takes AWS moments, and until then the thing cannot be removed."""


def names_of(answers: Answers, account: Account, deployment: Deployment | None, *, host_name: str) -> CloudNames:
    """What is called how: as answered, else as deployed, else by default. Raises InvalidInput."""
    cloud, storage, found = answers.cloud, answers.storage, deployment
    thing = cloud.thing or re.sub(r"[^A-Za-z0-9:_-]", "-", host_name) or "camera"
    bucket = storage.bucket or (found.bucket if found else f"pinthesky-{account.id}-{account.region}")
    return CloudNames(
        thing=str(ThingName.parse(thing, "cloud.thing")),
        group=cloud.group or (found.group if found else "pinthesky-cameras"),
        policy=cloud.policy or (found.policy if found else "pinthesky-camera"),
        role=cloud.role or "pinthesky-camera",
        role_alias=cloud.role_alias or (found.role_alias if found else "pinthesky-camera"),
        bucket=str(BucketName.parse(bucket, "storage.bucket")) if storage.enabled else "",
        log_group=answers.cloudwatch.log_group if answers.cloudwatch.enabled else "",
        prefixes=(storage.video_prefix, storage.image_prefix),
    )


def aws_steps(
    answers: Answers, machine: Machine, ledger: Ledger, *, person: Person, account: Account, host_name: str
) -> list[Step]:
    """The steps, in order; with a deployment only the thing, unless other names were answered than those deployed."""
    deployment = Deployment.find(account)
    names = names_of(answers, account, deployment, host_name=host_name)
    wanted: list[tuple[type[SharedStep], str, str]] = [
        (GroupStep, names.group, deployment.group if deployment else ""),
        (LogGroupStep, names.log_group, names.log_group if deployment else ""),
        (RoleStep, names.role, "" if answers.cloud.role or not deployment else names.role),
        (RoleAliasStep, names.role_alias, deployment.role_alias if deployment else ""),
        (PolicyStep, names.policy, deployment.policy if deployment else ""),
        (BucketStep, names.bucket, deployment.bucket if deployment else ""),
    ]
    shared = [kind(account, names, person) for kind, name, deployed in wanted if name and name != deployed]
    connections = answers.dataplane.endpoint or (deployment.connections if deployment else "")
    thing = ThingStep(
        machine,
        ledger,
        person,
        account=account,
        names=names,
        connections=connections if answers.dataplane.enabled else "",
        is_named=bool(answers.cloud.thing),
    )
    return [*shared, thing]


class ThingStep:
    """The camera's thing, with a certificate for the key that its machine has made."""

    name = "aws-thing"
    title = "Make the camera's thing and its certificate in AWS IoT"

    def __init__(
        self,
        machine: Machine,
        ledger: Ledger,
        person: Person,
        *,
        account: Account,
        names: CloudNames,
        connections: str,
        is_named: bool,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`connections` is where answers to sockets go; `is_named` tells whether a person has named the thing."""
        self._machine = machine
        self._ledger = ledger
        self._person = person
        self._account = account
        self._names = names
        self._connections = connections
        self._is_named = is_named
        self._sleep = sleep
        self._key = DeviceKey(machine)
        self._thing = names.thing

    def check(self) -> Found:
        """See `Step`."""
        notes, home = self._ledger.notes(self.name), self._ledger.home
        if not notes and self._is_adopted():
            return Found(Verdict.DONE, "the identity that was there before is kept")
        if home is None or home.address or home.thing_name != self._thing or notes.get("thing") != self._thing:
            if self._attributes() is None:
                return Found(Verdict.NEEDED, f"make the thing {self._thing} and its certificate")
            return Found(Verdict.NEEDED, f"the thing {self._thing} is there: a further certificate for this camera")
        if trouble := self._key.trouble_with_certificate():
            return Found(Verdict.NEEDED, f"{trouble}: make another certificate for {self._thing}")
        arn = str(notes.get("certificate", ""))
        if arn not in self._principals() or self._certificate(arn) is None:
            return Found(Verdict.NEEDED, f"the certificate of {self._thing} is not active in AWS: make another one")
        # The addresses of an account and region stay; they need not be asked for again.
        if home != self._home(home.mqtt_host, home.credentials_endpoint):
            return Found(Verdict.NEEDED, f"{self._thing} is there, and what it is told of its home is out of date")
        return Found(Verdict.DONE, f"{self._thing} is there, with the certificate of this machine")

    def apply(self, say: Say) -> None:
        """See `Step`."""
        if self.check().verdict is Verdict.DONE:
            return
        self._make_thing(say)
        pem = self._kept_certificate() or self._new_certificate()
        arn = str(self._ledger.notes(self.name)["certificate"])
        iot = self._account.client("iot")
        with errors(f"attaching the certificate of {self._thing}"):
            if arn not in self._principals():
                iot.attach_thing_principal(thingName=self._thing, principal=arn, thingPrincipalType="EXCLUSIVE_THING")
            iot.attach_policy(policyName=self._names.policy, target=arn)
            iot.add_thing_to_thing_group(thingGroupName=self._names.group, thingName=self._thing)
            iot.update_certificate(certificateId=_id_of(arn), newStatus="ACTIVE")
        put_identity(self._machine, pem, AMAZON_ROOTS)
        self._ledger.keep_home(
            self._home(self._account.endpoint("iot:Data-ATS"), self._account.endpoint("iot:CredentialProvider"))
        )
        say(f"{self._thing} has its certificate, {_id_of(arn)[:16]}…")

    def undo(self, say: Say) -> None:
        """See `Step`. Whoever takes this back has asked before."""
        notes = self._ledger.notes(self.name)
        thing, arn = str(notes.get("thing", "")), str(notes.get("certificate", ""))
        if not thing:
            return
        if arn and self._certificate(arn, only_active=False) is not None:
            self._discard(thing, arn)
            say("The certificate is deleted")
        self._machine.run("rm", "-f", "--", str(places.CERTIFICATE), str(places.ROOT_CA), root=True)
        attributes = self._attributes()
        if attributes is None:
            return
        if attributes.get(REGISTRATION) != notes.get(REGISTRATION):
            say(f"The thing {thing} is kept: it was there before")
        else:
            self._delete_thing()
            say(f"The thing {thing} is removed")

    def _is_adopted(self) -> bool:
        """Whether an older version's identity was taken over, and no other thing was asked for."""
        home = self._ledger.home
        if home is None or home.address or (self._is_named and home.thing_name != self._thing):
            return False
        return self._key.trouble_with_certificate() is None

    def _make_thing(self, say: Say) -> None:
        """Make the thing, or take one that is there when the person says so. Raises Conflict."""
        notes = self._ledger.notes(self.name)
        if notes.get("thing") != self._thing:
            notes = {"thing": self._thing, REGISTRATION: secrets.token_hex(16)}
        attributes = self._attributes()
        if attributes is None:
            self._ledger.keep(self.name, notes)
            with errors(f"making the thing {self._thing}"):
                self._account.client("iot").create_thing(
                    thingName=self._thing,
                    attributePayload={"attributes": {REGISTRATION: str(notes[REGISTRATION]), "madeBy": "pitsctl"}},
                )
            say(f"The thing {self._thing} is made")
        elif "certificate" not in notes and attributes.get(REGISTRATION) != notes[REGISTRATION]:
            certificates = len(self._principals())
            if not self._person.confirm(
                f"There is a thing {self._thing} already. Is it this camera?",
                f"It has {certificates} certificate(s), which stay; this machine gets one of its own.",
            ):
                raise Conflict(f"there is a thing {self._thing} already: choose another name (cloud.thing)")
            self._ledger.keep(self.name, notes)

    def _kept_certificate(self) -> str | None:
        """The certificate that an earlier attempt has made, if it is for the key that is there."""
        arn = str(self._ledger.notes(self.name).get("certificate", ""))
        found = self._certificate(arn, only_active=False) if arn else None
        if found is None or found["status"] not in ("ACTIVE", "INACTIVE"):
            return None
        pem = str(found["certificatePem"])
        told = self._machine.run("openssl", "x509", "-noout", "-pubkey", given=pem.encode())
        return pem if told.code == 0 and told.out.split() == self._key.public_key().split() else None

    def _new_certificate(self) -> str:
        before = str(self._ledger.notes(self.name).get("certificate", ""))
        if before:
            self._discard(self._thing, before)
        self._key.make()
        request = self._key.request("camera")
        with errors(f"certifying {self._thing}"):
            made = self._account.client("iot").create_certificate_from_csr(
                certificateSigningRequest=request.csr, setAsActive=False
            )
        notes = self._ledger.notes(self.name)
        self._ledger.keep(self.name, {**notes, "certificate": made["certificateArn"]})
        return str(made["certificatePem"])

    def _home(self, mqtt_host: str, credentials_endpoint: str) -> CameraHome:
        return CameraHome(
            thing_name=self._thing,
            mqtt_host=mqtt_host,
            mqtt_port=MQTT_PORT,
            credentials_endpoint=credentials_endpoint,
            role_alias=self._names.role_alias,
            region=self._account.region,
            bucket=self._names.bucket,
            dataplane_endpoint=self._connections,
            dataplane_region=self._account.region if self._connections else "",
        )

    def _attributes(self) -> dict[str, str] | None:
        try:
            with errors(f"looking for the thing {self._thing}"):
                found = self._account.client("iot").describe_thing(thingName=self._thing)
        except NotFound:
            return None
        return dict(found.get("attributes") or {})

    def _principals(self) -> list[str]:
        with suppress(NotFound), errors(f"listing the certificates of {self._thing}"):
            return list(self._account.client("iot").list_thing_principals(thingName=self._thing)["principals"])
        return []

    def _certificate(self, arn: str, *, only_active: bool = True) -> dict[str, Any] | None:
        try:
            with errors(f"looking for the certificate of {self._thing}"):
                told = self._account.client("iot").describe_certificate(certificateId=_id_of(arn))
        except (NotFound, InvalidInput):
            return None
        found: dict[str, Any] = told["certificateDescription"]
        return found if found["status"] == "ACTIVE" or not only_active else None

    def _discard(self, thing: str, arn: str) -> None:
        """Deactivate a certificate, and remove it with what it may do. What is gone already is no error."""
        iot, certificate = self._account.client("iot"), _id_of(arn)
        for do, request in (
            (iot.update_certificate, {"certificateId": certificate, "newStatus": "INACTIVE"}),
            (iot.detach_policy, {"policyName": self._names.policy, "target": arn}),
            (iot.detach_thing_principal, {"thingName": thing, "principal": arn}),
            (iot.delete_certificate, {"certificateId": certificate, "forceDelete": True}),
        ):
            with suppress(NotFound), errors(f"removing the certificate of {thing}"):
                do(**request)

    def _delete_thing(self) -> None:
        with suppress(NotFound), errors(f"taking {self._thing} out of its group"):
            self._account.client("iot").remove_thing_from_thing_group(
                thingGroupName=self._names.group, thingName=self._thing
            )
        for pause_s in (*_PATIENCE_S, None):
            try:
                with suppress(NotFound), errors(f"removing the thing {self._thing}"):
                    self._account.client("iot").delete_thing(thingName=self._thing)
            except InvalidInput:
                if pause_s is None:
                    raise
                self._sleep(pause_s)
            else:
                return


def _id_of(arn: str) -> str:
    return arn.rpartition("/")[2]
