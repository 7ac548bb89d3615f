"""The hub's objects in a process of their own, to be killed or measured: `python -m tests.support.hub_objects_process`.

Arguments: the folder, and the port (0: any). Says on one line, as JSON, where it is and the key of the camera `garden`.
"""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import asdict
from pathlib import Path

from pinthesky.errors import Conflict
from pinthesky.model.identifiers import ThingName
from tests.support.hub_objects import ObjectsHub, der

PROGRAM = "tests.support.hub_objects_process"


def main() -> None:
    """Serve until SIGTERM."""
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    hub = ObjectsHub(folder, port=port)
    garden = ThingName("garden")
    pair = hub.authority.issue(garden)
    try:
        hub.registry.add(garden)
    except Conflict:
        hub.registry.remove(garden)
        hub.registry.add(garden)
    hub.registry.register_certificate(garden, der(pair))
    hub.announcer.start()
    hub.retention.start()
    hub.server.start()
    key = asdict(hub.key_of(garden, pair))
    told = {"url": hub.url, "port": hub.server.port, "ca": str(hub.authority.cert), "key": key}
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()
    signal.sigwait({signal.SIGTERM})
    hub.server.stop()
    hub.retention.stop()
    hub.announcer.stop()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    main()
