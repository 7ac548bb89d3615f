"""The WebSocket API, as CloudFormation gets it."""

from __future__ import annotations

from typing import Any

from tests.support.cloud_template import Cloud


def api_of(cloud: Cloud) -> tuple[str, dict[str, Any]]:
    (found,) = [
        item for item in cloud.every("AWS::ApiGatewayV2::Api").items() if item[1]["ProtocolType"] == "WEBSOCKET"
    ]
    return found


def test_openings_messages_and_ends_reach_the_function(cloud: Cloud):
    logical, _ = api_of(cloud)
    routes = [each for each in cloud.every("AWS::ApiGatewayV2::Route").values() if each["ApiId"] == logical.lower()]
    assert {each["RouteKey"] for each in routes} == {"$connect", "$default", "$disconnect"}


def test_the_function_is_its_own_authorizer(cloud: Cloud):
    logical, _ = api_of(cloud)
    routes = [each for each in cloud.every("AWS::ApiGatewayV2::Route").values() if each["ApiId"] == logical.lower()]
    assert all(each.get("AuthorizationType", "NONE") == "NONE" for each in routes)
    assert not [
        each for each in cloud.every("AWS::ApiGatewayV2::Authorizer").values() if each["AuthorizerType"] != "JWT"
    ]


def test_messages_are_bounded(cloud: Cloud):
    (stage,) = [each for each in cloud.every("AWS::ApiGatewayV2::Stage").values() if each["StageName"] == "live"]
    assert stage["DefaultRouteSettings"] == {"ThrottlingRateLimit": 100, "ThrottlingBurstLimit": 200}
    # The text of messages would be in the log, tickets among them.
    assert "DataTraceEnabled" not in stage["DefaultRouteSettings"]


def test_who_answers_sockets_is_told_the_stage_that_the_console_opens(cloud: Cloud):
    (http,) = [
        each for each in cloud.every("AWS::Lambda::Function").values() if each.get("FunctionName") == "PinTheSky-http"
    ]
    posted = http["Environment"]["Variables"]["PITS_CONNECTIONS_ENDPOINT"]
    assert posted.replace("https://", "wss://") == cloud.outputs["SocketUrl"]
    assert posted.endswith("/live")


def test_the_answers_of_cameras_reach_the_sockets_of_this_stage_alone(cloud: Cloud):
    (policy,) = [
        each for logical, each in cloud.every("AWS::IAM::Policy").items() if logical.startswith("CamerasAnswer")
    ]
    (statement,) = policy["PolicyDocument"]["Statement"]
    logical, _ = api_of(cloud)
    assert statement["Resource"].endswith(f":{logical.lower()}/live/POST/@connections/*")
