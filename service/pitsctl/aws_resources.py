"""The resources that all cameras of an account share, each as a step: see `aws_shared`."""

from __future__ import annotations

import json
from typing import Any

from pinthesky.errors import Conflict, InvalidInput, NotFound
from pinthesky.model import camera_policy
from pitsctl import aws_policies
from pitsctl.aws_account import errors
from pitsctl.aws_shared import MADE_BY, TAG, SharedStep, same, tags
from pitsctl.steps import Found, Say, Verdict

EXPIRE_DAYS = 30
LOG_DAYS = 30
CREDENTIALS_S = 3600


class GroupStep(SharedStep):
    """The cameras' group, in which everything else is written down."""

    name, title, kind = "aws-group", "Make or find the cameras' group in AWS IoT", MADE_BY
    called = "group"

    def check(self) -> Found:
        """See `Step`."""
        if self._exists():
            return Found(Verdict.DONE, f"{self.resource} is there")
        return Found(Verdict.NEEDED, f"make {self.resource}")

    def _exists(self) -> bool:
        return self.record.attributes() is not None

    def _is_whole(self) -> bool:
        return True

    def apply(self, say: Say) -> None:
        """See `Step`."""
        if not self._exists():
            self._make()
            say(f"{self.resource} is there")

    def _make(self) -> None:
        with errors(f"making the thing group {self.resource}"):
            self.account.client("iot").create_thing_group(
                thingGroupName=self.resource,
                thingGroupProperties={
                    "thingGroupDescription": "Cameras of Pi In The Sky",
                    "attributePayload": {"attributes": {MADE_BY: TAG[1]}},
                },
                tags=tags(),
            )

    def undo(self, say: Say) -> None:
        """See `Step`."""
        attributes = self.record.attributes()
        if attributes is None or attributes.get(MADE_BY) != TAG[1]:
            return
        if self.record.others(self.names.thing) or any(attributes[key] for key in attributes if key != MADE_BY):
            say(f"{self.resource} is kept: it is in use")
        elif self._delete(say):
            say(f"{self.resource} is removed")

    def _delete(self, _say: Say) -> bool:
        with errors(f"removing the thing group {self.resource}"):
            self.account.client("iot").delete_thing_group(thingGroupName=self.resource)
        return True


class LogGroupStep(SharedStep):
    """Where the cameras' logs go, in streams of their own."""

    name, title, kind = "aws-log-group", "Make or find the log group", "logGroup"
    called = "log_group"

    def _exists(self) -> bool:
        return self._described() is not None

    def _is_whole(self) -> bool:
        return (self._described() or {}).get("retentionInDays") == LOG_DAYS

    def _make(self) -> None:
        logs = self.account.client("logs")
        with errors(f"making the log group {self.resource}"):
            if not self._exists():
                logs.create_log_group(logGroupName=self.resource, tags=dict([TAG]))
            logs.put_retention_policy(logGroupName=self.resource, retentionInDays=LOG_DAYS)

    def _delete(self, _say: Say) -> bool:
        with errors(f"removing the log group {self.resource}"):
            self.account.client("logs").delete_log_group(logGroupName=self.resource)
        return True

    def _described(self) -> dict[str, Any] | None:
        with errors(f"looking for the log group {self.resource}"):
            found = self.account.client("logs").describe_log_groups(logGroupNamePrefix=self.resource, limit=50)
        return next((each for each in found["logGroups"] if each["logGroupName"] == self.resource), None)


