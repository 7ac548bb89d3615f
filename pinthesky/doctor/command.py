"""`pinthesky-doctor`: looks at the camera on this machine, as its own user, with its own key. Changes no setting.

Exit codes: 0 nothing has failed, 1 something has, 2 wrongly asked.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Optional
from urllib.parse import urlsplit

import msgspec

from pinthesky.aws.credentials import CredentialsEndpoint
from pinthesky.aws.object_store import S3ObjectStore
from pinthesky.aws.session import AwsSession, session_for
from pinthesky.device import flags
from pinthesky.device.timekeeping import SystemClock
from pinthesky.doctor import installed, machine_checks, network, round_trips
from pinthesky.errors import InvalidInput, PinTheSkyError
from pinthesky.model.findings import Finding, Findings, found
from pinthesky.version import __version__

_MARKS = {"ok": "ok", "warning": "look", "failed": "FAIL", "skipped": "-"}


class _Range:
    """Numbers from one to another, as argparse's `choices`."""

    def __init__(self, least: float, most: float) -> None:
        self._least, self._most = least, most

    def __contains__(self, value: object) -> bool:
        return isinstance(value, float) and self._least <= value <= self._most

    def __iter__(self) -> Iterator[str]:
        yield f"{self._least:g} to {self._most:g}"


