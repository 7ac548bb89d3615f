"""What brings events to functions, as the templates have it: topic rules, EventBridge patterns, queues, schedules.

Asynchronous calls that fail are tried twice more, messages of a queue up to its `maxReceiveCount`; what has failed for
good is kept in `failures`, which stands for every dead-letter queue there is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

from tests.support.iot_sql import Statement
from tests.support.lambda_calls import batch
from tests.support.policies.cloud_account import CloudAccount

ASYNC_TRIES = 3
WORKERS = 4

Invoke = Callable[[str, dict[str, Any]], Any]
"""Calls the function with that ARN."""


def fits(pattern: Any, event: Any) -> bool:
    """Whether an event fits a pattern of EventBridge; a matcher that is not known is an error."""
    if isinstance(pattern, Mapping):
        return isinstance(event, Mapping) and all(fits(asked, event.get(name)) for name, asked in pattern.items())
    return any(_fits_one(wanted, event) for wanted in pattern)


def _fits_one(wanted: Any, value: Any) -> bool:
    if not isinstance(wanted, Mapping):
        return bool(wanted == value)
    ((kind, asked),) = wanted.items()
    if kind in ("prefix", "suffix"):
        assert isinstance(asked, str)
        return isinstance(value, str) and (value.startswith(asked) if kind == "prefix" else value.endswith(asked))
    raise AssertionError(f"a matcher that is not known: {kind}")


class EventSources:
    """Takes what happens, and calls the functions that wait for it. A context manager."""

    def __init__(self, account: CloudAccount, invoke: Invoke) -> None:
        self.failures: list[str] = []
        self._invoke = invoke
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="lambda")
        self._rules: list[tuple[str, Statement, str]] = []
        for place in account.places("AWS::IoT::TopicRule"):
            payload = place.properties["TopicRulePayload"]
            assert payload["AwsIotSqlVersion"] == "2016-03-23"
            for action in payload["Actions"] if not payload.get("RuleDisabled") else ():
                ((kind, what),) = action.items()
                assert kind == "Lambda", f"{place.logical}: an action that is not stood in for: {kind}"
                self._rules.append((place.logical, Statement.parse(payload["Sql"]), what["FunctionArn"]))
        self._patterns = [
            (place.logical, place.properties["EventPattern"], [each["Arn"] for each in place.properties["Targets"]])
            for place in account.places("AWS::Events::Rule")
            if "EventPattern" in place.properties
        ]
        self._functions = {place.name: place.arn for place in account.places("AWS::Lambda::Function")}
        self._queues = {
            place.properties["EventSourceArn"]: self._function(place.properties["FunctionName"])
            for place in account.places("AWS::Lambda::EventSourceMapping")
        }
        self._receives = {
            place.arn: int(place.properties.get("RedrivePolicy", {}).get("maxReceiveCount", 1))
            for place in account.places("AWS::SQS::Queue")
        }
        targets = [
            *(place.properties["Target"] for place in account.places("AWS::Scheduler::Schedule")),
            *(
                target
                for place in account.places("AWS::Events::Rule")
                if "ScheduleExpression" in place.properties
                for target in place.properties["Targets"]
            ),
        ]
        self.schedules = [(target["Arn"], json.loads(target["Input"])) for target in targets]

    @property
    def topic_filters(self) -> set[str]:
        """What the topic rules listen to."""
        return {statement.topic_filter for _, statement, _ in self._rules}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def heard(self, topic: str, payload: bytes, client: str) -> None:
        """A message has come to IoT Core."""
        for name, statement, function in self._rules:
            event = statement.result(topic, payload, client)
            if event is not None:
                self._call(name, function, event)

    def happened(self, event: dict[str, Any]) -> None:
        """Something was told to EventBridge."""
        for name, pattern, targets in self._patterns:
            for target in targets if fits(pattern, event) else ():
                (self._queue if target in self._queues else self._call)(name, target, event)

    def run_schedules(self) -> None:
        """Do now, one after the other, what is scheduled. Raises what a function raises."""
        for function, event in self.schedules:
            self._invoke(function, event)

    def _call(self, name: str, function: str, event: dict[str, Any]) -> None:
        self._try(name, ASYNC_TRIES, lambda: self._invoke(function, event))

    def _queue(self, name: str, queue: str, event: dict[str, Any]) -> None:
        def receive() -> None:
            said = self._invoke(self._queues[queue], batch(event))
            assert said == {"batchItemFailures": []}, f"not taken: {said}"

        self._try(name, self._receives[queue], receive)

    def _try(self, name: str, tries: int, call: Callable[[], Any]) -> None:
        """Call in a thread of the pool, and again when it fails, as long as there are tries."""

        def ended(done: Future[Any]) -> None:
            error = done.exception()
            if error is not None and tries > 1:
                self._try(name, tries - 1, call)
            elif error is not None:
                self.failures.append(f"{name}: {error!r}")

        self._pool.submit(call).add_done_callback(ended)

    def _function(self, name: str) -> str:
        return name if name.startswith("arn:") else self._functions[name]
