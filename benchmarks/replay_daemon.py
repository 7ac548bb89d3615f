#!/usr/bin/env python3
"""The process that is measured: the daemon on a replayed recording, or the replay alone. Started by the benchmarks.

python benchmarks/replay_daemon.py FOLDER [--floor] [--marks FILE] -- <flags of the daemon>
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.replay_camera import ReplayCamera


def replay_alone(camera: ReplayCamera) -> None:
    """Hand the recording to a sink that does nothing, until a signal."""
    camera.start(lambda _: None)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    camera.close(5.0)


def run_daemon(camera: ReplayCamera, flags: list[str]) -> int:
    """Run the daemon as its own entry point does, but for the camera."""
    from pinthesky.device import flags as daemon_flags  # noqa: PLC0415 - the floor must not load it
    from pinthesky.device.daemon import Daemon  # noqa: PLC0415 - the floor must not load it
    from pinthesky.machine.log_lines import configure_logging  # noqa: PLC0415 - the floor must not load it

    options = daemon_flags.parse(flags)
    configure_logging(options.settings.cloudwatch.log_level)
    return Daemon(options, camera=camera).run()


def main() -> int:
    """Replay."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--floor", action="store_true")
    parser.add_argument("--marks", type=Path)
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    options = parser.parse_args(sys.argv[1:split])
    camera = ReplayCamera(options.folder, options.marks)
    if options.floor:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
        replay_alone(camera)
        return 0
    return run_daemon(camera, sys.argv[split + 1 :])


if __name__ == "__main__":
    sys.exit(main())
