"""Compute: programs and stateful Python sessions in a sandbox over the workspace.

An execution's id is the caller's choice, so that starting it again after a lost answer starts nothing twice. Its output
stays readable by byte offset, within a bound, until the execution is forgotten.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from workstation.interface.files import QuotaKind


class OutputStream(StrEnum):
    """Which of a program's outputs; with a terminal all is `stdout`."""

    STDOUT = "stdout"
    STDERR = "stderr"


class ExecSignal(StrEnum):
    """What can be sent to a process tree."""

    INTERRUPT = "interrupt"
    TERMINATE = "terminate"
    KILL = "kill"
    HANGUP = "hangup"
    STOP = "stop"
    CONTINUE = "continue"


class EndReason(StrEnum):
    """Why an execution or a session is over; `lost` when its keeper died and nobody can tell."""

    EXITED = "exited"
    SIGNALED = "signaled"
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    OUTPUT_LIMIT = "output_limit"
    CANCELLED = "cancelled"
    LOST = "lost"


@dataclass(frozen=True, kw_only=True, slots=True)
class Terminal:
    """A terminal's size in characters."""

    columns: int = 120
    rows: int = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecLimits:
    """Bounds of one execution with all its processes; None takes the workstation's default, which is also the most.

    `memory_bytes` and `processes` are of the whole tree, `cpus` a share of processors (0.5 is half of one),
    `wall_seconds` the time until it is asked to end and `grace_seconds` that until it is killed, `output_bytes` what
    both outputs may amount to.
    """

    memory_bytes: int | None = None
    processes: int | None = None
    cpus: float | None = None
    wall_seconds: float | None = None
    grace_seconds: float | None = None
    output_bytes: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecSpec:
    """What to run.

    `argv` is the program and its arguments, no shell in between; `cwd` a path in the workspace; `env` is added to a
    minimal environment. `stdin` keeps an input open for `write_stdin`; with `terminal` there is always one.
    """

    argv: tuple[str, ...]
    cwd: str = "."
    env: dict[str, str] = field(default_factory=dict)
    stdin: bool = False
    terminal: Terminal | None = None
    limits: ExecLimits = field(default_factory=ExecLimits)


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecEnd:
    """How an execution ended: the reason, then what it used in seconds and bytes.

    `exit_code` is there for `exited`, `signal` (its number) when a signal ended it, whatever the reason. The kernel
    charges memory in advance, some hundred KiB per processor: `peak_memory_bytes` is right to within that, and 0 for
    a program that needed less.
    """

    reason: EndReason
    exit_code: int | None = None
    signal: int | None = None
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    peak_memory_bytes: int = 0
    message: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecStatus:
    """An execution as it stands: byte counts of its outputs so far, and `end` once it is over.

    `started_ns` is nanoseconds since 1970 UTC. Output before the `…_kept_from` offsets is no longer kept.
    """

    exec_id: str
    argv: tuple[str, ...]
    started_ns: int
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    stdout_kept_from: int = 0
    stderr_kept_from: int = 0
    stdin_bytes: int = 0
    end: ExecEnd | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """A piece of output that starts at byte `offset` of its stream."""

    stream: OutputStream
    offset: int
    data: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionSpec:
    """A Python session: its working directory in the workspace and the bounds of all it will run.

    `idle_seconds` without a run close it; None takes the workstation's default.
    """

    cwd: str = "."
    limits: ExecLimits = field(default_factory=ExecLimits)
    idle_seconds: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """An open session; `python_version` such as `3.13.5`."""

    session_id: str
    python_version: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionText:
    """Text that the code printed."""

    stream: OutputStream
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RichResult:
    """A value to show: a figure, a table or the last expression, in one or more MIME types, the richest first."""

    data: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionError:
    """An exception the code did not catch; the state from before it is still there."""

    name: str
    message: str
    traceback: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RunEnd:
    """The last thing a run yields.

    `exited` when the code ran to its end, by an exception too; after `timed_out` and `cancelled` it was interrupted and
    the session lives on if `session_alive`.
    """

    reason: EndReason
    session_alive: bool
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    peak_memory_bytes: int = 0


