"""Who reads a run: a reader whose stream broke keeps its run going for a while, and finds it as it left it."""

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from workstation.errors import (
    InvalidArgument,
    LimitExceeded,
    WorkstationError,
    WorkstationFailed,
    WorkstationUnavailable,
)
from workstation.interface import SessionEvent

HOLD_SECONDS = 60.0
"""The longest that a run goes on for a reader who is away."""
MOST_READERS = 512

log = logging.getLogger(__name__)

type Open = Callable[[], AsyncGenerator[SessionEvent]]
"""Begins to read a run."""


@dataclass(frozen=True, slots=True)
class ReaderKey:
    """One reader of one run."""

    session_id: str
    run_id: str
    reader: object


@dataclass(slots=True)
class _Reader:
    code: str
    events: list[SessionEvent] = field(default_factory=list)
    error: WorkstationError | None = None
    over: bool = False
    streams: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    leaving: asyncio.TimerHandle | None = None

    def tell(self) -> None:
        self.news.set()
        self.news = asyncio.Event()

    def leave(self) -> None:
        if self.leaving is not None:
            self.leaving.cancel()
        if self.task is not None:
            self.task.cancel()
        if not self.over:
            self.end(WorkstationUnavailable("the reader of this run has left"))

    def end(self, error: WorkstationError | None) -> None:
        self.over, self.error = True, error
        self.tell()


class Readers:
    """The readers of one Compute's runs, open as an async context manager: with it all of them leave."""

    def __init__(self) -> None:
        self._readers: dict[ReaderKey, _Reader] = {}
        self._tasks: asyncio.TaskGroup | None = None

    async def __aenter__(self) -> Self:
        self._tasks = await asyncio.TaskGroup().__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of all runs."""
        tasks, self._tasks = self._tasks, None
        assert tasks is not None
        for reader in self._readers.values():
            reader.leave()
        await tasks.__aexit__(None, None, None)

    async def read(self, key: ReaderKey, code: str, hold: float, begin: Open) -> AsyncGenerator[list[SessionEvent]]:
        """Yield a run's events from the first on, all that are there at a time.

        A stream that is closed early holds the run for `hold` seconds.
        """
        if not 0 <= hold < math.inf:
            raise InvalidArgument(f"hold_seconds is {hold}")
        reader = self._readers.get(key) or self._begin(key, code, begin)
        if reader.code != code:
            raise InvalidArgument(f"the run {key.run_id} was of other code")
        if reader.leaving is not None:
            reader.leaving.cancel()
        reader.streams += 1
        try:
            async with aclosing(_batches(reader)) as batches:
                async for batch in batches:
                    yield batch
        finally:
            reader.streams -= 1
            if not reader.streams:
                self._let_go(key, reader, min(hold, HOLD_SECONDS))

    def leave(self, key: ReaderKey) -> None:
        """This reader does not come back."""
        reader = self._readers.pop(key, None)
        if reader is not None:
            reader.leave()

    def _begin(self, key: ReaderKey, code: str, begin: Open) -> _Reader:
        if self._tasks is None:
            raise WorkstationUnavailable("this Compute is not served any more")
        if len(self._readers) >= MOST_READERS:
            raise LimitExceeded(f"{MOST_READERS} readers of runs are there", limit="readers", allowed=MOST_READERS)
        reader = self._readers[key] = _Reader(code)
        reader.task = self._tasks.create_task(self._keep(reader, begin), name=f"reader of {key.run_id}")
        return reader

    def _let_go(self, key: ReaderKey, reader: _Reader, hold: float) -> None:
        if self._readers.get(key) is not reader:
            return
        if reader.over or not hold:
            self.leave(key)
        else:
            reader.leaving = asyncio.get_running_loop().call_later(hold, self.leave, key)

    async def _keep(self, reader: _Reader, begin: Open) -> None:
        """Read all that comes of the run, which goes on meanwhile."""
        try:
            async with aclosing(begin()) as events:
                async for event in events:
                    reader.events.append(event)
                    reader.tell()
        except WorkstationError as error:
            reader.end(error)
        except Exception as error:
            log.exception("a run failed by a fault of ours")
            reader.end(WorkstationFailed(f"the run failed: {error}"))
        else:
            reader.end(None)


async def _batches(reader: _Reader) -> AsyncGenerator[list[SessionEvent]]:
    position = 0
    while True:
        news, over = reader.news, reader.over
        if batch := reader.events[position:]:
            position += len(batch)
            yield batch
        elif over:
            break
        else:
            await news.wait()
    if reader.error is not None:
        raise reader.error
