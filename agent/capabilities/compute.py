"""The Compute capability: commands and a Python session in a sandbox, through whatever Compute it was given."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

from pydantic import BaseModel

from agent.capabilities import compute_actions as act
from agent.capabilities.base import Action, BaseCapability, EffectKey
from agent.capabilities.compute_actions import FOREGROUND_SECONDS
from agent.capabilities.ends import ask_for_more, end_in_words, status_in_words
from agent.capabilities.excerpt import Excerpt, whole_characters
from agent.capabilities.python_session import PythonSession
from agent.errors import ActionFailed, SidecarUnavailable
from agent.prompts import without_marks
from workstation.errors import ComputeError, ExecEnded, OutputExpired, SandboxUnavailable, WorkstationError
from workstation.interface import (
    Compute,
    EndReason,
    ExecLimits,
    ExecSignal,
    ExecSpec,
    ExecStatus,
    FileSystem,
    OutputStream,
)
from workstation.opening import OpenedOnUse

STDOUT = {"head": 8_000, "tail": 8_000}
STDERR = {"head": 2_000, "tail": 6_000}
"""Bytes of output in an answer; what went wrong stands at the end of standard error."""
SHOWN_COMMAND = 200
GRACE_SECONDS = 3.0
CHECK_SECONDS = 60.0
"""How long the outcome of a check of the sandbox is believed."""
_CHECK = "check-"


class ComputeCapability(BaseCapability):
    """Runs programs; what `open_compute` gives is opened at the first use and held until the employee stops.

    `more_memory` says how many bytes a program may be given for which so many were too little; None if no more.
    """

    name: ClassVar[str] = "compute"
    actions: ClassVar[tuple[Action, ...]] = act.ACTIONS

    def __init__(
        self,
        open_compute: Callable[[], AbstractAsyncContextManager[Compute]],
        files: FileSystem,
        more_memory: Callable[[int], int | None] = lambda _: None,
    ) -> None:
        self._open, self._more_memory = open_compute, more_memory
        self._compute = OpenedOnUse(open_compute)
        self._python = PythonSession(self._compute.get, files, more_memory)
        self._checked: tuple[float, str] | None = None

    async def initialize(self) -> None:
        """Nothing is opened yet."""
        await self._compute.__aenter__()

    async def shutdown(self) -> None:
        """End all that runs."""
        await self._compute.__aexit__(None, None, None)

    async def health(self) -> str:
        """'' when programs can be run, else what is missing: found by running one, at most once a minute."""
        if self._checked is None or time.monotonic() - self._checked[0] > CHECK_SECONDS:
            self._checked = time.monotonic(), await self._check()
        return self._checked[1]

    async def can_resume(self, action: str, key: EffectKey) -> bool:
        """Whether the program of this call is still known: looked at again, it is not started again."""
        if action == "run_python":
            return self._python.knows(exec_id_of(key))
        with suppress(WorkstationError):
            compute = await self._compute.get()
            return any(status.exec_id == exec_id_of(key) for status in await compute.list())
        return False

    async def abandon(self, unit_id: UUID) -> None:
        """End the unit's programs, those in the background as well."""
        if not self._compute.is_open:
            return
        compute = await self._compute.get()
        for status in await compute.list():
            if status.end is None and status.exec_id.startswith(_own(unit_id)):
                await compute.cancel(status.exec_id)

    async def _execute_action_impl(self, action: str, arguments: Any, key: EffectKey) -> BaseModel:
        try:
            return await getattr(self, f"_{action}")(arguments, exec_id_of(key))  # type: ignore[no-any-return]
        except WorkstationError as error:
            raise ActionFailed(f"{error.reason}: {without_marks(str(error))}") from error

    async def _run_command(self, wanted: act.RunCommand, exec_id: str) -> act.RanCommand:
        memory = in_bytes(wanted.memory_mb)
        first = await self._ran(wanted, exec_id, memory, wanted.timeout)
        end = first.status.end
        if end is None or end.reason not in (EndReason.OUT_OF_MEMORY, EndReason.LOST):
            return first.told()
        if end.reason is EndReason.OUT_OF_MEMORY:
            more = self._more_memory(memory)
            if more is None or not wanted.repeatable:
                return first.told(hint=ask_for_more(more, "repeatable=true and memory_mb"))
            memory = more
        left = FOREGROUND_SECONDS - end.wall_seconds
        if not wanted.repeatable or left < 1:
            return first.told()
        try:
            second = await self._ran(wanted, f"{exec_id}-2", memory, min(wanted.timeout, left))
        except (WorkstationError, SidecarUnavailable) as error:
            return first.told(hint=f"; it was not run again: {error}")
        return second.told(hint=f"; before that it {end_in_words(end)}, and was run again")

    async def _ran(self, wanted: act.RunCommand, exec_id: str, memory: int, seconds: float) -> "_Ran":
        compute = await self._compute.get()
        spec = _spec(wanted.command, wanted.cwd, seconds, memory=memory, stdin=wanted.stdin is not None)
        await compute.start(exec_id, spec)
        async with _fed(compute, exec_id, wanted.stdin):
            return _Ran(*await _followed(compute, exec_id))

    async def _start_command(self, wanted: act.StartCommand, exec_id: str) -> act.CommandState:
        compute = await self._compute.get()
        spec = _spec(wanted.command, wanted.cwd, wanted.timeout, memory=in_bytes(wanted.memory_mb))
        return _state(await compute.start(exec_id, spec))

    async def _read_output(self, wanted: act.ReadOutput, _: str) -> act.OutputText:
        compute = await self._compute.get()
        status = await compute.wait(wanted.id, timeout=wanted.wait)
        stdout = wanted.stream == "stdout"
        total = status.stdout_bytes if stdout else status.stderr_bytes
        kept_from = status.stdout_kept_from if stdout else status.stderr_kept_from
        # The last bytes are what is asked for, as many as there are.
        offset = max(kept_from, total + wanted.offset) if wanted.offset < 0 else min(wanted.offset, total)
        data = await _piece(compute, status, OutputStream(wanted.stream), offset, min(total - offset, wanted.limit))
        ends = status.end is not None and offset + len(data) >= total
        data = data if ends else whole_characters(data) or data
        return act.OutputText(
            text=data.decode("utf-8", "replace"),
            next_offset=offset + len(data),
            more=offset + len(data) < total,
            end=status_in_words(status),
            exit_code=status.end.exit_code if status.end else None,
        )

    async def _stop_command(self, wanted: act.CommandId, _: str) -> act.CommandState:
        """Ask it to end, and soon after see to it."""
        compute = await self._compute.get()
        with suppress(ExecEnded):
            await compute.signal(wanted.id, ExecSignal.TERMINATE)
            await compute.wait(wanted.id, timeout=GRACE_SECONDS)
        return _state(await compute.cancel(wanted.id))

    async def _list_commands(self, _: act.ListCommands, __: str) -> act.CommandStates:
        if not self._compute.is_open:
            return act.CommandStates(commands=[], truncated=False)
        listed = await (await self._compute.get()).list()
        known = [status for status in listed if not status.exec_id.startswith(_CHECK)]
        return act.CommandStates(
            commands=[_state(status) for status in known[: act.MAX_LISTED]], truncated=len(known) > act.MAX_LISTED
        )

    async def _run_python(self, wanted: act.RunPython, exec_id: str) -> act.RanPython:
        return await self._python.run(exec_id, wanted.code, wanted.timeout)

    async def _restart_python(self, wanted: act.RestartPython, _: str) -> act.Restarted:
        await self._python.restart(in_bytes(wanted.memory_mb), closes=self._compute.is_open)
        return act.Restarted(end="Python starts afresh with the next run_python")

    async def _check(self) -> str:
        """Run the smallest program there is, in a Compute of its own unless there is one: so nothing stays open."""
        try:
            if self._compute.is_open:
                return await _trial(await self._compute.get())
            async with self._open() as compute:
                return await _trial(compute)
        except SandboxUnavailable as error:
            return f"programs cannot be run here: {error}"
        except WorkstationError as error:
            return f"compute does not work: {error}"


