"""What every command of the hub stands on, made at the first start: settings, authority, database, registry."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

from pinthesky.errors import InvalidInput
from pinthesky.hub import settings as hub_settings
from pinthesky.hub.authority import Authority
from pinthesky.hub.data_folder import FLAG, DataFolder
from pinthesky.hub.database import Database
from pinthesky.hub.registry import Registry
from pinthesky.hub.settings import HubSettings
from pinthesky.machine.durable_files import replace_file


@dataclass(frozen=True)
class Foundation:
    """Open until `close`."""

    folder: DataFolder
    settings: HubSettings
    authority: Authority
    database: Database
    registry: Registry

    @classmethod
    def lay(cls, data: Path, settings: HubSettings | None = None) -> Foundation:
        """Make what is missing in `data`, and open it. What is there stays as it is.

        `settings` take the place of the file's. A crash at any point is made good by the next call. Raises
        InvalidInput, Unavailable, InvariantBroken.
        """
        folder = DataFolder(data)
        with folder.making():
            if not folder.settings.exists():
                replace_file(folder.settings, hub_settings.template().encode())
            settings = hub_settings.load(folder.settings) if settings is None else settings
            authority = Authority(folder.authority)
            authority.prepare(socket.gethostname())
            database = Database(folder.database)
            try:
                registry = Registry(database)
            except BaseException:
                database.close()
                raise
        return cls(folder, settings, authority, database, registry)

    @classmethod
    def find(cls, data: Path) -> Foundation:
        """Open what an earlier start has made. Raises InvalidInput where there was none, and what `lay` raises."""
        if not DataFolder(data).is_made:
            raise InvalidInput(FLAG, f"there is no hub in {data}; `pits-hub --data {data}` starts one there")
        return cls.lay(data)

    def close(self) -> None:
        """Close the database."""
        self.database.close()
