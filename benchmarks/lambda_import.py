#!/usr/bin/env python3
"""What a cold start of the planes' functions in Lambda costs on this machine, and a warm request for a list of clips.

    python benchmarks/lambda_import.py [--quick]

Imports are measured in processes of their own; the root is loaded into a process that has boto3 already, as Lambda's
own runtime brings it, so what is shown is what we add. The archives are built for this machine, unpacked, and imported
by Lambda's Python with nothing else to import from, with the byte code that is in them and, as if there were none,
without: Lambda cannot keep what it compiles. A warm request is an event of an HTTP API for the newest 50 of
1 000 clips, through the whole function and botocore, with DynamoDB's answers given in place by a table in SQLite: the
time of the network and of DynamoDB itself is not in it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measuring import ROOT, Report, arguments, spread

IMPORT_MAX_MS = 300.0
"""What importing the root may take of the CPU beside boto3's own import."""
IMPORTS = {
    "boto3": ("pass", "import boto3"),
    "pinthesky.aws.lambda_handlers beside it": ("import boto3", "import pinthesky.aws.lambda_handlers"),
    "what a login on a socket loads (jwt, cryptography)": (
        "import boto3, pinthesky.aws.lambda_handlers",
        "import jwt.algorithms",
    ),
    "what a conversion loads (PyAV)": (
        "import boto3, pinthesky.aws.lambda_handlers",
        "import pinthesky.conversion.streams",
    ),
}
ROOT_MODULE = "pinthesky.aws.lambda_handlers"
ARCHIVED = {
    "planes": {
        ROOT_MODULE: ("", f"import {ROOT_MODULE}"),
        "botocore's session beside it": (f"import {ROOT_MODULE}", "import botocore.session"),
        "jwt, cryptography beside them": (f"import {ROOT_MODULE}, botocore.session", "import jwt.algorithms"),
    },
    "media": {
        ROOT_MODULE: ("", f"import {ROOT_MODULE}"),
        "PyAV beside it": (f"import {ROOT_MODULE}", "import pinthesky.conversion.streams"),
    },
}
PROGRAM = """
import json, time
{before}
wall, cpu = time.perf_counter(), time.process_time()
{what}
print(json.dumps([(time.perf_counter() - wall) * 1000, (time.process_time() - cpu) * 1000]))
"""
CLIPS = 1000
LISTED = 50


def in_a_process(*command: str) -> Any:
    """What a program prints, as JSON."""
    ran = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    return json.loads(ran.stdout)


def measure_imports(report: Report, *, rounds: int) -> None:
    """Imports, each in a process of its own."""
    rows = []
    for name, (before, what) in IMPORTS.items():
        program = PROGRAM.format(before=before, what=what)
        found = [in_a_process("-c", program) for _ in range(rounds)]
        wall_ms, cpu_ms = zip(*found, strict=True)
        rows.append([name, spread(wall_ms, 0), spread(cpu_ms, 0)])
        if name.startswith("pinthesky"):
            report.judge("import of the Lambda root", statistics.median(cpu_ms), IMPORT_MAX_MS, unit="ms CPU")
    report.table(["import of", "wall ms", "CPU ms"], rows)


def measure_archives(report: Report, *, rounds: int) -> None:
    """The same out of the archives that are deployed, where botocore is among what is imported."""
    from tests.support.lambda_function import interpreter  # noqa: PLC0415 - only here
    from tools import lambda_archives  # noqa: PLC0415 - the same

    rows = []
    with tempfile.TemporaryDirectory(prefix="pinthesky-bench-") as scratch:
        for kind in lambda_archives.LIBRARIES:
            folder = Path(scratch, kind)
            with zipfile.ZipFile(lambda_archives.build(kind, "native", Path(scratch)).path) as packed:
                packed.extractall(folder)
            for has_byte_code in (True, False):
                if not has_byte_code:
                    for path in folder.rglob("*.pyc"):
                        path.unlink()
                for name, (before, what) in ARCHIVED[kind].items():
                    program = PROGRAM.format(
                        before=f"import sys; sys.path.insert(0, {str(folder)!r})\n{before}", what=what
                    )
                    found = [alone(interpreter(), program) for _ in range(rounds)]
                    wall_ms, cpu_ms = zip(*found, strict=True)
                    code = "with byte code" if has_byte_code else "without"
                    rows.append([kind, name, code, spread(wall_ms, 0), spread(cpu_ms, 0)])
                    if kind == "planes" and has_byte_code and name == ROOT_MODULE:
                        report.judge(
                            "import out of the archive", statistics.median(cpu_ms), IMPORT_MAX_MS, unit="ms CPU"
                        )
    report.table(["archive", "import of", "byte code", "wall ms", "CPU ms"], rows)


