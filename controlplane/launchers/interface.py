"""The launcher's Protocol, and what it launches."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

EMPLOYEE = "employee"
COMPUTE = "compute"
BROWSER = "browser"
FILES = "files"
CONTAINER = "container"
"""The name of the launchers whose processes are containers."""


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """One launch of one employee, or of a sidecar for that launch of the employee.

    Attributes:
        employee_id: whose it is.
        epoch: which launch of the employee.
        settings: the fields of the process's own settings, secrets included.
        log: the file that its output is added to.
        kind: what is launched: `employee`, `compute`, `browser` or `files`.
        sidecar_id: of a sidecar.
        memory_bytes: what its programs may take together, besides what it takes itself; 0: no bound.
        cpus: how many processors it may use; 0: no bound.
    """

    employee_id: UUID
    epoch: int
    settings: dict[str, Any]
    log: Path
    kind: str = EMPLOYEE
    sidecar_id: UUID | None = None
    memory_bytes: int = 0
    cpus: float = 0.0


class LaunchedProcess(Protocol):
    """A launched process, or a container with one."""

    kind: str
    employee_id: UUID
    epoch: int
    sidecar_id: UUID | None
    pid: int
    """0 when it is not a process of this machine."""

    def identity(self) -> dict[str, Any]:
        """What to keep to recognise this very process later."""
        ...

    async def wait(self) -> int | None:
        """Wait until it is gone for certain; its exit code, negative for a signal, None when nobody knows."""
        ...

    def kill(self, signal_number: int) -> None:
        """Send it a signal; no error when it is gone."""
        ...

    def release(self) -> None:
        """Let go of it, for nobody is going to watch it here any more: its end is not noticed, and no signal reaches it."""
        ...


class Launcher(Protocol):
    """Starts employees or sidecars somewhere."""

    name: str

    async def launch(self, spec: LaunchSpec) -> LaunchedProcess:
        """Start a process; raises `LaunchFailed`. A sidecar is not serving yet when this returns."""
        ...

    async def running(self, employee_id: UUID | None = None) -> Sequence[LaunchedProcess]:
        """What was started before and still runs, of one employee or of all; raises `LaunchFailed`."""
        ...

    async def stop(self) -> None:
        """Let go of what launching takes; what still runs may end with it."""
        ...
