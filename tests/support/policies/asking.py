"""The names of `who_may_do_what.toml` as principals, resources and contexts of the account that the templates make."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomllib

from tests.support.policies.cloud_account import CloudAccount
from tests.support.policies.evaluation import ANONYMOUS, Principal, Request, Verdict
from tests.support.policies.patterns import PolicyNotUnderstood
from tests.support.policies.template_values import ACCOUNT, REGION

IOT = f"arn:aws:iot:{REGION}:{ACCOUNT}:"
CLIENT, THING, ATTACHED = "iot:clientid", "iot:connection.thing.thingname", "iot:connection.thing.isattached"

KEYS: Mapping[str, Mapping[str, str]] = {
    "garden": {CLIENT: "garden", THING: "garden", ATTACHED: "true"},
    # The worst that the guide lets one read: the thing is looked up by the client's id, whosever key it is.
    "gate with garden's key": {CLIENT: "gate", THING: "gate", ATTACHED: "false"},
    # With exclusive attachment the thing is looked up by the key.
    "gate with garden's exclusive key": {CLIENT: "gate", THING: "garden", ATTACHED: "true"},
    "garden with a detached key": {CLIENT: "garden", THING: "garden", ATTACHED: "false"},
    "a key without a thing": {CLIENT: "anything"},
    # There is no client's id in a request by HTTPS, and no variable of a thing.
    "garden's key over HTTPS": {},
}
"""What the broker knows of who connects."""

_WITHOUT_CONNECTION = {"iot:AssumeRoleWithCertificate"}


@dataclass(frozen=True)
class Case:
    """One combination of the table."""

    who: str
    does: str
    on: str
    when: tuple[tuple[str, Any], ...]
    may: bool
    why: str
    only_full: bool
    """Whether it is about what has to be switched on first."""


def cases_of(path: Path) -> Iterator[Case]:
    """Every combination that the table spells out."""
    for said in tomllib.loads(path.read_text(encoding="utf-8"))["case"]:
        unknown = set(said) - {"why", "who", "does", "on", "when", "may", "with"}
        if unknown:
            raise PolicyNotUnderstood(f"{said['why']}: {sorted(unknown)}")
        when = tuple(said.get("when", {}).items())
        for who in said["who"]:
            for does in said["does"]:
                for on in said["on"]:
                    yield Case(who, does, on, when, said["may"], said["why"], said.get("with") == "everything")


@dataclass
class Asking:
    """Asks an account what a case asks."""

    account: CloudAccount

    def __post_init__(self) -> None:
        place = self.account.place
        self._media = place("AWS::S3::Bucket", "Media").arn
        self._console = place("AWS::S3::Bucket", "Console").arn
        self._apis = {
            each.properties["ProtocolType"].lower(): each.name for each in self.account.places("AWS::ApiGatewayV2::Api")
        }
        self._functions = {
            str(each.properties["Handler"]).rpartition(".")[2]: each
            for each in self.account.places("AWS::Lambda::Function")
            if str(each.properties["Handler"]).startswith("pinthesky.")
        }

    @property
    def handlers(self) -> set[str]:
        """The handlers that have a function."""
        return set(self._functions)

    def decide(self, case: Case) -> Verdict:
        """What the account's policies say to a case."""
        when = {key.lower(): self._filled(value) for key, value in case.when}
        if case.who in KEYS:
            return self._camera_decides(case, {**KEYS[case.who], **when})
        principal, known = self.principal(case.who)
        if case.does == "sts:AssumeRole" and case.on.startswith("role:"):
            own = self.account.roles.get(principal.arn, [])
            request = Request(principal, case.does, self.role(case.on.removeprefix("role:")), when)
            allowed_by_own = [each.place for each in own if each.speaks_of(request) and not each.denies]
            if allowed_by_own:
                return Verdict(True, tuple(allowed_by_own))
            return self.account.may_become(request.resource, principal, when)
        resource = self.resource(case.on, case.who)
        known |= _of_connection(case.does) | when
        return self.account.may(Request(principal, case.does, resource, known))

    def principal(self, who: str) -> tuple[Principal, dict[str, Any]]:
        """Who asks, and what AWS knows of them."""
        kind, _, name = who.partition(":")
        if kind == "nobody":
            return ANONYMOUS, {}
        if kind == "service":
            return Principal(service=name), {}
        if kind == "account":
            return Principal(arn=f"arn:aws:iam::{name}:role/stranger"), {}
        if kind == "camera":
            return Principal(arn=self.role("camera")), {"credentials-iot:thingname": name} if name else {}
        if kind == "function":
            return Principal(arn=self.role(name)), {}
        if kind == "role":
            return Principal(arn=self.role(name)), {}
        raise PolicyNotUnderstood(f"who is {who}")

    def role(self, name: str) -> str:
        """ARN of the role of cameras, of a handler's function, or of the one with this word in its logical id."""
        if name == "camera":
            return str(self.account.place("AWS::IoT::RoleAlias").properties["RoleArn"])
        if name in self._functions:
            return str(self._functions[name].properties["Role"])
        return self.account.place("AWS::IAM::Role", name).arn

    def resource(self, on: str, who: str = "") -> str:
        """The ARN that a name of the table stands for."""
        kind, _, name = on.partition(":")
        place, logs = self.account.place, f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:"
        kinds: dict[str, Callable[[], str]] = {
            "media": lambda: f"{self._media}/{name}" if name else self._media,
            "console": lambda: f"{self._console}/{name}" if name else self._console,
            "table": lambda: place("AWS::DynamoDB::Table").arn + (f"/index/{name}" if name else ""),
            "stream": lambda: f"{logs}/pinthesky/device:log-stream:{name}",
            "own log": lambda: f"{logs}/aws/lambda/{self._functions[who.partition(':')[2]].name}:log-stream:x",
            "socket": lambda: self._socket(*name.split("/", 1)),
            "function": lambda: self._functions[name].arn,
            "role": lambda: self.role(name),
            "queue": lambda: place("AWS::SQS::Queue").arn,
            "pool": lambda: place("AWS::Cognito::UserPool").arn,
            "alerts": lambda: place("AWS::SNS::Topic", "Alerts").arn,
        }
        return kinds[kind]() if kind in kinds else on

    def _socket(self, method: str, connection: str) -> str:
        stage = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{self._apis['websocket']}/live"
        return f"{stage}/{method}/@connections/{connection}"

    def _camera_decides(self, case: Case, context: dict[str, Any]) -> Verdict:
        resource = case.on if case.on.startswith("arn:") else IOT + case.on
        verdict = self.account.camera_may(case.does, resource, context)
        if case.does in _WITHOUT_CONNECTION or case.does == "iot:Connect" or not context:
            return verdict
        # Whatever else it may: without a connection there is nobody to say it.
        connected = self.account.camera_may("iot:Connect", f"{IOT}client/{context[CLIENT]}", context)
        return Verdict(verdict.allowed and connected.allowed, (*connected.by, *verdict.by))

    def _filled(self, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return re.sub(r"\{(distribution|http-api|(?:events-)?rule:\w+)\}", lambda found: self._named(found[1]), value)

    def _named(self, name: str) -> str:
        kind, _, word = name.partition(":")
        if kind == "distribution":
            return self.account.place("AWS::CloudFront::Distribution").arn
        if kind == "http-api":
            return self._apis["http"]
        return self.account.place("AWS::IoT::TopicRule" if kind == "rule" else "AWS::Events::Rule", word).arn


def _of_connection(action: str) -> dict[str, Any]:
    """What is true of a request unless a case says otherwise."""
    known: dict[str, Any] = {"aws:securetransport": "true"}
    return {**known, "s3:tlsversion": "1.3"} if action.startswith("s3:") else known
