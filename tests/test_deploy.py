"""`make deploy`, `make diff` and `make destroy`, on moto's account and with a stand-in for CDK's command line."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.support.aws_fixtures import moto_client, moto_port  # noqa: F401 - fixtures are found by being here
from tests.support.aws_planes import ACCOUNT
from tests.support.aws_servers import REGION
from tests.support.house.source import ROOT
from tools import deploy

if TYPE_CHECKING:
    import boto3

OWNER = "owner@example.com"


class SharedSession:
    """A session of boto3 whose clients are made once: reading what a service looks like takes longer than the tests."""

    region_name = REGION

    def __init__(self, port: int) -> None:
        self._clients: dict[str, Any] = {}
        self._port = port

    def client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = moto_client(self._port, service)
        return self._clients[service]


@pytest.fixture(scope="module")
def session(moto_port: int) -> SharedSession:  # noqa: F811 - the fixture
    return SharedSession(moto_port)


class Stage:
    """An account in which the stack is there, and what CDK's command line was asked to do."""

    def __init__(self, session: SharedSession, folder: Path) -> None:
        self.folder = folder
        self.s3, self.cloudformation, self.ssm, self.people = (
            session.client(each) for each in ("s3", "cloudformation", "ssm", "cognito-idp")
        )
        self.bucket = f"console-{secrets.token_hex(6)}"
        self.s3.create_bucket(Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        self.pool = self.people.create_user_pool(PoolName="people")["UserPool"]["Id"]
        self.people.create_group(UserPoolId=self.pool, GroupName="owner")

    def cdk(self, *, ends_with: int = 0) -> Path:
        program = self.folder / "cdk"
        program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >> {self.folder}/asked\nexit {ends_with}\n')
        program.chmod(0o755)
        return program

    @property
    def asked(self) -> list[str]:
        path = self.folder / "asked"
        return path.read_text().splitlines() if path.exists() else []

    def deployed(self) -> None:
        outputs = {
            "ConsoleUrl": "https://d111.cloudfront.net",
            "ApiUrl": "https://abc.execute-api.eu-central-1.amazonaws.com",
            "SocketUrl": "wss://def.execute-api.eu-central-1.amazonaws.com/live",
            "SignInUrl": "https://pinthesky-1.auth.eu-central-1.amazoncognito.com",
            "MediaBucket": "media",
            "ClientId": "client0",
            "UserPoolId": self.pool,
            "ConsoleBucket": self.bucket,
        }
        template = {
            "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
            "Outputs": {key: {"Value": value} for key, value in outputs.items()},
        }
        self.cloudformation.create_stack(StackName="PinTheSky", TemplateBody=json.dumps(template))

    def bootstrapped(self, version: str) -> None:
        self.ssm.put_parameter(Name=deploy.BOOTSTRAP, Value=version, Type="String", Overwrite=True)

    def stored(self) -> dict[str, dict[str, Any]]:
        found = self.s3.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        return {each["Key"]: self.s3.head_object(Bucket=self.bucket, Key=each["Key"]) for each in found}

    def text(self, key: str) -> str:
        body: bytes = self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return body.decode()


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials of whoever runs the tests, and nobody to ask for any."""
    for name in (
        "AWS_PROFILE",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_DEFAULT_REGION",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_REGION", REGION)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.fixture
def stage(
    environment: None, session: SharedSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    console = tmp_path / "dist"
    (console / "assets").mkdir(parents=True)
    (console / "index.html").write_text("<!doctype html>")
    (console / "icon.svg").write_text("<svg/>")
    (console / "assets" / "index-1a2b.js").write_text("go()")
    monkeypatch.setattr(deploy, "account", lambda: deploy.Account(cast("boto3.Session", session), ACCOUNT, REGION))
    made = Stage(session, tmp_path)
    made.bootstrapped("21")
    monkeypatch.setattr(deploy, "CONSOLE", console)
    monkeypatch.setattr(deploy, "CDK", made.cdk())
    for name in ("BUILD_CONSOLE", "BUILD_ARCHIVES"):
        monkeypatch.setattr(deploy, name, (str(made.cdk()), name))
    yield made
    made.cloudformation.delete_stack(StackName="PinTheSky")


def test_everything_is_brought_and_the_addresses_are_said(stage: Stage, capsys: pytest.CaptureFixture[str]):
    stage.deployed()
    assert deploy.main(["deploy", "-c", "retentionDays=14", "--owner", OWNER]) == 0
    *built, asked = stage.asked
    assert built == ["BUILD_CONSOLE", "BUILD_ARCHIVES"]
    assert asked.startswith("deploy --all --require-approval broadening -c retentionDays=14")
    said = capsys.readouterr().out
    assert "https://d111.cloudfront.net" in said
    assert f"pitsctl install --home-kind aws --home-region {REGION}" in said
    assert f"{OWNER} was invited as an owner" in said


def test_the_line_for_pitsctl_is_one_that_it_takes():
    from pitsctl.command import parser

    taken = parser().parse_args(["install", "--home-kind", "aws", "--home-region", REGION])
    assert taken.command == "install"


def test_the_console_has_its_files_types_and_times(stage: Stage):
    stage.deployed()
    assert deploy.main(["deploy"]) == 0
    stored = stage.stored()
    assert {key: (each["ContentType"], each["CacheControl"]) for key, each in stored.items()} == {
        "index.html": ("text/html; charset=utf-8", "no-cache"),
        "settings.json": ("application/json", "no-cache"),
        "icon.svg": ("image/svg+xml", "no-cache"),
        "reference": ("text/html; charset=utf-8", "no-cache"),
        "assets/index-1a2b.js": ("text/javascript; charset=utf-8", "public, max-age=31536000, immutable"),
    }


def test_the_settings_have_the_shape_that_the_console_reads(stage: Stage):
    stage.deployed()
    assert deploy.main(["deploy"]) == 0
    settings = json.loads(stage.text("settings.json"))
    source = (ROOT / "console" / "src" / "api" / "settings.ts").read_text(encoding="utf-8")
    names = re.search(r"const names = \[(.+?)\]", source)
    assert names is not None
    assert set(settings) == set(re.findall(r'"(\w+)"', names[1]))
    assert settings["api"] == "https://abc.execute-api.eu-central-1.amazonaws.com"
    assert settings["signOut"].endswith("/logout?client_id=client0&logout_uri=https%3A%2F%2Fd111.cloudfront.net%2F")
    assert settings["passkeys"].endswith("&redirect_uri=https%3A%2F%2Fd111.cloudfront.net%2Fsigned-in")


def test_no_page_names_a_file_that_is_not_there_yet(stage: Stage):
    order = [
        each.key
        for each in deploy.uploads(dict.fromkeys(("ApiUrl", "SocketUrl", "SignInUrl", "ClientId", "ConsoleUrl"), "x"))
    ]
    assert order[0].startswith("assets/")
    assert order[-1] == "index.html"


def test_what_an_open_page_may_still_load_stays_for_a_week(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    stage.deployed()
    for key in ("assets/index-old.js", "left-over.txt"):
        stage.s3.put_object(Bucket=stage.bucket, Key=key, Body=b"")
    assert deploy.main(["deploy"]) == 0
    assert "assets/index-old.js" in stage.stored()
    assert "left-over.txt" not in stage.stored()

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(UTC) + timedelta(days=8)

    monkeypatch.setattr(deploy, "datetime", Later)
    assert deploy.main(["deploy"]) == 0
    assert "assets/index-old.js" not in stage.stored()
    assert "assets/index-1a2b.js" in stage.stored()


def test_an_owner_who_is_there_already_stays_one(stage: Stage, capsys: pytest.CaptureFixture[str]):
    stage.deployed()
    assert [deploy.main(["deploy", "--owner", OWNER]) for _ in range(2)] == [0, 0]
    groups = stage.people.admin_list_groups_for_user(UserPoolId=stage.pool, Username=OWNER)["Groups"]
    assert [each["GroupName"] for each in groups] == ["owner"]
    assert "was there already" in capsys.readouterr().out


def test_without_anybody_the_way_to_the_first_owner_is_said(stage: Stage, capsys: pytest.CaptureFixture[str]):
    stage.deployed()
    assert deploy.main(["deploy"]) == 0
    assert "make deploy OWNER=you@example.com" in capsys.readouterr().out


def test_without_credentials_nothing_is_begun(environment: None, capsys: pytest.CaptureFixture[str]):
    assert deploy.main(["deploy"]) == 1
    assert "deploy: no credentials of AWS were found: `aws configure`" in capsys.readouterr().err


def test_without_a_region_nothing_is_begun(
    environment: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert deploy.main(["diff"]) == 1
    assert "diff: no region is chosen" in capsys.readouterr().err


def test_the_variable_that_cdk_knows_names_the_region(
    environment: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert deploy.main(["diff"]) == 1
    assert "no credentials" in capsys.readouterr().err


def test_a_profile_that_is_not_there_is_named(
    environment: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert deploy.main(["diff"]) == 1
    assert "nobody" in capsys.readouterr().err


@pytest.mark.parametrize("version, said", [(None, "CDK was never used in"), ("5", "of an old version (5)")])
def test_a_region_without_what_cdk_needs_is_told_the_command(
    stage: Stage, version: str | None, said: str, capsys: pytest.CaptureFixture[str]
):
    if version is None:
        stage.ssm.delete_parameter(Name=deploy.BOOTSTRAP)
    else:
        stage.bootstrapped(version)
    assert deploy.main(["deploy"]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert re.search(r"bootstrap aws://\d{12}/eu-central-1", error)
    assert not stage.asked


def test_what_cannot_be_built_is_shown_and_nothing_is_deployed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(deploy, "BUILD_ARCHIVES", ("sh", "-c", "echo no wheels here >&2; exit 1"))
    assert deploy.main(["deploy"]) == 1
    assert "no wheels here" in capsys.readouterr().err
    assert stage.asked == ["BUILD_CONSOLE"]


def test_what_cdk_gives_up_nobody_uploads_after(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    stage.deployed()
    monkeypatch.setattr(deploy, "build", lambda *_: None)
    monkeypatch.setattr(deploy, "CDK", stage.cdk(ends_with=3))
    assert deploy.main(["deploy"]) == 1
    assert "`cdk deploy` ended with 3" in capsys.readouterr().err
    assert not stage.stored()


def test_a_console_that_is_not_built_is_named(stage: Stage, capsys: pytest.CaptureFixture[str]):
    stage.deployed()
    (deploy.CONSOLE / "index.html").unlink()
    assert deploy.main(["deploy"]) == 1
    assert "the console is not built: make console" in capsys.readouterr().err


def test_a_command_line_of_cdk_that_is_missing_is_named(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(deploy, "CDK", stage.folder / "missing")
    assert deploy.main(["diff"]) == 1
    assert "make setup" in capsys.readouterr().err


def test_what_would_change_is_asked_of_cdk(stage: Stage):
    assert deploy.main(["diff", "-c", "alarms=true"]) == 0
    built, asked = stage.asked
    assert built == "BUILD_ARCHIVES"
    assert asked.startswith("diff -c alarms=true")


def test_taking_it_away_empties_the_console_and_leaves_the_store(stage: Stage, capsys: pytest.CaptureFixture[str]):
    stage.deployed()
    stage.s3.put_object(Bucket=stage.bucket, Key="index.html", Body=b"")
    assert deploy.main(["destroy", "--yes"]) == 0
    (asked,) = stage.asked
    assert asked.startswith("destroy PinTheSky --force")
    assert not stage.stored()
    assert "PinTheSky-Store stays" in capsys.readouterr().out


def test_who_does_not_mean_it_loses_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    stage.deployed()
    stage.s3.put_object(Bucket=stage.bucket, Key="index.html", Body=b"")
    monkeypatch.setattr("builtins.input", lambda _: "yes")
    assert deploy.main(["destroy"]) == 1
    assert stage.stored()
    assert not stage.asked


def test_what_is_not_there_cannot_be_taken_away(stage: Stage, capsys: pytest.CaptureFixture[str]):
    assert deploy.main(["destroy", "--yes"]) == 1
    assert "there is no stack PinTheSky in eu-central-1" in capsys.readouterr().err
