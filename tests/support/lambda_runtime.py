"""The other end of a function in Lambda: a process with nothing in it but an unpacked archive and the standard library.

    python3.13 -I -S lambda_runtime.py <folder of the archive>

Runs apart from the tests' environment and imports nothing of it. Reads lines of JSON, `{"handler", "event"}`, and
answers each with one: `{"answer"}` or `{"error", "message"}`, and the `operations` of AWS that were asked for
meanwhile. The first line that it says is what the import of the handlers took, and which modules that loaded.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from typing import Any

HANDLERS = "pinthesky.aws.lambda_handlers"


class Context:
    """What Lambda tells of a call."""

    aws_request_id = "6bc28136-xmpl-4365-b021-0ce6b2e64ab0"

    @staticmethod
    def get_remaining_time_in_millis() -> int:
        """Time enough."""
        return 300_000


def imported(folder: str) -> dict[str, Any]:
    """Import the handlers; what it took, and where its modules come from."""
    sys.path.insert(0, folder)
    before, wall, cpu = set(sys.modules), time.perf_counter(), time.process_time()
    importlib.import_module(HANDLERS)
    took = [round((each() - since) * 1000, 1) for each, since in ((time.perf_counter, wall), (time.process_time, cpu))]
    return {"wall_ms": took[0], "cpu_ms": took[1], "modules": origins(set(sys.modules) - before)}


def origins(names: set[str]) -> dict[str, str]:
    """Where modules come from."""
    return {name: str(getattr(sys.modules[name], "__file__", None) or "") for name in sorted(names)}


def note_operations(into: list[str]) -> None:
    """Have every client of botocore that is made from now on say what it asks for."""
    session = importlib.import_module("botocore.session")
    create = session.Session.create_client

    def noting(self: Any, *arguments: Any, **more: Any) -> Any:
        client = create(self, *arguments, **more)
        service = client.meta.service_model.service_name

        def note(model: Any, **_: Any) -> None:
            into.append(f"{service}:{model.name}")

        client.meta.events.register("before-call", note)
        return client

    session.Session.create_client = noting


def answered(line: str, operations: list[str]) -> dict[str, Any]:
    """What a handler makes of an event."""
    asked = json.loads(line)
    operations.clear()
    said: dict[str, Any]
    try:
        handler = getattr(sys.modules[HANDLERS], asked["handler"])
        said = {"answer": handler(asked["event"], Context())}
    except Exception as error:  # noqa: BLE001 - as Lambda does it
        said = {"error": type(error).__name__, "message": str(error)}
    return {**said, "operations": sorted(set(operations))}


def main() -> None:
    """Serve until there are no more lines."""
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever is printed by anything is no answer
    operations: list[str] = []
    first = imported(sys.argv[1])
    note_operations(operations)
    output.write(json.dumps(first) + "\n")
    output.flush()
    for line in sys.stdin:
        output.write(json.dumps(answered(line, operations)) + "\n")
        output.flush()


if __name__ == "__main__":
    main()
