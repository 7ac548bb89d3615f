"""The trigger before sign-up: who was invited comes in through another provider as the same person, nobody else does.

moto has no AdminLinkProviderForUser, so a stand-in answers that one call, as Cognito does; the rest is moto's.
"""

from __future__ import annotations

import copy
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pinthesky.aws import deployment, lambda_handlers
from pinthesky.aws.adapters.people import CognitoPeople
from pinthesky.aws.adapters.sign_up import InvitedOnly
from pinthesky.aws.clients import Clients
from pinthesky.errors import InvalidInput, NotAuthorized, PinTheSkyError, Unavailable
from pinthesky.hub.records import SqliteTable
from pinthesky.model.people import Email, PersonId, Role
from tests.planes.fakes import Clock
from tests.planes.home import UnsyncedDatabase
from tests.support.aws_planes import Asked, Said, answer_in_place, local_clients, moto_clients, new_table
from tests.support.aws_servers import REGION
from tests.support.lambda_calls import Context
from tests.support.recorded_events import recorded

ANNA = Email("anna@example.com")
SUBJECT = "108976543210987654321"
LINKED_MAX = 5


class Linking:
    """AdminLinkProviderForUser: what it refuses, and what a user's attribute `identities` says afterwards."""

    def __init__(self, cognito: Any, pool: str) -> None:
        self._cognito, self._pool = cognito, pool
        self.linked: list[tuple[str, str, str]] = []
        self.failure = ""

    def __call__(self, asked: Asked) -> Said | None:
        request = json.loads(asked.body)
        if "DestinationUser" not in request:
            return None
        if self.failure:
            return Said(400, self.failure)
        source, destination = request["SourceUser"], request["DestinationUser"]
        assert (destination["ProviderName"], source["ProviderAttributeName"]) == ("Cognito", "Cognito_Subject")
        user = destination["ProviderAttributeValue"]
        known = [each["ProviderName"] for each in self._providers()]
        identity = {"providerName": source["ProviderName"], "userId": source["ProviderAttributeValue"]}
        identities = self.identities_of(user)
        if source["ProviderName"] not in known or identity in identities or len(identities) >= LINKED_MAX:
            return Said(400, "InvalidParameterException")
        self.linked.append((user, identity["providerName"], identity["userId"]))
        attributes = [{"Name": "identities", "Value": json.dumps([*identities, identity])}]
        self._cognito.admin_update_user_attributes(UserPoolId=self._pool, Username=user, UserAttributes=attributes)
        return Said(body={})

    def identities_of(self, user: str) -> list[dict[str, str]]:
        found = self._cognito.admin_get_user(UserPoolId=self._pool, Username=user)["UserAttributes"]
        identities: list[dict[str, str]] = json.loads(
            next((each["Value"] for each in found if each["Name"] == "identities"), "[]")
        )
        return identities

    def _providers(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = self._cognito.list_identity_providers(UserPoolId=self._pool)["Providers"]
        return found


class Pool(NamedTuple):
    """A user pool that knows Google, its people, and the trigger before it."""

    id: str
    people: CognitoPeople
    linking: Linking
    trigger: InvitedOnly
    cognito: Any

    def event(self, **changes: Any) -> dict[str, Any]:
        event = recorded("pre_sign_up_external", pool=self.id)
        attributes = {"email": str(ANNA), "email_verified": "true", **changes.pop("attributes", {})}
        event["request"]["userAttributes"] = attributes
        return {**event, **changes}

    def decide(self, **changes: Any) -> None:
        self.trigger.decide(self.event(**changes))


@pytest.fixture(scope="module")
def pool_id(clients: Clients) -> str:
    """A pool that knows three providers; each test leaves nobody in it."""
    cognito = clients.get("cognito-idp")
    made = cognito.create_user_pool(PoolName=f"home-{secrets.token_hex(6)}", UsernameAttributes=["email"])
    pool_id = made["UserPool"]["Id"]
    for role in Role:
        cognito.create_group(UserPoolId=pool_id, GroupName=role.value)
    for name, kind in (("Google", "Google"), ("My_Work", "OIDC"), ("My", "OIDC")):
        cognito.create_identity_provider(
            UserPoolId=pool_id, ProviderName=name, ProviderType=kind, ProviderDetails={"client_id": "x"}
        )
    return str(pool_id)


@pytest.fixture
def pool(clients: Clients, pool_id: str, tmp_path: Path) -> Iterator[Pool]:
    cognito = clients.get("cognito-idp")
    database = UnsyncedDatabase(tmp_path / "records.sqlite")
    own = local_clients()
    own._endpoint_url = clients._endpoint_url
    linking = Linking(cognito, pool_id)
    answer_in_place(own.get("cognito-idp", attempts=1), linking)
    table = SqliteTable(database, now_s=Clock())
    # Fresh for each event, as in the handler: a stranger is one for a minute.
    trigger = InvitedOnly(own, pool_id, lambda person: CognitoPeople(clients, pool_id, table).get(person))
    yield Pool(pool_id, CognitoPeople(clients, pool_id, table), linking, trigger, cognito)
    for user in cognito.list_users(UserPoolId=pool_id)["Users"]:
        cognito.admin_delete_user(UserPoolId=pool_id, Username=user["Username"])
    database.close()


class TestWhoWasInvited:
    def test_somebody_invited_comes_in_as_the_person_whom_the_invitation_made(self, pool: Pool):
        anna = pool.people.invite(ANNA, Role.MEMBER, None)
        pool.decide(userName=f"google_{SUBJECT}")
        assert pool.linking.linked == [(anna.id, "Google", SUBJECT)]
        assert pool.people.get(anna.id).role is Role.MEMBER

    def test_an_address_is_the_same_in_any_case(self, pool: Pool):
        pool.people.invite(ANNA, Role.VIEWER, None)
        pool.decide(attributes={"email": " Anna@Example.COM"})
        assert len(pool.linking.linked) == 1

    def test_an_owner_whom_only_the_pool_knows_comes_in(self, pool: Pool):
        made = pool.cognito.admin_create_user(
            UserPoolId=pool.id, Username=str(ANNA), UserAttributes=[{"Name": "email", "Value": str(ANNA)}]
        )["User"]
        with pytest.raises(NotAuthorized):
            pool.decide()
        pool.cognito.admin_add_user_to_group(UserPoolId=pool.id, Username=made["Username"], GroupName="owner")
        pool.decide()
        assert [user for user, *_ in pool.linking.linked] == [made["Username"]]

    def test_asked_again_because_an_answer_came_late_it_says_the_same(self, pool: Pool):
        pool.people.invite(ANNA, Role.MEMBER, None)
        for _ in range(2):
            pool.decide()
        assert len(pool.linking.linked) == 1

    def test_a_second_provider_leads_to_the_same_person(self, pool: Pool):
        anna = pool.people.invite(ANNA, Role.MEMBER, None)
        pool.decide(userName=f"Google_{SUBJECT}")
        pool.decide(userName="my_work_a_b")
        assert pool.linking.linked == [(anna.id, "Google", SUBJECT), (anna.id, "My_Work", "a_b")]

    def test_people_are_made_by_an_invitation_whatever_it_says(self, pool: Pool):
        pool.trigger.decide(recorded("pre_sign_up_by_invitation", pool=pool.id))
        assert pool.linking.linked == []


class TestWhoIsRefused:
    def refused(self, pool: Pool, **changes: Any) -> str:
        with pytest.raises(NotAuthorized) as refused:
            pool.decide(**changes)
        assert pool.linking.linked == []
        return str(refused.value)

    def test_an_address_that_nobody_has_invited(self, pool: Pool):
        pool.people.invite(Email("ben@example.com"), Role.MEMBER, None)
        assert self.refused(pool) == "nobody has invited this address"

    @pytest.mark.parametrize("said", ["false", "", "yes", None])
    def test_an_address_that_the_provider_has_not_verified(self, pool: Pool, said: str | None):
        pool.people.invite(ANNA, Role.OWNER, None)
        assert "does not say that your address is yours" in self.refused(pool, attributes={"email_verified": said})

    @pytest.mark.parametrize("email", ["", None, 'anna@example.com" or email ^= "', "a b@example.com", "x" * 300])
    def test_what_is_no_address(self, pool: Pool, email: str | None):
        pool.people.invite(ANNA, Role.OWNER, None)
        assert "no address" in self.refused(pool, attributes={"email": email})

    def test_somebody_who_was_removed(self, pool: Pool):
        anna = pool.people.invite(ANNA, Role.MEMBER, None)
        pool.people.invite(Email("olga@example.com"), Role.OWNER, None)
        pool.people.remove(anna.id)
        assert self.refused(pool) == "nobody has invited this address"

    def test_somebody_whose_user_was_switched_off(self, pool: Pool):
        pool.people.invite(ANNA, Role.MEMBER, None)
        pool.cognito.admin_disable_user(UserPoolId=pool.id, Username=str(ANNA))
        assert self.refused(pool) == "nobody has invited this address"

    @pytest.mark.parametrize("name", ["evil_1", "Google", "google_", "_1", ""])
    def test_a_provider_that_is_none_of_the_home_s(self, pool: Pool, name: str):
        pool.people.invite(ANNA, Role.MEMBER, None)
        assert "provider" in self.refused(pool, userName=name)

    @pytest.mark.parametrize("source", ["PreSignUp_SignUp", "PreSignUp_New", None])
    def test_everybody_who_signs_up_by_themselves(self, pool: Pool, source: str | None):
        pool.people.invite(ANNA, Role.MEMBER, None)
        assert "invited" in self.refused(pool, triggerSource=source)

    def test_a_user_who_is_only_somebody_of_another_provider_is_no_invitation(self, pool: Pool, monkeypatch):
        anna = pool.people.invite(ANNA, Role.MEMBER, None)
        found = pool.cognito.list_users(UserPoolId=pool.id)["Users"]
        assert PersonId.parse(found[0]["Username"]) == anna.id
        stranger = [{**copy.deepcopy(found[0]), "UserStatus": "EXTERNAL_PROVIDER"}]
        monkeypatch.setattr(pool.trigger._client, "list_users", lambda **_: {"Users": stranger})
        self.refused(pool)


@pytest.mark.parametrize(
    "code,error", [("TooManyRequestsException", Unavailable), ("InvalidParameterException", PinTheSkyError)]
)
def test_nobody_is_made_while_cognito_cannot_join_them(pool: Pool, code: str, error: type[PinTheSkyError]):
    pool.people.invite(ANNA, Role.MEMBER, None)
    pool.linking.failure = code
    with pytest.raises(error):
        pool.decide()


@pytest.mark.parametrize("kept", ["", "{", "{}", "[1]"])
def test_what_the_pool_says_of_identities_may_be_odd(pool: Pool, kept: str, monkeypatch: pytest.MonkeyPatch):
    pool.people.invite(ANNA, Role.MEMBER, None)
    pool.cognito.admin_update_user_attributes(
        UserPoolId=pool.id, Username=str(ANNA), UserAttributes=[{"Name": "identities", "Value": kept}]
    )
    monkeypatch.setattr(pool.linking, "identities_of", lambda _user: [])  # the stand-in reads it too
    pool.decide()
    assert len(pool.linking.linked) == 1


def test_the_handler_needs_the_table_alone_and_gives_the_event_back(
    pool: Pool, moto_port: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_REGION", REGION)
    monkeypatch.setenv("PITS_TABLE", new_table(moto_port, Clock())._name)
    monkeypatch.setattr(lambda_handlers, "Clients", lambda _region: moto_clients(moto_port))
    lambda_handlers._trigger.cache_clear()
    try:
        event = recorded("pre_sign_up_by_invitation", pool=pool.id)
        assert lambda_handlers.pre_sign_up(event, Context()) == event
        with pytest.raises(NotAuthorized):
            lambda_handlers.pre_sign_up(recorded("pre_sign_up_external", pool=pool.id), Context())
    finally:
        lambda_handlers._trigger.cache_clear()


def test_what_the_trigger_misses_is_named():
    with pytest.raises(InvalidInput) as refused:
        deployment.read_trigger({"AWS_REGION": REGION})
    assert refused.value.field == "PITS_TABLE"
