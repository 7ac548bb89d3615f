"""The topic of alerts: the planes choose who hears what, SNS delivers."""

from __future__ import annotations

from aws_cdk import aws_sns as sns
from constructs import Construct


class Notifications(Construct):
    """Messages that travel over TLS only."""

    def __init__(self, scope: Construct, name: str) -> None:
        super().__init__(scope, name)
        self.topic = sns.Topic(self, "Alerts", display_name="Pi In The Sky", enforce_ssl=True)
