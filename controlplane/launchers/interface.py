"""The launcher's Protocol, and what it launches."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """One launch of one employee: `settings` are the fields of the employee's own settings, secrets included."""

    employee_id: UUID
    epoch: int
    settings: dict[str, Any]
    log: Path


class EmployeeProcess(Protocol):
    """A launched process."""

    employee_id: UUID
    epoch: int
    pid: int

    def identity(self) -> dict[str, Any]:
        """What to keep to recognise this very process later."""
        ...

    async def wait(self) -> int | None:
        """Wait until it is gone for certain; its exit code, negative for a signal, None when nobody knows."""
        ...

    def kill(self, signal_number: int) -> None:
        """Send it a signal; no error when it is gone."""
        ...


class Launcher(Protocol):
    """Starts employees somewhere."""

    name: str

    async def launch(self, spec: LaunchSpec) -> EmployeeProcess:
        """Start a process; raises `LaunchFailed`."""
        ...

    async def running(self, employee_id: UUID | None = None) -> Sequence[EmployeeProcess]:
        """What was started before and still runs, of one employee or of all; raises `LaunchFailed`."""
        ...
