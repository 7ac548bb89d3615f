"""Synthesised templates with made-up values in the place of CloudFormation's intrinsics.

A reference becomes what CloudFormation would give: a name that was chosen, else the logical id in small letters; an ARN
of the account and region below. What no rule covers is an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tests.support.policies.patterns import PolicyNotUnderstood

ACCOUNT = "111122223333"
REGION = "us-east-1"
PARTITION = "aws"
PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Region": REGION,
    "AWS::Partition": PARTITION,
    "AWS::URLSuffix": "amazonaws.com",
}

Template = Mapping[str, Any]

# Type: the property that names it, and its ARN behind `arn:aws:`, with {name} for that name.
_KINDS: dict[str, tuple[str, str]] = {
    "AWS::ApiGatewayV2::Api": ("", f"apigateway:{REGION}::/apis/{{name}}"),
    "AWS::ApiGatewayV2::Stage": ("StageName", ""),
    "AWS::CloudFront::Distribution": ("", f"cloudfront::{ACCOUNT}:distribution/{{name}}"),
    "AWS::CloudFront::Function": ("Name", f"cloudfront::{ACCOUNT}:function/{{name}}"),
    "AWS::CloudWatch::Alarm": ("AlarmName", f"cloudwatch:{REGION}:{ACCOUNT}:alarm:{{name}}"),
    "AWS::Cognito::UserPool": ("", f"cognito-idp:{REGION}:{ACCOUNT}:userpool/{{name}}"),
    "AWS::Cognito::UserPoolDomain": ("Domain", ""),
    "AWS::DynamoDB::GlobalTable": ("TableName", f"dynamodb:{REGION}:{ACCOUNT}:table/{{name}}"),
    "AWS::DynamoDB::Table": ("TableName", f"dynamodb:{REGION}:{ACCOUNT}:table/{{name}}"),
    "AWS::Events::Rule": ("Name", f"events:{REGION}:{ACCOUNT}:rule/{{name}}"),
    "AWS::IAM::ManagedPolicy": ("ManagedPolicyName", f"iam::{ACCOUNT}:policy/{{name}}"),
    "AWS::IAM::Role": ("RoleName", f"iam::{ACCOUNT}:role/{{name}}"),
    "AWS::IoT::Policy": ("PolicyName", f"iot:{REGION}:{ACCOUNT}:policy/{{name}}"),
    "AWS::IoT::RoleAlias": ("RoleAlias", f"iot:{REGION}:{ACCOUNT}:rolealias/{{name}}"),
    "AWS::IoT::ThingGroup": ("ThingGroupName", f"iot:{REGION}:{ACCOUNT}:thinggroup/{{name}}"),
    "AWS::IoT::ThingType": ("ThingTypeName", f"iot:{REGION}:{ACCOUNT}:thingtype/{{name}}"),
    "AWS::IoT::TopicRule": ("RuleName", f"iot:{REGION}:{ACCOUNT}:rule/{{name}}"),
    "AWS::Lambda::Function": ("FunctionName", f"lambda:{REGION}:{ACCOUNT}:function:{{name}}"),
    "AWS::Logs::LogGroup": ("LogGroupName", f"logs:{REGION}:{ACCOUNT}:log-group:{{name}}:*"),
    "AWS::S3::Bucket": ("BucketName", "s3:::{name}"),
    "AWS::SNS::Topic": ("TopicName", f"sns:{REGION}:{ACCOUNT}:{{name}}"),
    "AWS::SQS::Queue": ("QueueName", f"sqs:{REGION}:{ACCOUNT}:{{name}}"),
    "AWS::Scheduler::Schedule": ("Name", f"scheduler:{REGION}:{ACCOUNT}:schedule/default/{{name}}"),
    "AWS::Scheduler::ScheduleGroup": ("Name", f"scheduler:{REGION}:{ACCOUNT}:schedule-group/{{name}}"),
}
# Where Ref gives something else than the name.
_REF_IS_ARN = {"AWS::SNS::Topic", "AWS::IAM::ManagedPolicy"}
_ARN_ATTRIBUTES = {"Arn", "TopicArn", "RoleAliasArn"}
_NAME_ATTRIBUTES = {"ApiId", "ClientId", "Id", "QueueName", "TopicName", "UserPoolId"}


class Values:
    """The values of one template; `others` are templates of the same application, whose exports it may import."""

    def __init__(self, template: Template, others: Mapping[str, Template] | None = None) -> None:
        self._template = template
        self._others = dict(others or {})

    def resources(self, *kinds: str) -> dict[str, Mapping[str, Any]]:
        """The resources of these types, by logical id, as they stand in the template."""
        found: Mapping[str, Any] = self._template.get("Resources", {})
        return {logical: said for logical, said in found.items() if said["Type"] in kinds}

    def properties(self, logical: str) -> dict[str, Any]:
        """The properties of a resource, with every intrinsic resolved."""
        return dict(self.of(self._resource(logical).get("Properties", {})))

    def name(self, logical: str) -> str:
        """The name of a resource: the one that was chosen for it, or a made-up one."""
        said = self._resource(logical)
        named_by, _ = _KINDS.get(said["Type"], ("", ""))
        chosen = said.get("Properties", {}).get(named_by) if named_by else None
        return str(self.of(chosen)) if chosen is not None else logical.lower()

    def arn(self, logical: str) -> str:
        """The ARN of a resource."""
        kind = self._resource(logical)["Type"]
        pattern = _KINDS.get(kind, ("", ""))[1]
        if not pattern:
            raise PolicyNotUnderstood(f"the ARN of {kind} {logical}")
        return f"arn:{PARTITION}:" + pattern.format(name=self.name(logical))

    def outputs(self) -> dict[str, Any]:
        """The outputs of the template, resolved."""
        return {key: self.of(said["Value"]) for key, said in self._template.get("Outputs", {}).items()}

    def of(self, value: Any) -> Any:
        """`value` with every intrinsic in it resolved."""
        if isinstance(value, list):
            return [each for each in (self.of(one) for one in value) if each is not _NO_VALUE]
        if not isinstance(value, Mapping):
            return value
        if len(value) == 1:
            ((name, asked),) = value.items()
            if name == "Ref" or name.startswith("Fn::"):
                return self._intrinsic(name, asked)
        resolved = {key: self.of(one) for key, one in value.items()}
        return {key: one for key, one in resolved.items() if one is not _NO_VALUE}

    def _intrinsic(self, name: str, asked: Any) -> Any:
        if name == "Ref":
            return self._ref(asked)
        if name == "Fn::GetAtt":
            logical, _, attribute = asked.partition(".") if isinstance(asked, str) else (asked[0], ".", asked[1])
            return self._attribute(logical, str(self.of(attribute)))
        if name == "Fn::Sub":
            return self._sub(asked)
        if name == "Fn::Join":
            separator, parts = asked
            return separator.join(str(each) for each in self.of(parts))
        if name == "Fn::Split":
            return str(self.of(asked[1])).split(asked[0])
        if name == "Fn::Select":
            return self.of(asked[1])[int(self.of(asked[0]))]
        if name == "Fn::ImportValue":
            return self._imported(self.of(asked))
        raise PolicyNotUnderstood(f"{name}: {asked}")

    def _ref(self, name: str) -> Any:
        if name in PSEUDO:
            return PSEUDO[name]
        if name == "AWS::NoValue":
            return _NO_VALUE
        if name in ("AWS::StackName", "AWS::StackId"):
            return name.removeprefix("AWS::").lower()
        parameter = self._template.get("Parameters", {}).get(name)
        if parameter is not None:
            if "Default" not in parameter:
                raise PolicyNotUnderstood(f"the parameter {name}, which has no default")
            return parameter["Default"]
        kind = self._resource(name)["Type"]
        if kind in _REF_IS_ARN:
            return self.arn(name)
        if kind == "AWS::SQS::Queue":
            return f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{self.name(name)}"
        return self.name(name)

    def _attribute(self, logical: str, attribute: str) -> str:
        if attribute in _ARN_ATTRIBUTES:
            return self.arn(logical)
        if attribute in _NAME_ATTRIBUTES:
            return self.name(logical)
        self._resource(logical)
        return f"{self.name(logical)}.{attribute.lower()}"

    def _sub(self, asked: Any) -> str:
        text, given = (asked, {}) if isinstance(asked, str) else (asked[0], asked[1])

        def value(found: re.Match[str]) -> str:
            inner = found[1]
            if inner.startswith("!"):
                return "${" + inner[1:] + "}"
            if inner in given:
                return str(self.of(given[inner]))
            return str(self._intrinsic("Fn::GetAtt", inner) if "." in inner else self._ref(inner))

        return re.sub(r"\$\{([^}]*)\}", value, text)

    def _imported(self, name: str) -> Any:
        for template in self._others.values():
            values = Values(template, self._others)
            for said in template.get("Outputs", {}).values():
                if "Export" in said and values.of(said["Export"]["Name"]) == name:
                    return values.of(said["Value"])
        raise PolicyNotUnderstood(f"nothing exports {name}")

    def _resource(self, logical: str) -> Mapping[str, Any]:
        found = self._template.get("Resources", {}).get(logical)
        if found is None:
            raise PolicyNotUnderstood(f"no resource {logical}")
        return dict(found)


_NO_VALUE = object()
