"""The CDK application: `python -m infra_cdk.app`, called by the CDK's command line from the checkout's root."""

from __future__ import annotations

import sys
from pathlib import Path

from aws_cdk import App

from infra_cdk.functions import Archives
from infra_cdk.nag import check
from infra_cdk.settings import Settings, read
from infra_cdk.stacks import HomeStack, StoreStack
from pinthesky.errors import InvalidInput

ROOT = Path(__file__).resolve().parents[1]
ARCHIVES = ROOT / "build" / "lambda"
"""Where `tools/lambda_archives.py` puts what it builds; the context `archives` names another folder."""


def stacks_of(app: App, settings: Settings, archives: Archives) -> tuple[StoreStack, HomeStack]:
    """Both stacks, in `app`. The archives have to exist: they become assets."""
    store = StoreStack(app, settings=settings, archives=archives)
    return store, HomeStack(app, store=store, settings=settings, archives=archives)


def main() -> int:
    """Synthesise. Returns 2 for a setting that is not right, with one line that names it."""
    app = App()
    try:
        settings = read(app.node.try_get_context)
    except InvalidInput as error:
        print(f"infra_cdk: {error}", file=sys.stderr)  # noqa: T201 - what the command line shows
        return 2
    folder = Path(app.node.try_get_context("archives") or ARCHIVES)
    archives = Archives(planes=folder / "planes-arm64.zip", media=folder / "media-arm64.zip")
    for archive in archives:
        if not archive.is_file():
            print(  # noqa: T201 - what the command line shows
                f"infra_cdk: {archive} is missing: python -m tools.lambda_archives makes it", file=sys.stderr
            )
            return 2
    check(app, *stacks_of(app, settings, archives))
    app.synth()
    return 0


if __name__ == "__main__":
    sys.exit(main())
