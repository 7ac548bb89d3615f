"""Names in the folder through which the daemon hands events to the device client, one file each.

`<rank>-<sequence>-<run>.json`: the order of the names is the order in which they are to be published, the starts of
motion (rank 0) before everything else. `run` is another word for each run of the daemon, so that no name comes twice.
Health reports end in `.health.json`: only the latest of them counts.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Optional

SEQUENCE_MAX = 10**16 - 1
_NAME = re.compile(r"([01])-([0-9]{16})-([0-9a-f]{8})(\.health)?\.json")


class EventFile(NamedTuple):
    """One name, taken apart."""

    urgent: bool
    sequence: int
    run: str
    health: bool = False

    @property
    def name(self) -> str:
        """The name of the file."""
        rank = 0 if self.urgent else 1
        return f"{rank}-{self.sequence:016d}-{self.run}{'.health' if self.health else ''}.json"


def parse_event_file(name: str) -> Optional[EventFile]:
    """The parts of a name; None for anything else that lies in the folder."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    rank, sequence, run, health = found.groups()
    return EventFile(rank == "0", int(sequence), run, health is not None)