class SelfTest:
    """One look at everything, in an order in which what fails first explains what fails after it."""

    def __init__(self, daemon_file: Path, client_file: Path, *, wait_s: float) -> None:
        """Raises InvalidInput: what is installed cannot be read."""
        variables = installed.environment_in(daemon_file)
        try:
            words = shlex.split(variables.get(installed.FLAGS, ""))
        except ValueError as error:
            raise InvalidInput(str(daemon_file), f"{installed.FLAGS}: {error}") from error
        self._options = flags.parse(words, variables)
        # A machine for which there is no device client has none, and the daemon records all the same.
        self._client = installed.client_in(client_file) if client_file.exists() else None
        self._wait_s = wait_s
        self._clock = SystemClock()
        self._skew_s: Optional[float] = None
        self._has_credentials = False

    def findings(self) -> Iterator[Finding]:
        """Each finding when it is there. Takes seconds, and at most about two minutes."""
        now_s = self._clock.wall()
        yield found("versions", "ok", f"pinthesky {__version__}, Python {platform.python_version()}")
        certificate = self._options.cloud_connection.cert_path if self._client is None else self._client.cert
        if certificate is not None:
            yield network.own_certificate("certificate", Path(certificate), now_s)
        if self._client is None:
            yield found("reach MQTT", "skipped", "no device client is configured")
        for server in self._servers():
            yield network.reach(server, now_s)
        credentials = self._credentials()
        yield machine_checks.clock(self._clock.synchronised(), self._skew_s)
        yield credentials
        yield self._test_put()
        yield machine_checks.disk(self._options.spool_dir, min_free=self._options.spool_min_free)
        yield machine_checks.power()
        yield from self._through_the_daemon()

    def _servers(self) -> Iterator[network.Server]:
        client, options, cloud = self._client, self._options, self._options.cloud_connection
        if client is not None:
            identity = (client.cert, client.key)
            yield network.Server("reach MQTT", client.endpoint, client.port, client.root_ca, identity)
        seen: set[tuple[str, int]] = set()
        dataplane = options.settings.dataplane
        for check, address, ca in (
            ("reach credentials", cloud.credentials_endpoint, cloud.cacert_path),
            ("reach store", options.s3_endpoint, options.ca_bundle),
            ("reach data plane", dataplane.endpoint_url if dataplane.enabled else None, options.ca_bundle),
        ):
            if address:
                parts = urlsplit(address if "://" in address else f"https://{address}")
                where = (parts.hostname or "", parts.port or 443)
                if parts.scheme == "https" and where not in seen:
                    seen.add(where)
                    yield network.Server(check, *where, None if ca is None else Path(ca))

    def _credentials(self) -> Finding:
        cloud, check = self._options.cloud_connection, "credentials"
        if not (cloud.credentials_endpoint and cloud.cert_path and cloud.key_path and cloud.role_alias):
            return found(check, "skipped", "this camera fetches none")
        try:
            endpoint = CredentialsEndpoint(
                endpoint=cloud.credentials_endpoint,
                role_alias=cloud.role_alias,
                thing_name=self._options.thing_name,
                cert=Path(cloud.cert_path),
                key=Path(cloud.key_path),
                ca=Path(cloud.cacert_path or ""),
                clock=self._clock,
            )
            lease = endpoint.current()
        except PinTheSkyError as error:
            advice = "The certificate has to be active, its policy to allow the role alias, and the thing to exist."
            return found(check, "failed", str(error), advice=advice)
        self._skew_s, self._has_credentials = endpoint.skew_s, True
        return found(check, "ok", f"good for {(lease.expires_at - self._clock.monotonic()) / 60:.0f} minutes")

    def _test_put(self) -> Finding:
        storage, check = self._options.settings.storage, "test PUT"
        if not storage.enabled or storage.bucket_name is None:
            return found(check, "skipped", "no bucket is set")
        if not self._has_credentials:
            return found(check, "skipped", "there are no credentials")
        try:
            store = S3ObjectStore(self._session(), self._clock)
            for prefix in (storage.video_prefix, storage.image_prefix):
                store.probe(bucket=str(storage.bucket_name), prefix=f"{prefix}/{self._options.thing_name}")
        except PinTheSkyError as error:
            advice = "Look at bucket, region and the role's permissions, or at the hub's log and disk."
            return found(check, "failed", str(error), advice=advice)
        return found(check, "ok", f"{storage.bucket_name} takes what is stored under {self._options.thing_name}")

    def _session(self) -> AwsSession:
        options = self._options
        return session_for(
            options.cloud_connection,
            thing_name=options.thing_name,
            clock=self._clock,
            region=options.region,
            s3_endpoint=options.s3_endpoint,
            ca_bundle=options.ca_bundle,
        )

    def _through_the_daemon(self) -> Iterator[Finding]:
        client, options = self._client, self._options
        answer = round_trips.ask_daemon(options.event_input, options.state_dir, self._wait_s)
        if answer is None:
            advice = "`systemctl status pinthesky` and `journalctl -u pinthesky -n 50` say why."
            yield found("daemon", "failed", "it does not answer", advice=advice)
        else:
            report = answer["report"]
            yield found("daemon", "ok", f"up for {report.get('up_time', 0) / 3600:.1f} hours")
            yield machine_checks.frames(report, round_trips.mode_in(options.configure_input))
            yield machine_checks.uploads(report)
            if client is not None:
                yield round_trips.publish(client.queue, options.thing_name, report, timeout_s=self._wait_s)
        if client is not None:
            yield round_trips.shadow(client.shadow_input, client.shadow_output, self._wait_s)


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    made = argparse.ArgumentParser(
        prog="pinthesky-doctor", description="Looks at the camera on this machine from end to end.", allow_abbrev=False
    )
    made.add_argument("--version", action="version", version=f"pinthesky-doctor {__version__}")
    made.add_argument(
        "--wait",
        type=float,
        choices=_Range(0.1, 300.0),
        default=round_trips.ANSWER_S,
        metavar="SECONDS",
        help="for each answer of the daemon and through the cloud, 0.1 to 300 (default: 15)",
    )
    made.add_argument("--json", action="store_true", help="one JSON document, for programs")
    files = (("--daemon-file", installed.DAEMON_FILE), ("--client-file", installed.CLIENT_FILE))
    for name, default in files:
        made.add_argument(name, type=Path, default=default, metavar="FILE", help=f"default: {default}")
    return made


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Entry point."""
    options = parser().parse_args(sys.argv[1:] if arguments is None else list(arguments))
    # Whatever the parts would log is in the findings.
    logging.disable(logging.CRITICAL)
    shown: list[Finding] = []

    def show(finding: Finding) -> None:
        shown.append(finding)
        if not options.json:
            sys.stdout.write(line_of(finding))
            sys.stdout.flush()

    try:
        for finding in SelfTest(options.daemon_file, options.client_file, wait_s=options.wait).findings():
            show(finding)
    except InvalidInput as error:
        advice = "Run `pitsctl install` again, or put it right by hand."
        if isinstance(error.__cause__, PermissionError):
            advice = f"Run this as the camera's user: sudo -u pinthesky {os.path.basename(sys.argv[0])}"  # noqa: PTH119 - a word for people
        show(found("configuration", "failed", str(error), advice=advice))
    except OSError as error:
        show(found("self-test", "failed", f"this machine does not let itself be looked at: {error}"))
    result = Findings(version=__version__, findings=shown)
    if options.json:
        sys.stdout.write(msgspec.json.encode(result).decode() + "\n")
    return 0 if result.is_well else 1


def line_of(finding: Finding) -> str:
    """A finding for a terminal."""
    advice = f"\n       → {finding.advice}" if finding.advice and finding.state in ("failed", "warning") else ""
    return f"{_MARKS[finding.state]:>4}   {finding.check}: {finding.what}{advice}\n"
