"""The HTTP API, as CloudFormation gets it."""

from __future__ import annotations

import json
from typing import Any

from tests.support.cloud_template import Cloud
from tests.support.house.source import ROOT

AT_HOME_ALONE = {"GET /cameras/{thing}/stream.mjpeg"}
"""What a Lambda function cannot answer: it never ends."""


def api_of(cloud: Cloud) -> dict[str, Any]:
    (found,) = [each for each in cloud.every("AWS::ApiGatewayV2::Api").values() if each["ProtocolType"] == "HTTP"]
    return found


def stage_of(cloud: Cloud) -> dict[str, Any]:
    (found,) = [each for each in cloud.every("AWS::ApiGatewayV2::Stage").values() if each["StageName"] == "$default"]
    return found


def routes_of(cloud: Cloud) -> dict[str, dict[str, Any]]:
    found = cloud.every("AWS::ApiGatewayV2::Route").values()
    return {each["RouteKey"]: each for each in found if " /" in each["RouteKey"]}


def described() -> dict[tuple[str, str], dict[str, Any]]:
    """Every route of the planes, as the description of the API has it."""
    paths = json.loads((ROOT / "docs" / "reference" / "openapi.json").read_text(encoding="utf-8"))["paths"]
    return {
        (method.upper(), path): said
        for path, methods in paths.items()
        for method, said in methods.items()
        if method in {"get", "post", "put", "delete", "patch"}
    }


def test_exactly_the_routes_that_are_open_on_purpose_ask_for_no_token(cloud: Cloud):
    open_routes = {key for key, route in routes_of(cloud).items() if route.get("AuthorizationType", "NONE") == "NONE"}
    described_as_open = {
        f"{method} {path}" for (method, path), said in described().items() if said.get("security") == []
    }
    assert open_routes == described_as_open - AT_HOME_ALONE


def test_every_other_method_asks_for_a_token_of_the_pool_and_its_client(cloud: Cloud):
    authorizer = cloud.only("AWS::ApiGatewayV2::Authorizer")
    assert authorizer["AuthorizerType"] == "JWT"
    assert authorizer["IdentitySource"] == ["$request.header.Authorization"]
    assert authorizer["JwtConfiguration"]["Audience"] == [cloud.outputs["ClientId"]]
    assert authorizer["JwtConfiguration"]["Issuer"].endswith(f"amazonaws.com/{cloud.outputs['UserPoolId']}")
    closed = {key for key, route in routes_of(cloud).items() if route.get("AuthorizationType") == "JWT"}
    assert closed == {f"{method} /{{proxy+}}" for method, _ in described()}


def test_a_preflight_request_reaches_no_route(cloud: Cloud):
    assert not [key for key in routes_of(cloud) if key.startswith(("OPTIONS", "ANY", "$"))]
    assert set(api_of(cloud)["CorsConfiguration"]["AllowMethods"]) == {method for method, _ in described()}


def test_with_a_name_of_its_own_the_console_alone_may_ask(full_cloud: Cloud):
    assert api_of(full_cloud)["CorsConfiguration"]["AllowOrigins"] == ["https://cameras.example.com"]


def test_no_origin_is_ever_sent_cookies(cloud: Cloud):
    assert api_of(cloud)["CorsConfiguration"]["AllowOrigins"] == ["*"]
    assert "AllowCredentials" not in api_of(cloud)["CorsConfiguration"]


def test_requests_are_bounded_and_open_ones_more_so(cloud: Cloud):
    stage = stage_of(cloud)
    usual, limits = stage["DefaultRouteSettings"], stage["RouteSettings"]
    assert 0 < usual["ThrottlingRateLimit"] <= 100
    open_routes = {key for key, route in routes_of(cloud).items() if route.get("AuthorizationType", "NONE") == "NONE"}
    assert set(limits) == open_routes
    assert all(each["ThrottlingRateLimit"] < usual["ThrottlingRateLimit"] for each in limits.values())


def test_the_stage_waits_for_the_routes_whose_limits_it_names(cloud: Cloud):
    (stage,) = [each for each in cloud.raw("AWS::ApiGatewayV2::Stage") if each["Properties"]["StageName"] == "$default"]
    routes = {
        name: each for name, each in cloud.home["Resources"].items() if each["Type"] == "AWS::ApiGatewayV2::Route"
    }
    waited = {routes[name]["Properties"]["RouteKey"] for name in stage["DependsOn"] if name in routes}
    assert set(stage["Properties"]["RouteSettings"]) <= waited


def test_access_is_logged_without_what_is_secret(cloud: Cloud):
    logged = json.loads(stage_of(cloud)["AccessLogSettings"]["Format"])
    assert {"requestId", "address", "route", "status", "person"} <= set(logged)
    # A share's path is its secret, and so is the header of whoever is signed in.
    assert not [value for value in logged.values() if value == "$context.path" or "header" in value]


def test_the_api_serves_routes_of_the_planes_alone(cloud: Cloud):
    integrations = {
        each["IntegrationUri"]
        for each in cloud.every("AWS::ApiGatewayV2::Integration").values()
        if each.get("PayloadFormatVersion") == "2.0"
    }
    assert len(integrations) == 1
    assert ":function:PinTheSky-http" in integrations.pop()
