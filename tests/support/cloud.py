"""A cloud on this machine for a whole daemon: credentials by certificate, S3 with faults on demand, what was stored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.aws_fixtures import moto_client
from tests.support.aws_servers import CredentialsServer, FaultyS3
from tests.support.daemon_process import DaemonProcess
from tests.support.fake_device_client import FakeDeviceClient

SMALL = ("--resolution", "160x120", "--framerate", "10", "--encoding-bitrate", "150000")


class Cloud:
    """The servers behind the daemon, and what it stored there."""

    def __init__(self, credentials: CredentialsServer, store: FaultyS3, *, moto_port: int, bucket: str) -> None:
        self.credentials = credentials
        self.store = store
        self.bucket = bucket
        self._moto = moto_client(moto_port, "s3")

    def daemon(self, folder: Path, *flags: str, camera: str) -> DaemonProcess:
        """A daemon with what an installation for this cloud writes."""
        return DaemonProcess(
            folder / "daemon",
            camera,
            *SMALL,
            *("--buffer", "1", "--post-roll", "1"),
            *("--thing-cert", str(self.credentials.thing.cert), "--thing-key", str(self.credentials.thing.key)),
            *("--ca-cert", str(self.credentials.authority.cert)),
            *("--credentials-endpoint", self.credentials.endpoint, "--role-alias", self.credentials.role_alias),
            *("--s3-endpoint", self.store.url, "--bucket-name", self.bucket),
            *flags,
        )

    def objects(self) -> dict[str, dict[str, Any]]:
        """What is in the bucket, each key with S3's whole answer; `Body` is read, `Tags` are added."""
        found = {}
        for entry in self._moto.list_objects_v2(Bucket=self.bucket).get("Contents", []):
            place = {"Bucket": self.bucket, "Key": entry["Key"]}
            answer = self._moto.get_object(**place)
            tags = self._moto.get_object_tagging(**place)["TagSet"]
            found[entry["Key"]] = {**answer, "Body": answer["Body"].read(), "Tags": tags}
        return found

    def clips(self, folder: Path) -> list[Path]:
        """Copies of the clips in the bucket."""
        copies = []
        for key, answer in self.objects().items():
            if key.endswith(".mp4"):
                copies.append(folder / key.rpartition("/")[2])
                copies[-1].write_bytes(answer["Body"])
        return copies

    @property
    def clips_put(self) -> list[str]:
        """Keys of the clips that the store took, in order."""
        return [path.partition(self.bucket + "/")[2] for path, _ in self.store.puts if path.endswith(".mp4")]

    def get_well(self) -> None:
        """Every fault ends."""
        self.credentials.standing_fault = self.store.standing_fault = None
        self.credentials.faults.clear()
        self.store.faults.clear()


@pytest.fixture
def cloud(credentials_server: CredentialsServer, s3: FaultyS3, moto_port: int, bucket: str) -> Iterator[Cloud]:
    """A cloud that is well."""
    made = Cloud(credentials_server, s3, moto_port=moto_port, bucket=bucket)
    yield made
    made.get_well()


def told(client: FakeDeviceClient, name: str, **fields: Any) -> list[dict[str, Any]]:
    """Published events of a name with these fields."""
    return [event for event in client.events if event["name"] == name and fields.items() <= event.items()]
