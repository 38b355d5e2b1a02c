"""LocalCompute: programs and Python sessions in jails on this machine, over the workspace in a directory."""

import asyncio
import logging
import math
import os
import re
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Self

from workstation import paths
from workstation.egress import EgressProxy
from workstation.errors import (
    ExecConflict,
    ExecNotFound,
    InvalidArgument,
    LimitExceeded,
    WorkstationError,
    WorkstationUnavailable,
)
from workstation.interface import (
    ComputeCapabilities,
    ComputeLimits,
    EndReason,
    ExecLimits,
    ExecSignal,
    ExecSpec,
    ExecStatus,
    Output,
    QuotaKind,
    Session,
    SessionEvent,
    SessionSpec,
)
from workstation.local.doors import Doors
from workstation.local.executions import Execution, Launch
from workstation.local.failures import failures
from workstation.local.jail.cgroups import GroupLimits
from workstation.local.jail.configuration import WORKSPACE, JailPlan
from workstation.local.jail.jail import JailBuilder
from workstation.local.jail.pool import WarmPool
from workstation.local.sessions import Sessions
from workstation.local.volume import is_own_volume
from workstation.local.workspace import directory_beneath

log = logging.getLogger(__name__)

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NAME = re.compile(r"[^=\0]+")
_REMEMBERED = 1000
_REMEMBERED_BYTES = 64 << 20
"""How many ended executions are remembered with how much output, however short a time ago they ended."""


def default_limits() -> ComputeLimits:
    """The bounds of a Compute that is told no others."""
    most = ExecLimits(
        memory_bytes=1 << 30,
        processes=128,
        cpus=float(os.cpu_count() or 1),
        wall_seconds=600.0,
        grace_seconds=5.0,
        output_bytes=64 << 20,
    )
    return ComputeLimits(
        exec=most,
        executions=32,
        sessions=8,
        argument_bytes=96 << 10,
        stdin_bytes=1 << 20,
        chunk_bytes=256 << 10,
        kept_output_bytes=4 << 20,
        kept_seconds=600.0,
        code_bytes=1 << 20,
        result_bytes=8 << 20,
    )


