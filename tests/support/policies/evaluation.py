"""Whether a request is allowed by the policies that speak of it.

Source: IAM user guide, "Policy evaluation logic". Without boundaries, session policies and policies of an organisation,
which can only take away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.policies.conditions import hold
from tests.support.policies.patterns import Context, PolicyNotUnderstood, arn_matches, can_be_filled, matches

VERSION = "2012-10-17"
_KNOWN = {"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Principal", "NotPrincipal", "Condition"}


@dataclass(frozen=True)
class Principal:
    """Who asks: at most one of `arn` (a role or user) and `service`; nobody known if neither is there."""

    arn: str = ""
    service: str = ""
    canonical_user: str = ""

    @property
    def account(self) -> str:
        """The account that it belongs to; "" for a service and for nobody."""
        return self.arn.split(":")[4] if self.arn else ""


ANONYMOUS = Principal()


@dataclass(frozen=True)
class Request:
    """One action on one resource."""

    principal: Principal
    action: str
    resource: str
    context: Context = field(default_factory=dict)


@dataclass(frozen=True)
class Statement:
    """One statement, and the place where it stands."""

    said: Mapping[str, Any]
    place: str

    def __post_init__(self) -> None:
        unknown = set(self.said) - _KNOWN
        if unknown:
            raise PolicyNotUnderstood(f"{self.place}: {sorted(unknown)}")
        if self.said.get("Effect") not in ("Allow", "Deny"):
            raise PolicyNotUnderstood(f"{self.place}: Effect {self.said.get('Effect')}")
        if ("Action" in self.said) is ("NotAction" in self.said):
            raise PolicyNotUnderstood(f"{self.place}: one of Action and NotAction")

    @property
    def denies(self) -> bool:
        """Whether it takes away."""
        return bool(self.said["Effect"] == "Deny")

    def speaks_of(self, request: Request) -> bool:
        """Tell whether action, resource and conditions are those of the request; who asks is another question."""
        action = _either(self.said, "Action", lambda each: matches(each, request.action, {}, ignore_case=True))
        for each in _list(self.said.get("NotResource", [])):
            if not can_be_filled(each, request.context):
                raise PolicyNotUnderstood(f"{self.place}: {each}, whose variable the request has no value for")
        resource = _either(self.said, "Resource", lambda each: arn_matches(each, request.resource, request.context))
        conditions = hold(self.said.get("Condition", {}), request.context)
        return action and resource and conditions

    def names(self, principal: Principal) -> bool:
        """Tell whether the statement of a resource's policy is about `principal`, its account not counted."""
        if "NotPrincipal" in self.said:
            return not (_named(self.said["NotPrincipal"], principal) or self._names_account(principal, "NotPrincipal"))
        if "Principal" not in self.said:
            raise PolicyNotUnderstood(f"{self.place}: a resource's policy without a principal")
        # A statement that takes away from an account takes away from everybody in it.
        return _named(self.said["Principal"], principal) or (self.denies and self.names_account_of(principal))

    def names_account_of(self, principal: Principal) -> bool:
        """Tell whether the whole account of `principal` is named: then its own policies decide there."""
        return self._names_account(principal, "Principal")

    def _names_account(self, principal: Principal, element: str) -> bool:
        said = self.said.get(element)
        if not isinstance(said, Mapping) or not principal.account:
            return False
        account = principal.account
        return any(each in (account, f"arn:aws:iam::{account}:root") for each in _list(said.get("AWS", [])))


@dataclass(frozen=True)
class Verdict:
    """What was decided, and the statements that decided it."""

    allowed: bool
    by: tuple[str, ...]


def statements_of(document: Mapping[str, Any], place: str) -> list[Statement]:
    """The statements of a policy document, whose variables only this version knows."""
    if document.get("Version") != VERSION:
        raise PolicyNotUnderstood(f"{place}: Version {document.get('Version')}")
    return [
        Statement(said, f"{place}[{said.get('Sid', number)}]")
        for number, said in enumerate(_list(document["Statement"]))
    ]


def decide(request: Request, own: Iterable[Statement], of_resource: Iterable[Statement], *, account: str) -> Verdict:
    """Decide what is asked, by the policies of who asks and that of the resource, which belongs to `account`.

    A statement that takes away wins. Within one account one of the two policies is enough; from another account both
    have to allow it. A role's trust is a resource's policy that has to allow by itself (`own` is left out there).
    """
    own_found = [each for each in own if each.speaks_of(request)]
    there = [each for each in of_resource if each.speaks_of(request)]
    about = [each for each in there if each.names(request.principal)]
    denials = [each.place for each in (*own_found, *about) if each.denies]
    if denials:
        return Verdict(False, tuple(denials))
    mine = [each.place for each in own_found if not each.denies]
    theirs = [each.place for each in about if not each.denies]
    if request.principal.account and request.principal.account != account:
        theirs += [each.place for each in there if not each.denies and each.names_account_of(request.principal)]
        return Verdict(bool(mine and theirs), (*mine, *theirs))
    return Verdict(bool(mine or theirs), (*mine, *theirs))


def _named(said: Any, principal: Principal) -> bool:
    if said == "*":
        return True
    if not isinstance(said, Mapping):
        raise PolicyNotUnderstood(f"a principal: {said}")
    for kind, values in said.items():
        if kind == "AWS":
            found = any(each == "*" or (principal.arn and each == principal.arn) for each in _list(values))
        elif kind == "Service":
            found = bool(principal.service) and principal.service in _list(values)
        elif kind == "CanonicalUser":
            found = bool(principal.canonical_user) and principal.canonical_user in _list(values)
        else:
            raise PolicyNotUnderstood(f"a principal of the kind {kind}")
        if found:
            return True
    return False


def _either(said: Mapping[str, Any], element: str, agrees: Any) -> bool:
    """Whether one of `element` agrees, or none of `Not<element>`. A role's trust has neither, and asks nothing."""
    if element in said:
        return any(agrees(each) for each in _list(said[element]))
    if f"Not{element}" in said:
        return not any(agrees(each) for each in _list(said[f"Not{element}"]))
    return True


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
