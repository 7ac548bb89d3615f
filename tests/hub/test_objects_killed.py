"""`kill -9` of the hub while cameras upload: what was answered with 200 is there, whole, and nothing is there twice."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from pinthesky.hub.ports import MEDIA_BUCKET, REGION
from tests.support.hub_media import MediaBench
from tests.support.hub_objects_process import PROGRAM

UPLOADERS = 3


class Hub:
    """A hub in a process of its own, on one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = 0
        self.pid = 0

    @contextlib.contextmanager
    def life(self) -> Iterator[Any]:
        """Start it, give a maker of clients, and kill it."""
        command = [sys.executable, "-m", PROGRAM, str(self._folder), str(self._port)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            self._port, self.pid = told["port"], process.pid
            try:
                yield lambda: client(told)
            finally:
                process.send_signal(signal.SIGKILL)
                process.wait(10)


def client(told: dict[str, Any]) -> Any:
    """boto3's client of a hub that has told where it is."""
    return botocore.session.Session().create_client(
        "s3",
        region_name=REGION,
        endpoint_url=told["url"],
        verify=told["ca"],
        aws_access_key_id=told["key"]["access_key_id"],
        aws_secret_access_key=told["key"]["secret_access_key"],
        aws_session_token=told["key"]["session_token"],
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, read_timeout=10),
    )


class Uploader(threading.Thread):
    """Stores one object after the other, as a camera does: again until the store says that it has it."""

    def __init__(
        self, make_client: Any, waiting: list[str], stored: dict[str, str], contents: dict[str, bytes]
    ) -> None:
        super().__init__()
        self._client = make_client()
        self._waiting, self._stored, self._contents = waiting, stored, contents

    def run(self) -> None:
        """Until the hub is gone."""
        while self._waiting:
            key = self._waiting.pop()
            content = self._contents.setdefault(key, os.urandom(random.randrange(1, 400_000)))
            try:
                self._client.put_object(Bucket=MEDIA_BUCKET, Key=key, Body=content, IfNoneMatch="*")
            except self._client.exceptions.ClientError as error:
                if error.response["Error"]["Code"] != "PreconditionFailed":
                    raise
            except BotoCoreError:
                self._waiting.append(key)
                break
            self._stored[key] = hashlib.md5(content).hexdigest()
        self._client.close()


def check_kills(folder: Path, kills: int) -> None:
    """Kill it again and again."""
    hub, source = Hub(folder), random.Random(4)
    waiting = [f"motion_videos/garden/{1800000000 + number}-{number:032x}.motion.mp4" for number in range(4000)]
    stored: dict[str, str] = {}
    contents: dict[str, bytes] = {}
    for _ in range(kills):
        with hub.life() as make_client:
            uploaders = [Uploader(make_client, waiting, stored, contents) for _ in range(UPLOADERS)]
            for uploader in uploaders:
                uploader.start()
            end_s = time.monotonic() + source.uniform(0.1, 0.8)
            while time.monotonic() < end_s:
                time.sleep(0.01)
        for uploader in uploaders:
            uploader.join(20)
    bench = MediaBench(folder)
    assert len(stored) > kills
    assert bench.recovery.kept + bench.recovery.entered >= len(stored)
    for key, md5 in stored.items():
        with bench.folder.open(key)[1] as file:
            assert hashlib.md5(file.read()).hexdigest() == md5
    files = bench.files()
    assert len(files) == 2 * bench.index.usage().objects
    bench.database.close()


def peak_mb(pid: int) -> float:
    """The most memory that was ever resident."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def test_a_body_streams_to_the_disk_and_never_into_memory(tmp_path: Path) -> None:
    clip = tmp_path / "clip"
    with clip.open("wb") as file:
        file.truncate(200 * 1024 * 1024)
    hub, key = Hub(tmp_path / "hub"), f"motion_videos/garden/1800000000-{1:032x}.motion.mp4"
    with hub.life() as make_client, contextlib.closing(make_client()) as s3, clip.open("rb") as body:
        before_mb = peak_mb(hub.pid)
        s3.put_object(Bucket=MEDIA_BUCKET, Key=key, Body=body, IfNoneMatch="*")
        assert peak_mb(hub.pid) - before_mb < 30


def test_what_was_answered_is_there_after_kills(tmp_path: Path) -> None:
    check_kills(tmp_path, 2)


@pytest.mark.soak
def test_what_was_answered_is_there_after_many_kills(tmp_path: Path) -> None:
    check_kills(tmp_path, 60)
