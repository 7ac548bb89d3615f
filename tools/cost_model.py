"""What a month of the cloud home costs: lines computed from the synthesised templates, a usage profile and prices.

A template says what there is and how it is set: lifecycles, memory, schedules, alarms. The usage profile
(`infra_cdk/usage.toml`) says what five cameras and two people do with it, the price list (`infra_cdk/prices.toml`) what
AWS asks for that. A GB of a bill is 2^30 bytes.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tools.cost_kinds import KINDS

ROOT = Path(__file__).resolve().parents[1]
PRICES, USAGE = ROOT / "infra_cdk" / "prices.toml", ROOT / "infra_cdk" / "usage.toml"
GB = 2**30
MINUTES_PER_DAY = 1440
RATE = re.compile(r"rate\((\d+) (minute|hour|day)s?\)\Z")
RATE_MINUTES = {"minute": 1, "hour": 60, "day": MINUTES_PER_DAY}
POLLS_PER_MINUTE = 15
"""Lambda asks a queue with five long polls of 20 s."""

Template = Mapping[str, Any]


class CostUnknown(Exception):
    """Something in a template whose price nobody has written down."""


@dataclass(frozen=True)
class Price:
    """One entry of the price list."""

    name: str
    what: str
    unit: str
    usd: float
    source: str
    free: float = 0.0

    @property
    def noun(self) -> str:
        """What is counted: `requests` of `million requests`."""
        return re.sub(r"^(million|[\d ]+) (of )?", "", self.unit)

    @property
    def units(self) -> float:
        """How many of the things counted are one unit: a million requests, say."""
        found = re.match(r"(million|[\d ]+)", self.unit)
        if found is None:
            return 1.0
        return 1e6 if found[1] == "million" else float(found[1].replace(" ", ""))


@dataclass(frozen=True)
class Line:
    """One thing that is paid for: `amount` of what a price counts (requests, GB, …). `standing`: also when idle."""

    part: str
    what: str
    price: str
    amount: float
    standing: bool = False


class Cloud:
    """What the templates say that matters for a bill."""

    def __init__(self, templates: Mapping[str, Template]) -> None:
        self._resources = [each for template in templates.values() for each in template["Resources"].values()]

    def of(self, *kinds: str) -> list[Mapping[str, Any]]:
        """The properties of all resources of these types."""
        return [each.get("Properties", {}) for each in self._resources if each["Type"] in kinds]

    @property
    def kinds(self) -> set[str]:
        """The types of all resources."""
        return {each["Type"] for each in self._resources}

    @cached_property
    def functions(self) -> dict[str, Mapping[str, Any]]:
        """The planes' functions by the name of their handlers."""
        handlers = ((each, str(each.get("Handler", ""))) for each in self.of("AWS::Lambda::Function"))
        return {handler.rpartition(".")[2]: each for each, handler in handlers if handler.startswith("pinthesky.aws.")}

    def calls_by_schedule(self, days: int) -> dict[str, float]:
        """How often each chore is called in a month by rules and schedules."""
        calls: dict[str, float] = {}
        for rule in self.of("AWS::Events::Rule", "AWS::Scheduler::Schedule"):
            if "ScheduleExpression" not in rule:
                continue
            found = RATE.match(rule["ScheduleExpression"])
            if found is None:
                raise CostUnknown(f"how often {rule['ScheduleExpression']} is")
            times = days * MINUTES_PER_DAY / (int(found[1]) * RATE_MINUTES[found[2]])
            for target in rule.get("Targets") or [rule["Target"]]:
                chores = re.findall(r'"chore":\s*"(\w+)"', str(target.get("Input", "")))
                if len(chores) != 1:
                    raise CostUnknown(f"the chore of {target.get('Input')}")
                calls[chores[0]] = calls.get(chores[0], 0) + times
        return calls

    def kept_days(self, prefix: str) -> tuple[int, int]:
        """For how many days what is below a prefix of the media bucket is kept, and then its older versions."""
        rules = [
            rule
            for bucket in self.of("AWS::S3::Bucket")
            for rule in bucket.get("LifecycleConfiguration", {}).get("Rules", [])
            if rule.get("Status") == "Enabled"
        ]
        expiring = [rule["ExpirationInDays"] for rule in rules if str(rule.get("Prefix", "")).startswith(prefix)]
        if not expiring:
            raise CostUnknown(f"for how long {prefix} is kept")
        noncurrent = [
            rule["NoncurrentVersionExpiration"]["NoncurrentDays"]
            for rule in rules
            if "NoncurrentVersionExpiration" in rule
        ]
        return max(expiring), max(noncurrent, default=0)


