#!/usr/bin/env python3
"""Builds what the functions in AWS Lambda are made of: zip archives, without Docker and without a network.

    python -m tools.lambda_archives [planes|media] [--arch arm64|native] [--into build/lambda]

`planes` is for every function but the one that converts streams, `media` for that one, which alone has PyAV. `arm64`
is what Lambda runs, `native` the same for this machine, where the tests invoke every handler of it. The libraries are
the wheels that `make setup` has fetched for Lambda's Python (infra_cdk/requirements); botocore is among them, so that
what runs is what was tested, whatever Lambda's runtime happens to bring. The same sources and wheels give the same
bytes.

    python -m tools.lambda_archives --pin    make infra_cdk/requirements anew; uses the network, run by hand
"""

from __future__ import annotations

import argparse
import ast
import functools
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from email.parser import Parser
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tools import prepare  # noqa: E402 - a program may be started by its path

TARGET = ROOT / "build" / "lambda"
ENTRY = "pinthesky.aws.lambda_handlers"
RESOLVE_S = 300
PYTHONS = ("3.11", "3.12", "3.13")
"""Those of Lambda and of machines that have no such Python."""

LIBRARIES: Mapping[str, tuple[str, ...]] = {
    "planes": ("botocore", "cryptography", "msgspec", "pyjwt", "tzdata", "urllib3"),
    "media": ("av", "botocore", "msgspec", "urllib3"),
}
LOADED_LATER: Mapping[str, tuple[str, ...]] = {
    "planes": (),
    "media": ("pinthesky.conversion.media_converter",),
}
"""Our modules that only the function of this archive loads."""
SIZE_MAX_MB: Mapping[str, int] = {"planes": 25, "media": 60}
SERVICES = (
    "apigatewaymanagementapi",
    "cloudwatch",
    "cognito-idp",
    "dynamodb",
    "iot",
    "iot-data",
    "lambda",
    "rekognition",
    "s3",
    "sns",
)
"""Of the 400 services that botocore describes these are asked."""
COMPRESSION = 6
MOMENT = (1980, 1, 1, 0, 0, 0)
"""Of every file: the earliest that a zip archive can say."""
TYPES_ONLY = ("TYPE_CHECKING", "typing.TYPE_CHECKING")
BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")
"""Where statements may hold others."""
_KEPT_OF_METADATA = re.compile(r"METADATA|licenses/.+|(?:LICEN[CS]E|NOTICE|COPYING|AUTHORS)[^/]*", re.IGNORECASE)
_LEFT_OUT = re.compile(r"(?:^|/)(?:tests?|testing|__pycache__)/|\.(?:pyi|pyx|pxd|pyc|h|c)$|(?:^|/)py\.typed$")


class CannotBuild(Exception):
    """Something is missing, or an archive became too large."""


class Built(NamedTuple):
    """An archive that was made."""

    path: Path
    is_compiled: bool
    """Whether there is byte code in it: without, every cold start compiles everything."""


class Wheel(NamedTuple):
    """A library as it was fetched."""

    path: Path
    name: str
    needs: tuple[str, ...]


def build(kind: str, arch: str, into: Path = TARGET) -> Built:
    """Make one archive, `<kind>-<arch>.zip`. Raises CannotBuild."""
    wheels = wheels_for(kind, arch)
    files: dict[str, bytes] = dict(our_files(kind))
    for wheel in wheels:
        files |= files_of(wheel)
    byte_code = compiled(
        python_of(arch), tuple((name, data) for name, data in sorted(files.items()) if name.endswith(".py"))
    )
    into.mkdir(parents=True, exist_ok=True)
    path = into / f"{kind}-{arch}.zip"
    unfinished = path.with_suffix(".part")
    _write(unfinished, {**files, **byte_code})
    size_mb = unfinished.stat().st_size / 1e6
    if size_mb > SIZE_MAX_MB[kind]:
        unfinished.unlink()
        raise CannotBuild(f"{path.name} would have {size_mb:.1f} MB, {SIZE_MAX_MB[kind]} at most")
    unfinished.replace(path)
    return Built(path, bool(byte_code))