type SessionEvent = SessionText | RichResult | SessionError | RunEnd


@dataclass(frozen=True, kw_only=True, slots=True)
class ComputeLimits:
    """The bounds of one Compute.

    Attributes:
        exec: the most that one execution may ask for.
        executions: executions and sessions that run at a time.
        sessions: sessions open at a time.
        argument_bytes: arguments and environment together.
        stdin_bytes: one `write_stdin`.
        chunk_bytes: one piece of followed output.
        kept_output_bytes: output kept for each stream of an execution; older bytes expire.
        kept_seconds: how long an ended execution is remembered.
        code_bytes: one piece of code for a session.
        result_bytes: one rich result; a larger one is left out and said so as text.
    """

    exec: ExecLimits
    executions: int
    sessions: int
    argument_bytes: int
    stdin_bytes: int
    chunk_bytes: int
    kept_output_bytes: int
    kept_seconds: float
    code_bytes: int
    result_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ComputeCapabilities:
    """What this Compute can do.

    `isolation` names the sandbox (such as `nsjail`), `network` says whether programs reach one, `terminal` and
    `sessions` whether those work, `workspace_quota` whose word the quota on what programs write is.
    """

    isolation: str
    network: bool
    terminal: bool
    sessions: bool
    workspace_quota: QuotaKind
    limits: ComputeLimits


class Compute(Protocol):
    """Sandboxed programs; raises `ComputeError`s, `SandboxUnavailable`, `InvalidArgument`, `LimitExceeded` and others.

    One object serves many calls at once; executions do not disturb each other.
    """

    async def capabilities(self) -> ComputeCapabilities:
        """Say what works here and within which limits; raises `SandboxUnavailable` when nothing does."""
        ...

    async def start(self, exec_id: str, spec: ExecSpec) -> ExecStatus:
        """Start a program. The same id and spec again starts nothing and answers how the first stands.

        Raises `ExecConflict` for the same id with another spec, `SandboxUnavailable`, `LimitExceeded`.
        """
        ...

    def follow(
        self, exec_id: str, *, stdout_offset: int = 0, stderr_offset: int = 0
    ) -> AsyncGenerator[Output | ExecStatus]:
        """Stream both outputs from their offsets to their ends, and the final status last.

        Any number may follow; one that is slow gets `OutputExpired` and stalls nobody.
        """
        ...

    async def write_stdin(self, exec_id: str, data: bytes, *, offset: int, eof: bool = False) -> int:
        """Give input that starts at byte `offset` of all input; returns where the next starts. `eof` closes it after.

        What was taken before is not taken twice. Raises `StdinOffsetMismatch` for a gap, `ExecEnded`.
        """
        ...

    async def signal(self, exec_id: str, signal: ExecSignal) -> None:
        """Send a signal to the whole process tree; raises `ExecEnded` when it is over."""
        ...

    async def wait(self, exec_id: str, *, timeout: float | None = None) -> ExecStatus:
        """Wait until it is over, at most `timeout` seconds; the status says whether it is."""
        ...

    async def list(self) -> tuple[ExecStatus, ...]:
        """All executions that are remembered, the latest first."""
        ...

    async def cancel(self, exec_id: str) -> ExecStatus:
        """End the whole process tree for good and wait until nothing of it is left; one that is over stays as it is."""
        ...

    async def open_session(self, session_id: str, spec: SessionSpec) -> Session:
        """Open a Python session; the same id again answers the open one."""
        ...

    def run_in_session(
        self, session_id: str, run_id: str, code: str, *, timeout: float | None = None
    ) -> AsyncGenerator[SessionEvent]:
        """Run code where variables of earlier runs are alive, and stream what comes of it; a `RunEnd` comes last.

        Closing the stream interrupts the run, as does `timeout` (seconds). The same `run_id` again runs nothing and
        streams the first run's events. Raises `SessionNotFound`, `SessionBusy`, `SessionLost`.
        """
        ...

    async def close_session(self, session_id: str) -> None:
        """End a session and all it runs; one that is closed already is fine."""
        ...