def in_bytes(megabytes: int | None) -> int:
    """What an action asks for; 0 for what is usual."""
    return (megabytes or 0) << 20


def exec_id_of(key: EffectKey) -> str:
    """The id of the program that a call starts: the same call is the same program. Short, since a model repeats it."""
    return f"{_own(key.unit_id)}{key.response_index}-{key.call_index}"


def _own(unit_id: UUID) -> str:
    """What the ids of a unit's programs begin with."""
    return f"{unit_id.hex[-12:]}-"


def _spec(command: str, cwd: str, seconds: float, *, memory: int, stdin: bool = False) -> ExecSpec:
    limits = ExecLimits(wall_seconds=seconds, memory_bytes=memory or None)
    return ExecSpec(argv=("/bin/sh", "-c", command), cwd=cwd, stdin=stdin, limits=limits)


@dataclass(frozen=True, slots=True)
class _Ran:
    """A program that was followed to its end."""

    status: ExecStatus
    excerpts: dict[OutputStream, Excerpt]

    def told(self, *, hint: str = "") -> act.RanCommand:
        status = self.status
        shown = {stream: text.text(_rest_of(status.exec_id, stream)) for stream, text in self.excerpts.items()}
        return act.RanCommand(
            id=status.exec_id,
            end=status_in_words(status) + hint,
            exit_code=status.end.exit_code if status.end else None,
            stdout=shown[OutputStream.STDOUT],
            stderr=shown[OutputStream.STDERR],
        )


