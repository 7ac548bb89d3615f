"""An archive of functions, unpacked and running as Lambda would run it, and the account of moto that it works in."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

from tests.planes.fakes import Clock
from tests.support.aws_planes import ACCOUNT, moto_clients, new_bucket, new_table
from tests.support.aws_servers import REGION
from tests.support.house.source import ROOT
from tests.support.user_pool import CLIENT
from tools import lambda_archives, prepare

ANSWER_TIMEOUT_S = 60.0


def interpreter() -> str:
    """The Python that this machine's archives are for, past every environment."""
    version = lambda_archives.python_of("native")
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    found = prepare.find_python(version) or (base_executable() if version == here else None)
    assert found is not None, f"this machine's archives are for Python {version}, which it does not have: make setup"
    return found


def base_executable() -> str:
    """The Python under this environment."""
    return str(Path(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}"))


class RunningFunction:
    """A process with an unpacked archive; a context manager. `environment` is all that it is told."""

    def __init__(self, archive: Path, folder: Path, environment: Mapping[str, str]) -> None:
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(folder)
        program = ROOT / "tests" / "support" / "lambda_runtime.py"
        self.folder = folder
        self._process = subprocess.Popen(
            [interpreter(), "-I", "-S", str(program), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(environment),
            cwd=folder,
            text=True,
        )
        self.imported = self._line()
        """What importing the handlers took, and `modules` with the files that they come from."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(ANSWER_TIMEOUT_S)
        self._process.stdout.close()

    def call(self, handler: str, event: object) -> dict[str, Any]:
        """What a handler makes of an event: `answer`, or `error` and `message`; and its `operations`."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"handler": handler, "event": event}) + "\n")
        self._process.stdin.flush()
        return self._line()

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        timer = threading.Timer(ANSWER_TIMEOUT_S, self._process.kill)
        timer.start()
        try:
            line = self._process.stdout.readline()
        finally:
            timer.cancel()
        assert line, f"the function has ended: {self._process.wait(5)}"
        said: dict[str, Any] = json.loads(line)
        return said


class Account(NamedTuple):
    """What a deployment makes, at moto: with a camera `garden`, and an owner whom its pool knows."""

    port: int
    bucket: str
    pool: str
    owner: str
    environment: dict[str, str]

    def client(self, service: str) -> Any:
        """A client of moto's."""
        return moto_clients(self.port).get(service)

    def store(self, key: str, data: bytes, content_type: str, **metadata: str) -> None:
        """What a camera stores."""
        self.client("s3").put_object(
            Bucket=self.bucket,
            Key=key,
            Body=data,
            ContentType=content_type,
            Metadata=metadata,
            Tagging="retention=standard",
        )


def new_account(port: int, connections_endpoint: str) -> Account:
    """An account of its own, as far as names go."""
    clients, end = moto_clients(port), secrets.token_hex(6)
    cognito, iot = clients.get("cognito-idp"), clients.get("iot")
    bucket, table = new_bucket(port), new_table(port, Clock())
    pool = cognito.create_user_pool(PoolName=f"home-{end}", UsernameAttributes=["email"])["UserPool"]["Id"]
    cognito.create_identity_provider(
        UserPoolId=pool, ProviderName="Google", ProviderType="Google", ProviderDetails={"client_id": "x"}
    )
    for role in ("owner", "member", "viewer"):
        cognito.create_group(UserPoolId=pool, GroupName=role)
    made = cognito.admin_create_user(UserPoolId=pool, Username="owner@example.com")["User"]
    cognito.admin_add_user_to_group(UserPoolId=pool, Username=made["Username"], GroupName="owner")
    iot.create_thing(thingName="garden")
    owner = next(each["Value"] for each in made["Attributes"] if each["Name"] == "sub")
    environment = {
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "PITS_TABLE": table._name,
        "PITS_MEDIA_BUCKET": str(bucket),
        "PITS_CONSOLE": "https://home.test",
        "PITS_CONNECTIONS_ENDPOINT": connections_endpoint,
        "PITS_USER_POOL": pool,
        "PITS_CLIENT_IDS": CLIENT,
        "PITS_ALERTS_TOPIC": clients.get("sns").create_topic(Name=f"alerts-{end}")["TopicArn"],
        "PITS_THING_ARNS": f"arn:aws:iot:{REGION}:{ACCOUNT}:thing/",
        "PITS_CAMERA_POLICY": "camera",
        "PITS_ROLE_ALIAS": "camera",
        "PITS_CONVERSION_FUNCTION": "conversion",
        "PITS_LABELS": "true",
        "PITS_CLIPS_DAYS": "0",
        "PITS_STILLS_DAYS": "0",
    }
    return Account(port, str(bucket), pool, owner, environment)
