"""The HTTP API, and the function behind it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from aws_cdk import Duration, Stack
from aws_cdk import aws_apigatewayv2 as gateway
from aws_cdk import aws_apigatewayv2_authorizers as authorizers
from aws_cdk import aws_apigatewayv2_integrations as integrations
from constructs import Construct

from infra_cdk.functions import PlanesFunction
from infra_cdk.log_groups import log_group

METHODS = (
    gateway.HttpMethod.GET,
    gateway.HttpMethod.POST,
    gateway.HttpMethod.PUT,
    gateway.HttpMethod.DELETE,
)
"""Those that the routes know. OPTIONS is not among them: the API answers preflight requests by itself."""
OPEN_ROUTES = (
    (gateway.HttpMethod.GET, "/openapi.json"),
    (gateway.HttpMethod.GET, "/share/{token}"),
    (gateway.HttpMethod.POST, "/registrations"),
    (gateway.HttpMethod.POST, "/registrations/token"),
)
"""What may be asked without a sign-in."""
REQUESTS_PER_S, BURST = 50, 100
OPEN_REQUESTS_PER_S, OPEN_BURST = 5, 20
"""For each open route, from everybody together; the planes count by address beside it."""
PREFLIGHT = Duration.hours(2)
_ACCESS = {
    # The route in place of the path: a share's path is its secret.
    "requestId": "$context.requestId",
    "time": "$context.requestTimeEpoch",
    "address": "$context.identity.sourceIp",
    "route": "$context.routeKey",
    "status": "$context.status",
    "bytes": "$context.responseLength",
    "ms": "$context.responseLatency",
    "person": "$context.authorizer.claims.sub",
    "refused": "$context.authorizer.error",
    "error": "$context.integrationErrorMessage",
}


class ControlPlane(Construct):
    """The API is made first, since headers and functions have to know its address; `serve` puts the function behind."""

    def __init__(self, scope: Construct, name: str, *, origins: Sequence[str], log_days: int) -> None:
        """`origins` are those from which a browser may ask."""
        super().__init__(scope, name)
        self.api = gateway.HttpApi(
            self,
            "Api",
            api_name="PinTheSky-http",
            description="Pi In The Sky: the control plane",
            create_default_stage=False,
            cors_preflight=gateway.CorsPreflightOptions(
                allow_origins=list(origins),
                allow_methods=[getattr(gateway.CorsHttpMethod, method.value) for method in METHODS],
                allow_headers=["authorization", "content-type"],
                max_age=PREFLIGHT,
            ),
        )
        log = log_group(self, "AccessLog", group="/aws/vendedlogs/PinTheSky/http-api", days=log_days)
        self.stage = gateway.HttpStage(
            self,
            "Stage",
            http_api=self.api,
            stage_name="$default",
            auto_deploy=True,
            throttle=gateway.ThrottleSettings(rate_limit=REQUESTS_PER_S, burst_limit=BURST),
        )
        resource = self.stage.node.default_child
        assert isinstance(resource, gateway.CfnStage)  # noqa: S101 - what the construct is made of
        resource.access_log_settings = gateway.CfnStage.AccessLogSettingsProperty(
            destination_arn=log.log_group_arn, format=json.dumps(_ACCESS)
        )
        self._stage = resource

    @property
    def address(self) -> str:
        """Where the console asks, without a slash at its end."""
        stack = Stack.of(self)
        return f"https://{self.api.api_id}.execute-api.{stack.region}.{stack.url_suffix}"

    def serve(self, function: PlanesFunction, *, issuer: str, client: str) -> None:
        """Put the function behind every route, and a verified token of `client` before all but the open ones."""
        integration = integrations.HttpLambdaIntegration("Http", function.function)
        authorizer = authorizers.HttpJwtAuthorizer("SignedIn", issuer, jwt_audience=[client])
        self.api.add_routes(path="/{proxy+}", methods=list(METHODS), integration=integration, authorizer=authorizer)
        limits = {}
        for method, path in OPEN_ROUTES:
            for route in self.api.add_routes(path=path, methods=[method], integration=integration):
                self._stage.node.add_dependency(route)
            limits[f"{method.value} {path}"] = {
                "ThrottlingRateLimit": OPEN_REQUESTS_PER_S,
                "ThrottlingBurstLimit": OPEN_BURST,
            }
        # The stage knows limits of routes that exist alone.
        self._stage.add_property_override("RouteSettings", limits)
