"""Health and metrics, as a monitor reads them."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

from pinthesky.hub.metrics import Figure, Metrics
from pinthesky.version import __version__


async def broken(_: Request) -> Response:
    raise LookupError("a defect")


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def client(metrics: Metrics) -> TestClient:
    app = Starlette(routes=[*metrics.routes(), Route("/broken", broken)])
    return TestClient(metrics.counted(app, "web"), client=("192.168.1.9", 4711), raise_server_exceptions=False)


def values_of(metrics_text: str) -> dict[str, float]:
    return {
        ":".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(metrics_text)
        for sample in family.samples
    }


def test_sockets_pass_and_are_no_requests(metrics):
    async def greet(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("hello")
        await socket.close()

    app = Starlette(routes=[*metrics.routes(), WebSocketRoute("/socket", greet)])
    client = TestClient(metrics.counted(app, "web"), client=("192.168.1.9", 4711))
    with client.websocket_connect("/socket") as socket:
        assert socket.receive_text() == "hello"
    assert "pits_http_requests_total{" not in client.get("/metrics").text


def test_a_hub_without_trouble_is_ok(metrics, client):
    metrics.check("broker", lambda: None)
    answer = client.get("/healthz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "version": __version__, "parts": {"broker": "ok"}}


def test_a_trouble_is_told_by_part_and_makes_the_answer_a_503(metrics, client):
    metrics.check("broker", lambda: "mosquitto does not run")
    metrics.check("disk", lambda: None)
    answer = client.get("/healthz")
    assert answer.status_code == 503
    assert answer.json()["parts"] == {"broker": "mosquitto does not run", "disk": "ok"}
    assert answer.headers["cache-control"] == "no-store"


def test_figures_are_read_at_each_scrape(metrics, client):
    numbers = iter((3.0, 4.0))
    metrics.show(Figure("cameras_connected", "cameras that are connected", lambda: next(numbers)))
    metrics.show(Figure("uploads", "objects stored", lambda: 7, counts=True))
    first, second = values_of(client.get("/metrics").text), values_of(client.get("/metrics").text)
    assert (first["pits_cameras_connected"], second["pits_cameras_connected"]) == (3.0, 4.0)
    assert first["pits_uploads_total"] == 7.0
    assert first["pits_start_time_seconds"] > 1.7e9


def test_requests_are_counted_by_method_and_status(metrics, client):
    client.get("/nothing")
    client.get("/nothing")
    client.get("/broken")
    client.request("BREW", "/nothing")
    values = values_of(client.get("/metrics").text)
    assert values["pits_http_requests_total:GET:web:404"] == 2.0
    assert values["pits_http_requests_total:GET:web:500"] == 1.0
    assert values["pits_http_requests_total:other:web:404"] == 1.0
    assert values["pits_http_request_seconds_count:web"] == 4.0


@pytest.mark.parametrize(
    "host, status",
    [("127.0.0.1", 200), ("::1", 200), ("::ffff:10.0.0.7", 200), ("fe80::1%eth0", 200), ("8.8.8.8", 404), ("me", 404)],
)
def test_metrics_answer_private_addresses_only(metrics, host, status):
    client = TestClient(Starlette(routes=metrics.routes()), client=(host, 4711))
    assert client.get("/metrics").status_code == status
    assert client.get("/healthz").status_code == 200
