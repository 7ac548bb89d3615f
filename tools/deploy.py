#!/usr/bin/env python3
"""Brings the cloud home into an AWS account, shows what would change, and takes it away again.

    python -m tools.deploy deploy [--owner you@example.com] [-c key=value …]
    python -m tools.deploy diff [-c key=value …]
    python -m tools.deploy destroy [--yes]

`make deploy`, `make diff` and `make destroy` call it. Account and region are those of the AWS command line:
AWS_PROFILE, AWS_REGION and its own files. Settings stand in `infra_cdk/cdk.context.json` (see infra_cdk/README.md), and
`-c` goes before them for this once.
"""

from __future__ import annotations

import argparse
import json
import mimetypes
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import boto3
import botocore.exceptions

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from infra_cdk.names import HOME_STACK, SIGNED_IN_PATH, STORE_STACK  # noqa: E402 - a program may be started by its path
from infra_cdk.preview import environment  # noqa: E402 - the same

APPLICATION = ROOT / "infra_cdk"
CDK = APPLICATION / "node_modules" / ".bin" / "cdk"
OUTPUT = ROOT / "build" / "cdk.out"
CONSOLE = ROOT / "console" / "dist"
REFERENCE = ROOT / "docs" / "reference" / "http-api.html"
BOOTSTRAP = "/cdk-bootstrap/hnb659fds/version"
"""The parameter that `cdk bootstrap` leaves behind."""
OLDEST_BOOTSTRAP = 6
FOR_EVER = "public, max-age=31536000, immutable"
ASK_EACH_TIME = "no-cache"
OLD_ASSETS_STAY = timedelta(days=7)
"""For pages that were opened before: they load what they need later by its old name."""
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".json": "application/json"}


BUILD_CONSOLE = ("npm", "--prefix", "console", "run", "build")
BUILD_ARCHIVES = (sys.executable, "-m", "tools.lambda_archives")


class CannotDeploy(Exception):
    """Something is missing that only the person at the machine can give."""


class Account(NamedTuple):
    """Where it goes."""

    session: boto3.Session
    number: str
    region: str


class Upload(NamedTuple):
    """An object of the console."""

    key: str
    body: bytes
    kind: str
    lasting: str


def account() -> Account:
    """The account and region of the AWS command line. Raises CannotDeploy with what to do."""
    try:
        # boto3 does not know this variable, which CDK and the AWS command line do.
        session = boto3.Session(region_name=os.environ.get("AWS_REGION") or None)
    except botocore.exceptions.ProfileNotFound as error:
        raise CannotDeploy(f"{error}. `aws configure list-profiles` shows those that there are") from error
    if not session.region_name:
        raise CannotDeploy("no region is chosen: AWS_REGION=eu-central-1 make deploy, or `aws configure`")
    try:
        number = str(session.client("sts").get_caller_identity()["Account"])
    except (botocore.exceptions.NoCredentialsError, botocore.exceptions.PartialCredentialsError) as error:
        raise CannotDeploy(
            "no credentials of AWS were found: `aws configure` or `aws sso login`, and AWS_PROFILE where there are "
            "several accounts"
        ) from error
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
        raise CannotDeploy(f"AWS does not take these credentials: {error}") from error
    return Account(session, number, session.region_name)


def check_bootstrap(home: Account) -> None:
    """Raise CannotDeploy unless this region has what CDK needs once."""
    command = f"{os.path.relpath(CDK, ROOT)} bootstrap aws://{home.number}/{home.region}"
    try:
        found = home.session.client("ssm").get_parameter(Name=BOOTSTRAP)["Parameter"]["Value"]
    except home.session.client("ssm").exceptions.ParameterNotFound as error:
        raise CannotDeploy(
            f"CDK was never used in {home.region} of account {home.number}. Once for each region:\n  {command}"
        ) from error
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
        raise CannotDeploy(f"whether CDK may be used here cannot be told: {error}") from error
    if not str(found).isdigit() or int(found) < OLDEST_BOOTSTRAP:
        raise CannotDeploy(
            f"what CDK needs in {home.region} is of an old version ({found}). Bring it up to date:\n  {command}"
        )


def build(*commands: Sequence[str]) -> None:
    """Run what builds something, and show what it printed only if it failed. Raises CannotDeploy."""
    for command in commands:
        print(f"Building: {' '.join(command[-3:])}", flush=True)
        ended = subprocess.run(command, cwd=ROOT, env=environment(), check=False, capture_output=True, text=True)
        if ended.returncode != 0:
            raise CannotDeploy(f"`{' '.join(command)}` failed:\n{ended.stdout}{ended.stderr}".rstrip())


