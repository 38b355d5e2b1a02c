"""What belongs to employees beside their processes: sidecars, workspaces, browser profiles, and what bounds them."""

import asyncio
import logging
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Protocol
from uuid import UUID

from controlplane.launchers.bounds import Bound, BoundsRecords
from controlplane.launchers.browsers import BrowserProfiles
from controlplane.launchers.workspaces import Workspaces

log = logging.getLogger(__name__)


class Companions(Protocol):
    """What runs for employees beside their processes."""

    async def end_of(self, employee_id: UUID, epoch: int) -> None:
        """End what belongs to an employee's launches up to `epoch`; raises `LaunchFailed` when that is not certain."""
        ...

    async def end_all(self) -> None:
        """End everybody's, for the control plane ends."""
        ...


class Belongings:
    """Of all employees of this machine; `browsers` and `bounds` are the directories of profiles and of notes of bounds."""

    def __init__(
        self, sidecars: Companions, workspaces: Workspaces, *, browsers: Path | None, bounds: Path | None
    ) -> None:
        self.sidecars, self.workspaces = sidecars, workspaces
        self._browsers = BrowserProfiles(browsers) if browsers is not None else None
        self._bounds = BoundsRecords(bounds) if bounds is not None else None

    async def ready(self, employee_id: UUID, last_epoch: int) -> tuple[Path, Path | None]:
        """The employee's workspace and browser profile, which nobody uses any more; raises `LaunchFailed`."""
        await self.sidecars.end_of(employee_id, last_epoch)
        await self.unbind(employee_id, last_epoch)
        workspace = await self.workspaces.prepare(employee_id)
        return workspace, self._browsers.place(employee_id) if self._browsers is not None else None

    def bound_of(self, employee_id: UUID) -> Bound | None:
        """What bounds the employee's process; reads a file."""
        return self._bounds.of(employee_id) if self._bounds is not None else None

    async def unbind(self, employee_id: UUID, epoch: int) -> bool:
        """Let go of what bounded launches up to `epoch`; whether the memory of that one was used up."""
        if self._bounds is None:
            return False
        try:
            return await asyncio.to_thread(self._bounds.remove, employee_id, epoch)
        except (OSError, ValueError) as error:  # whoever watches or launches an employee goes on
            log.warning("what bounded employee %s is left: %s", employee_id, error)
            return False

    async def let_go(self, employee_id: UUID) -> None:
        """The employee is deleted: end and remove all that is its."""
        await self.sidecars.end_of(employee_id, sys.maxsize)
        await self.unbind(employee_id, sys.maxsize)
        await self.workspaces.release(employee_id)
        if self._browsers is not None:
            await self._browsers.remove(employee_id)

    async def keep_only(self, employees: Collection[UUID]) -> None:
        """Remove the browser profiles of everybody else."""
        if self._browsers is not None:
            await self._browsers.keep_only(employees)
