"""The templates of some settings, to be looked at: without the archives of the functions, and without a check.

`python -m infra_cdk.preview <folder> ['{"labelDetection": true}']` writes `<stack>.template.json` for both stacks.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
QUICK = {"CDK_VALIDATION": "false", "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "1"}
TIMEOUT_S = 240.0
NODE = ROOT / ".venvs" / "node" / "bin"
"""The Node.js that `make setup` has brought where the machine has none."""


def environment() -> dict[str, str]:
    """The environment for what runs on Node.js, as the library and CDK's command line do."""
    return {**os.environ, "PATH": os.pathsep.join((os.environ.get("PATH", os.defpath), str(NODE)))}


def templates_of(settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Both templates, by the names of their stacks. Made by a process of its own, since jsii keeps one running.

    Raises subprocess.CalledProcessError, whose `stderr` says why.
    """
    # Without -O every call into the library is checked twice: here, and where it is taken.
    command = [sys.executable, "-O", "-m", "infra_cdk.preview", str(folder), json.dumps(dict(settings))]
    subprocess.run(  # noqa: S603 - the command is ours
        command,
        cwd=ROOT,
        env={**environment(), **QUICK},
        check=True,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    return {
        path.name.removesuffix(".template.json"): json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*.template.json"))
    }


def _synthesise(folder: Path, settings: Mapping[str, Any]) -> None:
    from aws_cdk import App  # noqa: PLC0415 - starts a process of Node.js, which whoever calls the above must not

    from infra_cdk.app import stacks_of  # noqa: PLC0415 - the same
    from infra_cdk.functions import Archives  # noqa: PLC0415 - the same
    from infra_cdk.settings import settings_of  # noqa: PLC0415 - the same

    with tempfile.TemporaryDirectory() as made:
        archives = Archives(Path(made, "planes.zip"), Path(made, "media.zip"))
        for archive in archives:
            with zipfile.ZipFile(archive, "w") as opened:
                opened.writestr(zipfile.ZipInfo("nothing.txt"), archive.stem)
        app = App(outdir=str(folder))
        stacks_of(app, settings_of(settings), archives)
        app.synth()


if __name__ == "__main__":
    os.environ.update(QUICK)
    _synthesise(Path(sys.argv[1]), json.loads(sys.argv[2]) if len(sys.argv) > 2 else {})