class RoleStep(SharedStep):
    """The role that a camera's certificate takes on: to store under its own name."""

    name, title, kind = "aws-role", "Make or find the cameras' role", "role"
    called = "role"
    _POLICY = "camera"

    @property
    def arn(self) -> str:
        """Of the role. Raises NotFound."""
        with errors(f"looking for the role {self.resource}"):
            return str(self.account.client("iam").get_role(RoleName=self.resource)["Role"]["Arn"])

    def _exists(self) -> bool:
        try:
            return bool(self.arn)
        except NotFound:
            return False

    def _is_whole(self) -> bool:
        if not self._permissions()["Statement"]:
            return True
        try:
            with errors(f"reading the role {self.resource}"):
                iam = self.account.client("iam")
                found = iam.get_role_policy(RoleName=self.resource, PolicyName=self._POLICY)["PolicyDocument"]
        except NotFound:
            return False
        return same(found, self._permissions())

    def _make(self) -> None:
        iam, alias = self.account.client("iam"), self.account.arn("iot", f"rolealias/{self.names.role_alias}")
        with errors(f"making the role {self.resource}"):
            if not self._exists():
                iam.create_role(
                    RoleName=self.resource,
                    Description="Cameras of Pi In The Sky, each with what is its own",
                    AssumeRolePolicyDocument=json.dumps(aws_policies.role_trust(self.account.id, alias)),
                    Tags=tags(),
                )
            if self._permissions()["Statement"]:
                document = json.dumps(self._permissions())
                iam.put_role_policy(RoleName=self.resource, PolicyName=self._POLICY, PolicyDocument=document)

    def _delete(self, _say: Say) -> bool:
        iam = self.account.client("iam")
        with errors(f"removing the role {self.resource}"):
            for policy in iam.list_role_policies(RoleName=self.resource)["PolicyNames"]:
                iam.delete_role_policy(RoleName=self.resource, PolicyName=policy)
            iam.delete_role(RoleName=self.resource)
        return True

    def _permissions(self) -> camera_policy.Document:
        log_group = self.names.log_group and self.account.arn("logs", f"log-group:{self.names.log_group}")
        return aws_policies.role_permissions(self.names.bucket, self.names.prefixes, log_group)


class RoleAliasStep(SharedStep):
    """The alias by which cameras take on the role."""

    name, title, kind = "aws-role-alias", "Make or find the role alias", "roleAlias"
    called = "role_alias"

    def _exists(self) -> bool:
        try:
            with errors(f"looking for the role alias {self.resource}"):
                self.account.client("iot").describe_role_alias(roleAlias=self.resource)
        except NotFound:
            return False
        return True

    def _is_whole(self) -> bool:
        return True

    def _make(self) -> None:
        role = RoleStep(self.account, self.names, self.person).arn

        def create() -> None:
            with errors(f"making the role alias {self.resource}"):
                self.account.client("iot").create_role_alias(
                    roleAlias=self.resource, roleArn=role, credentialDurationSeconds=CREDENTIALS_S, tags=tags()
                )

        self.patiently(create)

    def _delete(self, _say: Say) -> bool:
        with errors(f"removing the role alias {self.resource}"):
            self.account.client("iot").delete_role_alias(roleAlias=self.resource)
        return True


class PolicyStep(SharedStep):
    """What a camera may say and hear: its own topics."""

    name, title, kind = "aws-policy", "Make or find the cameras' policy", "policy"
    called = "policy"

    def _exists(self) -> bool:
        return self._document() is not None

    def _is_whole(self) -> bool:
        return same(self._document(), self._wanted())

    def _make(self) -> None:
        iot, document = self.account.client("iot"), json.dumps(self._wanted(), separators=(",", ":"))
        with errors(f"making the policy {self.resource}"):
            if not self._exists():
                iot.create_policy(policyName=self.resource, policyDocument=document, tags=tags())
                return
            # An older version of ours: five may be kept, of which the default is the one that holds.
            old = list(iot.list_policy_versions(policyName=self.resource)["policyVersions"])
            spare = sorted(
                (each for each in old if not each["isDefaultVersion"]), key=lambda each: int(each["versionId"])
            )
            if len(old) >= 5:
                iot.delete_policy_version(policyName=self.resource, policyVersionId=spare[0]["versionId"])
            iot.create_policy_version(policyName=self.resource, policyDocument=document, setAsDefault=True)

    def _delete(self, say: Say) -> bool:
        iot = self.account.client("iot")
        with errors(f"removing the policy {self.resource}"):
            if iot.list_targets_for_policy(policyName=self.resource, pageSize=1)["targets"]:
                say(f"{self.resource} is kept: certificates use it")
                return False
            for version in iot.list_policy_versions(policyName=self.resource)["policyVersions"]:
                if not version["isDefaultVersion"]:
                    iot.delete_policy_version(policyName=self.resource, policyVersionId=version["versionId"])
            iot.delete_policy(policyName=self.resource)
        return True

    def _wanted(self) -> camera_policy.Document:
        alias = self.account.arn("iot", f"rolealias/{self.names.role_alias}")
        return camera_policy.iot_policy(self.account.arn("iot", ""), alias)

    def _document(self) -> Any:
        try:
            with errors(f"looking for the policy {self.resource}"):
                return self.account.client("iot").get_policy(policyName=self.resource)["policyDocument"]
        except NotFound:
            return None


