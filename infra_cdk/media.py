"""The bucket of clips and stills."""

from __future__ import annotations

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra_cdk.names import (
    CONVERTED_IMAGES_PREFIX,
    IMAGE_PREFIX,
    RELEASES_PREFIX,
    VIDEO_PREFIX,
)
from infra_cdk.permissions import allow
from infra_cdk.settings import Settings
from pinthesky.model.recording import KEPT_TAG, LATEST_STILL, RETENTION_TAG

NONCURRENT_DAYS = 7
"""For how long what was removed or written over can be brought back by hand."""


class Media(Construct):
    """Private, encrypted, over TLS only; nothing that a camera has stored can be written over by one."""

    def __init__(self, scope: Construct, name: str, *, settings: Settings) -> None:
        super().__init__(scope, name)
        self.bucket = s3.Bucket(
            self,
            "Bucket",
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            event_bridge_enabled=False,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            versioned=True,
            removal_policy=RemovalPolicy.RETAIN,
            lifecycle_rules=self._lifecycle(settings),
        )
        # The construct would switch it on by a function of its own; the property does the same and costs nothing.
        resource = self.bucket.node.default_child
        assert isinstance(resource, s3.CfnBucket)  # noqa: S101 - what the construct is made of
        resource.add_property_override("NotificationConfiguration.EventBridgeConfiguration.EventBridgeEnabled", True)

    @property
    def address(self) -> str:
        """Where signed links lead to, without a slash at its end."""
        return f"https://{self.bucket.bucket_name}.s3.{Stack.of(self).region}.{Stack.of(self).url_suffix}"

    def protect_from(self, cameras: iam.IRole) -> None:
        """Refuse cameras what would write over something or have it expire, whatever their role allows.

        `If-None-Match` is the promise of a request to change nothing; its only value in S3 is `*`. Asking for it also
        refuses uploads in parts, which could not be checked this way. A recording is given its tag with its upload,
        which S3 cannot tell from one that is given later; so what is kept has a tag by which that is refused.
        """
        tag, value = KEPT_TAG
        self.bucket.add_to_resource_policy(
            iam.PolicyStatement(
                sid="WhatIsKeptStays",
                effect=iam.Effect.DENY,
                principals=[iam.ArnPrincipal(cameras.role_arn)],
                actions=["s3:PutObjectTagging"],
                resources=[self.bucket.arn_for_objects("*")],
                conditions={"StringEquals": {f"s3:ExistingObjectTag/{tag}": value}},
            )
        )
        self.bucket.add_to_resource_policy(
            iam.PolicyStatement(
                sid="NothingIsWrittenOver",
                effect=iam.Effect.DENY,
                principals=[iam.ArnPrincipal(cameras.role_arn)],
                actions=["s3:PutObject"],
                not_resources=[self.bucket.arn_for_objects(f"{IMAGE_PREFIX}/*/{LATEST_STILL}")],
                conditions={"Null": {"s3:if-none-match": "true"}},
            )
        )

    def for_camera(self, thing: str) -> list[iam.PolicyStatement]:
        """What a camera needs to store its recordings; `thing` is the variable that stands for its name."""
        own = [self.bucket.arn_for_objects(f"{prefix}/{thing}/*") for prefix in (VIDEO_PREFIX, IMAGE_PREFIX)]
        tag, value = RETENTION_TAG
        return [
            allow("s3:PutObject", on=own),
            allow(
                "s3:PutObjectTagging",
                on=own,
                when={
                    "StringEquals": {f"s3:RequestObjectTag/{tag}": value},
                    "ForAllValues:StringEquals": {"s3:RequestObjectTagKeys": [tag]},
                },
            ),
        ]

    def recordings(self) -> list[str]:
        """ARNs of everything that is a recording or belongs to one."""
        prefixes = (VIDEO_PREFIX, CONVERTED_IMAGES_PREFIX, IMAGE_PREFIX)
        return [self.bucket.arn_for_objects(f"{prefix}/*") for prefix in prefixes]

    def videos(self) -> list[str]:
        """ARNs of clips, and of what stands beside them."""
        return [self.bucket.arn_for_objects(f"{VIDEO_PREFIX}/*")]

    def releases(self) -> list[str]:
        """ARNs of the manifests of releases."""
        return [self.bucket.arn_for_objects(f"{RELEASES_PREFIX}/*")]

    @staticmethod
    def _lifecycle(settings: Settings) -> list[s3.LifecycleRule]:
        tag, value = RETENTION_TAG  # a lifecycle rule can only include, so starring takes the tag away
        # The planes remove a recording with its row, at the same age. The rule is for what they never heard of, so it
        # waits a day longer: no list shows a clip that is gone.
        expiring = [
            s3.LifecycleRule(
                id=f"{prefix}-expire", prefix=f"{prefix}/", tag_filters={tag: value}, expiration=Duration.days(days + 1)
            )
            for prefix, days in (
                (VIDEO_PREFIX, settings.retention_days),
                (CONVERTED_IMAGES_PREFIX, settings.retention_days),
                (IMAGE_PREFIX, settings.stills_days),
            )
            if days
        ]
        removed = s3.LifecycleRule(
            id="removed",
            noncurrent_version_expiration=Duration.days(NONCURRENT_DAYS),
            expired_object_delete_marker=True,
        )
        parts = s3.LifecycleRule(id="unfinished", abort_incomplete_multipart_upload_after=Duration.days(1))
        return [*expiring, removed, parts]
