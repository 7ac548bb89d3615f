"""The account that the synthesised templates make: its roles, its resources' policies, and the policy of cameras."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tests.support.policies.evaluation import Principal, Request, Statement, Verdict, decide, statements_of
from tests.support.policies.patterns import Context, PolicyNotUnderstood
from tests.support.policies.template_values import ACCOUNT, REGION, Template, Values

# What the managed policies that may be used say. Another one is an error.
_MANAGED: dict[str, list[dict[str, Any]]] = {}


@dataclass(frozen=True)
class Place:
    """One resource of one template."""

    stack: str
    logical: str
    values: Values

    @property
    def arn(self) -> str:
        """Its ARN."""
        return self.values.arn(self.logical)

    @property
    def name(self) -> str:
        """Its name."""
        return self.values.name(self.logical)

    @cached_property
    def properties(self) -> dict[str, Any]:
        """Its properties, resolved."""
        return self.values.properties(self.logical)


@dataclass
class CloudAccount:
    """Policies of an account, by who they belong to."""

    templates: Mapping[str, Template]
    roles: dict[str, list[Statement]] = field(default_factory=dict)
    """Statements of each role, by its ARN."""
    trusts: dict[str, list[Statement]] = field(default_factory=dict)
    """Who may become a role, by its ARN."""
    resources: dict[str, list[Statement]] = field(default_factory=dict)
    """Statements of a resource's own policy, by its ARN."""
    documents: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    """Every document that was read, and its place."""
    cameras: list[Statement] = field(default_factory=list)
    """The IoT policy of cameras."""

    def __post_init__(self) -> None:
        for place in self.places("AWS::IAM::Role"):
            self._read_role(place)
        for place in self.places("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"):
            self._read_role_policy(place)
        for place in self.places("AWS::S3::BucketPolicy"):
            properties = place.properties
            bucket = f"arn:aws:s3:::{properties['Bucket']}"
            self._keep(self.resources, bucket, self._read(place, properties["PolicyDocument"]))
        for place in self.places("AWS::SQS::QueuePolicy"):
            for url in place.properties["Queues"]:
                arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{url.rpartition('/')[2]}"
                self._keep(self.resources, arn, self._read(place, place.properties["PolicyDocument"]))
        for place in self.places("AWS::SNS::TopicPolicy"):
            for arn in place.properties["Topics"]:
                self._keep(self.resources, arn, self._read(place, place.properties["PolicyDocument"]))
        for place in self.places("AWS::Lambda::Permission"):
            statement = _permission(place)
            self._keep(self.resources, statement.said["Resource"], [statement])
        for place in self.places("AWS::IoT::Policy"):
            self.cameras.extend(self._read(place, place.properties["PolicyDocument"]))

    def places(self, *kinds: str) -> Iterator[Place]:
        """The resources of these types in all templates."""
        for kind in kinds:
            yield from self._by_kind.get(kind, ())

    @cached_property
    def _by_kind(self) -> dict[str, list[Place]]:
        found: dict[str, list[Place]] = {}
        for stack, template in self.templates.items():
            values = Values(template, self.templates)
            for logical, said in template["Resources"].items():
                found.setdefault(said["Type"], []).append(Place(stack, logical, values))
        return found

    def place(self, kind: str, containing: str = "") -> Place:
        """The only resource of a type whose logical id contains a word."""
        found = [each for each in self.places(kind) if containing in each.logical]
        if len(found) != 1:
            raise PolicyNotUnderstood(f"{len(found)} resources of {kind} with {containing!r} in their names")
        return found[0]

    def may(self, request: Request) -> Verdict:
        """Decide a request to a service, by the policies of role and resource."""
        own = self.roles.get(request.principal.arn, [])
        return decide(request, own, self._policy_of(request.resource), account=ACCOUNT)

    def may_become(self, role_arn: str, principal: Principal, context: Context) -> Verdict:
        """Decide whether somebody may take a role: its trust has to say so by itself."""
        if role_arn not in self.trusts:
            raise PolicyNotUnderstood(f"no role {role_arn}")
        request = Request(principal, "sts:AssumeRole", role_arn, context)
        return decide(request, [], self.trusts[role_arn], account=ACCOUNT)

    def camera_may(self, action: str, resource: str, context: Context) -> Verdict:
        """Decide what a camera asks of IoT Core, by the policy that is attached to its certificate."""
        return decide(Request(Principal(), action, resource, context), self.cameras, [], account=ACCOUNT)

    def _policy_of(self, resource: str) -> list[Statement]:
        if resource.startswith("arn:aws:s3:::"):
            resource = resource.split("/", 1)[0]
        return self.resources.get(resource, [])

    def _read_role(self, place: Place) -> None:
        properties = place.properties
        trust = self._read(place, properties["AssumeRolePolicyDocument"])
        self._keep(self.trusts, place.arn, trust)
        self.roles.setdefault(place.arn, [])
        for policy in properties.get("Policies", []):
            self._keep(self.roles, place.arn, self._read(place, policy["PolicyDocument"]))
        for managed in properties.get("ManagedPolicyArns", []):
            if managed.startswith(f"arn:aws:iam::{ACCOUNT}:"):
                continue
            if managed not in _MANAGED:
                raise PolicyNotUnderstood(f"{place.logical}: the managed policy {managed}")
            self._keep(self.roles, place.arn, [Statement(said, managed) for said in _MANAGED[managed]])
        if "PermissionsBoundary" in properties:
            raise PolicyNotUnderstood(f"{place.logical}: a permissions boundary")

    def _read_role_policy(self, place: Place) -> None:
        properties = place.properties
        statements = self._read(place, properties["PolicyDocument"])
        if properties.get("Users") or properties.get("Groups"):
            raise PolicyNotUnderstood(f"{place.logical}: a policy of users or groups")
        names = set(properties.get("Roles", []))
        for role in self.places("AWS::IAM::Role"):
            attached = place.arn in role.properties.get("ManagedPolicyArns", []) if _is_managed(place) else False
            if role.name in names or attached:
                self._keep(self.roles, role.arn, statements)
                names.discard(role.name)
        if names:
            raise PolicyNotUnderstood(f"{place.logical}: no such roles: {sorted(names)}")

    def _read(self, place: Place, document: Mapping[str, Any]) -> list[Statement]:
        self.documents.append((f"{place.stack}/{place.logical}", document))
        return statements_of(document, place.logical)

    @staticmethod
    def _keep(where: dict[str, list[Statement]], key: str, statements: list[Statement]) -> None:
        where.setdefault(key, []).extend(statements)


def _is_managed(place: Place) -> bool:
    return bool(place.values.resources("AWS::IAM::ManagedPolicy").get(place.logical))


def _permission(place: Place) -> Statement:
    """A permission of a Lambda function as the statement that Lambda makes of it."""
    properties = place.properties
    principal = properties["Principal"]
    function = properties["FunctionName"]
    if not function.startswith("arn:"):
        function = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function}"
    condition: dict[str, dict[str, Any]] = {}
    if "SourceArn" in properties:
        condition["ArnLike"] = {"AWS:SourceArn": properties["SourceArn"]}
    if "SourceAccount" in properties:
        condition["StringEquals"] = {"AWS:SourceAccount": properties["SourceAccount"]}
    unknown = set(properties) - {"Principal", "FunctionName", "SourceArn", "SourceAccount", "Action"}
    if unknown:
        raise PolicyNotUnderstood(f"{place.logical}: {sorted(unknown)}")
    return Statement(
        {
            "Effect": "Allow",
            "Principal": {"Service": principal} if principal.endswith(".amazonaws.com") else {"AWS": principal},
            "Action": properties["Action"],
            "Resource": function,
            "Condition": condition,
        },
        place.logical,
    )
