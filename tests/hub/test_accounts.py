"""Signing in on a whole hub: the link of the terminal, the link by mail, and what the settings say."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from pinthesky.errors import NotFound
from pinthesky.hub.accounts import Accounts, new_link_secret
from pinthesky.hub.foundation import Foundation
from pinthesky.hub.settings import HubSettings, Mail, SignIn
from pinthesky.model.people import Email, Role
from tests.support.daemon_process import PROJECT, running
from tests.support.hub_process import HubProcess
from tests.support.mail_server import mail_server

ANNA = Email("anna@example.com")


def at_a_terminal(*command: str) -> tuple[int, str]:
    """Exit code and screen of a program that runs at a terminal."""
    ours, theirs = pty.openpty()
    try:
        with subprocess.Popen(
            [sys.executable, *command], stdin=theirs, stdout=theirs, stderr=theirs, cwd=PROJECT
        ) as process:
            os.close(theirs)
            screen = b""
            while chunk := _read(ours):
                screen += chunk
            return process.wait(20), screen.decode()
    finally:
        os.close(ours)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:  # the other side of the terminal is closed
        return b""


def read_until(descriptor: int, word: bytes) -> str:
    """The screen, once it shows `word` and the end of its line."""
    screen = b""
    deadline = time.monotonic() + 30
    while b"\n" not in screen.partition(word)[2]:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, screen.decode()
        screen += os.read(descriptor, 4096)
    return screen.decode()


def open_link(link: str, root: Path | None = None) -> httpx2.Response:
    """What a browser does with a link: open the page, post the secret from behind the #."""
    parts = urlsplit(link)
    origin = f"{parts.scheme}://{parts.netloc}"
    verify: Any = True if root is None else ssl.create_default_context(cafile=str(root))
    with httpx2.Client(base_url=origin, verify=verify, timeout=10) as browser:
        assert browser.get(parts.path).status_code == 200
        secret = parse_qs(parts.fragment)["secret"][0]
        return browser.post(parts.path, data={"secret": secret}, headers={"Origin": origin})


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    process = HubProcess(tmp_path_factory.mktemp("accounts"))
    with running(process):
        process.wait_ready()
        yield process


def test_the_terminal_shows_a_link_that_signs_in_once_by_either_address(hub):
    for kind in ("http", "https"):
        code, screen = at_a_terminal("-m", "pinthesky.hub", "--data", str(hub.data), "sign-in-link")
        assert code == 0, screen
        assert "once, within 10 minutes" in screen
        (link,) = re.findall(rf"{kind}://\S+", screen)
        link = link.replace("127.0.0.1", "localhost")
        root = hub.data / "authority" / "ca.crt"
        first = open_link(link, root)
        assert first.status_code == 303
        assert "pits_session=" in first.headers["set-cookie"]
        assert "HttpOnly" in first.headers["set-cookie"]
        assert ("Secure" in first.headers["set-cookie"]) == (kind == "https")
        again = open_link(link, root)
        assert again.status_code == 403
        assert "used already" in again.text


def test_a_first_start_at_a_terminal_shows_a_link_and_later_ones_do_not(tmp_path):
    hub = HubProcess(tmp_path)
    ours, theirs = pty.openpty()
    try:
        for is_first in (True, False):
            command = [sys.executable, "-m", "pinthesky.hub", "--data", str(hub.data)]
            with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=PROJECT) as process:
                screen = read_until(ours, b"elsewhere" if is_first else b"To add a camera")
                if is_first:
                    (link,) = re.findall(r"http://localhost\S+#secret=\S+", screen)
                    assert open_link(link).status_code == 303
                else:
                    assert "sign-in/link" not in screen
                process.send_signal(signal.SIGINT)
                assert process.wait(20) == 0
    finally:
        os.close(theirs)
        os.close(ours)


def test_a_link_is_printed_to_nothing_but_a_terminal(hub):
    said = subprocess.run(
        [sys.executable, "-m", "pinthesky.hub", "--data", str(hub.data), "sign-in-link"],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
        cwd=PROJECT,
    )
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr == "pits-hub: sign-in-link: is printed to a terminal only\n"
    assert "sign-in/link" not in "\n".join(hub.log)


def test_nobody_who_was_not_invited_gets_a_link(hub):
    code, screen = at_a_terminal(
        "-m", "pinthesky.hub", "--data", str(hub.data), "sign-in-link", "--email", "eve@example.com"
    )
    assert code == 2
    assert "eve@example.com is not invited" in screen


def test_whom_the_settings_name_is_an_owner_and_gets_links_by_mail(tmp_path):
    with mail_server() as server:
        settings = HubSettings(
            sign_in=SignIn(emails=["Anna@example.com"], link_minutes=3),
            mail=Mail(host="127.0.0.1", port=server.port, security="none", sender="hub@example.com"),
        )
        for _ in range(2):  # a second start invites nobody again
            with closing(Foundation.lay(tmp_path / "hub", settings)) as foundation:
                accounts = Accounts(foundation)
                people = [(person.email, person.role) for person in accounts.people.everybody()]
                assert sorted(people, key=str) == sorted([(None, Role.OWNER), (ANNA, Role.OWNER)], key=str)
                browser = TestClient(Starlette(routes=accounts.routes()), base_url="https://localhost:8443")
                for address in ("anna@example.com", "eve@example.com"):
                    answer = browser.post(
                        "/sign-in", data={"email": address}, headers={"Origin": "https://localhost:8443"}
                    )
                    assert (answer.status_code, "works once, for 3 minutes" in answer.text) == (200, True)
        assert [mail["To"] for mail in server.mails] == ["anna@example.com"] * 2
        assert "https://localhost:8443/sign-in/link#secret=" in server.mails[0].get_content()


def test_links_last_as_long_as_the_settings_say_and_belong_to_somebody(tmp_path):
    settings = HubSettings(sign_in=SignIn(link_minutes=3, token_days=2))
    with closing(Foundation.lay(tmp_path / "hub", settings)) as foundation:
        accounts = Accounts(foundation)
        assert not accounts.has_visitors()
        secret = accounts.sessions.redeem_link(new_link_secret(foundation), user_agent="", source_ip="")
        session = accounts.sessions.of_secret(secret)
        assert session.expires_at_s - session.made_at_s == 2 * 24 * 3600
        assert accounts.has_visitors()
        assert accounts.sessions.link_s == 180
        with pytest.raises(NotFound, match="is not invited"):
            new_link_secret(foundation, Email("eve@example.com"))


def test_tokens_outlive_a_restart(tmp_path):
    key = tmp_path / "hub" / "authority" / "tokens.key"
    with closing(Foundation.lay(tmp_path / "hub")) as foundation:
        Accounts(foundation)
        before = key.read_bytes()
        assert key.stat().st_mode & 0o777 == 0o600
    with closing(Foundation.lay(tmp_path / "hub")) as foundation:
        Accounts(foundation)
        assert key.read_bytes() == before
