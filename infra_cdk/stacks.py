"""The two stacks: what must survive, and everything else."""

from __future__ import annotations

from aws_cdk import CfnOutput, Duration, Stack, Tags
from constructs import Construct

from infra_cdk.access import Access
from infra_cdk.chores import Chores
from infra_cdk.console_site import ConsoleSite, content_policy
from infra_cdk.control_plane import ControlPlane
from infra_cdk.conversion import Conversion
from infra_cdk.data_plane import DataPlane
from infra_cdk.database import Database
from infra_cdk.dead_letters import DeadLetters
from infra_cdk.device_link import DeviceLink
from infra_cdk.functions import Archives, PlanesFunction
from infra_cdk.identity import Identity, SignIn, address_of
from infra_cdk.ingest import Ingest
from infra_cdk.labels import Labels
from infra_cdk.media import Media
from infra_cdk.names import (
    CAMERA_GROUP,
    CAMERA_POLICY,
    HOME_STACK,
    IMAGE_PREFIX,
    OUTPUTS,
    RELEASES_PREFIX,
    ROLE_ALIAS,
    STORE_STACK,
    VIDEO_PREFIX,
    function_name,
)
from infra_cdk.notifications import Notifications
from infra_cdk.observability import Observability
from infra_cdk.settings import Settings
from pinthesky.model.camera_policy import THING_OF_ROLE


class StoreStack(Stack):
    """What must survive: recordings, records, people, and what cameras hold on to. Nothing here goes with the stack."""

    def __init__(self, scope: Construct, *, settings: Settings, archives: Archives) -> None:
        super().__init__(
            scope,
            STORE_STACK,
            stack_name=STORE_STACK,
            description="Pi In The Sky: recordings, records, people, and what cameras hold on to",
            termination_protection=True,
        )
        Tags.of(self).add("application", "pinthesky")
        self.media = Media(self, "Media", settings=settings)
        self.database = Database(self, "Database")
        self.identity = Identity(self, "Identity", settings=settings)
        self.device_link = DeviceLink(self, "DeviceLink", settings=settings)
        self.device_link.allow(*self.media.for_camera(THING_OF_ROLE))
        self.media.protect_from(self.device_link.role)
        if settings.google_client_id is not None:
            self._refuse_strangers(settings, archives)

    def _refuse_strangers(self, settings: Settings, archives: Archives) -> None:
        trigger = PlanesFunction(
            self,
            "PreSignUp",
            handler="pre_sign_up",
            archive=archives.planes,
            timeout=Duration.seconds(5),
            description="Let nobody in whom nobody has invited",
            log_days=settings.log_days,
            environment={"PITS_TABLE": self.database.table.table_name},
        )
        trigger.allow(self.database.rows(["person"], "dynamodb:GetItem", "dynamodb:UpdateItem"))
        self.identity.refuse_strangers(trigger)


