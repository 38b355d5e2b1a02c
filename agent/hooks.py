"""Hooks: code of an operator's own that is told what happens in an employee, and cannot hold it up, fail it or change it.

Each hook has a bounded queue and is given one moment after the other, in order, beside the employee's work. What it raises,
what takes longer than its deadline, and what its queue has no room for is counted, logged, and reported with heartbeats.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from inspect import isawaitable, iscoroutinefunction
from typing import Any, Self
from uuid import UUID

from google.protobuf.struct_pb2 import Struct

from agent.errors import GatewayUnavailable, Superseded
from agent.moments import EmployeeStopped, Moment, hearer, in_words, tell
from agent.own_thread import OwnThread
from empla import telemetry

log = logging.getLogger(__name__)

MAX_HOOKS = 64
MAX_WAITING = 256
"""Moments that wait for one hook; those that come while there are so many are dropped."""
DEADLINE_SECONDS = 10.0
END_SECONDS = 3.0
"""For all hooks together to hear the rest when the employee ends."""
MAX_NAME = 100

type Call = Callable[[Any], Awaitable[None] | None]


@dataclass(frozen=True, slots=True)
class Hook:
    """What is called with each moment of some kinds; `deadline` is in seconds, for one call."""

    name: str
    kinds: tuple[type[Moment], ...]
    call: Call
    deadline: float


class Hooks:
    """The hooks of an employee, or of an installed package."""

    def __init__(self) -> None:
        self._hooks: dict[str, Hook] = {}
        self._missing: dict[str, str] = {}

    def on[M: Moment](
        self,
        kind: type[M] | tuple[type[M], ...],
        call: Callable[[M], Awaitable[None] | None],
        *,
        name: str = "",
        deadline: float = DEADLINE_SECONDS,
    ) -> Self:
        """Have `call` told of each moment of a kind, of several, or of all with `Moment`.

        A coroutine function runs on the employee's event loop and must not block it, any other callable in a thread of its
        own. Its calls never overlap. `name` is what logs and health call it, otherwise where it is defined. Raises
        `ValueError` for more than 64 hooks.
        """
        kinds = kind if isinstance(kind, tuple) else (kind,)
        self._add(Hook(name or _name_of(call), kinds, call, deadline))
        return self

    def include(self, others: "Hooks") -> None:
        """Have those of `others` as well."""
        for hook in others._hooks.values():
            self._add(hook)
        self._missing |= others._missing

    def missing(self, name: str, why: str) -> None:
        """Report hooks that should be there and are not."""
        self._missing[name] = why

    def _add(self, hook: Hook) -> None:
        if len(self._hooks) >= MAX_HOOKS:
            raise ValueError(f"an employee has at most {MAX_HOOKS} hooks")
        names = (f"{hook.name[:MAX_NAME]}{suffix}" for suffix in ("", *(f" {n}" for n in range(2, MAX_HOOKS + 2))))
        name = next(name for name in names if name not in self._hooks)
        self._hooks[name] = Hook(name, hook.kinds, hook.call, hook.deadline)

    @asynccontextmanager
    async def telling(self, name: str, employee_id: UUID) -> AsyncIterator["Report"]:
        """Tell them what happens to an employee within the block, and last that it stopped; gives what to say of them."""
        ended: BaseException | None = None
        async with asyncio.TaskGroup() as group:
            running = [Running(hook) for hook in self._hooks.values()]
            tasks = [group.create_task(one.run(), name=f"hook {one.hook.name}") for one in running]
            audience = Audience(name, employee_id, running)
            token = hearer.set(audience)
            try:
                yield Report(running, self._missing, audience.away)
            except BaseException as error:  # noqa: BLE001 - raised below, as it is, once the hooks have heard of it
                ended = error
            try:
                tell(EmployeeStopped, reason=_reason(ended), error=in_words(ended) if ended else "")
                await _heard(running)
            finally:
                hearer.reset(token)
                for task in tasks:
                    task.cancel()
        if ended is not None:
            raise ended


@dataclass(slots=True)
class Counts:
    """What became of the calls of one hook since the employee started."""

    calls: int = 0
    failed: int = 0
    timed_out: int = 0
    dropped: int = 0
    milliseconds: float = 0.0
    last_error: str = ""


class Running:
    """One hook of one employee that is there."""

    def __init__(self, hook: Hook) -> None:
        self.hook, self.counts = hook, Counts()
        self._queue: asyncio.Queue[Moment] = asyncio.Queue(MAX_WAITING)
        self._thread = None if iscoroutinefunction(hook.call) else OwnThread(f"hook {hook.name}")
        self._full = self._failing = False

    @property
    def waiting(self) -> int:
        """How many moments it has not been told of yet."""
        return self._queue.qsize()

    @property
    def stuck(self) -> bool:
        """Whether its thread is still at a call whose deadline has passed."""
        return self._thread is not None and self._thread.left

    def hear(self, moment: Moment) -> None:
        """Queue a moment; when there is no room it is dropped."""
        try:
            self._queue.put_nowait(moment)
        except asyncio.QueueFull:
            if not self._full:
                log.warning("hook %s has no room: moments are dropped until it has", self.hook.name)
            self._full = True
            self.counts.dropped += 1

    async def run(self) -> None:
        """Call it with one moment after the other, until cancelled."""
        try:
            while True:
                await self._tell(await self._queue.get())
                self._queue.task_done()
                self._full = self._full and not self._queue.empty()
                if self._thread is not None:
                    await self._thread.free.wait()  # else calls would pile up behind one that hangs
        finally:
            if self._thread is not None:
                self._thread.end()

    async def heard(self) -> None:
        """Wait until it has been told of everything."""
        await self._queue.join()

    async def _tell(self, moment: Moment) -> None:
        started, limit = time.perf_counter(), asyncio.timeout(self.hook.deadline)
        self.counts.calls += 1
        try:
            with telemetry.span(f"hook {self.hook.name}", moment.trace, moment=type(moment).__name__):
                async with limit:
                    await self._call(moment)
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) is None or task.cancelling():
                raise
            self._failed(error)  # of something that it had begun itself
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001 - the boundary to code of others, which may have errors of any kind
            if limit.expired():
                self.counts.timed_out += 1
                self._failed(TimeoutError(f"{type(moment).__name__} took it more than {self.hook.deadline:g} s"))
            else:
                self._failed(error)
        else:
            if self._failing:
                log.info("hook %s works again", self.hook.name)
            self._failing = False
        finally:
            self.counts.milliseconds += (time.perf_counter() - started) * 1000

    async def _call(self, moment: Moment) -> None:
        if self._thread is None:
            result = self.hook.call(moment)
        else:
            result = await self._thread.call(partial(self.hook.call, moment))
        if isawaitable(result):  # of a function that only gives back a coroutine, too
            await result

    def _failed(self, error: BaseException) -> None:
        self.counts.failed += 1
        self.counts.last_error = in_words(error)
        if not self._failing:  # what fails always is told once
            log.error("hook %s failed, the employee goes on", self.hook.name, exc_info=error)
        self._failing = True


@dataclass(slots=True)
class Audience:
    """The hooks of one employee, each for its kinds of moments."""

    name: str
    employee_id: UUID
    hooks: Sequence[Running]
    _takers: dict[Callable[..., Moment], list[Running]] = field(default_factory=dict)
    away: dict[str, str] = field(default_factory=dict)
    """Parts that do not fare well, and why."""

    def wants(self, kind: Callable[..., Moment]) -> bool:
        """See `Hearer.wants`."""
        return bool(self.hooks and self._of(kind))

    def hear(self, moment: Moment) -> None:
        """See `Hearer.hear`."""
        for one in self._of(type(moment)):
            one.hear(moment)

    def turned(self, part: str, why: str) -> bool:
        """See `Hearer.turned`."""
        before = self.away.pop(part, "")
        if why:
            self.away[part] = why
        return bool(before) != bool(why)

    def _of(self, kind: Callable[..., Moment]) -> list[Running]:
        if (takers := self._takers.get(kind)) is None:
            assert isinstance(kind, type)
            takers = self._takers[kind] = [one for one in self.hooks if issubclass(kind, one.hook.kinds)]
        return takers


@dataclass(frozen=True, slots=True)
class Report:
    """What is said of hooks, and of the parts that are `away`, with an employee's health."""

    hooks: Iterable[Running]
    missing: Mapping[str, str]
    away: Mapping[str, str] = field(default_factory=dict)

    def reported(self) -> Struct | None:
        """By their names, how often each was called, failed …, or why it is not there; None when there is nothing to say."""
        said: dict[str, dict[str, str | float]] = {name: {"missing": why} for name, why in self.missing.items()}
        for one in self.hooks:
            counts = one.counts
            said[one.hook.name] = {
                "calls": counts.calls,
                "failed": counts.failed,
                "timed_out": counts.timed_out,
                "dropped": counts.dropped,
                "waiting": one.waiting,
                "milliseconds": round(counts.milliseconds, 1),
                "last_error": counts.last_error,
            }
        if not said:
            return None
        reported = Struct()
        reported.update({"hooks": said})
        return reported


async def _heard(running: Iterable[Running]) -> None:
    """Give them the time to hear the rest, but for those that hang."""
    with suppress(TimeoutError):
        async with asyncio.timeout(END_SECONDS):
            for one in running:
                if not one.stuck:
                    await one.heard()
    if left := sum(one.waiting for one in running):
        log.warning("hooks were not told of %d moments before the employee ended", left)


def _reason(ended: BaseException | None) -> Any:
    while isinstance(ended, BaseExceptionGroup):
        ended = ended.exceptions[0]
    match ended:
        case None:
            return "drained"
        case Superseded():
            return "superseded"
        case GatewayUnavailable():
            return "refused"
        case Exception():
            return "failed"
        case _:
            return "cancelled"


def _name_of(call: Call) -> str:
    named = getattr(call, "func", call)  # of a partial
    name = getattr(named, "__qualname__", type(named).__qualname__)
    return f"{getattr(named, '__module__', '')}.{name}".lstrip(".")
