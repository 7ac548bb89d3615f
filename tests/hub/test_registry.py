"""The registry: which things there are, which certificate speaks for which, and how removal reaches everybody."""

from __future__ import annotations

import itertools
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pinthesky.errors import Conflict, InvalidInput, NotAuthorized, NotFound, Unavailable
from pinthesky.hub import registry as registry_module
from pinthesky.hub.authority import Authority
from pinthesky.hub.database import Database
from pinthesky.hub.registry import Registry, RemovalWatch
from pinthesky.model.identifiers import ThingName
from tests.support.daemon_process import eventually

GARDEN, PORCH = ThingName("garden"), ThingName("porch")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    made = Authority(tmp_path_factory.mktemp("authority"))
    made.prepare("house")
    return made


@pytest.fixture(scope="module")
def certificates(authority):
    """Three certificates of garden's."""
    return [authority.issue(GARDEN).certificate_der for _ in range(3)]


@pytest.fixture
def database(tmp_path):
    with closing(Database(tmp_path / "hub.sqlite")) as made:
        yield made


@pytest.fixture
def registry(database):
    return Registry(database)


def test_a_registered_certificate_speaks_for_its_thing(registry, certificates):
    registry.add(GARDEN)
    registry.register_certificate(GARDEN, certificates[0])
    assert registry.thing_of(certificates[0]) == GARDEN
    assert registry.is_active(GARDEN)
    assert registry.things() == [GARDEN]


def test_a_thing_may_have_two_certificates_while_one_takes_over(registry, certificates):
    registry.add(GARDEN)
    for certificate in certificates[:2]:
        registry.register_certificate(GARDEN, certificate)
    assert [registry.thing_of(certificate) for certificate in certificates[:2]] == [GARDEN, GARDEN]


def test_a_certificate_that_nobody_registered_speaks_for_nobody(registry, certificates):
    registry.add(GARDEN)
    with pytest.raises(NotAuthorized):
        registry.thing_of(certificates[0])


def test_things_are_listed_by_name(registry):
    for thing in (PORCH, GARDEN):
        registry.add(thing)
    assert registry.things() == [GARDEN, PORCH]


def test_a_thing_is_added_once(registry):
    registry.add(GARDEN)
    with pytest.raises(Conflict, match="garden already"):
        registry.add(GARDEN)


def test_removing_what_is_not_there_is_not_found(registry):
    with pytest.raises(NotFound, match="no camera garden"):
        registry.remove(GARDEN)


def test_a_removed_thing_and_its_certificates_are_refused(registry, certificates):
    registry.add(GARDEN)
    registry.register_certificate(GARDEN, certificates[0])
    registry.remove(GARDEN)
    assert not registry.is_active(GARDEN)
    with pytest.raises(NotAuthorized):
        registry.thing_of(certificates[0])
    assert len(registry.revoked()) == 1


def test_the_old_certificate_stays_refused_when_the_name_is_used_again(registry, certificates):
    registry.add(GARDEN)
    registry.register_certificate(GARDEN, certificates[0])
    registry.remove(GARDEN)
    registry.add(GARDEN)
    registry.register_certificate(GARDEN, certificates[1])
    with pytest.raises(NotAuthorized):
        registry.thing_of(certificates[0])
    with pytest.raises(Conflict, match="known already"):
        registry.register_certificate(GARDEN, certificates[0])
    assert registry.thing_of(certificates[1]) == GARDEN


def test_a_certificate_counts_in_its_time_only(database, certificates):
    now_s = datetime.now(UTC).timestamp()
    registry = Registry(database, now_s=lambda: now_s)
    registry.add(GARDEN)
    registry.register_certificate(GARDEN, certificates[0])
    for days in (-2, 40 * 366):
        with pytest.raises(NotAuthorized, match="out of its time"):
            Registry(database, now_s=itertools.repeat(now_s + days * 86400).__next__).thing_of(certificates[0])


def test_revoked_certificates_are_forgotten_when_they_are_over(database, certificates):
    registry = Registry(database)
    registry.add(GARDEN)
    registry.register_certificate(GARDEN, certificates[0])
    registry.remove(GARDEN)
    late = Registry(database, now_s=lambda: datetime.now(UTC).timestamp() + 40 * 366 * 86400)
    assert late.revoked() == []
    late.add(GARDEN)
    late.register_certificate(GARDEN, certificates[1])
    with database.reading() as connection:
        assert connection.execute("SELECT count(*) FROM registry_certificates").fetchone()[0] == 1


def test_what_is_no_certificate_is_refused(registry):
    registry.add(GARDEN)
    with pytest.raises(InvalidInput, match="certificate"):
        registry.register_certificate(GARDEN, b"nonsense")


def test_a_certificate_needs_a_thing(registry, certificates):
    with pytest.raises(NotFound):
        registry.register_certificate(GARDEN, certificates[0])


def test_things_and_certificates_are_bounded(registry, certificates, monkeypatch):
    monkeypatch.setattr(registry_module, "THINGS_MAX", 1)
    monkeypatch.setattr(registry_module, "CERTIFICATES_MAX", 2)
    registry.add(GARDEN)
    with pytest.raises(Conflict, match="no hub takes more"):
        registry.add(PORCH)
    for certificate in certificates[:2]:
        registry.register_certificate(GARDEN, certificate)
    with pytest.raises(Conflict, match="2 certificates already"):
        registry.register_certificate(GARDEN, certificates[2])


