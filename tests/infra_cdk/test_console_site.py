"""The console behind CloudFront: who may read it, what its headers allow, and what is kept for how long."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest

from infra_cdk.console_site import _FIRST_PAGE
from infra_cdk.preview import environment
from pinthesky.hub import console_site as at_home
from pinthesky.hub import safe_headers
from tests.support.cloud_template import Cloud


def distribution_of(cloud: Cloud) -> dict[str, Any]:
    found: dict[str, Any] = cloud.only("AWS::CloudFront::Distribution")["DistributionConfig"]
    return found


def behaviors_of(cloud: Cloud) -> dict[str, dict[str, Any]]:
    config = distribution_of(cloud)
    return {"": config["DefaultCacheBehavior"], **{each["PathPattern"]: each for each in config["CacheBehaviors"]}}


def headers_of(cloud: Cloud, path: str) -> dict[str, Any]:
    policies = {
        logical.lower(): each for logical, each in cloud.every("AWS::CloudFront::ResponseHeadersPolicy").items()
    }
    found: dict[str, Any] = policies[behaviors_of(cloud)[path]["ResponseHeadersPolicyId"]][
        "ResponseHeadersPolicyConfig"
    ]
    return found


def content_policy_of(cloud: Cloud, path: str) -> dict[str, set[str]]:
    policy = headers_of(cloud, path)["SecurityHeadersConfig"]["ContentSecurityPolicy"]
    assert policy["Override"] is True
    return directives(policy["ContentSecurityPolicy"])


def directives(policy: str) -> dict[str, set[str]]:
    return {
        name: set(values.split()) for name, _, values in (part.strip().partition(" ") for part in policy.split(";"))
    }


def cache_header_of(cloud: Cloud, path: str) -> str:
    items = {each["Header"]: each["Value"] for each in headers_of(cloud, path)["CustomHeadersConfig"]["Items"]}
    return str(items["Cache-Control"])


def test_cloudfront_alone_reads_the_bucket(cloud: Cloud):
    (bucket,) = [logical for logical in cloud.every("AWS::S3::Bucket") if logical.startswith("ConsoleSite")]
    (policy,) = [
        each for logical, each in cloud.every("AWS::S3::BucketPolicy").items() if logical.startswith("ConsoleSite")
    ]
    (allowed,) = [each for each in policy["PolicyDocument"]["Statement"] if each["Effect"] == "Allow"]
    assert allowed["Action"] == "s3:GetObject"
    assert allowed["Principal"] == {"Service": "cloudfront.amazonaws.com"}
    assert ":distribution/" in allowed["Condition"]["StringEquals"]["AWS:SourceArn"]
    assert set(cloud.every("AWS::S3::Bucket")[bucket]["PublicAccessBlockConfiguration"].values()) == {True}
    control = cloud.only("AWS::CloudFront::OriginAccessControl")["OriginAccessControlConfig"]
    assert (control["SigningBehavior"], control["SigningProtocol"]) == ("always", "sigv4")


def test_every_path_is_https_read_only_and_of_the_newest_protocols(cloud: Cloud):
    assert distribution_of(cloud)["HttpVersion"] == "http2and3"
    for behavior in behaviors_of(cloud).values():
        assert behavior["ViewerProtocolPolicy"] == "redirect-to-https"
        assert behavior["AllowedMethods"] == ["GET", "HEAD"]
        assert behavior["Compress"] is True


def test_a_name_of_its_own_brings_its_certificate_and_its_records(full_cloud: Cloud):
    config = distribution_of(full_cloud)
    assert config["Aliases"] == ["cameras.example.com"]
    assert config["ViewerCertificate"]["MinimumProtocolVersion"] == "TLSv1.2_2021"
    assert config["ViewerCertificate"]["SslSupportMethod"] == "sni-only"
    records = {
        each["Properties"]["Type"]: each["Properties"]["Name"] for each in full_cloud.raw("AWS::Route53::RecordSet")
    }
    assert records == {"A": "cameras.example.com.", "AAAA": "cameras.example.com."}
    assert full_cloud.outputs["ConsoleUrl"] == "https://cameras.example.com"


def test_without_a_name_cloudfront_gives_one(cloud: Cloud):
    assert "Aliases" not in distribution_of(cloud)
    assert not list(cloud.raw("AWS::Route53::RecordSet"))
    assert cloud.outputs["ConsoleUrl"].startswith("https://consolesitedistribution")


@pytest.mark.parametrize("path", ["", "/assets/*"])
def test_the_console_may_reach_exactly_what_it_needs(cloud: Cloud, path: str):
    found = content_policy_of(cloud, path)
    api, socket = cloud.outputs["ApiUrl"], cloud.outputs["SocketUrl"].removesuffix("/live")
    sign_in = cloud.outputs["SignInUrl"]
    media = f"https://{cloud.outputs['MediaBucket']}.s3.us-east-1.amazonaws.com"
    at_home_allowed = directives(at_home._POLICY)
    added = {"img-src": {media}, "media-src": {media}, "connect-src": {api, socket, sign_in}}
    assert found == {name: values | added.get(name, set()) for name, values in at_home_allowed.items()}


def test_the_console_runs_nothing_that_did_not_come_with_it(cloud: Cloud):
    found = content_policy_of(cloud, "")
    assert found["default-src"] == {"'none'"}
    assert found["script-src"] == found["style-src"] == {"'self'"}
    assert not [
        value for values in found.values() for value in values if "unsafe" in value or value == "*" or "data:" in value
    ]


def test_every_page_carries_the_headers_of_the_hub_and_hsts(cloud: Cloud):
    for path in behaviors_of(cloud):
        security = headers_of(cloud, path)["SecurityHeadersConfig"]
        assert security["StrictTransportSecurity"]["AccessControlMaxAgeSec"] >= 31536000
        assert security["ContentTypeOptions"] == {"Override": True}
        assert security["FrameOptions"]["FrameOption"] == "DENY"
        assert security["ReferrerPolicy"]["ReferrerPolicy"] == at_home._HEADERS["Referrer-Policy"]
        custom = {each["Header"]: each["Value"] for each in headers_of(cloud, path)["CustomHeadersConfig"]["Items"]}
        hubs = {**safe_headers.HEADERS, **at_home._HEADERS}
        for name in ("Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy", "Permissions-Policy"):
            assert custom[name] == hubs[name]


def test_files_named_by_their_content_are_kept_and_everything_else_is_asked_for(cloud: Cloud):
    assert cache_header_of(cloud, "/assets/*") == at_home._FOR_EVER
    assert cache_header_of(cloud, "") == cache_header_of(cloud, "/reference") == at_home._ASK_EACH_TIME
    # Managed policies of CloudFront: CachingOptimized and CachingDisabled.
    cached = {path: each["CachePolicyId"] for path, each in behaviors_of(cloud).items()}
    assert cached["/assets/*"] == "658327ea-f89d-4fab-a63d-7e88639e58f6"
    assert cached[""] == cached["/reference"] == "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"


def test_the_reference_of_the_api_runs_nothing(cloud: Cloud):
    assert content_policy_of(cloud, "/reference") == directives(at_home._REFERENCE_HEADERS["Content-Security-Policy"])


def test_paths_within_the_console_are_its_first_page(cloud: Cloud):
    function = cloud.only("AWS::CloudFront::Function")
    assert function["FunctionCode"] == _FIRST_PAGE
    (association,) = behaviors_of(cloud)[""]["FunctionAssociations"]
    assert association["EventType"] == "viewer-request"
    assert "FunctionAssociations" not in behaviors_of(cloud)["/assets/*"]


@pytest.mark.parametrize(
    "path, served",
    [
        ("/", "/index.html"),
        ("/cameras/garden", "/index.html"),
        ("/signed-in", "/index.html"),
        ("/icon.svg", "/icon.svg"),
        ("/settings.json", "/settings.json"),
        ("/reference", "/reference"),
    ],
)
def test_a_path_without_a_dot_is_the_consoles_own(path: str, served: str):
    node = shutil.which("node", path=environment()["PATH"])
    assert node is not None
    program = f"{_FIRST_PAGE}; console.log(handler({{request: {{uri: {json.dumps(path)}}}}}).uri)"
    result = subprocess.run([node, "-e", program], capture_output=True, text=True, check=True, timeout=30)
    assert result.stdout.strip() == served


def test_what_is_not_there_is_a_404(cloud: Cloud):
    (answer,) = distribution_of(cloud)["CustomErrorResponses"]
    assert (answer["ErrorCode"], answer["ResponseCode"], answer["ResponsePagePath"]) == (403, 404, "/index.html")


def test_there_is_no_firewall_that_costs_each_month(full_cloud: Cloud):
    assert "WebACLId" not in distribution_of(full_cloud)
    assert distribution_of(full_cloud)["PriceClass"] == "PriceClass_100"
