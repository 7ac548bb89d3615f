"""The names that are fixed, because something outside the templates relies on them."""

from __future__ import annotations

from pinthesky.model.identifiers import KeyPrefix

STORE_STACK = "PinTheSky-Store"
"""What must survive: recordings, records, people, and what installed cameras hold on to."""
HOME_STACK = "PinTheSky"
"""Everything else. `pitsctl` and the deploying tool read its outputs."""

CAMERA_POLICY = "PinTheSkyCamera"
CAMERA_GROUP = "PinTheSkyCameras"
ROLE_ALIAS = "PinTheSkyCamera"
CAMERA_LOG_GROUP = "/pinthesky/device"
"""The default of `cloudwatch.log_group_name` in `pinthesky.model.settings`."""

VIDEO_PREFIX = KeyPrefix("motion_videos")
IMAGE_PREFIX = KeyPrefix("capture_images")
CONVERTED_IMAGES_PREFIX = KeyPrefix(f"{VIDEO_PREFIX}_converted_images")
"""Where the predecessor kept its thumbnails; they are still read."""
RELEASES_PREFIX = KeyPrefix("releases")

SIGNED_IN_PATH = "/signed-in"
"""Where the identity provider sends the console back to."""

OUTPUTS = (
    "ConsoleUrl",
    "ApiUrl",
    "SocketUrl",
    "MediaBucket",
    "RoleAlias",
    "CameraPolicy",
    "CameraGroup",
    "Region",
    "UserPoolId",
    "ClientId",
    "SignInUrl",
    "ConsoleBucket",
    "DeadLetters",
    "Table",
)
"""Keys of what the stack says of itself: `pitsctl` and `tools/deploy.py` read them."""


def function_name(handler: str) -> str:
    """The name of the function behind a handler of `pinthesky.aws.lambda_handlers`."""
    return f"PinTheSky-{handler.replace('_', '-')}"
