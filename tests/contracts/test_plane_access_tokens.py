"""The planes' port `AccessTokens`: one suite for Cognito, the hub and the fake of the tests.

moto signs tokens with a key that everybody knows; the pool here is a stand-in with a key of its own. What an attacker
may show is in `tests/aws/test_access_tokens.py` and, for the hub, with its sign-in.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from pinthesky.aws.adapters.access_tokens import CognitoAccessTokens, KeySet
from pinthesky.aws.adapters.sign_ins import CognitoSignIns
from pinthesky.errors import NotAuthorized
from pinthesky.hub.accounts import Accounts
from pinthesky.hub.adapters.people import HubAccessTokens
from pinthesky.hub.database import Database
from pinthesky.hub.foundation import Foundation
from pinthesky.hub.records import SqliteTable
from pinthesky.planes.ports import AccessTokens
from tests.planes.fakes import Clock, FakeAccessTokens
from tests.support.user_pool import UserPool


class World(NamedTuple):
    tokens: AccessTokens
    good: str
    person: str
    """Whom the good one is for."""


@pytest.fixture(params=["aws", "hub", "fake"])
def world(request, tmp_path: Path) -> Iterator[World]:
    if request.param == "fake":
        yield World(FakeAccessTokens(), "token of anna", "anna")
    elif request.param == "aws":
        clock, pool, database = Clock(), UserPool(), Database(tmp_path / "records.sqlite")
        sign_ins = CognitoSignIns(SqliteTable(database), now_s=clock)
        tokens = CognitoAccessTokens(pool.identity, KeySet(pool.key_set), sign_ins, now_s=clock)
        yield World(tokens, pool.sign(pool.claims("anna", clock())), "anna")
        database.close()
    else:
        foundation = Foundation.lay(tmp_path / "hub")
        accounts = Accounts(foundation)
        owner = accounts.people.first_owner()
        secret = accounts.sessions.open(owner.id, user_agent="Firefox", source_ip="192.0.2.7")
        session = accounts.sessions.of_secret(secret)
        token = accounts.sign_in._tokens.access_token(owner, session.id, issuer="https://localhost:8443")
        yield World(HubAccessTokens(accounts), token, owner.id)
        foundation.close()


def test_a_good_token_says_who_has_signed_in(world: World):
    assert world.tokens.person_of(world.good) == world.person


@pytest.mark.parametrize("bad", ["", "x.y.z", "e30.e30.", "reversed", "x" * 20_000])
def test_what_is_no_token_of_this_home_is_refused(world: World, bad: str):
    with pytest.raises(NotAuthorized):
        world.tokens.person_of(world.good[::-1] if bad == "reversed" else bad)
