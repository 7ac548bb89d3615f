"""Every error this project raises on purpose, as one tree.

::

    PinTheSkyError
    ├── InvalidInput       (also ValueError)       somebody gave a value that cannot be used
    ├── NotAuthorized      (also PermissionError)  refused by policy; asking again soon will not help
    ├── NotFound           (also LookupError)      what was named does not exist
    ├── Conflict                                   the state has moved on, or the thing exists already
    ├── Unavailable        (also ConnectionError)  the other side cannot be reached or is overloaded; try again later
    │   └── Throttled                              somebody asks too often
    └── InvariantBroken    (also RuntimeError)     our own stored data or state contradict themselves

Adapters map their library's errors to these once, and keep the cause.
"""

from __future__ import annotations


class PinTheSkyError(Exception):
    """Root of all errors that the project raises on purpose."""


class InvalidInput(PinTheSkyError, ValueError):
    """A value from outside cannot be used.

    `field` is the name a person would look for ("--framerate", "camera.framerate"), `reason` names the bound.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class NotAuthorized(PinTheSkyError, PermissionError):
    """The other side refused by policy."""


class NotFound(PinTheSkyError, LookupError):
    """What was named does not exist."""


class Conflict(PinTheSkyError):
    """The state has moved on, or what should be created exists already."""


class Unavailable(PinTheSkyError, ConnectionError):
    """The other side cannot be reached, is overloaded, or did not answer in time."""


class Throttled(Unavailable):
    """Somebody asks too often, or has too much open; `retry_after_s` says when asking again may help."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class InvariantBroken(PinTheSkyError, RuntimeError):
    """Our own stored data or state contradict themselves."""
