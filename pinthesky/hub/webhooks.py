"""Webhooks: an alert as JSON, posted to an address that its owner has named."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

import msgspec

from pinthesky.errors import Unavailable
from pinthesky.version import __version__

TIMEOUT_S = 10.0


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """An alert goes where its owner said, or nowhere."""

    def redirect_request(self, *_: Any) -> None:
        """Called by urllib."""
        return


class Webhooks:
    """Posts to `https://` and `http://` addresses. Thread-safe."""

    def __init__(self, trusted: ssl.SSLContext | None = None) -> None:
        """`trusted`: whose certificates an address may show; the system's unless given."""
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=trusted or ssl.create_default_context()), _NoRedirects()
        )

    def post(self, address: str, document: Mapping[str, Any]) -> None:
        """Post `document`. Raises Unavailable unless the answer is 2xx within the time; what it says is not read."""
        request = urllib.request.Request(  # noqa: S310 - only http and https come this far: `Endpoint` is checked
            address,
            data=msgspec.json.encode(document),
            headers={"Content-Type": "application/json", "User-Agent": f"pits-hub/{__version__}"},
            method="POST",
        )
        try:
            with self._opener.open(request, timeout=TIMEOUT_S):
                return
        except urllib.error.HTTPError as error:
            with error:
                raise Unavailable(f"the webhook answers {error.code}") from error
        except (OSError, ValueError) as error:
            raise Unavailable(f"the webhook cannot be reached: {getattr(error, 'reason', None) or error}") from error
