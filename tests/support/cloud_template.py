"""The templates of the cloud home, synthesised once for the whole run and shared by its workers."""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from infra_cdk.names import HOME_STACK, STORE_STACK
from infra_cdk.preview import templates_of
from tests.support.policies.template_values import Values

Resource = Mapping[str, Any]


@dataclass(frozen=True)
class Cloud:
    """Both templates as CloudFormation gets them. `store` and `home` are plain dicts."""

    store: dict[str, Any]
    home: dict[str, Any]

    @property
    def templates(self) -> dict[str, dict[str, Any]]:
        """The same, by the names of their stacks."""
        return {STORE_STACK: self.store, HOME_STACK: self.home}

    @cached_property
    def values(self) -> dict[str, Values]:
        """Made-up values for both, by the names of their stacks."""
        return {name: Values(template, self.templates) for name, template in self.templates.items()}

    def every(self, *kinds: str) -> dict[str, dict[str, Any]]:
        """The resolved properties of all resources of some types, by logical id, of both stacks."""
        return {
            logical: values.properties(logical)
            for values in self.values.values()
            for logical in values.resources(*kinds)
        }

    def only(self, kind: str) -> dict[str, Any]:
        """The resolved properties of the one resource of a type."""
        (found,) = self.every(kind).values()
        return found

    def raw(self, kind: str) -> Iterator[Resource]:
        """All resources of a type, as they stand in the templates."""
        for template in self.templates.values():
            yield from (each for each in template["Resources"].values() if each["Type"] == kind)

    @cached_property
    def outputs(self) -> dict[str, Any]:
        """The outputs of the stack that people look at, resolved."""
        return {key: said for key, said in self.values[HOME_STACK].outputs().items() if not key.startswith("Export")}


def synthesized(settings: Mapping[str, Any], shared: Path) -> Cloud:
    """The templates of some settings. `shared` is a folder of this run: what is there is not made again."""
    name = hashlib.sha256(json.dumps(dict(settings), sort_keys=True).encode()).hexdigest()[:16]
    folder = shared / f"cloud-{name}"
    with (shared / f"cloud-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = folder / "templates.json"
        if not kept.exists():
            made = templates_of(settings, folder)
            kept.write_text(json.dumps(made), encoding="utf-8")
    templates = json.loads(kept.read_text(encoding="utf-8"))
    return Cloud(store=templates[STORE_STACK], home=templates[HOME_STACK])


@pytest.fixture(scope="session")
def clouds(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Callable[..., Cloud]:
    """Makes the templates of some settings (`clouds(labelDetection=True)`), once for all workers."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    return lambda **settings: synthesized(settings, shared)


@pytest.fixture(scope="session")
def cloud(clouds: Callable[..., Cloud]) -> Cloud:
    """The templates without any setting."""
    return clouds()


@pytest.fixture(scope="session")
def full_cloud(clouds: Callable[..., Cloud]) -> Cloud:
    """The templates with everything that can be switched on."""
    return clouds(**EVERYTHING)


EVERYTHING: Mapping[str, Any] = {
    "domainName": "cameras.example.com",
    "hostedZoneId": "Z0123456789ABCDEFGHIJ",
    "certificateArn": "arn:aws:acm:us-east-1:111122223333:certificate/12345678-1234-1234-1234-123456789012",
    "googleClientId": "1234567890-abc.apps.googleusercontent.com",
    "labelDetection": True,
    "labelImagesPerMonth": 500,
    "alertEmail": "owner@example.com",
    "monthlyBudgetUsd": 7,
    "retentionDays": 60,
    "stillsDays": 14,
    "healthDays": 30,
    "alarms": True,
    "dashboard": True,
    "legacyDevices": True,
}
