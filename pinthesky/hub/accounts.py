"""Everything about signing in, put together: people, sessions, tokens, links, mail and passkeys."""

from __future__ import annotations

from starlette.routing import BaseRoute

from pinthesky.errors import Conflict, InvalidInput, NotFound
from pinthesky.hub.browsers import Browsers
from pinthesky.hub.data_folder import kept_file
from pinthesky.hub.database import Database
from pinthesky.hub.foundation import Foundation
from pinthesky.hub.host_names import name_for_others
from pinthesky.hub.mail import Mailer
from pinthesky.hub.openid import OpenIdProvider
from pinthesky.hub.origins import Origins
from pinthesky.hub.passkeys import Passkeys
from pinthesky.hub.people import People
from pinthesky.hub.sessions import Session, Sessions
from pinthesky.hub.settings import HubSettings
from pinthesky.hub.settings import SignIn as SignInSettings
from pinthesky.hub.sign_in import SignIn, link_to
from pinthesky.hub.tokens import Tokens, new_signing_key
from pinthesky.model.people import Email, Person, Role

DAY_S = 24 * 3600


class Accounts:
    """Who may use this hub, and how they prove it."""

    def __init__(self, foundation: Foundation) -> None:
        """Invite as owners whom the settings name. Raises InvalidInput, InvariantBroken, Unavailable."""
        settings = foundation.settings
        self.people, self.sessions = _people_and_sessions(foundation.database, settings.sign_in)
        self.people.first_owner()
        self._invite(settings.sign_in.emails)
        self.origins = origins = Origins(settings.listen.names)
        """By which addresses browsers reach the hub."""
        tokens = Tokens(kept_file(foundation.folder.authority / "tokens.key", new_signing_key), is_issuer=origins.has)
        self.mailer = mailer = Mailer(settings.mail) if settings.mail.host else None
        """None where the settings name no mail server."""
        self.sign_in = SignIn(
            people=self.people,
            sessions=self.sessions,
            tokens=tokens,
            provider=OpenIdProvider(self.people, self.sessions, tokens),
            browsers=Browsers(self.sessions, origins.has),
            passkeys=Passkeys(foundation.database),
            send_link=None if mailer is None else lambda email, link: _mail_link(mailer, email, link),
        )

    def routes(self) -> list[BaseRoute]:
        """The pages and endpoints for browsers."""
        return self.sign_in.routes()

    def person_of(self, access_token: str) -> tuple[Person, Session]:
        """Who shows an access token, as of now. Raises NotAuthorized."""
        return self.sign_in.person_of(access_token)

    def has_visitors(self) -> bool:
        """Whether anybody is signed in anywhere."""
        return any(self.sessions.of_person(person.id) for person in self.people.everybody())

    def _invite(self, emails: list[str]) -> None:
        for address in emails:
            email = Email.parse(address, "sign_in.emails")
            if self.people.by_email(email) is None:
                try:
                    self.people.invite(email, Role.OWNER)
                except Conflict as error:
                    raise InvalidInput("sign_in.emails", str(error)) from error


def new_link_secret(foundation: Foundation, email: Email | None = None) -> str:
    """What makes a link with which the owner, or somebody who was invited, signs in once. Raises NotFound."""
    people, sessions = _people_and_sessions(foundation.database, foundation.settings.sign_in)
    person = people.first_owner() if email is None else people.by_email(email)
    if person is None:
        raise NotFound(f"{email} is not invited")
    return sessions.make_link(person.id)


def described_link(secret: str, settings: HubSettings, *, console_port: int, localhost_port: int) -> str:
    """What a terminal shows of a link: it leads to the console by either address."""
    return (
        f"Sign in with this link, once, within {settings.sign_in.link_minutes} minutes.\n"
        f"  on this machine  {link_to(f'http://localhost:{localhost_port}', secret)}\n"
        f"  elsewhere        {link_to(f'https://{shown_host(settings)}:{console_port}', secret)}\n"
    )


def shown_host(settings: HubSettings) -> str:
    """The host of this hub in an address that is shown to people."""
    name = host_of(settings)
    return f"[{name}]" if ":" in name else name


def host_of(settings: HubSettings) -> str:
    """The one name or address by which others reach this hub."""
    return settings.listen.address or name_for_others(settings.listen.names)


def _people_and_sessions(database: Database, settings: SignInSettings) -> tuple[People, Sessions]:
    people = People(database)
    return people, Sessions(database, session_s=DAY_S * settings.token_days, link_s=60 * settings.link_minutes)


def _mail_link(mailer: Mailer, email: Email, link: str) -> None:
    text = (
        "This link signs you in to your cameras. It works once, and not for long.\n\n"
        f"{link}\n\n"
        "If it was not you who asked for it, somebody has typed your address; nothing has happened.\n"
    )
    mailer.send(email, "Your sign-in link", text)
