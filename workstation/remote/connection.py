"""A line to a workstation in another process, which outlives the connections that carry it."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import grpc.aio

from empla import rpc
from workstation.errors import WorkstationUnavailable
from workstation.remote.errors import from_call

PATIENCE_SECONDS = 20.0
"""How long a peer may be away before that is an error: more than a connection that is cut for ten seconds."""
ANSWER_SECONDS = 60.0
REACHED_SECONDS = 1.0
"""A call that lasted so long was with its peer; one that breaks sooner may have met something that takes none."""
PAUSE_SECONDS = 0.05
_CLOSED = "the connection to the workstation was closed"
_SEND_FAILED = "Internal error from Core"
"""What grpc.aio says, with the code INTERNAL, when it notices at a send that the connection is gone."""
_NOT_CONNECTED = "failed to connect to all addresses"
"""How gRPC begins what it says of a call for which it had no connection."""


class Connection:
    """Calls over one channel. A peer that is away is waited for `patience` seconds at most, by each call for itself.

    Raises what the workstation raised there; `WorkstationUnavailable` when it stays away or does not answer;
    `CredentialRefused` when it does not take the channel's token.
    """

    def __init__(self, channel: grpc.aio.Channel, *, patience: float = PATIENCE_SECONDS) -> None:
        self.channel, self._patience = channel, patience

    async def ask[Answer](
        self, method: Callable[..., Any], request: Any, *, seconds: float | None = ANSWER_SECONDS, again: bool = False
    ) -> Answer:
        """Make a call with one answer, which may take `seconds`; None leaves it to the peer, as long as that is there.

        `request` is a message, or an asynchronous iterable of them. With `again`, a call that a broken connection took
        along is made once more, for it does the same twice as once; without, it may have been done.
        """
        end = time.monotonic() + self._patience
        while True:
            await self._connected(end)
            began = time.monotonic()
            try:
                with _while_open():
                    answer: Answer = await method(request, timeout=seconds)
            except grpc.aio.AioRpcError as error:
                if not _is_cut(error):
                    raise from_call(error) from error
                if not again and not _never_left(error):
                    raise WorkstationUnavailable(
                        f"the connection to the workstation broke; what was asked may have been done: {error.details()}"
                    ) from error
                end = self._patience_left(began, end)
                _raise_if_late(end, error)
            else:
                return answer
            await asyncio.sleep(PAUSE_SECONDS)

    async def stream[Answer](
        self, method: Callable[..., Any], request: Callable[[], Any], *, again: bool = True
    ) -> AsyncGenerator[Answer]:
        """Yield the answers of a call that streams; closing the generator cancels the call.

        When the connection breaks, the call is made anew by what `request` then is, so that it goes on where it was; with
        `again` false that is an error. What the peer may take for the next answer is not bounded.
        """
        end = time.monotonic() + self._patience
        while True:
            await self._connected(end)
            began = time.monotonic()
            with _while_open():
                call = method(request())
            try:
                with _while_open():
                    async for answer in call:
                        end = time.monotonic() + self._patience
                        yield answer
            except grpc.aio.AioRpcError as error:
                if not again or not _is_cut(error):
                    raise from_call(error) from error
                end = self._patience_left(began, end)
                _raise_if_late(end, error)
            else:
                return
            finally:
                call.cancel()
            await asyncio.sleep(PAUSE_SECONDS)

    def _patience_left(self, began: float, end: float) -> float:
        """Until when a call is made again: patience begins anew with a break of a call that had reached the peer."""
        now = time.monotonic()
        return now + self._patience if now - began > REACHED_SECONDS else end

    async def _connected(self, end: float) -> None:
        """Wait until there is a connection, so that no call ends for want of one."""
        while (state := self.channel.get_state(try_to_connect=True)) is not grpc.ChannelConnectivity.READY:
            if state is grpc.ChannelConnectivity.SHUTDOWN:
                raise WorkstationUnavailable(_CLOSED)
            with _while_open(), _patience_ends(self._patience):
                async with asyncio.timeout(max(0.0, end - time.monotonic())):
                    await self.channel.wait_for_state_change(state)


@contextmanager
def _while_open() -> Iterator[None]:
    """Say that the channel was closed, which gRPC tells by a cancellation of nobody's or as a misuse."""
    try:
        yield
    except grpc.aio.UsageError as error:
        raise WorkstationUnavailable(_CLOSED) from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise WorkstationUnavailable(_CLOSED) from error


@contextmanager
def _patience_ends(seconds: float) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise WorkstationUnavailable(f"the workstation was out of reach for {seconds:g} s") from error


def _is_cut(error: grpc.aio.AioRpcError) -> bool:
    """Whether the connection ended the call, and not the workstation, whose errors have details."""
    cut = error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED) or error.details() == _SEND_FAILED
    return cut and not rpc.reason_of(error)


def _never_left(error: grpc.aio.AioRpcError) -> bool:
    """Whether gRPC found no connection for the call: one that seemed to be there was gone when the call was to use it."""
    return (error.details() or "").startswith(_NOT_CONNECTED)


def _raise_if_late(end: float, error: grpc.aio.AioRpcError) -> None:
    if time.monotonic() > end:
        raise from_call(error) from error
