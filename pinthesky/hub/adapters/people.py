"""The planes' ports `People`, `SignIns` and `AccessTokens` on the hub's accounts."""

from __future__ import annotations

from collections.abc import Sequence

from pinthesky.errors import NotFound
from pinthesky.hub.accounts import Accounts
from pinthesky.hub.sessions import Session, Sessions
from pinthesky.model.people import PersonId
from pinthesky.planes.ports import SignedIn


class HubSignIns:
    """The adapter of `planes.ports.SignIns`; `hub.people.People` is that of `People` as it stands."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def of_person(self, person: PersonId) -> Sequence[SignedIn]:
        """See `planes.ports.SignIns`."""
        return [_signed_in(session) for session in self._sessions.of_person(person)]

    def end(self, person: PersonId, session: str) -> None:
        """See `planes.ports.SignIns`."""
        if session not in {one.id for one in self._sessions.of_person(person)}:
            raise NotFound("there is no such session")
        self._sessions.end(session)


class HubAccessTokens:
    """The adapter of `planes.ports.AccessTokens`."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def person_of(self, token: str) -> PersonId:
        """See `planes.ports.AccessTokens`."""
        person, _ = self._accounts.person_of(token)
        return person.id


def _signed_in(session: Session) -> SignedIn:
    return SignedIn(
        id=session.id,
        person=session.person,
        since_s=session.made_at_s,
        used_at_s=session.used_at_s,
        user_agent=session.user_agent,
        source_ip=session.source_ip,
    )