class Month:
    """The lines of a month, with clips of one bit rate and a part of live view by relay (the rest is WebRTC)."""

    def __init__(
        self, templates: Mapping[str, Template], usage: Mapping[str, Any], *, mbps: float, relayed: float
    ) -> None:
        self._cloud = Cloud(templates)
        self._usage = usage
        self._mbps = mbps
        self._relayed = relayed
        self._days: int = usage["days"]
        self._clips: float = usage["cameras"] * usage["recording"]["clips_per_camera_and_day"] * self._days

    def lines(self) -> list[Line]:
        """Every line. Raises CostUnknown for a resource whose price nobody has written down."""
        check_kinds(self._cloud.kinds)
        parts = (self._recordings(), self._live(), self._cameras(), self._records_and_functions(), self._people())
        lines = [line for part in parts for line in part] + list(self._watching())
        used = {line.price for line in lines}
        for kind in sorted(self._cloud.kinds):
            missing = [price for price in KINDS[kind].prices if price not in used]
            if missing:
                raise CostUnknown(f"{kind} is paid by {missing}, and no line has it")
        return lines

    def days_of_clips(self) -> tuple[int, int]:
        """For how many days clips are kept, and then their older versions."""
        return self._cloud.kept_days("motion_videos")

    def _recordings(self) -> Iterator[Line]:
        recording, watching = self._usage["recording"], self._usage["watching"]
        clip_bytes = recording["clip_s"] * self._mbps * 1e6 / 8
        pictures = self._clips * recording["pictures_per_clip"]
        picture_bytes = recording["picture_kb"] * 1000
        for what, number, size, prefix in (
            ("clips", self._clips, clip_bytes, "motion_videos"),
            ("pictures", pictures, picture_bytes, "capture_images"),
        ):
            days = sum(self._cloud.kept_days(prefix))
            kept = number / self._days * days
            yield Line("Recordings", f"{what}, {days} days", "s3-storage", kept * size / GB)
            yield Line("Recordings", f"the tag of {what}", "s3-tags", kept)
            yield Line("Recordings", f"uploads of {what}", "s3-put", number)
        yield Line("Recordings", "news of the bucket, stored and removed", "s3-events", 2 * (self._clips + pictures))
        watched = self._clips * watching["clips_watched"]
        yield Line("Recordings", "clips watched", "transfer-out", watched * clip_bytes / GB)
        yield Line("Recordings", "pictures looked at", "transfer-out", self._clips * picture_bytes / GB)
        requests = watched * watching["requests_per_clip_watched"] + self._clips
        yield Line("Recordings", "requests of browsers", "s3-get", requests)

    def _live(self) -> Iterator[Line]:
        watching, relay = self._usage["watching"], self._usage["relay"]
        minutes = watching["live_minutes_per_day"] * self._days
        sent = self._relayed * minutes * 60 * watching["live_mbps"] * 1e6 / 8 * relay["base64"]
        yield Line("Live view by relay", "pictures to the browser", "transfer-out", sent / GB)
        yield Line(
            "Live view by relay", "messages of pictures", "socket-messages", sent / (relay["messages_kb"] * 1024)
        )
        control = minutes * relay["control_messages_per_minute"]
        yield Line("People", "control of live view", "socket-messages", control)

    def _cameras(self) -> Iterator[Line]:
        device, cameras = self._usage["device"], self._usage["cameras"]
        yield Line("Cameras", "connected all the time", "iot-minutes", cameras * self._days * MINUTES_PER_DAY)
        events = sum(number for name, number in self._calls().items() if name.startswith("device_event."))
        connections = cameras * self._days * device["connections_per_day"]
        commands = cameras * self._days * device["commands_per_day"]
        # A command is a message to the camera and its receipt; a connection is one, with about ten subscriptions.
        yield Line("Cameras", "events, commands, connections", "iot-messages", events + 2 * commands + 11 * connections)
        rules = 2 * (events + 2 * connections)
        yield Line("Cameras", "rules and their actions", "iot-rules", rules)
        operations = cameras * self._days * device["shadow_operations_per_day"]
        looked_up = self._calls()["device_event.health_end"]
        yield Line("Cameras", "settings, read and written", "iot-shadow", operations + looked_up)
        yield Line("Cameras", "upgrades", "iot-jobs", cameras * device["jobs_per_month"])

    def _calls(self) -> dict[str, float]:
        """How often each kind of call is made in a month."""
        device, watching = self._usage["device"], self._usage["watching"]
        cameras, days, clips = self._usage["cameras"], self._days, self._clips
        openings = self._usage["people"] * watching["openings_per_person_and_day"] * days
        pictures = clips * self._usage["recording"]["pictures_per_clip"]
        calls = {f"schedule.{chore}": times for chore, times in self._cloud.calls_by_schedule(days).items()}
        return {
            **calls,
            "device_event.motion_start": clips,
            "device_event.recording_change": 2 * clips,
            "device_event.upload_end": clips,
            "device_event.capture_image_end": clips,
            "device_event.motion_activity": clips,
            "device_event.health_end": cameras * days * device["health_per_day"],
            "media.clip": clips,
            "media.thumbnail": clips,
            "media.still": pictures - clips,
            "media.removed": clips + pictures,
            "presence.change": 2 * cameras * days * device["connections_per_day"],
            "http.ticket": openings,
            "http.cameras": openings * (watching["http_requests_per_opening"] - 2) / 2,
            "http.videos": openings * (watching["http_requests_per_opening"] - 2) / 2,
            "http.video_url": openings,
            "socket.connect": openings,
            "socket.message": 2 * openings + watching["live_minutes_per_day"] * days,
            "socket.disconnect": openings,
        }

    def _records_and_functions(self) -> Iterator[Line]:
        calls, asked = self._calls(), self._usage["calls"]
        for names, part, standing in (
            ([name for name in calls if name.startswith("schedule.")], "Chores", True),
            ([name for name in calls if not name.startswith("schedule.")], "Functions", False),
        ):
            total = {
                what: sum(calls[name] * asked[name].get(what, 0) for name in names)
                for what in ("reads", "writes", "gets", "puts")
            }
            number = sum(calls[name] for name in names)
            yield Line(part, "calls", "lambda-requests", number, standing)
            yield Line(
                part, "their time", "lambda-time", sum(self._gb_s(name, calls[name]) for name in names), standing
            )
            yield Line(part, "rows read", "dynamodb-read", total["reads"], standing)
            yield Line(part, "rows written", "dynamodb-write", total["writes"], standing)
            yield Line(part, "objects looked at", "s3-get", total["gets"], standing)
            yield Line(part, "objects listed", "s3-put", total["puts"], standing)
        rows = self._clips * self._usage["store"]["row_kb_per_clip"] * 1024 / GB
        yield Line("Records", "kept", "dynamodb-storage", rows)
        if any(
            each.get("PointInTimeRecoverySpecification", {}).get("PointInTimeRecoveryEnabled")
            for each in self._cloud.of("AWS::DynamoDB::Table")
        ):
            yield Line("Records", "every moment of 35 days", "dynamodb-backup", rows / 2)
        if queues := len(self._cloud.of("AWS::Lambda::EventSourceMapping")):
            polls = queues * POLLS_PER_MINUTE * MINUTES_PER_DAY * self._days
            yield Line("Chores", "queues asked for messages", "sqs-requests", polls, standing=True)
        if schedules := len(self._cloud.of("AWS::Scheduler::Schedule")):
            times = sum(self._cloud.calls_by_schedule(self._days).values())
            yield Line("Chores", f"{schedules} schedules", "scheduler", times, standing=True)
        stored = self._usage["store"]["deployment_mb"] * 1e6 / GB
        yield Line("Records", "archives of the deployment", "s3-storage", stored, standing=True)

    def _gb_s(self, name: str, number: float) -> float:
        """What `number` calls of a kind are paid for, in GB-seconds."""
        time, asked = self._usage["time"], self._usage["calls"][name]
        memory_mb = self._function_of(name).get("MemorySize", 128)
        processor = min(1.0, memory_mb / time["processor_mb"])
        cpu_ms = time["cpu_ms"] + time["cpu_ms_per_request"] * asked["requests"]
        if not name.startswith("schedule."):
            cpu_ms += time["cold_cpu_ms"] * time["cold_share"]
        seconds = (cpu_ms / processor + time["wait_ms"] * asked["requests"]) / 1000
        return float(number * seconds * memory_mb / 1024)

    def _function_of(self, name: str) -> Mapping[str, Any]:
        handler = name.partition(".")[0]
        if handler not in self._cloud.functions:
            raise CostUnknown(f"the function of {handler}")
        return self._cloud.functions[handler]

    def _people(self) -> Iterator[Line]:
        watching, calls = self._usage["watching"], self._calls()
        openings = calls["socket.connect"]
        requests = sum(number for name, number in calls.items() if name.startswith("http."))
        yield Line("People", "requests of the console", "http-api", requests)
        yield Line("People", "open consoles", "socket-minutes", openings * watching["minutes_per_opening"])
        share = watching["minutes_per_opening"] * openings / (self._days * MINUTES_PER_DAY)
        pushes = share * sum(number * self._usage["calls"][name].get("posts", 0) for name, number in calls.items())
        yield Line("People", "what consoles say and are told", "socket-messages", pushes + 2 * calls["socket.message"])
        yield Line("People", "who sign in", "cognito", self._usage["people"])
        mails = watching["mails_per_day"] * self._days
        yield Line("People", "alerts", "sns-publishes", mails)
        yield Line("People", "mails", "sns-mails", mails)
        site = watching["site_mb_per_month"] * 1e6 / GB
        yield Line("People", "the console's files", "cloudfront-transfer", site)
        yield Line(
            "People", "requests of them", "cloudfront-requests", openings * watching["site_requests_per_opening"]
        )
        if self._cloud.of("AWS::CloudFront::Function"):
            yield Line("People", "paths within the console", "cloudfront-functions", openings)
        yield Line("People", "the files themselves, at the edge's request", "s3-get", openings)

    def _watching(self) -> Iterator[Line]:
        time, calls = self._usage["time"], self._calls()
        written = sum(number * self._log_bytes(name) for name, number in calls.items())
        asked = sum(number for name, number in calls.items() if name.startswith(("http.", "socket.")))
        written += asked * time["access_log_bytes"]
        yield Line("Logs", "taken in", "logs-ingested", written / GB)
        yield Line("Logs", "kept", "logs-stored", written / GB)
        openings = calls["socket.connect"]
        yield Line("Logs", "figures of the storage, asked for by the console", "metric-requests", openings / 10)
        alarms = sum(len(each.get("Metrics", [])) or 1 for each in self._cloud.of("AWS::CloudWatch::Alarm"))
        if alarms:
            yield Line("Alarms", "metrics under alarm", "alarms", alarms, standing=True)
        if dashboards := len(self._cloud.of("AWS::CloudWatch::Dashboard")):
            yield Line("Alarms", "dashboards", "dashboards", dashboards, standing=True)
        if zones := len(self._cloud.of("AWS::Route53::HostedZone")):
            yield Line("Names", "hosted zones", "hosted-zone", zones, standing=True)

    def _log_bytes(self, name: str) -> float:
        time = self._usage["time"]
        level = self._function_of(name).get("LoggingConfig", {}).get("SystemLogLevel", "INFO")
        # A chore that finds nothing to do says nothing.
        own = 0 if name.startswith("schedule.") else time["log_bytes"]
        return float(own + (0 if level == "WARN" else time["system_log_bytes"]))


def check_kinds(kinds: set[str]) -> None:
    """Raise CostUnknown for a type of resource of which nobody has said what it costs."""
    unknown = sorted(kinds - set(KINDS))
    if unknown:
        raise CostUnknown(f"what {', '.join(unknown)} cost: say it in tools/cost_kinds.py")


def prices(path: Path = PRICES) -> dict[str, Price]:
    """The price list."""
    said = tomllib.loads(path.read_text(encoding="utf-8"))["prices"]
    return {name: Price(name=name, **entry) for name, entry in said.items()}


def usage(path: Path = USAGE) -> dict[str, Any]:
    """The usage profile."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def usd(lines: Sequence[Line], known: Mapping[str, Price], *, free_tier: bool = False) -> list[float]:
    """What each line costs. With `free_tier` what is always free is taken off the first lines that have the price."""
    left = {name: price.free * price.units for name, price in known.items()} if free_tier else {}
    found = []
    for line in lines:
        price = known[line.price]
        paid = max(0.0, line.amount - left.get(line.price, 0.0))
        if free_tier:
            left[line.price] = max(0.0, left[line.price] - line.amount)
        found.append(paid / price.units * price.usd)
    return found
