"""The planes' port `Things`: one suite for AWS IoT (moto), the hub and the fake of the tests.

moto signs any request for a certificate with a key of its own, and reads it before anything else of ours could.
"""

from __future__ import annotations

import hashlib
import secrets
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography import x509

from pinthesky.aws.adapters.things import CameraDefaults, IotThings
from pinthesky.aws.clients import Clients
from pinthesky.errors import Conflict, InvalidInput, NotFound, Unavailable
from pinthesky.hub.adapters.things import HubThings
from pinthesky.hub.authority import Authority
from pinthesky.hub.camera_folder import HubAddress
from pinthesky.hub.database import Database
from pinthesky.hub.registry import Registry
from pinthesky.model.amazon_roots import AMAZON_ROOTS
from pinthesky.model.identifiers import ThingName
from pinthesky.planes.ports import Things
from tests.planes.fakes import FakeThings
from tests.planes.test_signing_request import REQUEST


class World(NamedTuple):
    things: Things
    group: str


class Account(NamedTuple):
    """Things in AWS, with what a deployment makes for them."""

    things: IotThings
    iot: Any
    policy: str
    group: str


@pytest.fixture
def account(clients: Clients) -> Account:
    iot, end = clients.get("iot"), secrets.token_hex(6)
    policy, group = f"camera-{end}", f"cameras-{end}"
    iot.create_policy(policyName=policy, policyDocument='{"Version": "2012-10-17", "Statement": []}')
    iot.create_thing_group(thingGroupName=group)
    defaults = CameraDefaults(policy=policy, group=group, endpoints={"bucket_name": "clips"})
    return Account(IotThings(clients, defaults, sleep=lambda _seconds: None), iot, policy, group)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("authority"))
    made.prepare("house")
    return made


@pytest.fixture(params=["aws", "hub", "fake"])
def world(request, authority: Authority, tmp_path: Path) -> Iterator[World]:
    if request.param == "aws":
        account = request.getfixturevalue("account")
        yield World(account.things, account.group)
    elif request.param == "fake":
        yield World(FakeThings(), "cameras")
    else:
        database = Database(tmp_path / "hub.sqlite")
        yield World(HubThings(Registry(database), authority, lambda: HubAddress("hub.local", 8883, 8444)), "cameras")
        database.close()


@pytest.fixture
def thing() -> ThingName:
    return ThingName(f"garden-{secrets.token_hex(6)}")


def test_a_thing_that_was_registered_is_there_in_its_group_and_knows_where_to_connect(world: World, thing: ThingName):
    assert not world.things.exists(thing)
    identity = world.things.register(thing, REQUEST)
    assert world.things.exists(thing)
    assert world.group in world.things.groups()
    assert thing in world.things.in_group(world.group)
    assert {"mqtt_host", "mqtt_port", "role_alias"} - {"role_alias"} <= set(identity.endpoints)
    assert identity.certificate
    assert identity.authority


def test_a_name_is_taken_once(world: World, thing: ThingName):
    world.things.register(thing, REQUEST)
    with pytest.raises(Conflict):
        world.things.register(thing, REQUEST)
    assert world.things.exists(thing)


@pytest.mark.parametrize(
    "request_text", ["", "no request", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
)
def test_what_is_no_request_is_refused_and_leaves_nothing(world: World, thing: ThingName, request_text: str):
    with pytest.raises(InvalidInput) as refused:
        world.things.register(thing, request_text)
    assert refused.value.field == "csr"
    assert not world.things.exists(thing)


def test_what_was_removed_is_gone_can_be_removed_again_and_its_name_is_free(world: World, thing: ThingName):
    world.things.remove(thing)
    world.things.register(thing, REQUEST)
    world.things.remove(thing)
    world.things.remove(thing)
    assert not world.things.exists(thing)
    assert thing not in world.things.in_group(world.group)
    world.things.register(thing, REQUEST)


def test_a_group_that_is_none_is_not_found(world: World):
    with pytest.raises(NotFound):
        world.things.in_group("nothing")


def test_a_certificate_of_aws_is_active_and_attached_to_thing_and_policy(account: Account, thing: ThingName):
    identity = account.things.register(thing, REQUEST)
    (arn,) = account.iot.list_thing_principals(thingName=thing)["principals"]
    certificate = account.iot.describe_certificate(certificateId=arn.rpartition("/")[2])["certificateDescription"]
    assert (certificate["status"], certificate["certificatePem"]) == ("ACTIVE", identity.certificate)
    policies = account.iot.list_attached_policies(target=arn)["policies"]
    assert [each["policyName"] for each in policies] == [account.policy]
    assert identity.endpoints["bucket_name"] == "clips"
    assert identity.endpoints["mqtt_port"] == "8883"
    assert set(identity.endpoints) == {"bucket_name", "mqtt_host", "mqtt_port", "credentials_endpoint"}


def test_a_certificate_of_aws_goes_with_its_thing(account: Account, thing: ThingName):
    account.things.register(thing, REQUEST)
    (arn,) = account.iot.list_thing_principals(thingName=thing)["principals"]
    account.things.remove(thing)
    assert arn not in [each["certificateArn"] for each in account.iot.list_certificates()["certificates"]]
    assert account.iot.list_targets_for_policy(policyName=account.policy)["targets"] == []


def test_a_certificate_that_another_thing_uses_too_stays(account: Account, thing: ThingName):
    account.things.register(thing, REQUEST)
    (arn,) = account.iot.list_thing_principals(thingName=thing)["principals"]
    other = f"{thing}-2"
    account.iot.create_thing(thingName=other)
    account.iot.attach_thing_principal(thingName=other, principal=arn)
    account.things.remove(thing)
    assert account.iot.list_thing_principals(thingName=other)["principals"] == [arn]


def test_a_registration_that_fails_on_its_way_leaves_neither_thing_nor_certificate(clients: Clients, thing: ThingName):
    defaults = CameraDefaults(policy="no-such-policy", group="", endpoints={})
    things, iot = IotThings(clients, defaults), clients.get("iot")
    before = {each["certificateArn"] for each in iot.list_certificates()["certificates"]}
    with pytest.raises(Unavailable, match="the policy or the group of cameras is missing"):
        things.register(thing, REQUEST)
    assert not things.exists(thing)
    assert {each["certificateArn"] for each in iot.list_certificates()["certificates"]} == before


def test_the_authorities_that_a_camera_is_given_are_amazons():
    pems = AMAZON_ROOTS.split("-----END CERTIFICATE-----\n")[:-1]
    found = {}
    for pem in pems:
        whole = f"{pem}-----END CERTIFICATE-----\n"
        name = x509.load_pem_x509_certificate(whole.encode()).subject.rfc4514_string().partition(",")[0]
        found[name] = hashlib.sha256(ssl.PEM_cert_to_DER_cert(whole)).hexdigest()
    assert found == {
        "CN=Amazon Root CA 1": "8ecde6884f3d87b1125ba31ac3fcb13d7016de7f57cc904fe1cb97c6ae98196e",
        "CN=Amazon Root CA 3": "18ce6cfe7bf14e60b2e347b8dfe868cb31d02ebb3ada271569f50343b46db3a4",
    }
