"""What a camera may do in an account: the same as `infra_cdk` grants, for an account without it.

One policy and one role serve every camera: variables stand for the one that asks. Topics and prefixes are those of
`pinthesky.model.identifiers` and docs/reference/aws.md.
"""

from __future__ import annotations

from typing import Any

from pinthesky.model.identifiers import SHADOW_NAME

THING = "${iot:Connection.Thing.ThingName}"
"""In an IoT policy: the thing that connects, if the client id is its name."""
THING_OF_ROLE = "${credentials-iot:ThingName}"
"""In the policy of the role: the thing whose certificate has asked for credentials."""
LATEST_STILL = "thumbnail_latest.jpg"
PROBE = ".probe"
"""What a camera that is told of another bucket stores to learn whether it may write there."""
EXPIRING_TAG = ("retention", "standard")

Document = dict[str, Any]


def camera_policy(start: str, role_alias_arn: str) -> Document:
    """The IoT policy; `start` is the ARNs' beginning, `arn:aws:iot:<region>:<account>:`."""
    shadow, jobs = f"$aws/things/{THING}/shadow/name/{SHADOW_NAME}", f"$aws/things/{THING}/jobs"
    commands, events = f"pinthesky/events/{THING}/input", f"pinthesky/events/{THING}/output"
    said = [events, f"{shadow}/get", f"{shadow}/update", f"{jobs}/start-next", f"{jobs}/*/get", f"{jobs}/*/update"]
    heard = [commands, f"{shadow}/*", f"{jobs}/*"]
    return _document(
        {
            "Effect": "Allow",
            "Action": "iot:Connect",
            "Resource": f"{start}client/{THING}",
            "Condition": {"Bool": {"iot:Connection.Thing.IsAttached": "true"}},
        },
        _allow("iot:Publish", [f"{start}topic/{topic}" for topic in said]),
        _allow("iot:Subscribe", [f"{start}topicfilter/{topic}" for topic in heard]),
        _allow("iot:Receive", [f"{start}topic/{topic}" for topic in heard]),
        _allow("iot:AssumeRoleWithCertificate", [role_alias_arn]),
    )


def role_trust(account: str, role_alias_arn: str) -> Document:
    """Who may take on the role: the credentials provider, for this account's alias and for nobody else's.

    Nothing public says whether the provider names account and alias, so the conditions hold where it does not: else
    no camera would ever get credentials.
    """
    return _document(
        {
            "Effect": "Allow",
            "Principal": {"Service": "credentials.iot.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {
                "StringEqualsIfExists": {"aws:SourceAccount": account},
                "ArnLikeIfExists": {"aws:SourceArn": role_alias_arn},
            },
        }
    )


def role_permissions(bucket: str, prefixes: tuple[str, ...], log_group_arn: str) -> Document:
    """What the role may: store under the camera's own name, write its own logs. Empty arguments leave a part out."""
    statements = []
    if bucket:
        own = [f"arn:aws:s3:::{bucket}/{prefix}/{THING_OF_ROLE}/*" for prefix in prefixes]
        own += [f"arn:aws:s3:::{bucket}/{prefix}/{PROBE}" for prefix in prefixes]
        tag, value = EXPIRING_TAG
        tagging = _allow("s3:PutObjectTagging", own)
        tagging["Condition"] = {
            "StringEquals": {f"s3:RequestObjectTag/{tag}": value},
            "ForAllValues:StringEquals": {"s3:RequestObjectTagKeys": [tag]},
            # What somebody has starred: with its old tag it would expire.
            "StringNotEquals": {"s3:ExistingObjectTag/kept": "true"},
        }
        statements += [_allow("s3:PutObject", own), tagging]
    if log_group_arn:
        # The streams of a thing are `YYYY/MM/DD@<thing>`; no thing's name holds an @.
        streams = f"{log_group_arn}:log-stream:????/??/??@{THING_OF_ROLE}"
        statements.append(_allow(["logs:CreateLogStream", "logs:PutLogEvents"], [streams]))
    return _document(*statements)


def bucket_policy(bucket: str, role_arn: str, image_prefix: str) -> Document:
    """TLS only; and nothing that was stored can be written over by a camera, nor by a thief with its key."""
    everything = f"arn:aws:s3:::{bucket}/*"
    return _document(
        {
            "Sid": "TlsOnly",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [f"arn:aws:s3:::{bucket}", everything],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        },
        {
            "Sid": "NothingIsWrittenOver",
            "Effect": "Deny",
            "Principal": {"AWS": role_arn},
            "Action": "s3:PutObject",
            "NotResource": f"arn:aws:s3:::{bucket}/{image_prefix}/*/{LATEST_STILL}",
            "Condition": {"Null": {"s3:if-none-match": "true"}},
        },
    )


def bucket_lifecycle(days: int) -> Document:
    """What is tagged as ordinary goes after `days`; what somebody stars loses the tag, and stays."""
    tag, value = EXPIRING_TAG
    return {
        "Rules": [
            {
                "ID": "expire",
                "Status": "Enabled",
                "Filter": {"Tag": {"Key": tag, "Value": value}},
                "Expiration": {"Days": days},
            },
            {
                "ID": "unfinished",
                "Status": "Enabled",
                "Filter": {"Prefix": ""},
                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
            },
        ]
    }


def _allow(action: str | list[str], resources: list[str]) -> Document:
    return {"Effect": "Allow", "Action": action, "Resource": resources if len(resources) > 1 else resources[0]}


def _document(*statements: Document) -> Document:
    return {"Version": "2012-10-17", "Statement": list(statements)}
