"""The call that tells of employees as they change."""

import asyncio
import logging
from contextlib import aclosing
from typing import Any

import grpc.aio

from controlplane.calls.calls import Calls, Parts
from controlplane.errors import Exhausted
from controlplane.watching import Watching
from empla.v1 import control_pb2 as pb

log = logging.getLogger(__name__)

SLOW_SECONDS = 30.0
"""How long a reader may take nothing, before its stream is ended."""


class WatchCalls(Calls):
    """A stream for whoever shows what employees do."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self._watching = Watching(parts.employees, self._employee)

    async def WatchEmployees(self, request: pb.WatchEmployeesRequest, context: Any) -> None:  # type: ignore[override]
        scope = await self._scope(request.tenant)
        try:
            async with asyncio.TaskGroup() as group, aclosing(self._watching.events(scope)) as events:
                async for event in events:
                    writing = group.create_task(context.write(event))
                    await asyncio.wait((writing,), timeout=SLOW_SECONDS)
                    if not writing.done():
                        break  # it watches no more; its error can leave only behind the event that is on its way
        except* grpc.aio.InternalError:
            log.debug("whoever watched is gone")
        else:
            why = f"nothing was read for {SLOW_SECONDS:g} s: watch again, and read what comes"
            raise Exhausted(why, reason="WATCH_TOO_SLOW", retry_after=1)
