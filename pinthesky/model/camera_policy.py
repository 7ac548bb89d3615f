"""What AWS IoT lets a camera do, as a policy document: one for every account, whoever makes it there.

One policy and one role serve every camera: variables stand for the one that asks. Topics are those of
`pinthesky.model.identifiers` and docs/reference/aws.md.
"""

from __future__ import annotations

from typing import Any

from pinthesky.model.identifiers import SHADOW_NAME

THING = "${iot:Connection.Thing.ThingName}"
"""In an IoT policy: the thing that connects, if the client id is its name."""
THING_OF_ROLE = "${credentials-iot:ThingName}"
"""In the policy of the role: the thing whose certificate has asked for credentials."""
LOG_STREAMS = f"log-stream:????/??/??@{THING_OF_ROLE}"
"""Behind the ARN of the log group: the streams of a thing are `YYYY/MM/DD@<thing>`; no thing's name holds an @."""

Document = dict[str, Any]


def iot_policy(start: str, role_alias_arn: str) -> Document:
    """The document; `start` is the ARNs' beginning, `arn:aws:iot:<region>:<account>:`.

    A thing connects only as itself and while its certificate is attached to it.
    """
    shadow, jobs = f"$aws/things/{THING}/shadow/name/{SHADOW_NAME}", f"$aws/things/{THING}/jobs"
    commands, events = f"pinthesky/events/{THING}/input", f"pinthesky/events/{THING}/output"
    said = [events, f"{shadow}/get", f"{shadow}/update", f"{jobs}/start-next", f"{jobs}/*/get", f"{jobs}/*/update"]
    heard = [commands, f"{shadow}/*", f"{jobs}/*"]
    statements = [
        {
            "Effect": "Allow",
            "Action": "iot:Connect",
            "Resource": f"{start}client/{THING}",
            "Condition": {"Bool": {"iot:Connection.Thing.IsAttached": "true"}},
        },
        {"Effect": "Allow", "Action": "iot:Publish", "Resource": [f"{start}topic/{topic}" for topic in said]},
        {"Effect": "Allow", "Action": "iot:Subscribe", "Resource": [f"{start}topicfilter/{topic}" for topic in heard]},
        {"Effect": "Allow", "Action": "iot:Receive", "Resource": [f"{start}topic/{topic}" for topic in heard]},
        {"Effect": "Allow", "Action": "iot:AssumeRoleWithCertificate", "Resource": role_alias_arn},
    ]
    return {"Version": "2012-10-17", "Statement": statements}
