"""A whole AWS account on this machine, made of the synthesised templates, and a home in it.

Real: the daemon, the device client, MQTT with mutual TLS, HTTP and WebSockets, the functions' own code with the
environment that the templates give them, rules, event patterns, routes and queues as they stand in the templates.
Stood in for: IoT Core by mosquitto with the hub's shadows and jobs, API Gateway by small servers, DynamoDB, S3, SNS,
Cognito and IoT's registry by moto, Cognito's tokens by a pool of the tests. Nothing here knows delays, limits, or IAM;
who may do what is evaluated elsewhere (`tests/infra_cdk`).
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import httpx2
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from pinthesky.aws import deployment
from pinthesky.aws.adapters.access_tokens import issuer_of
from pinthesky.aws.adapters.converter import ConversionService
from pinthesky.aws.adapters.media import S3Media
from pinthesky.aws.clients import Clients
from pinthesky.aws.lambda_handlers import entrances_of
from pinthesky.conversion.media_converter import MediaConverter
from pinthesky.model.identifiers import BucketName
from tests.planes.test_signing_request import REQUEST
from tests.support.api_gateway import Authorizer, HttpApi, Route, SocketApi
from tests.support.aws_planes import ACCOUNT, Asked, Said, answer_in_place, local_clients, one_at_a_time
from tests.support.aws_servers import REGION, CredentialsServer, FaultyS3
from tests.support.daemon_process import DaemonProcess
from tests.support.event_sources import EventSources
from tests.support.fleet import SMALL
from tests.support.hub_console import SocketOfJson
from tests.support.iot_core import IotCore
from tests.support.lambda_calls import Context, s3_event
from tests.support.link_client import ClientProcess, ThingFolder, daemon_of
from tests.support.policies.cloud_account import CloudAccount, Place
from tests.support.user_pool import CLIENT, UserPool

HANDLERS = "pinthesky.aws.lambda_handlers."
OWNER = "olga@example.com"


class AnnouncingS3(FaultyS3):
    """S3 that tells EventBridge what was stored and removed."""

    def __init__(self, upstream_port: int, bucket: str, sources: EventSources) -> None:
        self._bucket = bucket
        self._sources = sources
        super().__init__(upstream_port)

    def _pass_on(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, dict[str, str], bytes]:
        found = super()._pass_on(request, body)
        address = urlsplit(request.path)
        key = unquote(address.path).partition(f"/{self._bucket}/")[2]
        if found[0] // 100 == 2:
            if request.command == "PUT" and key and "tagging" not in address.query:
                self._sources.happened(s3_event(key, bucket=self._bucket))
            for gone in _removed(request.command, key, address.query, body):
                self._sources.happened(s3_event(gone, "Object Deleted", bucket=self._bucket))
        return found


def _removed(command: str, key: str, query: str, body: bytes) -> list[str]:
    if command == "DELETE" and "tagging" not in query:
        return [key]
    if command == "POST" and "delete" in query:
        return re.findall(r"<Key>([^<]+)</Key>", body.decode())
    return []


class Functions:
    """The functions of the templates, each with its own environment; called by their ARNs."""

    def __init__(self, account: CloudAccount, substitutes: Mapping[str, str], clients: Clients) -> None:
        """`substitutes` take the place of variables that hold addresses and identifiers of real services."""
        self._entrances: dict[str, Any] = {}
        self.names: dict[str, str] = {}
        for place in account.places("AWS::Lambda::Function"):
            properties = place.properties
            handler = str(properties.get("Handler", ""))
            if not handler.startswith(HANDLERS):
                continue
            name = handler.removeprefix(HANDLERS)
            given = dict(properties.get("Environment", {}).get("Variables", {}))
            variables = {"AWS_REGION": REGION, **given, **{k: v for k, v in substitutes.items() if k in given}}
            self.names[place.arn] = name
            self._entrances[place.arn] = self._made(name, variables, clients)

    def invoke(self, arn: str, event: dict[str, Any]) -> Any:
        """Call a function; what goes in and comes out is JSON, as with Lambda."""
        said = self._entrances[arn](json.loads(json.dumps(event)), Context())
        return None if said is None else json.loads(json.dumps(said))

    def arn_of(self, name: str) -> str:
        """The function of a handler."""
        (arn,) = [arn for arn, handler in self.names.items() if handler == name]
        return arn

    @staticmethod
    def _made(name: str, variables: Mapping[str, str], clients: Clients) -> Any:
        if name == "conversion":
            bucket = BucketName(variables["PITS_MEDIA_BUCKET"])
            service = ConversionService(MediaConverter(S3Media(clients, bucket)))
            return lambda event, _context: service.serve(event)
        if name == "pre_sign_up":
            return _not_called
        return getattr(entrances_of(deployment.read(variables), clients), name)


def _not_called(_event: object, _context: object) -> None:
    raise AssertionError("Cognito's triggers are not part of this")


class SimulatedAccount:
    """Everything that a deployment makes, and that AWS does with it. A context manager."""

    def __init__(self, folder: Path, account: CloudAccount, moto_port: int) -> None:
        self._stack = contextlib.ExitStack()
        self._account = account
        self.functions: Functions
        self.bucket = account.place("AWS::S3::Bucket", "Media").name
        self.clients = local_clients(moto_port)
        self.sources = EventSources(account, self._invoke)
        self.core = IotCore(folder, self.sources.heard)
        self.store = AnnouncingS3(moto_port, self.bucket, self.sources)
        self.pool_id, self.owner = self._people()
        self.pool = UserPool(issuer_of(REGION, self.pool_id))
        self._services()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opening:
            for each in (self.sources, self.store, self.core):
                opening.enter_context(each)
            answer_in_place(self.clients.get("iot"), self.core.jobs_service)
            answer_in_place(self.clients.get("iot-data"), self.core.data_plane)
            answer_in_place(self.clients.get("lambda"), self._converted)
            self.sockets = SocketApi(self._socket_routes(), self._invoke)
            opening.enter_context(self.sockets)
            self._lift_the_api()
            self.functions = Functions(self._account, self._substitutes(), self.clients)
            self.http = opening.enter_context(HttpApi(self._routes(), self.pool, self._invoke))
            self.core.ear.subscribe(*self.sources.topic_filters)
            self._stack = opening.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(None, None, None)

    def _invoke(self, arn: str, event: dict[str, Any]) -> Any:
        """The functions are made when what they speak to is there."""
        return self.functions.invoke(arn, event)

    def _people(self) -> tuple[str, str]:
        """A user pool with its groups and the first owner. Returns the pool's id, and the owner's."""
        cognito = self.clients.get("cognito-idp")
        pool = cognito.create_user_pool(PoolName="home", UsernameAttributes=["email"])["UserPool"]["Id"]
        for place in self._account.places("AWS::Cognito::UserPoolGroup"):
            cognito.create_group(UserPoolId=pool, GroupName=place.properties["GroupName"])
        made = cognito.admin_create_user(UserPoolId=pool, Username=OWNER)["User"]
        cognito.admin_add_user_to_group(UserPoolId=pool, Username=made["Username"], GroupName="owner")
        return pool, next(each["Value"] for each in made["Attributes"] if each["Name"] == "sub")

    def _services(self) -> None:
        """What moto has of the account, by the templates' own properties."""
        table = dict(self._account.place("AWS::DynamoDB::Table").properties)
        kept = ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "BillingMode")
        self.clients.get("dynamodb").create_table(
            TableName=self._account.place("AWS::DynamoDB::Table").name,
            **{name: table[name] for name in kept},
        )
        self.clients.get("s3").create_bucket(
            Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        one_at_a_time(self.clients.get("dynamodb"))
        iot = self.clients.get("iot")
        for place in self._account.places("AWS::IoT::Policy"):
            iot.create_policy(policyName=place.name, policyDocument=json.dumps(place.properties["PolicyDocument"]))
        for place in self._account.places("AWS::IoT::ThingGroup"):
            iot.create_thing_group(thingGroupName=place.name)
        self.topic = self.clients.get("sns").create_topic(Name="alerts-of-the-account")["TopicArn"]
        # The functions reach the bucket through what announces it.
        through = local_clients(self.store.port).get("s3")
        self.clients._clients["s3", self.clients._endpoint_url] = through

    def _lift_the_api(self) -> None:
        """The SDK's posts to sockets go to our gateway."""
        sockets = local_clients().get("apigatewaymanagementapi", endpoint_url=self.sockets.url)
        self.clients._clients["apigatewaymanagementapi", self.sockets.url] = sockets

    def _substitutes(self) -> dict[str, str]:
        return {
            "PITS_CONNECTIONS_ENDPOINT": self.sockets.url,
            "PITS_USER_POOL": self.pool_id,
            "PITS_CLIENT_IDS": CLIENT,
            "PITS_ALERTS_TOPIC": self.topic,
            "PITS_THING_ARNS": f"arn:aws:iot:{REGION}:{ACCOUNT}:thing/",
            "PITS_CONSOLE": "https://home.test",
        }

    def _converted(self, asked: Asked) -> Said:
        return Said(body=self.functions.invoke(self.functions.arn_of("conversion"), json.loads(asked.body)))

    def _api(self, protocol: str) -> Place:
        (found,) = [
            each
            for each in self._account.places("AWS::ApiGatewayV2::Api")
            if each.properties["ProtocolType"] == protocol
        ]
        return found

    def _routes_of(self, protocol: str) -> list[tuple[dict[str, Any], str]]:
        """Each route of an API, and the ARN of the function behind it."""
        api = self._api(protocol)
        behind = {
            place.name: str(place.properties["IntegrationUri"])
            for place in self._account.places("AWS::ApiGatewayV2::Integration")
        }
        found = []
        for place in self._account.places("AWS::ApiGatewayV2::Route"):
            route = place.properties
            if route["ApiId"] == api.name:
                uri = behind[route["Target"].removeprefix("integrations/")]
                function = re.search(r"arn:aws:lambda:[^/]+:function:[^/]+", uri)
                assert function is not None, uri
                found.append((route, function[0]))
        return found

    def _socket_routes(self) -> dict[str, str]:
        return {route["RouteKey"]: function for route, function in self._routes_of("WEBSOCKET")}

    def _routes(self) -> list[Route]:
        authorizers = {
            place.name: self._authorizer(place) for place in self._account.places("AWS::ApiGatewayV2::Authorizer")
        }
        return [
            Route(
                route["RouteKey"],
                function,
                authorizers[route["AuthorizerId"]] if route.get("AuthorizationType") == "JWT" else None,
            )
            for route, function in self._routes_of("HTTP")
        ]

    def _authorizer(self, place: Place) -> Authorizer | None:
        """The template's authorizer, which has to be the pool's and the client's, as the pool of the tests has it."""
        if place.properties["AuthorizerType"] != "JWT":
            return None
        given = place.properties["JwtConfiguration"]
        pool, client = (self._account.place(f"AWS::Cognito::{kind}").name for kind in ("UserPool", "UserPoolClient"))
        assert given["Issuer"].endswith(f".amazonaws.com/{pool}"), given
        assert given["Audience"] == [client], given
        return Authorizer(self.pool.issuer, (CLIENT,))


class AccountCamera:
    """A camera that was registered in the account: daemon and device client."""

    def __init__(
        self, folder: Path, account: SimulatedAccount, thing: str, scene: str, given: Mapping[str, Any]
    ) -> None:
        folder.mkdir()
        self.credentials = CredentialsServer(folder, thing_name=thing, role_alias=str(given["endpoints"]["role_alias"]))
        self._files = ThingFolder(folder / "thing", account.core.broker, thing)
        self._files.use_queue()
        handlers = folder / "handlers"
        handlers.mkdir(mode=0o700)
        self._files.document["jobs"] = {"enabled": True, "handler-directory": str(handlers)}
        self.client: DaemonProcess = ClientProcess(self._files)
        pair = self.credentials.thing
        self.daemon = daemon_of(
            self._files,
            scene,
            *SMALL,
            *("--thing-name", thing, "--event-queue", str(self._files.queue)),
            *("--thing-cert", str(pair.cert), "--thing-key", str(pair.key)),
            *("--ca-cert", str(self.credentials.authority.cert)),
            *("--credentials-endpoint", self.credentials.endpoint, "--role-alias", self.credentials.role_alias),
            *("--s3-endpoint", account.store.url, "--bucket-name", str(given["endpoints"]["bucket_name"])),
            *("--dataplane", "--dataplane-endpoint", account.sockets.url, "--dataplane-region", REGION),
        )

    def start(self) -> None:
        """See `homes.HomeCamera`."""
        self.credentials.__enter__()
        self.daemon.start()
        self.client.start()
        self.client.wait_log("All subscriptions stand")
        self.daemon.wait_log("Watching synthetic")

    def stop(self) -> list[int]:
        """Stop what runs. Returns the exit codes."""
        codes = [program.stop() for program in (self.daemon, self.client) if program.is_running]
        self.credentials.__exit__(None, None, None)
        return codes


class AccountSocket(SocketOfJson):
    """The console's WebSocket at the gateway."""

    def __init__(self, home: AccountHome, address: str) -> None:
        ticket = home.ask("POST", "/tokens").json()["token"]
        super().__init__(
            connect(
                f"{address}?Authorization={ticket}",
                subprotocols=[Subprotocol("manager")],
                open_timeout=10,
                proxy=None,
            )
        )


class AccountHome:
    """A home in the account; see `homes.Home`."""

    def __init__(self, folder: Path, account: CloudAccount, moto_port: int) -> None:
        self._folder = folder
        self.account = SimulatedAccount(folder, account, moto_port)
        self.account.__enter__()
        self._browser = httpx2.Client(timeout=20)
        self._cameras: list[AccountCamera] = []

    def ask(self, method: str, path: str, body: Any = None, **query: str) -> httpx2.Response:
        """See `homes.Home`."""
        return self._ask(method, path, body, query, {"Authorization": f"Bearer {self._token()}"})

    def ask_as_nobody(self, path: str, headers: Mapping[str, str]) -> httpx2.Response:
        """See `homes.Home`."""
        return self._ask("GET", path, None, {}, headers)

    def _ask(
        self, method: str, path: str, body: Any, query: Mapping[str, str], headers: Mapping[str, str]
    ) -> httpx2.Response:
        return self._browser.request(
            method, f"{self.account.http.url}{path}", params=dict(query), json=body, headers=dict(headers)
        )

    def _token(self) -> str:
        pool = self.account.pool
        return pool.sign(pool.claims(self.account.owner, time.time()))

    def fetch(self, address: str, **headers: str) -> httpx2.Response:
        """See `homes.Home`."""
        return self._browser.get(address, headers=headers)

    def open_socket(self) -> AccountSocket:
        """See `homes.Home`."""
        return AccountSocket(self, self.account.sockets.address)

    def add(self, thing: str, scene: str) -> AccountCamera:
        """See `homes.Home`. The certificate that the registration gives is of another key (moto), so one is issued."""
        asked = self._ask("POST", "/registrations", {"csr": REQUEST, "host_name": "pi"}, {}, {}).json()
        decision = {"decision": "approve", "thingName": thing}
        assert self.ask("POST", f"/registrations/{asked['user_code']}", decision).status_code == 200
        given = self._ask("POST", "/registrations/token", {"device_code": asked["device_code"]}, {}, {}).json()
        assert given["thing_name"] == thing
        made = AccountCamera(self._folder / thing, self.account, thing, scene, given)
        self._cameras.append(made)
        return made

    def holds(self, key: str) -> bool:
        """See `homes.Home`."""
        found = self.account.clients.get("s3").list_objects_v2(Bucket=self.account.bucket, Prefix=key)
        return bool(found.get("Contents"))

    def close(self) -> None:
        """See `homes.Home`."""
        codes = [code for camera in self._cameras for code in camera.stop()]
        # What is due by the clock comes to its end in a home that has seen something.
        self.account.sources.run_schedules()
        self._browser.close()
        self.account.__exit__(None, None, None)
        assert set(codes) <= {0}, codes
        assert self.account.sources.failures == []