class HomeStack(Stack):
    """The planes, their ways in, and the console. May be removed and made again at any time."""

    def __init__(self, scope: Construct, *, store: StoreStack, settings: Settings, archives: Archives) -> None:
        super().__init__(
            scope, HOME_STACK, stack_name=HOME_STACK, description="Pi In The Sky: the planes and the console"
        )
        Tags.of(self).add("application", "pinthesky")
        self._store, self._settings, self._archives = store, settings, archives
        self.dead_letters = DeadLetters(self, "DeadLetters")
        self.notifications = Notifications(self, "Notifications")
        self.labels = Labels(self, "Labels", settings=settings)
        own = settings.domain_name
        # Without a name of its own the console's address is known only when headers that name the API are made. A
        # request carries a token and never a cookie, so an origin gets nothing from being allowed.
        origins = ["*"] if own is None else [f"https://{own}"]
        self.control_plane = ControlPlane(self, "ControlPlane", origins=origins, log_days=settings.log_days)
        self.data_plane = DataPlane(self, "DataPlane")
        self.site = ConsoleSite(
            self,
            "ConsoleSite",
            policy=content_policy(
                api=self.control_plane.address,
                socket=f"wss://{self.data_plane.host}",
                sign_in=address_of(self),
                media=store.media.address,
            ),
            settings=settings,
        )
        self.sign_in = SignIn(self, "Identity", identity=store.identity, console=self.site.address)
        environment = self._environment()
        self.conversion = Conversion(
            self, "Conversion", archive=archives.media, environment=environment, log_days=settings.log_days
        )
        self.access = self._access()
        self.conversion.function.allow(*self.access.for_conversion())
        self.functions = {"conversion": self.conversion.function}
        self._serve(environment)
        self._ingest(environment)
        self._keep_house(environment)
        # Added here, in the stack of the API: the role survives it.
        store.device_link.answer_sockets(self, self.data_plane.stage_arn)
        self._observe()
        self._say()

    def _environment(self) -> dict[str, str]:
        store, settings = self._store, self._settings
        return {
            "PITS_TABLE": store.database.table.table_name,
            "PITS_MEDIA_BUCKET": store.media.bucket.bucket_name,
            "PITS_CONSOLE": self.site.address,
            "PITS_CONNECTIONS_ENDPOINT": self.data_plane.connections,
            "PITS_USER_POOL": store.identity.pool.user_pool_id,
            "PITS_CLIENT_IDS": self.sign_in.client.user_pool_client_id,
            "PITS_ALERTS_TOPIC": self.notifications.topic.topic_arn,
            "PITS_THING_ARNS": f"arn:{self.partition}:iot:{self.region}:{self.account}:thing/",
            "PITS_CAMERA_POLICY": CAMERA_POLICY,
            "PITS_CAMERA_GROUP": CAMERA_GROUP,
            "PITS_ROLE_ALIAS": ROLE_ALIAS,
            "PITS_CONVERSION_FUNCTION": function_name("conversion"),
            "PITS_RELEASES_BUCKET": store.media.bucket.bucket_name,
            "PITS_RELEASES_PREFIX": str(RELEASES_PREFIX),
            "PITS_VIDEO_PREFIX": str(VIDEO_PREFIX),
            "PITS_IMAGE_PREFIX": str(IMAGE_PREFIX),
            "PITS_CLIPS_DAYS": str(settings.retention_days),
            "PITS_STILLS_DAYS": str(settings.stills_days),
            "PITS_HEALTH_DAYS": str(settings.health_days),
            "PITS_LEGACY_TOPIC": "true" if settings.legacy_devices else "false",
            **self.labels.environment,
        }

    def _access(self) -> Access:
        return Access(
            stack=self,
            database=self._store.database,
            media=self._store.media,
            pool=self._store.identity.pool,
            alerts=self.notifications.topic,
            socket_stage=self.data_plane.stage_arn,
            conversion=self.conversion.function.function.function_arn,
            labels=self.labels.is_on,
        )

    def _function(
        self,
        scope: Construct,
        handler: str,
        *,
        timeout: Duration,
        description: str,
        environment: dict[str, str],
        gives_up_to: DeadLetters | None = None,
    ) -> PlanesFunction:
        """A function of the planes, with what its handler may do."""
        function = PlanesFunction(
            scope,
            "".join(part.capitalize() for part in handler.split("_")),
            handler=handler,
            archive=self._archives.planes,
            timeout=timeout,
            description=description,
            log_days=self._settings.log_days,
            environment=environment,
            dead_letters=None if gives_up_to is None else gives_up_to.queue,
        )
        function.allow(*self.access.for_handler(handler))
        self.functions[handler] = function
        return function

    def _serve(self, environment: dict[str, str]) -> None:
        limit = Duration.seconds(30)
        http = self._function(
            self.control_plane, "http", timeout=limit, description="The control plane", environment=environment
        )
        self.control_plane.serve(
            http, issuer=self._store.identity.issuer, client=self.sign_in.client.user_pool_client_id
        )
        socket = self._function(
            self.data_plane, "socket", timeout=limit, description="The data plane", environment=environment
        )
        self.data_plane.serve(socket)

    def _ingest(self, environment: dict[str, str]) -> None:
        self.ingest = Ingest(self, "Ingest", dead_letters=self.dead_letters, settings=self._settings)
        minute, long = Duration.minutes(1), Duration.minutes(6)

        def function(handler: str, timeout: Duration, description: str) -> PlanesFunction:
            return self._function(
                self.ingest,
                handler,
                timeout=timeout,
                description=description,
                environment=environment,
                gives_up_to=self.dead_letters,
            )

        self.camera_events = self.ingest.take_events(
            function("device_event", long, "What cameras say"), legacy=self._settings.legacy_devices
        )
        self.ingest.take_presence(function("presence", minute, "Cameras that connect or are lost"))
        self.ingest.take_job_executions(function("job_execution", minute, "Jobs that end at cameras"))
        self.ingest.take_media(
            function("media", long, "Recordings that are stored or removed"), media=self._store.media
        )

    def _keep_house(self, environment: dict[str, str]) -> None:
        function = self._function(
            self,
            "schedule",
            timeout=Duration.minutes(15),
            description="What is due by the clock",
            environment=environment,
            gives_up_to=self.dead_letters,
        )
        self.chores = Chores(self, "Chores", function=function, dead_letters=self.dead_letters)

    def _observe(self) -> None:
        self.observability = Observability(self, "Observability", settings=self._settings)
        if self._settings.alarms or self._settings.alert_email:
            self.observability.watch_dead_letters(self.dead_letters)
        if self._settings.alarms:
            self.observability.watch(control_plane=self.control_plane, camera_events=self.camera_events)
        if self._settings.dashboard:
            self.observability.draw(
                functions=self.functions,
                control_plane=self.control_plane,
                data_plane=self.data_plane,
                dead_letters=self.dead_letters,
                media=self._store.media,
                camera_events=self.camera_events,
            )

    def _say(self) -> None:
        store = self._store
        values = {
            "ConsoleUrl": self.site.address,
            "ApiUrl": self.control_plane.address,
            "SocketUrl": self.data_plane.address,
            "MediaBucket": store.media.bucket.bucket_name,
            "RoleAlias": ROLE_ALIAS,
            "CameraPolicy": CAMERA_POLICY,
            "CameraGroup": CAMERA_GROUP,
            "Region": self.region,
            "UserPoolId": store.identity.pool.user_pool_id,
            "ClientId": self.sign_in.client.user_pool_client_id,
            "SignInUrl": address_of(self),
            "ConsoleBucket": self.site.bucket.bucket_name,
            "DeadLetters": self.dead_letters.queue.queue_url,
            "Table": store.database.table.table_name,
        }
        outputs = Construct(self, "Outputs")
        for key in OUTPUTS:
            CfnOutput(outputs, key, value=values[key]).override_logical_id(key)
