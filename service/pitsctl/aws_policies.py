"""What a camera's role may do in an account: the same as `infra_cdk` grants, for an account without it.

One role serves every camera: variables stand for the one that asks. The IoT policy is that of
`pinthesky.model.camera_policy`.
"""

from __future__ import annotations

from pinthesky.model.camera_policy import LOG_STREAMS, THING_OF_ROLE, Document
from pinthesky.model.recording import KEPT_TAG, LATEST_STILL, RETENTION_TAG


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
        tag, value = RETENTION_TAG
        tagging = _allow("s3:PutObjectTagging", own)
        tagging["Condition"] = {
            "StringEquals": {f"s3:RequestObjectTag/{tag}": value},
            "ForAllValues:StringEquals": {"s3:RequestObjectTagKeys": [tag]},
            # What somebody has starred: with its old tag it would expire.
            "StringNotEquals": {f"s3:ExistingObjectTag/{KEPT_TAG[0]}": KEPT_TAG[1]},
        }
        statements += [_allow("s3:PutObject", own), tagging]
    if log_group_arn:
        streams = [f"{log_group_arn}:{LOG_STREAMS}"]
        statements.append(_allow(["logs:CreateLogStream", "logs:PutLogEvents"], streams))
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
    tag, value = RETENTION_TAG
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
