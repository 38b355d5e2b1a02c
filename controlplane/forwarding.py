"""Forwarding: a call that another control plane has to answer is made there, with the token of whoever makes it here.

Calls about sidecars go to the one that leads, for it alone keeps them and their limits; whoever converses with an employee
hears it by the one that has its stream.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio

from controlplane.errors import Away, NotLeading
from controlplane.planes import LEASE_SECONDS, RENEW_SECONDS, Planes
from empla import rpc
from empla.transport import Transport

FORWARDED = "empla-forwarded"
TAKE_OVER_SECONDS = LEASE_SECONDS + 2 * RENEW_SECONDS
LOOK_SECONDS = 0.1
LONGEST_SECONDS = 60.0
"""Of a call with one answer, unless it may take longer."""


class Forwarding:
    """Finds who answers, and passes calls on."""

    def __init__(self, planes: Planes, transport: Transport | None = None) -> None:
        self._planes, self._transport = planes, transport

    async def leader(self, context: Any) -> str:
        """The address of the control plane that has to answer a call, '' when it is this one.

        Raises `NotLeading` when none leads within some seconds.
        """
        end = time.monotonic() + TAKE_OVER_SECONDS
        while not self._planes.has_lease:
            if self._planes.leader_address is not None and not is_forwarded(context):
                return self._planes.leader_address
            if time.monotonic() > end:
                raise NotLeading("no control plane is known to lead yet; try again in some seconds")
            await asyncio.sleep(LOOK_SECONDS)
        return ""

    async def by_leader(
        self, stub: Any, method: str, request: Any, context: Any, *, longest: float | None = None
    ) -> Any | None:
        """What the control plane that leads answers to a call that may be made twice; None: this one is to answer it.

        If that one is gone before it has answered, the next one is asked. Raises what is refused, `NotLeading`, and `Away`.
        `longest`: see `forwarded`.
        """
        while leader := await self.leader(context):
            try:
                return await self.forwarded(leader, stub, method, request, context, longest=longest)
            except Away:
                if not await self._another_leads(leader):
                    raise
        return None

    async def _another_leads(self, gone: str) -> bool:
        """Whether another control plane, or this one, takes the lease in time."""
        end = time.monotonic() + TAKE_OVER_SECONDS
        while not self._planes.has_lease and self._planes.leader_address in (None, gone):
            if time.monotonic() > end:
                return False
            await asyncio.sleep(LOOK_SECONDS)
        return True

    async def forwarded(
        self, address: str, stub: Any, method: str, request: Any, context: Any, *, longest: float | None = None
    ) -> Any:
        """What the control plane at `address` answers; raises what that one refuses, and `Away`.

        It has `longest` seconds for it (None: `LONGEST_SECONDS`) where the caller sets no deadline.
        """
        async with self._calling(address, stub, method, context) as call:
            seconds = context.time_remaining()
            if seconds is None:
                seconds = longest or LONGEST_SECONDS
            return await call(request, timeout=seconds, metadata=_MARK)

    async def streamed(self, address: str, stub: Any, method: str, request: Any, context: Any) -> AsyncGenerator[Any]:
        """All that the control plane at `address` answers; raises what that one refuses, and `Away`."""
        async with self._calling(address, stub, method, context) as call:
            async for answer in call(request, timeout=context.time_remaining(), metadata=_MARK):
                yield answer

    @asynccontextmanager
    async def _calling(self, address: str, stub: Any, method: str, context: Any) -> AsyncIterator[Any]:
        try:
            token = rpc.bearer(context.invocation_metadata())
            async with rpc.dialing(address, token, transport=self._transport) as channel:
                yield getattr(stub(channel), method)
        except grpc.aio.AioRpcError as error:
            raise _refusal(error) from error


_MARK = ((FORWARDED, "1"),)


def is_forwarded(context: Any) -> bool:
    """Whether a call comes from another control plane, which no further one is to be asked for."""
    return any(key == FORWARDED for key, _ in context.invocation_metadata() or ())


def _refusal(error: grpc.aio.AioRpcError) -> Exception:
    """As the other control plane worded it, or that it is away."""
    if not (reason := rpc.reason_of(error)):
        return Away(f"another control plane, which could do this, does not answer: {error.details()}")
    fields, retry_after = rpc.fields_of(error), rpc.retry_after_of(error)
    return rpc.StatusError(error.code(), reason, error.details() or "", fields=fields, retry_after=retry_after)
