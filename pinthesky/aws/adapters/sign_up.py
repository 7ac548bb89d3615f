"""Who may become a user of the pool: the trigger before sign-up of a Cognito user pool.

Cognito makes a user of everybody who signs in through another provider for the first time, also where nobody may sign
up. So each of them is looked at here: whose verified address was invited is joined to the user of that invitation, and
everybody else is refused. Source of the events and of what linking asks for: the Cognito developer guide ("Pre sign-up
Lambda trigger") and `AdminLinkProviderForUser` in its API reference.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from pinthesky.aws.clients import Clients, errors
from pinthesky.errors import InvalidInput, NotAuthorized, NotFound
from pinthesky.model.people import Email, Person, PersonId

logger = logging.getLogger(__name__)

BY_INVITATION = "PreSignUp_AdminCreateUser"
FROM_PROVIDER = "PreSignUp_ExternalProvider"
PROVIDERS_MAX = 60
EXTERNAL = "EXTERNAL_PROVIDER"
"""The status of a user who has no password here."""


class LinkedIdentity(Struct, frozen=True, kw_only=True, rename="camel"):
    """Somebody at another provider whom a user of the pool is joined to, as its attribute `identities` lists them."""

    provider_name: str
    user_id: str


class InvitedOnly:
    """Decides for one pool. `person_of` says who somebody is here, and raises NotFound for who was not invited."""

    def __init__(self, clients: Clients, pool: str, person_of: Callable[[PersonId], Person]) -> None:
        self._clients = clients
        self._pool = pool
        self._person_of = person_of

    def decide(self, event: Mapping[str, Any]) -> None:
        """Let the user of an event be made. Raises NotAuthorized, whose text is shown to them, and Unavailable."""
        source = event.get("triggerSource")
        if source == BY_INVITATION:
            return
        if source != FROM_PROVIDER:
            raise NotAuthorized("people are invited here and cannot sign up by themselves")
        email = _verified_email(event.get("request", {}).get("userAttributes", {}))
        provider, subject = self._origin(str(event.get("userName", "")))
        user = self._invited(email)
        if user is None:
            logger.warning("Somebody whom %s knows was refused: their address is not invited", provider)
            raise NotAuthorized("nobody has invited this address")
        linked = _linked(user)
        if LinkedIdentity(provider_name=provider, user_id=subject) in linked:
            return  # Cognito asks again when an answer comes late, and refuses a second link with an odd error
        with errors(f"joining an identity of {provider} to its user", conflict=("AliasExistsException",)):
            self._client.admin_link_provider_for_user(
                UserPoolId=self._pool,
                DestinationUser={"ProviderName": "Cognito", "ProviderAttributeValue": user["Username"]},
                SourceUser={
                    "ProviderName": provider,
                    "ProviderAttributeName": "Cognito_Subject",
                    "ProviderAttributeValue": subject,
                },
            )
        logger.info("An identity of %s was joined to the user of its invitation", provider)

    def _origin(self, user_name: str) -> tuple[str, str]:
        """Provider and subject of `<provider>_<subject>`, in which the provider's name may have lost its capitals."""
        with errors("listing the providers"):
            answer = self._client.list_identity_providers(UserPoolId=self._pool, MaxResults=PROVIDERS_MAX)
        names = sorted((str(each["ProviderName"]) for each in answer["Providers"]), key=len, reverse=True)
        for name in names:
            if user_name.lower().startswith(f"{name.lower()}_") and len(user_name) > len(name) + 1:
                return name, user_name[len(name) + 1 :]
        raise NotAuthorized("this provider is not one of this home's")

    def _invited(self, email: Email) -> Mapping[str, Any] | None:
        """The user of the pool whom an invitation of this address has made, and who is still somebody here."""
        with errors("looking for an invitation"):
            answer = self._client.list_users(UserPoolId=self._pool, Filter=f'email = "{email}"')
        for user in answer["Users"]:
            if user["UserStatus"] == EXTERNAL or not user["Enabled"]:
                continue
            try:
                self._person_of(PersonId.parse(_attributes(user).get("sub")))
            except NotFound:
                continue
            return dict(user)
        return None

    @property
    def _client(self) -> Any:
        return self._clients.get("cognito-idp")


def _verified_email(attributes: Mapping[str, str]) -> Email:
    if str(attributes.get("email_verified", "")).lower() != "true":
        raise NotAuthorized("your provider does not say that your address is yours")
    try:
        email = Email.parse(attributes.get("email"))
    except InvalidInput as error:
        raise NotAuthorized("your provider gives no address that could have been invited") from error
    return email


def _linked(user: Mapping[str, Any]) -> list[LinkedIdentity]:
    try:
        return msgspec.json.decode(_attributes(user).get("identities", "[]"), type=list[LinkedIdentity])
    except msgspec.MsgspecError:
        return []


def _attributes(user: Mapping[str, Any]) -> dict[str, str]:
    return {each["Name"]: each["Value"] for each in user.get("Attributes", [])}