class LocalCompute:
    """A `Compute` over the directory `workspace`, open as an async context manager.

    `packages` is a directory of Python packages for jailed Python, read-only inside. `warm` jails are kept ready while
    the Compute is in use. Programs reach what the `egress` proxy lets through, and nothing without one.
    """

    def __init__(
        self,
        workspace: Path,
        *,
        packages: Path | None = None,
        limits: ComputeLimits | None = None,
        warm: int = 2,
        egress: EgressProxy | None = None,
    ) -> None:
        self._limits = limits or default_limits()
        self._plan = JailPlan(workspace, packages if packages is not None and packages.is_dir() else None)
        self._doors = Doors(egress)
        self._environment = self._plan.environment() | self._doors.environment
        self._builder = JailBuilder(self._plan, _group(self._limits.exec), listens=self._doors.lead_out)
        self._pool = WarmPool(self._builder, warm)
        self._executions: dict[str, Execution] = {}
        self._tasks: asyncio.TaskGroup | None = None

    async def __aenter__(self) -> Self:
        """Raises `SandboxUnavailable` when programs cannot be run here."""
        await self._builder.__aenter__()
        self._root = os.open(self._plan.workspace, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._tasks = await asyncio.TaskGroup().__aenter__()
        self._keeping = self._tasks.create_task(self._pool.keep(), name="warm sandboxes")
        self._sessions = Sessions(self._pool, self._doors, self._environment, self._limits, self._tasks)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all that runs."""
        tasks, self._tasks = self._opened, None
        for execution in self._executions.values():
            execution.stop(EndReason.CANCELLED)
        self._sessions.stop()
        self._keeping.cancel()
        await tasks.__aexit__(None, None, None)
        os.close(self._root)
        await self._builder.__aexit__(kind, error, trace)

    async def warm_up(self) -> None:
        """Begin to build the first jail before a program comes; it stays until one does."""
        _ = self._opened
        self._pool.begin()
        await asyncio.sleep(0)  # it begins now, and goes on while whoever called keeps this process busy

    async def capabilities(self) -> ComputeCapabilities:
        """Say what works here; see `Compute.capabilities`."""
        _ = self._opened
        enforced = await asyncio.to_thread(is_own_volume, self._root)
        return ComputeCapabilities(
            isolation="nsjail",
            network=self._doors.lead_out,
            terminal=True,
            sessions=True,
            workspace_quota=QuotaKind.ENFORCED if enforced else QuotaKind.NONE,
            limits=self._limits,
        )

    async def start(self, exec_id: str, spec: ExecSpec) -> ExecStatus:
        """Start a program; see `Compute.start`."""
        tasks = self._opened
        _require_id(exec_id)
        execution = self._executions.get(exec_id)
        if execution is None:
            launch = self._launch(spec)
            self._forget()
            self._require_room()
            execution = Execution(
                exec_id,
                spec,
                launch,
                kept_bytes=self._limits.kept_output_bytes,
                chunk_bytes=self._limits.chunk_bytes,
            )
            self._executions[exec_id] = execution
            tasks.create_task(self._run(execution), name=f"execution {exec_id}")
        elif execution.spec != spec:
            raise ExecConflict(f"{exec_id} was started with something else", target=exec_id)
        try:
            await asyncio.shield(execution.begun)
        except WorkstationError:  # it never was: its id is free again
            if self._executions.get(exec_id) is execution:
                del self._executions[exec_id]
            raise
        return execution.status

    async def follow(
        self, exec_id: str, *, stdout_offset: int = 0, stderr_offset: int = 0
    ) -> AsyncGenerator[Output | ExecStatus]:
        """Stream both outputs; see `Compute.follow`."""
        execution = self._find(exec_id)
        if stdout_offset < 0 or stderr_offset < 0:
            raise InvalidArgument(f"no offsets: {stdout_offset}, {stderr_offset}")
        async with aclosing(execution.follow(stdout_offset, stderr_offset)) as events:
            async for event in events:
                yield event

    async def write_stdin(self, exec_id: str, data: bytes, *, offset: int, eof: bool = False) -> int:
        """Give input; see `Compute.write_stdin`."""
        execution = self._find(exec_id)
        most = self._limits.stdin_bytes
        if len(data) > most:
            raise LimitExceeded(f"write_stdin takes at most {most} bytes", limit="stdin_bytes", allowed=most)
        if offset < 0:
            raise InvalidArgument(f"no offset: {offset}")
        return await execution.write_stdin(data, offset, eof=eof)

    async def signal(self, exec_id: str, signal: ExecSignal) -> None:
        """Signal a whole tree; see `Compute.signal`."""
        self._find(exec_id).signal(signal)

    async def wait(self, exec_id: str, *, timeout: float | None = None) -> ExecStatus:
        """Wait for the end; see `Compute.wait`."""
        execution = self._find(exec_id)
        if timeout is not None and not timeout >= 0:
            raise InvalidArgument(f"no time-out: {timeout}")
        await execution.wait(timeout)
        return execution.status

    async def list(self) -> tuple[ExecStatus, ...]:
        """All that are remembered; see `Compute.list`."""
        _ = self._opened
        self._forget()
        return tuple(execution.status for execution in reversed(self._executions.values()))

    async def cancel(self, exec_id: str) -> ExecStatus:
        """End a whole tree; see `Compute.cancel`."""
        execution = self._find(exec_id)
        execution.stop(EndReason.CANCELLED)
        await asyncio.shield(execution.over)
        return execution.status

    async def open_session(self, session_id: str, spec: SessionSpec) -> Session:
        """Open a Python session; see `Compute.open_session`."""
        _ = self._opened
        _require_id(session_id)
        self._forget()
        limits = self._complete(spec.limits)
        cwd = self._directory(spec.cwd)
        if spec.idle_seconds is not None and not 0 < spec.idle_seconds < math.inf:
            raise InvalidArgument(f"idle_seconds is {spec.idle_seconds}")
        return await self._sessions.open(session_id, spec, limits, cwd, self._require_room)

    async def run_in_session(
        self, session_id: str, run_id: str, code: str, *, timeout: float | None = None
    ) -> AsyncGenerator[SessionEvent]:
        """Run code in a session; see `Compute.run_in_session`."""
        _ = self._opened
        _require_id(session_id)
        _require_id(run_id)
        if timeout is not None and not timeout > 0:
            raise InvalidArgument(f"no time-out: {timeout}")
        async with aclosing(self._sessions.run(session_id, run_id, code, timeout)) as events:
            async for event in events:
                yield event

    async def close_session(self, session_id: str) -> None:
        """End a session; see `Compute.close_session`."""
        _ = self._opened
        _require_id(session_id)
        await self._sessions.close(session_id)

    @property
    def _opened(self) -> asyncio.TaskGroup:
        if self._tasks is None:
            raise WorkstationUnavailable("this Compute is not open")
        return self._tasks

    async def _run(self, execution: Execution) -> None:
        try:
            await execution.run(self._pool, self._doors)
        except Exception:
            log.exception("the execution %s failed by a fault of ours", execution.exec_id)  # the others go on

    def _find(self, exec_id: str) -> Execution:
        _ = self._opened
        _require_id(exec_id)
        self._forget()
        execution = self._executions.get(exec_id)
        if execution is None:
            raise ExecNotFound(f"there is no execution {exec_id}", target=exec_id)
        return execution

    def _forget(self) -> None:
        """Let go of what ended long ago, and of the oldest when there is too much."""
        late, count, kept = time.monotonic() - self._limits.kept_seconds, 0, 0
        for execution in [found for found in reversed(self._executions.values()) if found.over.done()]:
            count, kept = count + 1, kept + execution.kept_bytes
            if execution.ended_at < late or count > _REMEMBERED or kept > max(_REMEMBERED_BYTES, execution.kept_bytes):
                del self._executions[execution.exec_id]

    def _require_room(self) -> None:
        running = sum(execution.end is None for execution in self._executions.values()) + self._sessions.count
        if running >= self._limits.executions:
            raise LimitExceeded(
                f"{running} executions and sessions run already", limit="executions", allowed=self._limits.executions
            )

    def _launch(self, spec: ExecSpec) -> Launch:
        argv = [_encoded(argument, "an argument") for argument in spec.argv]
        if not argv or not argv[0]:
            raise InvalidArgument("no program is named")
        env = {_encoded(name, "a variable"): _encoded(value, "a value") for name, value in spec.env.items()}
        if not all(_NAME.fullmatch(name) for name in spec.env):
            raise InvalidArgument("a variable of the environment needs a name without '='")
        most = self._limits.argument_bytes
        if sum(map(len, [*argv, *env, *env.values()])) + 2 * (len(argv) + len(env)) > most:
            raise LimitExceeded(
                f"arguments and environment have more than {most} bytes", limit="argument_bytes", allowed=most
            )
        if spec.terminal and not (0 < spec.terminal.columns < 10_000 and 0 < spec.terminal.rows < 10_000):
            raise InvalidArgument(f"no size of a terminal: {spec.terminal}")
        usual = {name.encode(): value.encode() for name, value in self._environment.items()}
        terminal = {b"TERM": b"xterm-256color"} if spec.terminal else {}
        limits = self._complete(spec.limits)
        return Launch(argv, self._directory(spec.cwd), usual | terminal | env, limits, _group(limits))

    def _directory(self, cwd: str) -> bytes:
        """The place of a directory in the jail; raises what keeps it from being one, as far as can be seen from outside."""
        raw = paths.resolve(cwd)
        with failures(raw), directory_beneath(self._root, raw):
            return f"{WORKSPACE}/".encode() + raw

    def _complete(self, wanted: ExecLimits) -> ExecLimits:
        """Bounds without gaps; raises `InvalidArgument` for one that is no bound, `LimitExceeded` for one too high."""
        bounds = {}
        for field in fields(ExecLimits):
            most, value = getattr(self._limits.exec, field.name), getattr(wanted, field.name)
            if value is not None and not value > 0 and not (field.name == "grace_seconds" and value == 0):
                raise InvalidArgument(f"{field.name} is {value}")
            if value is not None and value > most:
                raise LimitExceeded(f"{field.name} may be at most {most:g}", limit=f"exec.{field.name}", allowed=most)
            bounds[field.name] = most if value is None else value
        return ExecLimits(**bounds)


def _group(limits: ExecLimits) -> GroupLimits:
    return GroupLimits(limits.memory_bytes or 0, limits.processes or 0, limits.cpus or 0.0)


def _require_id(value: str) -> None:
    if not _ID.fullmatch(value):
        raise InvalidArgument(f"no id (1 to 64 of A-Z, a-z, 0-9, _ and -): {paths.show(value)[:100]}")


def _encoded(text: str, what: str) -> bytes:
    try:
        raw = text.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"{what} is not text: {paths.show(text)[:100]}") from error
    if b"\0" in raw:
        raise InvalidArgument(f"{what} contains a NUL: {paths.show(text)[:100]}")
    return raw