def alone(python: str, program: str) -> Any:
    """What a program prints as JSON that has nothing to import but what it names itself, and keeps no byte code."""
    command = [python, "-I", "-S", "-B", "-c", program]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return json.loads(ran.stdout)


def measure_requests(report: Report, *, rounds: int) -> None:
    """The first request of a process, and those that follow."""
    with tempfile.TemporaryDirectory(prefix="pinthesky-bench-") as folder:
        found = in_a_process(str(Path(__file__).resolve()), "--requests", str(rounds), "--folder", folder)
    warm = found["warm"]
    report.table(
        [f"GET /videos?limit={LISTED}", "wall ms", "CPU ms"],
        [
            ["the first: clients are made", f"{found['first'][0]:.0f}", f"{found['first'][1]:.0f}"],
            ["warm", spread([each[0] for each in warm], 1), spread([each[1] for each in warm], 1)],
        ],
    )
    report.headline(
        "a warm request for 50 clips in Lambda's function",
        f"{statistics.median(each[1] for each in warm):.1f} ms CPU",
        f"the first {found['first'][1]:.0f} ms, which makes the clients",
    )


def serve_requests(folder: Path, rounds: int) -> None:
    """The child: a function with its home, and requests to it."""
    from pinthesky.aws.lambda_handlers import Entrances  # noqa: PLC0415 - the parent measures the import of it
    from pinthesky.aws.records import DynamoTable  # noqa: PLC0415 - the same
    from pinthesky.planes.home import Home  # noqa: PLC0415 - the same
    from pinthesky.planes.routing import HttpRequest  # noqa: PLC0415 - the same
    from tests.planes.home import GARDEN, OWNER, make_fleet, make_home  # noqa: PLC0415 - the same
    from tests.planes.recordings import add_clip, event_id  # noqa: PLC0415 - the same
    from tests.support.aws_planes import answer_in_place, local_clients  # noqa: PLC0415 - the same
    from tests.support.dynamo_in_place import DynamoInPlace  # noqa: PLC0415 - the same
    from tests.support.lambda_calls import Context, claims_for, http_event  # noqa: PLC0415 - the same
    from tests.support.through_lambda import entrances  # noqa: PLC0415 - the same

    staged = make_home(folder)
    make_fleet(staged)
    for number in range(CLIPS):
        add_clip(staged, GARDEN, staged.clock() - 60 * number - 60, event_id(number))
    clients = local_clients()
    event = http_event(HttpRequest("GET", "/videos", {"limit": str(LISTED)}), claims_for(OWNER))
    ways: Entrances | None = None

    def ask() -> list[float]:
        nonlocal ways
        wall, cpu = time.perf_counter(), time.process_time()
        if ways is None:
            answer_in_place(clients.get("dynamodb"), DynamoInPlace(staged.table))
            table = DynamoTable(clients.get("dynamodb"), "home", now_s=staged.clock)
            ports = {name: getattr(staged, name) for name in Home.__dataclass_fields__}
            ways = entrances(Home(**{**ports, "table": table}), staged.clock)
        said = ways.http(event, Context())
        used = [(time.perf_counter() - wall) * 1000, (time.process_time() - cpu) * 1000]
        assert len(json.loads(said["body"])["items"]) == LISTED, said
        return used

    first = ask()
    sys.stdout.write(json.dumps({"first": first, "warm": [ask() for _ in range(rounds)]}))
    staged.database.close()


def main() -> int:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("--requests", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.requests is not None:
        serve_requests(options.folder, options.requests)
        return 0
    report = Report("The planes' functions in Lambda", libraries=("boto3", "msgspec", "pyjwt"))
    measure_imports(report, rounds=1 if options.quick else 9)
    measure_archives(report, rounds=1 if options.quick else 9)
    measure_requests(report, rounds=20 if options.quick else 200)
    report.note("Medians (least–most).")
    return report.deliver(options.json)


if __name__ == "__main__":
    sys.exit(main())