@asynccontextmanager
async def _fed(compute: Compute, exec_id: str, text: str | None) -> AsyncIterator[None]:
    """Give all the input there is, meanwhile; a program that ends without it did not want it."""
    if text is None:
        yield
        return
    feeding = asyncio.ensure_future(compute.write_stdin(exec_id, text.encode(), offset=0, eof=True))
    try:
        yield
    finally:
        feeding.cancel()
        await asyncio.wait([feeding])
    with suppress(ExecEnded, asyncio.CancelledError):
        feeding.result()


async def _followed(compute: Compute, exec_id: str) -> tuple[ExecStatus, dict[OutputStream, Excerpt]]:
    """Both outputs to their ends. Followed as they come: later, the beginning of a long one may no longer be kept."""
    excerpts = {OutputStream.STDOUT: Excerpt(**STDOUT), OutputStream.STDERR: Excerpt(**STDERR)}
    offsets = dict.fromkeys(OutputStream, 0)
    while True:
        out, err = offsets[OutputStream.STDOUT], offsets[OutputStream.STDERR]
        try:
            async with aclosing(compute.follow(exec_id, stdout_offset=out, stderr_offset=err)) as events:
                async for event in events:
                    if isinstance(event, ExecStatus):
                        return event, excerpts
                    excerpts[event.stream].add(event.data, event.offset)
                    offsets[event.stream] = event.offset + len(event.data)
        except OutputExpired as error:
            stream = OutputStream(error.stream)
            if error.earliest <= offsets[stream]:
                raise
            offsets[stream] = error.earliest
            continue
        raise ComputeError("the output ended without saying how the program ended", target=exec_id)


async def _piece(compute: Compute, status: ExecStatus, stream: OutputStream, offset: int, size: int) -> bytes:
    """Bytes that are there already; nothing is waited for."""
    offsets = {"stdout_offset": status.stdout_bytes, "stderr_offset": status.stderr_bytes, f"{stream}_offset": offset}
    data = b""
    if size <= 0:
        return data
    async with aclosing(compute.follow(status.exec_id, **offsets)) as events:
        async for event in events:
            if isinstance(event, ExecStatus):
                break
            if event.stream is stream and len(data := data + event.data) >= size:
                break
    return data[:size]


def _rest_of(exec_id: str, stream: OutputStream) -> Callable[[int, int], str]:
    def go_on(missing: int, offset: int) -> str:
        call = f'read_output(id="{exec_id}", stream="{stream}", offset={offset})'
        return f"{missing} bytes are left out here; read them with {call}"

    return go_on


def _state(status: ExecStatus) -> act.CommandState:
    command = status.argv[2] if status.argv[:2] == ("/bin/sh", "-c") else " ".join(status.argv)
    return act.CommandState(
        id=status.exec_id,
        command=command if len(command) <= SHOWN_COMMAND else command[:SHOWN_COMMAND] + " …",
        end=status_in_words(status),
        exit_code=status.end.exit_code if status.end else None,
        stdout_bytes=status.stdout_bytes,
        stderr_bytes=status.stderr_bytes,
    )


async def _trial(compute: Compute) -> str:
    exec_id = f"{_CHECK}{time.monotonic_ns()}"
    await compute.start(exec_id, ExecSpec(argv=("true",), limits=ExecLimits(wall_seconds=10)))
    status = await compute.wait(exec_id, timeout=15)
    if status.end is None or status.end.exit_code != 0:
        return f"a trial program {status_in_words(status) if status.end is None else end_in_words(status.end)}"
    return ""