def wheels_for(kind: str, arch: str) -> list[Wheel]:
    """The wheels of an archive, with all that they need. Raises CannotBuild where one was not fetched."""
    folder = prepare.WHEELHOUSE / f"lambda-{arch}"
    found = {wheel.name: wheel for wheel in map(_wheel, sorted(folder.glob("*.whl")))}
    waiting = list(LIBRARIES[kind])
    taken: dict[str, Wheel] = {}
    while waiting:
        name = waiting.pop()
        if name in taken:
            continue
        if name not in found:
            raise CannotBuild(f"there is no wheel of {name} in {folder.relative_to(ROOT)}: run make setup")
        taken[name] = found[name]
        waiting += found[name].needs
    return [taken[name] for name in sorted(taken)]


def python_of(arch: str) -> str:
    """The Python that the wheels of an architecture are for: Lambda's, or here where it is missing the main one."""
    for path in (prepare.WHEELHOUSE / f"lambda-{arch}").glob("msgspec-*.whl"):
        if found := re.search(r"-cp3(\d+)-cp3", path.name):
            return f"3.{found[1]}"
    return prepare.LAMBDA_PYTHON


def our_files(kind: str) -> Iterator[tuple[str, bytes]]:
    """Our own modules that the handlers of an archive import, with the packages that they are in, and our licence."""
    for path in sorted(our_modules(kind).values()):
        yield path.relative_to(ROOT).as_posix(), path.read_bytes()
    for name in ("LICENSE", "NOTICE"):
        yield name, (ROOT / name).read_bytes()


def our_modules(kind: str) -> dict[str, Path]:
    """Them and their files, found by following imports; what is loaded later is left out where it is not needed."""
    waiting = [ENTRY, *LOADED_LATER[kind]]
    found: dict[str, Path] = {}
    while waiting:
        module = waiting.pop()
        path = _source_of(module)
        if module in found or path is None:
            continue
        found[module] = path
        if "." in module:
            waiting.append(module.rpartition(".")[0])
        waiting += [name for name in _imports_in(path) if name.startswith("pinthesky.") and not _is_later(name)]
    return found


def imports_of(tree: ast.Module) -> Iterator[str]:
    """Every module that a source imports while it runs, and every name in one, which may be a module too."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            for_types = isinstance(node, ast.If) and ast.unparse(node.test) in TYPES_ONLY
            for block in BLOCKS[1:] if for_types else BLOCKS:
                waiting += getattr(node, block, [])


@functools.cache
def _imports_in(path: Path) -> tuple[str, ...]:
    return tuple(imports_of(ast.parse(path.read_bytes())))


def files_of(wheel: Wheel) -> dict[str, bytes]:
    """What of a wheel goes into an archive: what runs, and its licences."""
    with zipfile.ZipFile(wheel.path) as archive:
        return {name: archive.read(name) for name in archive.namelist() if is_needed(name)}


def is_needed(name: str) -> bool:
    """Whether a file of a wheel is needed, or has to be kept."""
    path = PurePosixPath(name)
    if name.endswith("/") or any(part in ("", ".", "..") for part in name.split("/")):
        return False
    if path.parts[0].endswith(".dist-info"):
        return _KEPT_OF_METADATA.fullmatch("/".join(path.parts[1:])) is not None
    if path.parts[:2] == ("botocore", "data") and len(path.parts) > 3:
        return path.parts[2] in SERVICES and not path.name.startswith("examples-")
    return _LEFT_OUT.search(name) is None


@functools.lru_cache(maxsize=2)
def compiled(version: str, files: tuple[tuple[str, bytes], ...]) -> Mapping[str, bytes]:
    """Byte code of Python files for a Python; nothing where this machine has none of that version.

    It is taken without a look at its source, whose time Lambda changes and whose folder it may not write to.
    """
    python = prepare.find_python(version)
    if python is None:
        return {}
    with tempfile.TemporaryDirectory(prefix="pinthesky-lambda-") as scratch:
        folder = Path(scratch)
        for name, data in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        command = [python, "-I", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
        subprocess.run([*command, "-s", scratch, "-p", "/var/task", scratch], check=True, timeout=RESOLVE_S)
        found = sorted(folder.rglob("*.pyc"))
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def pin() -> None:
    """Write the newest versions that setup.py admits, with their hashes, for each machine. Uses the network."""
    for architecture, machine in prepare.LAMBDA_MACHINES.items():
        for python in PYTHONS:
            target = prepare.lambda_requirements(architecture, python)
            target.parent.mkdir(exist_ok=True)
            target.write_text(pins_text(architecture, python, resolved(machine, python)), encoding="utf-8")
            print(target.relative_to(ROOT))


def resolved(machine: str, python: str) -> list[Mapping[str, Any]]:
    """What pip would install there. Uses the network."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch, "report.json")
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--ignore-installed"]
        command += ["--target", scratch, "--report", str(report), *prepare.lambda_tags(machine, python)]
        subprocess.run([*command, *sorted(wanted())], check=True, timeout=RESOLVE_S)
        found: list[Mapping[str, Any]] = json.loads(report.read_text(encoding="utf-8"))["install"]
        return found


