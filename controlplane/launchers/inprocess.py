"""The in-process launcher: each employee is a task of the control plane's own loop. It is for development.

Employees share this process's memory, its account and its fate: none has limits of its own, and all end with it. Each has
its own context (logs, traces and what is counted are kept by it), its own threads, and its own connections.
"""

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import Context, ContextVar
from importlib import import_module
from pathlib import Path
from typing import Any, Self, TextIO
from uuid import UUID

from controlplane.errors import LaunchFailed
from controlplane.launchers.interface import EMPLOYEE, LaunchSpec
from empla import telemetry

log = logging.getLogger(__name__)

type Live = Callable[[dict[str, Any]], Awaitable[int]]
"""What an employee does, by its settings; returns the exit code that its process would have had."""

END_SECONDS = 10.0
"""For those who are left when the launcher ends: nobody can end a thread that hangs but with its process."""
NOTICE = "all in this process, for development: one that hangs or takes all memory holds up everybody"
_THREADS = "employee "
_threads: ContextVar[ThreadPoolExecutor | None] = ContextVar("empla_threads", default=None)


async def employees(providers: Sequence[str]) -> Live:
    """The life of an employee, with the SDKs of these `providers` imported: later that would hold up everybody."""
    return await asyncio.to_thread(_imported, [f"agent.models.{provider}" for provider in ("offline", *providers)])


def _imported(models: Sequence[str]) -> Live:
    from agent.__main__ import live_by  # noqa: PLC0415 - a control plane that launches processes needs nothing of it

    for model in models:
        import_module(model)
    return live_by


class InProcessEmployee:
    """A launch that is a task; it is gone when the task has ended and with it all that it began in threads."""

    kind = EMPLOYEE
    sidecar_id: UUID | None = None

    def __init__(self, spec: LaunchSpec, start_time: int, task: asyncio.Task[int]) -> None:
        self.employee_id, self.epoch, self.pid = spec.employee_id, spec.epoch, os.getpid()
        self._start_time, self._task = start_time, task
        self._signal: int | None = None
        self._gone = asyncio.Event()

    def identity(self) -> dict[str, Any]:
        """The process that it lives in, and ends with."""
        return {"pid": self.pid, "start_time": self._start_time}

    async def wait(self) -> int | None:
        """Wait for the end; the exit code, or the signal that ended it, negative."""
        await self._gone.wait()
        return -(self._signal or signal.SIGTERM) if self._task.cancelled() else self._task.result()

    def kill(self, signal_number: int) -> None:
        """Cancel the task; one that cleans up already is cancelled again by SIGKILL alone."""
        if self._signal is None or signal_number == signal.SIGKILL:
            self._signal = signal_number
            self._task.cancel()

    def release(self) -> None:
        """Nothing: its launcher has it."""

    async def ended(self, threads: ThreadPoolExecutor, output: TextIO) -> None:
        """Wait for the end of all that it is, and say that it is gone."""
        await asyncio.wait([self._task])
        await _shut_down(threads)
        output.close()
        self._gone.set()


class InProcessLauncher:
    """Launches employees as tasks, for the length of the block that it is; those that are left then are cancelled."""

    name = "inprocess"

    def __init__(self, live: Live) -> None:
        self._live = live
        self._here: dict[InProcessEmployee, asyncio.Task[None]] = {}
        self._tasks = asyncio.TaskGroup()
        self._start_time = 0
        self._stopped = False

    async def __aenter__(self) -> Self:
        asyncio.get_running_loop().set_default_executor(_EachOwn(thread_name_prefix="control plane"))
        self._start_time = await asyncio.to_thread(_start_time)
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        try:
            await self.stop()
        finally:
            await self._tasks.__aexit__(*error)

    async def launch(self, spec: LaunchSpec) -> InProcessEmployee:
        """Begin an employee's life; raises `LaunchFailed`."""
        if self._stopped:
            raise LaunchFailed("nothing is launched any more: the control plane ends")
        try:
            output = await asyncio.to_thread(_opened, spec.log)
        except OSError as error:
            raise LaunchFailed(f"the log cannot be written: {error}") from error
        threads = ThreadPoolExecutor(thread_name_prefix=f"{_THREADS}{spec.employee_id}")
        name = f"employee {spec.employee_id}, epoch {spec.epoch}"
        # A context of its own: nothing of who launches it, of its trace or of another employee is in there.
        task = self._tasks.create_task(self._lived(spec, output, threads), name=name, context=Context())
        employee = InProcessEmployee(spec, self._start_time, task)
        ending = self._tasks.create_task(self._until_gone(employee, threads, output), name=f"end of {name}")
        self._here[employee] = ending
        return employee

    async def running(self, employee_id: UUID | None = None) -> Sequence[InProcessEmployee]:
        """Who lives here, or that one employee: nobody at first, for all end with their control plane."""
        return [one for one in self._here if employee_id in (None, one.employee_id)]

    async def stop(self) -> None:
        """Cancel all who are left, and wait until they are gone, or for `END_SECONDS`; nobody is launched after."""
        self._stopped = True
        for employee in self._here:
            employee.kill(signal.SIGTERM)
        if self._here:
            await asyncio.wait(self._here.values(), timeout=END_SECONDS)
        for employee, ending in self._here.items():
            log.warning("employee %s does not end: what it began in a thread hangs", employee.employee_id)
            employee.kill(signal.SIGKILL)
            ending.cancel()

    async def _lived(self, spec: LaunchSpec, output: TextIO, threads: ThreadPoolExecutor) -> int:
        _threads.set(threads)
        with telemetry.logging_to(output):
            try:
                return await self._live(spec.settings)
            except Exception:
                log.exception("the employee ends with an error")
                return 1

    async def _until_gone(self, employee: InProcessEmployee, threads: ThreadPoolExecutor, output: TextIO) -> None:
        await employee.ended(threads, output)
        self._here.pop(employee, None)


class _EachOwn(ThreadPoolExecutor):
    """The loop's threads, of which each employee has its own: they end with it, and nobody waits for another's."""

    def submit[**P, T](self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Hand work to the threads of whom it is for."""
        own = _threads.get()
        return super().submit(fn, *args, **kwargs) if own is None else own.submit(fn, *args, **kwargs)


def end_despite_threads() -> None:
    """End this process now if threads of employees hang, for which Python waits for ever; all else has ended before."""
    if any(thread.name.startswith(_THREADS) for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


async def _shut_down(threads: ThreadPoolExecutor) -> None:
    """Wait for what is under way in `threads`; in a thread of its own, for which nobody has to wait should that hang."""
    over, loop = asyncio.Event(), asyncio.get_running_loop()

    def shut_down() -> None:
        threads.shutdown(cancel_futures=True)
        with suppress(RuntimeError):  # the loop is closed: whoever waited has ended
            loop.call_soon_threadsafe(over.set)

    threading.Thread(target=shut_down, name="ending threads", daemon=True).start()
    await over.wait()


def _opened(path: Path) -> TextIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w", buffering=1)


def _start_time() -> int:
    """Field 22 of /proc/self/stat: clock ticks since boot."""
    return int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
