"""Where everything lies on the machine that is set up: the places that units, daemon and root helper expect."""

from __future__ import annotations

from pathlib import PurePosixPath

from pitsctl.machine import FileMode

USER = "pinthesky"

ETC = PurePosixPath("/etc/pinthesky")
CERTIFICATES = ETC / "certificates"
KEY = CERTIFICATES / "private.key"
CERTIFICATE = CERTIFICATES / "certificate.pem"
ROOT_CA = CERTIFICATES / "root-ca.pem"
"""Who vouches for the home: Amazon's roots, or the hub's authority."""
DAEMON_FILE = ETC / "pinthesky.env"
CLIENT_FILE = ETC / "device-client.json"
ADMIN_FILE = ETC / "admin.env"
UPGRADE_CA = ETC / "upgrade-ca.pem"
"""The same as ROOT_CA, where the root helper can read it: it is root without the right to pass by modes."""

STATE = PurePosixPath("/var/lib/pinthesky")
SPOOL = STATE / "spool"
EVENT_QUEUE = STATE / "event-queue"
ADMIN_STATE = PurePosixPath("/var/lib/pinthesky-admin")
WHEELS = ADMIN_STATE / "wheels"
WHEELHOUSE = ADMIN_STATE / "wheelhouse"

OPT = PurePosixPath("/opt/pinthesky")
CURRENT = OPT / "current"
STEADY = OPT / "steady"
HANDLERS = OPT / "jobs"
UNITS = PurePosixPath("/etc/systemd/system")

RECORD = PurePosixPath("/var/lib/pinthesky-install")
"""Root's: what was installed, and what was there before."""
RECORD_FILE = RECORD / "state.json"
BEFORE = RECORD / "before"

KEY_MODE = FileMode(USER, USER, 0o600)
CERTIFICATE_MODE = FileMode(USER, USER, 0o644)
"""Modes that both device clients compare exactly."""