def wanted() -> set[str]:
    """What the archives need, as setup.py admits it."""
    lists = prepare.requirement_lists()
    stated = [Requirement(text) for name in ("DEVICE", "VIDEO", "CLOUD", "LAMBDA") for text in lists[name]]
    place = {"python_version": prepare.LAMBDA_PYTHON}
    bounds: dict[str, str] = {
        canonicalize_name(each.name): f"{each.name}{each.specifier}"
        for each in stated
        if each.marker is None or each.marker.evaluate(place)
    }
    # boto3 and botocore share their versions, and only botocore is used.
    bounds["botocore"] = bounds["boto3"].replace("boto3", "botocore")
    return {bounds[name] for names in LIBRARIES.values() for name in names}


def pins_text(architecture: str, python: str, entries: Sequence[Mapping[str, Any]]) -> str:
    """A requirements file of what pip reports: names with versions, and the hashes of their wheels."""
    lines = [
        f"# The libraries of the functions in Lambda on {architecture} with Python {python}, pinned by hash.",
        "# Made by `python -m tools.lambda_archives --pin`.",
    ]
    for entry in sorted(entries, key=lambda each: canonicalize_name(each["metadata"]["name"])):
        name = canonicalize_name(entry["metadata"]["name"])
        digest = entry["download_info"]["archive_info"]["hashes"]["sha256"]
        lines.append(f"{name}=={entry['metadata']['version']} \\\n    --hash=sha256:{digest}")
    return "\n".join(lines) + "\n"


def _wheel(path: Path) -> Wheel:
    with zipfile.ZipFile(path) as archive:
        (name,) = [each for each in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", each)]
        said = Parser().parsestr(archive.read(name).decode(), headersonly=True)
    place = {"extra": "", "python_version": prepare.LAMBDA_PYTHON, "sys_platform": "linux"}
    needs = [Requirement(text) for text in said.get_all("Requires-Dist", [])]
    needed = tuple(canonicalize_name(each.name) for each in needs if each.marker is None or each.marker.evaluate(place))
    return Wheel(path, canonicalize_name(said["Name"]), needed)


def _source_of(module: str) -> Path | None:
    folder = ROOT / module.replace(".", "/")
    if (folder / "__init__.py").exists():
        return folder / "__init__.py"
    path = folder.with_suffix(".py")
    return path if path.exists() else None


def _is_later(module: str) -> bool:
    return any(module == later or module.startswith(f"{later}.") for later in LOADED_LATER["media"])


def _write(path: Path, files: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, MOMENT)
            entry.create_system = 3
            entry.external_attr = (0o755 if ".so" in PurePosixPath(name).name else 0o644) << 16
            archive.writestr(entry, files[name], zipfile.ZIP_DEFLATED, COMPRESSION)


def main(arguments: list[str] | None = None) -> int:
    """Build what is asked for; everything for Lambda where nothing is said."""
    parser = argparse.ArgumentParser(prog="python -m tools.lambda_archives", description=__doc__.partition("\n")[0])
    parser.add_argument("kinds", nargs="*", metavar="planes|media", help="which archives; both")
    parser.add_argument("--arch", choices=("arm64", "native"), default="arm64", help="for Lambda, or for this machine")
    parser.add_argument("--into", type=Path, default=TARGET, help="folder; build/lambda")
    parser.add_argument("--pin", action="store_true", help="make the lists of libraries anew; uses the network")
    asked = parser.parse_args(arguments)
    if unknown := set(asked.kinds) - set(LIBRARIES):
        parser.error(f"there is no archive {min(unknown)}: choose planes or media")
    if asked.pin:
        pin()
        return 0
    try:
        for kind in asked.kinds or LIBRARIES:
            made = build(kind, asked.arch, asked.into)
            note = "" if made.is_compiled else f", without byte code: no Python {prepare.LAMBDA_PYTHON} here"
            print(f"{made.path} {made.path.stat().st_size / 1e6:.1f} MB{note}")
    except CannotBuild as problem:
        print(f"lambda_archives: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
