"""How the hub is: `/healthz` for whoever watches over it, `/metrics` for Prometheus.

Neither names a camera or a person: both answer without signing in, `/metrics` to private addresses only.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pinthesky.version import __version__

_SECONDS = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0)


class Figure(NamedTuple):
    """One number that a part of the hub knows of itself, asked for at each scrape."""

    name: str
    """In Prometheus's style, with its unit and without the prefix: `media_bytes`."""
    meaning: str
    read: Callable[[], float]
    counts: bool = False
    """Whether it only grows (a counter)."""


class Metrics:
    """What the hub counts, and what its parts say of themselves when asked."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._figures: list[Figure] = []
        self._checks: dict[str, Callable[[], str | None]] = {}
        self._requests = Counter(
            "pits_http_requests", "HTTP requests", ("port", "method", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "pits_http_request_seconds", "time of HTTP requests", ("port",), buckets=_SECONDS, registry=self._registry
        )
        self._registry.register(_Figures(self._figures))
        started_at = time.time()
        self.show(Figure("start_time_seconds", "when the hub started, seconds since 1970", lambda: started_at))

    def show(self, *figures: Figure) -> None:
        """Have figures in `/metrics`."""
        self._figures.extend(figures)

    def check(self, part: str, trouble: Callable[[], str | None]) -> None:
        """Have a part in `/healthz`: `trouble` says in a sentence what is wrong with it, or None."""
        self._checks[part] = trouble

    def troubles(self) -> Mapping[str, str]:
        """What is wrong now, by part."""
        said = {part: trouble() for part, trouble in self._checks.items()}
        return {part: sentence for part, sentence in said.items() if sentence is not None}

    def routes(self) -> list[BaseRoute]:
        """`GET /healthz` (200 or 503) and `GET /metrics`."""
        return [Route("/healthz", self._healthz), Route("/metrics", self._metrics)]

    def counted(self, app: ASGIApp, port: str) -> ASGIApp:
        """The application, its HTTP requests counted under the name of its port."""
        return _Counted(app, port=port, requests=self._requests, seconds=self._seconds)

    async def _healthz(self, _: Request) -> Response:
        troubles = await run_in_threadpool(self.troubles)
        parts = {part: troubles.get(part, "ok") for part in self._checks}
        answer = {"status": "degraded" if troubles else "ok", "version": __version__, "parts": parts}
        return JSONResponse(answer, 503 if troubles else 200, headers={"Cache-Control": "no-store"})

    async def _metrics(self, request: Request) -> Response:
        if request.client is None or not _is_private(request.client.host):
            return Response(status_code=404)
        text = await run_in_threadpool(generate_latest, self._registry)
        return Response(text, media_type=CONTENT_TYPE_LATEST)


def _is_private(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_private


class _Figures(Collector):
    def __init__(self, figures: list[Figure]) -> None:
        self._shown = figures

    def collect(self) -> Iterator[Metric]:
        for figure in self._shown:
            family = CounterMetricFamily if figure.counts else GaugeMetricFamily
            yield family(f"pits_{figure.name}", figure.meaning, value=figure.read())


class _Counted:
    def __init__(self, app: ASGIApp, *, port: str, requests: Counter, seconds: Histogram) -> None:
        self._app = app
        self._port = port
        self._requests = requests
        self._time = seconds.labels(port)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500
        started = time.monotonic()

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        method = scope["method"] if scope["method"] in ("GET", "HEAD", "PUT", "POST", "DELETE") else "other"
        try:
            await self._app(scope, receive, watched)
        finally:
            self._requests.labels(self._port, method, str(status)).inc()
            self._time.observe(time.monotonic() - started)