def test_every_part_hears_of_a_removal_once_in_order(registry):
    heard = []
    registry.on_removed(lambda thing: heard.append(("first", thing)))
    registry.on_removed(lambda thing: heard.append(("second", thing)))
    for thing in (GARDEN, PORCH):
        registry.add(thing)
        registry.remove(thing)
    registry.tell_removals()
    registry.tell_removals()
    assert heard == [("first", GARDEN), ("second", GARDEN), ("first", PORCH), ("second", PORCH)]


def test_a_removal_that_a_part_could_not_take_is_told_again(registry):
    heard = []

    def fail_once(thing: ThingName) -> None:
        heard.append(thing)
        if len(heard) == 1:
            raise Unavailable("not now")

    registry.on_removed(fail_once)
    registry.add(GARDEN)
    registry.remove(GARDEN)
    with pytest.raises(Unavailable):
        registry.tell_removals()
    registry.tell_removals()
    assert heard == [GARDEN, GARDEN]


class Watch(RemovalWatch):
    """A quick one that keeps what it fails with."""

    def __init__(self, registry: Registry) -> None:
        self.crashes: list[BaseException] = []
        super().__init__(registry, lambda _name, error: self.crashes.append(error), every_s=0.05)


@pytest.fixture
def watch(registry):
    made = Watch(registry)
    yield made
    made.stop()
    assert made.join(5.0)


def test_the_running_hub_hears_of_removals_by_other_processes(registry, watch, tmp_path):
    heard: list[ThingName] = []
    registry.on_removed(heard.append)
    watch.start()
    with closing(Database(tmp_path / "hub.sqlite")) as elsewhere:
        other = Registry(elsewhere)
        other.add(GARDEN)
        other.remove(GARDEN)
    eventually(lambda: bool(heard), "the removal is heard of")
    assert heard == [GARDEN]


def test_a_removal_while_no_hub_ran_is_told_at_the_next_start(registry, watch):
    registry.add(GARDEN)
    registry.remove(GARDEN)
    heard: list[ThingName] = []
    registry.on_removed(heard.append)
    watch.start()
    eventually(lambda: bool(heard), "the removal is heard of")
    assert heard == [GARDEN]


def test_the_watch_says_once_that_it_cannot_tell_and_once_that_it_can_again(registry, watch, caplog):
    attempts = []

    def fail_thrice(_thing: ThingName) -> None:
        attempts.append(1)
        if len(attempts) <= 3:
            raise Unavailable("the broker is away")

    registry.on_removed(fail_thrice)
    registry.add(GARDEN)
    registry.remove(GARDEN)
    watch.start()
    eventually(lambda: any("know again" in message for message in caplog.messages), "it is told")
    assert [message for message in caplog.messages if "the broker is away" in message] == [
        "Not all parts know yet which cameras were removed: the broker is away"
    ]


def test_a_defect_in_a_part_ends_the_watch_and_the_hub_with_it(registry, watch):
    def broken(_thing: ThingName) -> None:
        raise ZeroDivisionError

    registry.on_removed(broken)
    registry.add(GARDEN)
    registry.remove(GARDEN)
    watch.start()
    eventually(lambda: watch.crashes, "the crash is told")
    assert isinstance(watch.crashes[0], ZeroDivisionError)


def test_a_watch_that_never_started_ends_at_once(registry):
    watch = RemovalWatch(registry, lambda _name, _error: None)
    watch.stop()
    assert watch.join(0.1)


class RegistryMachine(RuleBasedStateMachine):
    """Any order of adding, removing and registering, against a model of dictionaries."""

    folder = Path()
    certificates: ClassVar[list[bytes]] = []
    numbers = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self.database = Database(self.folder / f"{next(self.numbers)}.sqlite")
        self.registry = Registry(self.database)
        self.things: set[ThingName] = set()
        self.speaks: dict[bytes, ThingName] = {}
        self.used: set[bytes] = set()

    @rule(thing=st.sampled_from([GARDEN, PORCH]))
    def add(self, thing):
        if thing in self.things:
            with pytest.raises(Conflict):
                self.registry.add(thing)
        else:
            self.registry.add(thing)
            self.things.add(thing)

    @rule(thing=st.sampled_from([GARDEN, PORCH]))
    def remove(self, thing):
        if thing not in self.things:
            with pytest.raises(NotFound):
                self.registry.remove(thing)
        else:
            self.registry.remove(thing)
            self.things.discard(thing)
            self.speaks = {der: owner for der, owner in self.speaks.items() if owner != thing}

    @rule(thing=st.sampled_from([GARDEN, PORCH]), number=st.integers(0, 2))
    def register(self, thing, number):
        certificate = self.certificates[number]
        if thing not in self.things or certificate in self.used:
            with pytest.raises((NotFound, Conflict)):
                self.registry.register_certificate(thing, certificate)
        else:
            self.registry.register_certificate(thing, certificate)
            self.used.add(certificate)
            self.speaks[certificate] = thing

    @invariant()
    def only_what_was_registered_and_not_removed_speaks(self):
        assert self.registry.things() == sorted(self.things)
        assert len(self.registry.revoked()) == len(self.used) - len(self.speaks)
        for certificate in self.certificates:
            if certificate in self.speaks:
                assert self.registry.thing_of(certificate) == self.speaks[certificate]
            else:
                with pytest.raises(NotAuthorized):
                    self.registry.thing_of(certificate)

    def teardown(self):
        self.database.close()


def test_in_any_order_no_removed_certificate_ever_speaks_again(tmp_path, certificates):
    RegistryMachine.folder, RegistryMachine.certificates = tmp_path, certificates
    machine = RegistryMachine.TestCase
    machine.settings = hypothesis_settings(max_examples=15, stateful_step_count=12, deadline=None)
    machine().runTest()
    assert list(tmp_path.glob("*.sqlite"))
