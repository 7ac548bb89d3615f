"""The health report: what `health_end` carries."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Optional

import msgspec
from msgspec import Meta, Struct

TEXT_MAX = 120
Text = Annotated[str, Meta(max_length=TEXT_MAX)]
Count = Annotated[int, Meta(ge=0)]
CAPABILITIES_MAX = 12
CAPABILITY_MAX = 800
"""Letters; a list of all controls that a sensor has is the longest."""
Capabilities = Annotated[
    dict[Annotated[str, Meta(max_length=40)], Annotated[str, Meta(max_length=CAPABILITY_MAX)]],
    Meta(max_length=CAPABILITIES_MAX),
]
UploadState = Literal["ok", "waiting", "failing", "refused", "off"]


class HealthReport(Struct, frozen=True, kw_only=True):
    """How a device is. A field that could not be read is None.

    Fields with a default of None are not sent at all while they are None: they are new on the wire, or of things that
    most devices do not have.
    """

    version: Text
    python_version: Text
    os_version: Optional[Text]
    """VERSION of /etc/os-release, e.g. "12 (bookworm)"."""
    os_id: Optional[Text]
    """ID of /etc/os-release, e.g. "debian"."""
    ip_addr: Optional[Text]
    """The address from which the device reaches others."""
    start_time: Optional[float]
    """Epoch seconds at which the daemon began; None while the clock is not known to be right."""
    up_time: float
    """Seconds since then."""
    recording_status: bool
    """A clip is open."""
    motion_captured: Count
    """Motion events since the daemon began."""
    disk_free: Optional[Count]
    """Bytes that the daemon may still write where it records."""
    disk_used: Optional[Count]
    disk_total: Optional[Count]
    mem_free: Optional[Count]
    """KB, as /proc/meminfo counts."""
    mem_avail: Optional[Count]
    mem_total: Optional[Count]
    cpu_used: Optional[Annotated[float, Meta(ge=0, le=100)]]
    """Percent of all cores since the report before."""
    cpu_count: Optional[Count]

    cpu_temp: Optional[float] = None
    """Degrees Celsius."""
    throttled: Optional[Count] = None
    """Bits of the firmware: 0 under-voltage, 1 frequency capped, 2 throttled, 3 soft temperature limit, each now; the
    same plus 16: since boot."""
    spool_files: Optional[Count] = None
    spool_bytes: Optional[Count] = None
    camera_model: Optional[Text] = None
    camera_capabilities: Optional[Capabilities] = None
    """What the open camera says of itself, by name."""
    frame_age: Optional[Annotated[float, Meta(ge=0)]] = None
    """Seconds since the camera's last frame."""
    clock_synchronised: Optional[bool] = None
    battery_percent: Optional[Annotated[int, Meta(ge=0, le=100)]] = None
    battery_volts: Optional[Annotated[float, Meta(ge=0)]] = None
    battery_status: Optional[Text] = None
    """As the kernel says: "Charging", "Discharging", "Not charging", "Full", "Unknown"."""

    preroll_shortfall: Optional[Annotated[float, Meta(ge=0)]] = None
    """Seconds of the pre-roll that `camera.buffer_size` does not leave room for."""
    upload_state: Optional[UploadState] = None
    upload_error: Optional[Text] = None
    commands_rejected: Optional[Count] = None
    """Since the daemon began, as the two below."""
    events_dropped: Optional[Count] = None
    items_lost: Optional[Count] = None
    """Clips and stills that were forced out before they were stored, or could not be saved."""
    pictures_lost: Optional[Count] = None
    """Pictures of open clips that the disk refused, since the daemon began."""

    def as_document(self) -> dict[str, Any]:
        """Return the fields as they travel, without the optional ones that are None."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        optional = {field.name for field in msgspec.structs.fields(self) if not field.required}
        return {name: value for name, value in document.items() if value is not None or name not in optional}
