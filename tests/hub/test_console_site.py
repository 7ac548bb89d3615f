"""The console's files as a browser gets them: what may be kept, what it may do, and nothing beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from pinthesky.errors import NotFound
from pinthesky.hub import console_site
from pinthesky.hub.console_site import ConsoleSite


@pytest.fixture
def browser(tmp_path: Path) -> TestClient:
    folder = tmp_path / "dist"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html>the console")
    (folder / "icon.svg").write_text("<svg/>")
    (folder / "assets" / "index-abc.js").write_text("run()")
    (tmp_path / "secret").write_text("no")
    return TestClient(Starlette(routes=ConsoleSite(folder).routes()))


@pytest.mark.parametrize("path", ["/", "/index.html", "/events", "/cameras/garden", "/signed-in?code=x"])
def test_every_page_of_the_console_is_its_first_and_asked_for_anew(browser, path):
    answer = browser.get(path)
    assert (answer.status_code, answer.text) == (200, "<!doctype html>the console")
    assert answer.headers["cache-control"] == "no-cache"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


def test_what_is_named_by_its_content_is_kept_for_ever(browser):
    asset = browser.get("/assets/index-abc.js")
    assert asset.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert asset.headers["content-type"].startswith("text/javascript")
    assert browser.get("/icon.svg").headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", ["/assets/missing.js", "/..%2Fsecret.txt", "/assets/..%2f..%2fsecret.x", "/.env"])
def test_what_is_no_file_of_the_console_is_not_there(browser, path):
    answer = browser.get(path)
    assert answer.status_code == 404
    assert answer.text != "no"


def test_the_settings_say_where_the_home_is(browser):
    assert browser.get("/settings.json").json() == {
        "api": "/api",
        "socket": "/socket",
        "authorize": "/oauth2/authorize",
        "token": "/oauth2/token",
        "signOut": "/sign-out",
        "passkeys": "/sign-in/passkeys",
        "clientId": "console",
    }


def test_the_reference_of_the_api_is_a_page_that_runs_nothing(browser):
    answer = browser.get("/reference")
    assert answer.status_code == 200
    assert "/cameras/{thing}" in answer.text
    assert "script" not in answer.headers["content-security-policy"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_a_hub_without_a_console_or_a_reference_says_so(monkeypatch):
    def missing(kind: str) -> Path:
        raise NotFound(f"{kind} did not come with this installation")

    monkeypatch.setattr(console_site, "folder_of", missing)
    browser = TestClient(Starlette(routes=ConsoleSite().routes()))
    answer = browser.get("/")
    assert answer.status_code == 200
    assert "make console" in answer.text
    assert browser.get("/reference").status_code == 404
