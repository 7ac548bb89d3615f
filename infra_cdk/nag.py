"""cdk-nag's rules for AWS solutions, and the findings that are meant.

Each has its reason, and the price of the other way where it has one (list prices of us-east-1, from memory).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from aws_cdk import Acknowledgment, App, CfnElement, Stack, Validations
from cdk_nag import AwsSolutionsChecks
from constructs import IConstruct

from infra_cdk.data_plane import STAGE
from infra_cdk.names import CONVERTED_IMAGES_PREFIX, IMAGE_PREFIX, RELEASES_PREFIX, VIDEO_PREFIX
from infra_cdk.permissions import ACTIONS_WITHOUT_RESOURCES
from infra_cdk.stacks import HomeStack, StoreStack
from pinthesky.model.camera_policy import THING_OF_ROLE

PACK = "AwsSolutions"


class Meant(NamedTuple):
    """A finding that is meant, at a construct and everything below it."""

    where: IConstruct
    rule: str
    reason: str


def check(app: App, store: StoreStack, home: HomeStack) -> None:
    """Have every synthesis look for findings, and fail with those that nobody has meant."""
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    for meant in meant_findings(store, home):
        acknowledgment = Acknowledgment(id=f"{PACK}::{PACK}-{meant.rule}", reason=meant.reason)
        Validations.of(meant.where).acknowledge(acknowledgment)


def meant_findings(store: StoreStack, home: HomeStack) -> Iterator[Meant]:
    """Every finding that is meant."""
    yield from _site(home)
    yield from _apis(home)
    yield from _store(store)
    yield from _wildcards(store, home)
    yield from _queue_and_functions(store, home)


def _site(home: HomeStack) -> Iterator[Meant]:
    site = home.site.distribution
    yield Meant(site, "CFR1", "people look at their cameras from wherever they are")
    yield Meant(site, "CFR2", "a firewall costs 5 $ a month and 1 $ for each rule; what stands here is static files")
    yield Meant(
        site,
        "CFR3",
        "logs of static files cost 0.023 $ for each GB a month and a request each, and say nothing that is missed; "
        "every request for data is in the log of the control plane",
    )
    if home.site.has_no_own_name:
        yield Meant(
            site,
            "CFR4",
            "CloudFront's own name comes with its own certificate, for which no minimum of TLS can be chosen; "
            "browsers that run the console speak TLS 1.2 and newer. With domainName it is TLS 1.2",
        )
    yield Meant(
        home.site.bucket, "S1", "CloudFront alone reads it; logs cost 0.023 $ for each GB a month and a request each"
    )


def _apis(home: HomeStack) -> Iterator[Meant]:
    yield Meant(
        home.data_plane.stage,
        "APIG1",
        "access logs of a WebSocket API need a role for the whole account, which is not ours to set; "
        "the function logs whom it refuses",
    )
    yield Meant(
        home.data_plane.api,
        "APIG4",
        "$connect is its own authorizer: a ticket that can be used once travels in the first message, since an address "
        "ends in logs, and who does not show one is let do nothing and is closed",
    )
    yield Meant(
        home.control_plane.api,
        "APIG4",
        "four routes are open on purpose: a share's link is its own secret, a camera that asks to be let in has "
        "nothing yet, and the description of the API is public; each is throttled by itself",
    )


def _store(store: StoreStack) -> Iterator[Meant]:
    yield Meant(
        store.media.bucket,
        "S1",
        "for each object that is read or written a log record would be stored, 0.023 $ for each GB a month and a "
        "request each; the planes keep what was stored, starred and removed as records",
    )
    yield Meant(
        store.identity.pool,
        "COG8",
        "the Plus tier costs 0.02 $ for each person a month; nobody signs up by themselves, and two factors are asked "
        "of everybody",
    )


def _queue_and_functions(store: StoreStack, home: HomeStack) -> Iterator[Meant]:
    yield Meant(home.dead_letters.queue, "SQS3", "it is the queue of dead letters")
    for stack in (store, home):
        yield Meant(stack, "L1", "the archives are built, and their handlers tested, for Python 3.13")


def _wildcards(store: StoreStack, home: HomeStack) -> Iterator[Meant]:
    here = "arn:<AWS::Partition>:{service}:<AWS::Region>:<AWS::AccountId>:"
    iot, sockets = here.format(service="iot"), here.format(service="execute-api")
    stage = f"{sockets}<{_logical_id(home.data_plane.api)}>/{STAGE}"
    bucket = store.resolve(store.export_value(store.media.bucket.bucket_arn))["Fn::ImportValue"]
    logical = _logical_id(store.media.bucket)
    thing = THING_OF_ROLE.replace("${", "<").replace("}", ">")
    everything = "; ".join(f"{action}: {why}" for action, why in sorted(ACTIONS_WITHOUT_RESOURCES.items()))
    reasons = {
        "*": f"AWS knows nothing narrower for these actions. {everything}",
        f"{iot}thing/*": "people name their cameras as they like, and things that were made by hand may be cameras too",
        f"{iot}thinggroup/*": "groups of things that were there before are shown, and emptied when a camera goes",
        f"{iot}job/*": "jobs that were ordered by hand are shown with those of the console",
        f"{iot}cert/*": "certificates have random names",
        f"{iot}topic/pinthesky/events/*/input": "the topic of commands of each camera",
        f"{stage}/POST/@connections/*": "connections have random names",
        f"{stage}/DELETE/@connections/*": "connections have random names",
        **{
            f"{bucket}/{prefix}/*": "recordings, each under its camera's name"
            for prefix in (VIDEO_PREFIX, IMAGE_PREFIX, CONVERTED_IMAGES_PREFIX)
        },
        f"{bucket}/{RELEASES_PREFIX}/*": "a manifest for each version",
        **{
            f"<{logical}.Arn>/{prefix}/{thing}/*": "recordings of the one camera that asks"
            for prefix in (VIDEO_PREFIX, IMAGE_PREFIX)
        },
    }
    for stack in (store, home):
        for resource, reason in reasons.items():
            yield Meant(stack, f"IAM5[Resource::{resource}]", reason)


def _logical_id(construct: IConstruct) -> str:
    resource = construct.node.default_child
    assert isinstance(resource, CfnElement)  # noqa: S101 - what these constructs are made of
    return Stack.of(construct).get_logical_id(resource)
