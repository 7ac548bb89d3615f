"""The program `pitsctl`, and `python -m pitsctl`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run it. Where only the libraries of a camera are installed, say what is missing."""
    try:
        from pitsctl.command import main as run  # noqa: PLC0415 - what it needs may be missing, which is said here
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        if missing in ("pitsctl", "pinthesky"):
            raise
        print(f'pitsctl: the library {missing} is missing: pitsctl needs the extra ctl, "WHEEL[ctl]"', file=sys.stderr)  # noqa: T201 - a program
        return 2
    return run()


if __name__ == "__main__":
    sys.exit(main())
