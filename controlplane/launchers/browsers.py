"""Where employees' browsers keep cookies and storage: a directory for each, for its process alone."""

import asyncio
import logging
import shutil
from collections.abc import Collection
from pathlib import Path
from uuid import UUID

log = logging.getLogger(__name__)


class BrowserProfiles:
    """The profiles below one directory. An employee's browser makes its own when it is first used."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def place(self, employee_id: UUID) -> Path:
        """Where the profile of an employee is, or will be."""
        return self._directory / str(employee_id)

    async def remove(self, employee_id: UUID) -> None:
        """Remove the profile of an employee that is deleted and whose process is gone: who has it is logged in as it was."""
        await asyncio.to_thread(_remove, self.place(employee_id))

    async def keep_only(self, employees: Collection[UUID]) -> None:
        """Remove the profiles of all others: of those whose deletion was cut short."""
        known = set(map(str, employees))
        for place in await asyncio.to_thread(_entries, self._directory):
            if place.name not in known:
                await asyncio.to_thread(_remove, place)


def _entries(directory: Path) -> list[Path]:
    return list(directory.iterdir()) if directory.is_dir() else []


def _remove(place: Path) -> None:
    try:
        shutil.rmtree(place)
    except FileNotFoundError:
        return
    except OSError as error:
        log.warning("the browser profile %s of a deleted employee stays: %s", place, error)
