"""Forwarding: calls about sidecars go to the control plane that leads, for it alone keeps them and their limits."""

import asyncio
import time
from typing import Any

import grpc
import grpc.aio

from controlplane.errors import NotLeading
from controlplane.planes import LEASE_SECONDS, RENEW_SECONDS, Planes
from empla import rpc

FORWARDED = "empla-forwarded"
TAKE_OVER_SECONDS = LEASE_SECONDS + 2 * RENEW_SECONDS
LOOK_SECONDS = 0.1
LONGEST_SECONDS = 60.0
"""Of a call without a deadline of its own."""


class Forwarding:
    """Passes calls on, with the token of whoever makes them."""

    def __init__(self, planes: Planes) -> None:
        self._planes = planes

    async def leader(self, context: Any) -> str:
        """The address of the control plane that has to answer a call, '' when it is this one.

        Raises `NotLeading` when none leads within some seconds.
        """
        forwarded = any(key == FORWARDED for key, _ in context.invocation_metadata() or ())
        end = time.monotonic() + TAKE_OVER_SECONDS
        while not self._planes.has_lease:
            if self._planes.leader_address is not None and not forwarded:
                return self._planes.leader_address
            if time.monotonic() > end:
                raise NotLeading("no control plane is known to lead yet; try again in some seconds")
            await asyncio.sleep(LOOK_SECONDS)
        return ""

    async def forwarded(self, address: str, stub: Any, method: str, request: Any, context: Any) -> Any:
        """What the control plane at `address` answers; raises what that one refuses."""
        metadata, seconds = context.invocation_metadata(), context.time_remaining()
        try:
            async with rpc.dialing(address, rpc.bearer(metadata)) as channel:
                call = getattr(stub(channel), method)
                timeout = LONGEST_SECONDS if seconds is None else seconds
                return await call(request, timeout=timeout, metadata=((FORWARDED, "1"),))
        except grpc.aio.AioRpcError as error:
            raise _same(error) from error


def _same(error: grpc.aio.AioRpcError) -> rpc.StatusError:
    """The refusal as the other control plane worded it, or that it is away."""
    if not (reason := rpc.reason_of(error)):
        return rpc.StatusError(
            grpc.StatusCode.UNAVAILABLE,
            NotLeading.reason,
            f"the control plane that leads does not answer: {error.details()}",
        )
    return rpc.StatusError(
        error.code(),
        reason,
        error.details() or "",
        fields=rpc.fields_of(error),
        retry_after=rpc.retry_after_of(error),
    )
