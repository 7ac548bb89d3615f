"""The WebSocket API, and the function behind it."""

from __future__ import annotations

from aws_cdk import Stack
from aws_cdk import aws_apigatewayv2 as gateway
from aws_cdk import aws_apigatewayv2_integrations as integrations
from constructs import Construct

from infra_cdk.functions import PlanesFunction

STAGE = "live"
MESSAGES_PER_S, BURST = 100, 200


class DataPlane(Construct):
    """The API is made first, since headers and functions have to know its address; `serve` puts the function behind.

    No authorizer stands before `$connect`: what opens a socket is a ticket that can be used once, and it travels in
    the first message, since an address ends in logs. The function refuses there, and ends who does not log in.
    """

    def __init__(self, scope: Construct, name: str) -> None:
        super().__init__(scope, name)
        self.api = gateway.WebSocketApi(
            self,
            "Api",
            api_name="PinTheSky-socket",
            description="Pi In The Sky: the data plane",
            route_selection_expression="$request.body.action",
        )
        self.stage = gateway.WebSocketStage(
            self,
            "Stage",
            web_socket_api=self.api,
            stage_name=STAGE,
            auto_deploy=True,
            throttle=gateway.ThrottleSettings(rate_limit=MESSAGES_PER_S, burst_limit=BURST),
        )

    @property
    def host(self) -> str:
        """The API's own host name."""
        stack = Stack.of(self)
        return f"{self.api.api_id}.execute-api.{stack.region}.{stack.url_suffix}"

    @property
    def address(self) -> str:
        """Where the console opens its socket."""
        return f"wss://{self.host}/{STAGE}"

    @property
    def connections(self) -> str:
        """Where whoever answers a socket posts to."""
        return f"https://{self.host}/{STAGE}"

    @property
    def stage_arn(self) -> str:
        """What the ARNs of the stage's connections begin with."""
        stack = Stack.of(self)
        return f"arn:{stack.partition}:execute-api:{stack.region}:{stack.account}:{self.api.api_id}/{STAGE}"

    def serve(self, function: PlanesFunction) -> None:
        """Put the function behind openings, messages and ends."""
        for route in ("$connect", "$default", "$disconnect"):
            self.api.add_route(
                route,
                integration=integrations.WebSocketLambdaIntegration(route.removeprefix("$"), function.function),
            )
