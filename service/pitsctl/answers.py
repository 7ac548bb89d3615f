"""What an installation is told: every value of the wizard's screens, the same by flag, environment or YAML file.

One struct for each screen. A flag is the field's name with dashes behind its section's (`--camera-rotation`), a
variable `PITSCTL_` and the same in capitals, a key of the file `camera: {rotation: …}`. A flag wins over the
environment, that over the file, that over what was found on the machine, that over the default.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Name = Annotated[str, Meta(max_length=128, pattern=r"^[A-Za-z0-9_.:/-]*\Z")]


class _Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A screen's values."""


class Connection(_Section, frozen=True):
    """How the machine is reached; everything else about it is in OpenSSH's own configuration."""

    host: Annotated[str, Meta(max_length=255)] = ""
    """`user@host`, a name of ~/.ssh/config, or empty: this very machine."""
    port: Annotated[int, Meta(ge=1, le=65535)] | None = None
    identity_file: str = ""


class Home(_Section, frozen=True):
    """Where the camera belongs.

    `kind` aws: with credentials of the workstation, by boto3. code: by registration (RFC 8628) at `address`, a hub's or
    the control plane's in AWS. hub: the same, at a hub that mDNS finds or `address` names.
    """

    kind: Literal["", "aws", "hub", "code"] = ""
    address: Annotated[str, Meta(max_length=255)] = ""
    authority_sha256: Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?\Z")] = ""
    """SHA-256 of the hub's root certificate (DER), as `pits-hub` prints it; without it a person is asked."""
    profile: Name = ""
    region: Name = ""


class Cloud(_Section, frozen=True):
    """Names in the cloud; empty: those of the deployment that is found, else the default of each."""

    thing: Name = ""
    group: Name = ""
    policy: Name = ""
    role: Name = ""
    role_alias: Name = ""


class Storage(_Section, frozen=True):
    """Where clips and stills go."""

    enabled: bool = True
    bucket: Name = ""
    video_prefix: Name = "motion_videos"
    image_prefix: Name = "capture_images"


class Camera(_Section, frozen=True):
    """The camera, and how it is used; what is left empty is the preset's for this model and sensor."""

    device: Annotated[str, Meta(max_length=500)] = "auto"
    """`auto`, a path such as /dev/video0, or an address of a network camera (without its password)."""
    rotation: Literal[0, 90, 180, 270] = 0
    resolution: Annotated[str, Meta(pattern=r"^([0-9]{2,4}x[0-9]{2,4})?\Z")] = ""
    framerate: Annotated[int, Meta(ge=1, le=120)] | None = None
    bitrate: Annotated[int, Meta(ge=100_000, le=25_000_000)] | None = None
    sensitivity: Annotated[int, Meta(ge=1, le=100)] | None = None
    recording_window: Annotated[str, Meta(pattern=r"^([0-2]?[0-9]-[0-2]?[0-9])?\Z")] = ""


class CloudWatch(_Section, frozen=True):
    """Logs and metrics in the cloud: off, since they cost money."""

    enabled: bool = False
    log_group: Name = "/pinthesky/device"
    namespace: Name = "Pits/Device"
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    event_type: Literal["logs", "emf", "all"] = "logs"


class DataPlane(_Section, frozen=True):
    """The sockets over which answers and live view go."""

    enabled: bool = True
    endpoint: Annotated[str, Meta(max_length=255)] = ""


class Paths(_Section, frozen=True):
    """What may be chosen of the machine's folders; the others are those of the units."""

    root: Annotated[str, Meta(pattern=r"^/[A-Za-z0-9._/-]{0,200}\Z")] = "/"
    """Below which folder everything is put: another than / prepares a mounted card or an image."""
    spool_max_mb: Annotated[int, Meta(ge=64, le=1_000_000)] | None = None
    client: Literal["", "python", "cpp"] = ""
    """The device client; empty: aws-iot-device-client where it is there already, else ours."""
    upgrade_sources: tuple[str, ...] = ()


class Answers(_Section, frozen=True):
    """Everything, section by section, in the order of the wizard's screens."""

    connection: Connection = Connection()
    home: Home = Home()
    cloud: Cloud = Cloud()
    storage: Storage = Storage()
    camera: Camera = Camera()
    cloudwatch: CloudWatch = CloudWatch()
    dataplane: DataPlane = DataPlane()
    paths: Paths = Paths()