def cdk(home: Account, *arguments: str) -> None:
    """Run CDK's own command line in the account's region. Raises CannotDeploy if it fails; it has said why."""
    if not CDK.exists():
        raise CannotDeploy("the command line of CDK is missing: make setup")
    ended = subprocess.run(
        [str(CDK), *arguments, "--output", str(OUTPUT)],
        cwd=APPLICATION,
        env={**environment(), "AWS_REGION": home.region, "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "1"},
        check=False,
    )
    if ended.returncode != 0:
        raise CannotDeploy(f"`cdk {arguments[0]}` ended with {ended.returncode}")


def outputs_of(home: Account) -> dict[str, str]:
    """What the stack says of itself. Empty where there is none."""
    client = home.session.client("cloudformation")
    try:
        (stack,) = client.describe_stacks(StackName=HOME_STACK)["Stacks"]
    except botocore.exceptions.ClientError as error:
        if error.response["Error"]["Code"] == "ValidationError":
            return {}
        raise
    return {each["OutputKey"]: each["OutputValue"] for each in stack.get("Outputs", [])}


def settings_of_console(outputs: Mapping[str, str]) -> dict[str, str]:
    """What the console reads from `/settings.json`: the same shape as at home."""
    sign_in, console, client = outputs["SignInUrl"], outputs["ConsoleUrl"], outputs["ClientId"]
    passkeys = {
        "client_id": client,
        "response_type": "code",
        "scope": "openid email",
        "redirect_uri": f"{console}{SIGNED_IN_PATH}",
    }
    return {
        "api": outputs["ApiUrl"],
        "socket": outputs["SocketUrl"],
        "authorize": f"{sign_in}/oauth2/authorize",
        "token": f"{sign_in}/oauth2/token",
        "signOut": f"{sign_in}/logout?{urlencode({'client_id': client, 'logout_uri': f'{console}/'})}",
        "passkeys": f"{sign_in}/passkeys/add?{urlencode(passkeys)}",
        "clientId": client,
    }


def uploads(outputs: Mapping[str, str]) -> Iterator[Upload]:
    """The console's objects, what others refer to first: no page names a file that is not there yet."""
    files = sorted(path for path in CONSOLE.rglob("*") if path.is_file())
    if CONSOLE / "index.html" not in files:
        raise CannotDeploy("the console is not built: make console")
    named = {path: path.relative_to(CONSOLE).as_posix() for path in files}
    for path, key in sorted(
        named.items(), key=lambda item: (item[1] == "index.html", not item[1].startswith("assets/"))
    ):
        lasting = FOR_EVER if key.startswith("assets/") else ASK_EACH_TIME
        if key == "index.html":
            settings = json.dumps(settings_of_console(outputs), indent=2).encode()
            yield Upload("settings.json", settings, "application/json", ASK_EACH_TIME)
            yield Upload("reference", REFERENCE.read_bytes(), "text/html; charset=utf-8", ASK_EACH_TIME)
        yield Upload(key, path.read_bytes(), _kind_of(path), lasting)


def upload_console(home: Account, outputs: Mapping[str, str]) -> int:
    """Bring the console, and remove what was brought before and is of no use to anybody. Returns how many there are."""
    client, bucket = home.session.client("s3"), outputs["ConsoleBucket"]
    brought = set()
    for each in uploads(outputs):
        client.put_object(Bucket=bucket, Key=each.key, Body=each.body, ContentType=each.kind, CacheControl=each.lasting)
        brought.add(each.key)
    too_old = datetime.now(UTC) - OLD_ASSETS_STAY
    stale = [
        key
        for key, changed in _objects(client, bucket)
        if key not in brought and (not key.startswith("assets/") or changed < too_old)
    ]
    _remove(client, bucket, stale)
    return len(brought)


def invite_owner(home: Account, outputs: Mapping[str, str], email: str) -> str:
    """Make the first owner, to whom Cognito sends a mail. Returns what was done, as a sentence."""
    client, pool = home.session.client("cognito-idp"), outputs["UserPoolId"]
    try:
        client.admin_create_user(
            UserPoolId=pool,
            Username=email,
            UserAttributes=[{"Name": "email", "Value": email}, {"Name": "email_verified", "Value": "true"}],
            DesiredDeliveryMediums=["EMAIL"],
        )
        done = f"{email} was invited as an owner, and has mail."
    except client.exceptions.UsernameExistsException:
        done = f"{email} was there already, and is an owner."
    client.admin_add_user_to_group(UserPoolId=pool, Username=email, GroupName="owner")
    return done


def deploy(home: Account, context: Sequence[str], *, owner: str | None) -> None:
    """Everything, in the order of what is needed first."""
    check_bootstrap(home)
    build(BUILD_CONSOLE, BUILD_ARCHIVES)
    cdk(home, "deploy", "--all", "--require-approval", "broadening", *_context(context))
    outputs = outputs_of(home)
    count = upload_console(home, outputs)
    invited = (
        invite_owner(home, outputs, owner)
        if owner
        else (
            "Nobody can sign in before there is an owner: make deploy OWNER=you@example.com"
            if not _has_people(home, outputs)
            else ""
        )
    )
    print(f"\nThe console is up to date ({count} files).")
    for name, key in (
        ("console", "ConsoleUrl"),
        ("API", "ApiUrl"),
        ("socket", "SocketUrl"),
        ("recordings", "MediaBucket"),
    ):
        print(f"  {name + ':':<12}{outputs[key]}")
    if invited:
        print(invited)
    print(f"To set a camera up:\n  pitsctl install --home-kind aws --home-region {home.region}")


def destroy(home: Account, *, agreed: bool) -> None:
    """Take the planes and the console away. What must survive stays in its own stack."""
    outputs = outputs_of(home)
    if not outputs:
        raise CannotDeploy(f"there is no stack {HOME_STACK} in {home.region} of account {home.number}")
    print(f"The stack {HOME_STACK} goes: APIs, functions, rules, the console at {outputs['ConsoleUrl']}.")
    print(f"{STORE_STACK} stays: recordings, records, people, and what cameras hold on to.")
    if not agreed and input(f"Type {HOME_STACK} to go on: ").strip() != HOME_STACK:
        raise CannotDeploy("nothing was changed")
    client, bucket = home.session.client("s3"), outputs["ConsoleBucket"]
    _remove(client, bucket, [key for key, _ in _objects(client, bucket)])
    cdk(home, "destroy", HOME_STACK, "--force")


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is asked. Returns 1 where it cannot be done, with one clear message."""
    parser = argparse.ArgumentParser(prog="python -m tools.deploy", description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("deploy", "diff", "destroy"))
    parser.add_argument(
        "-c", "--context", action="append", default=[], metavar="KEY=VALUE", help="a setting, this once"
    )
    parser.add_argument("--owner", metavar="EMAIL", help="with deploy: invite this person as an owner")
    parser.add_argument("--yes", action="store_true", help="with destroy: do not ask")
    asked = parser.parse_args(arguments)
    try:
        home = account()
        print(f"Account {home.number}, region {home.region}.", flush=True)
        if asked.what == "deploy":
            deploy(home, asked.context, owner=asked.owner)
        elif asked.what == "diff":
            build(BUILD_ARCHIVES)
            cdk(home, "diff", *_context(asked.context))
        else:
            destroy(home, agreed=asked.yes)
    except CannotDeploy as problem:
        print(f"{asked.what}: {problem}", file=sys.stderr)
        return 1
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
        print(f"{asked.what}: AWS says: {error}", file=sys.stderr)
        return 1
    return 0


def _context(settings: Sequence[str]) -> list[str]:
    return [part for each in settings for part in ("-c", each)]


def _has_people(home: Account, outputs: Mapping[str, str]) -> bool:
    found = home.session.client("cognito-idp").list_users(UserPoolId=outputs["UserPoolId"], Limit=1)
    return bool(found["Users"])


def _kind_of(path: Path) -> str:
    kind = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


def _objects(client: Any, bucket: str) -> Iterator[tuple[str, datetime]]:
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for each in page.get("Contents", []):
            yield each["Key"], each["LastModified"]


def _remove(client: Any, bucket: str, keys: Sequence[str]) -> None:
    for start in range(0, len(keys), 1000):
        some = [{"Key": key} for key in keys[start : start + 1000]]
        client.delete_objects(Bucket=bucket, Delete={"Objects": some, "Quiet": True})


if __name__ == "__main__":
    sys.exit(main())
