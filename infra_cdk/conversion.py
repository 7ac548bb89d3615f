"""Bare H.264 streams of older devices become clips: a function with PyAV, from an archive, without a container."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from aws_cdk import Duration
from constructs import Construct

from infra_cdk.functions import PlanesFunction

MEMORY_MB = 2048


class Conversion(Construct):
    """Called by the other functions, who wait for it. It reaches clips, and nothing else."""

    def __init__(
        self, scope: Construct, name: str, *, archive: Path, environment: Mapping[str, str], log_days: int
    ) -> None:
        super().__init__(scope, name)
        self.function = PlanesFunction(
            self,
            "Function",
            handler="conversion",
            archive=archive,
            timeout=Duration.minutes(5),
            memory_mb=MEMORY_MB,
            description="Make a clip of a bare stream",
            log_days=log_days,
            environment=environment,
        )