class BucketStep(SharedStep):
    """Where clips and stills go: private, encrypted, and what is ordinary expires."""

    name, title, kind = "aws-media-bucket", "Make or find the bucket for clips and stills", "bucket"
    called = "bucket"

    def _exists(self) -> bool:
        try:
            with errors(f"looking for the bucket {self.resource}"):
                self.account.client("s3").head_bucket(Bucket=self.resource)
        except NotFound:
            return False
        return True

    def _is_whole(self) -> bool:
        s3 = self.account.client("s3")
        try:
            with errors(f"reading the bucket {self.resource}"):
                policy = s3.get_bucket_policy(Bucket=self.resource)["Policy"]
                s3.get_bucket_lifecycle_configuration(Bucket=self.resource)
                s3.get_public_access_block(Bucket=self.resource)
        except (NotFound, InvalidInput):  # a part of it was never set
            return False
        return same(policy, self._policy())

    def _make(self) -> None:
        s3 = self.account.client("s3")
        where: dict[str, Any] = {"CreateBucketConfiguration": {"LocationConstraint": self.account.region}}
        with errors(f"making the bucket {self.resource}"):
            if not self._exists():
                s3.create_bucket(Bucket=self.resource, **({} if self.account.region == "us-east-1" else where))
            block = dict.fromkeys(
                ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
            )
            s3.put_public_access_block(Bucket=self.resource, PublicAccessBlockConfiguration=block)
            s3.put_bucket_tagging(Bucket=self.resource, Tagging={"TagSet": tags()})
            lifecycle = aws_policies.bucket_lifecycle(EXPIRE_DAYS)
            s3.put_bucket_lifecycle_configuration(Bucket=self.resource, LifecycleConfiguration=lifecycle)

        def protect() -> None:
            with errors(f"writing the policy of the bucket {self.resource}"):
                s3.put_bucket_policy(Bucket=self.resource, Policy=json.dumps(self._policy()))

        self.patiently(protect)

    def _delete(self, say: Say) -> bool:
        s3 = self.account.client("s3")
        with errors(f"looking into the bucket {self.resource}"):
            is_empty = not s3.list_objects_v2(Bucket=self.resource, MaxKeys=1).get("KeyCount")
        if not is_empty and not self.person.confirm(
            f"Delete the bucket {self.resource} with every clip and still in it?", "They cannot be had again."
        ):
            say(f"{self.resource} is kept, with the clips in it")
            return False
        with errors(f"emptying the bucket {self.resource}"):
            for page in s3.get_paginator("list_objects_v2").paginate(Bucket=self.resource):
                keys = [{"Key": each["Key"]} for each in page.get("Contents", [])]
                if keys:
                    s3.delete_objects(Bucket=self.resource, Delete={"Objects": keys, "Quiet": True})
        try:
            with errors(f"removing the bucket {self.resource}"):
                s3.delete_bucket(Bucket=self.resource)
        except Conflict as error:
            say(f"{self.resource} is kept: {error}")
            return False
        return True

    def _policy(self) -> camera_policy.Document:
        role = RoleStep(self.account, self.names, self.person).arn
        return aws_policies.bucket_policy(self.resource, role, self.names.prefixes[1])
