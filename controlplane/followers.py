"""Those who wait for what becomes of a message: calls that converse, and calls that wait for a reply."""

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from controlplane.planes import Nobody, Others
from empla.v1 import control_pb2, gateway_pb2

MAX_WAITING_EVENTS = 1000
MAX_STORED_ELSEWHERE = 10_000
"""Messages of other control planes that are known; of those before, followers there hear when they look."""


class Follower:
    """The events of one message, bounded: a slow reader loses deltas and steps, never the news that it ended."""

    def __init__(self, employee_id: UUID) -> None:
        self.employee_id = employee_id
        self._events: asyncio.Queue[control_pb2.ConverseEvent] = asyncio.Queue(MAX_WAITING_EVENTS)
        self._changed = asyncio.Event()
        self._row_changed = False

    def tell(self, event: control_pb2.ConverseEvent) -> None:
        """Take an event, or drop it when the reader is too slow."""
        if not self._events.full():
            self._events.put_nowait(event)
            self._changed.set()

    def look(self) -> None:
        """The message's row has changed."""
        self._row_changed = True
        self._changed.set()

    async def changes(self, timeout: float) -> tuple[list[control_pb2.ConverseEvent], bool]:
        """The events since the last call, as soon as there is one; and whether to look at the row.

        That is so when it changed, or when nothing was heard for `timeout` seconds.
        """
        heard = True
        try:
            async with asyncio.timeout(timeout):
                await self._changed.wait()
        except TimeoutError:
            heard = False
        self._changed.clear()
        look, self._row_changed = self._row_changed or not heard, False
        return [self._events.get_nowait() for _ in range(self._events.qsize())], look


class Followers:
    """Who follows which message: here, and perhaps at one of the `others` what was stored there."""

    def __init__(self, others: Others | None = None) -> None:
        self._others = others or Nobody()
        self._stored_elsewhere: OrderedDict[UUID, None] = OrderedDict()
        self._by_message: defaultdict[UUID, set[Follower]] = defaultdict(set)

    @contextmanager
    def follow(self, message_id: UUID, employee_id: UUID) -> Iterator[Follower]:
        """Follow a message of an employee for the length of the block."""
        follower = Follower(employee_id)
        self._by_message[message_id].add(follower)
        try:
            yield follower
        finally:
            self._by_message[message_id].discard(follower)
            if not self._by_message[message_id]:
                del self._by_message[message_id]

    def progress(self, employee_id: UUID, message_id: UUID, progress: gateway_pb2.Progress) -> None:
        """Pass on what an employee tells of a message, if it is its own."""
        followers = [one for one in self._by_message.get(message_id, ()) if one.employee_id == employee_id]
        if not followers:
            return
        event = control_pb2.ConverseEvent()
        match progress.WhichOneof("what"):
            case "step":
                event.step.CopyFrom(progress.step)
            case "tool_call":
                event.tool_call.CopyFrom(progress.tool_call)
            case "text_delta":
                event.text_delta.CopyFrom(progress.text_delta)
        for follower in followers:
            follower.tell(event)

    def changed(self, message_id: UUID) -> None:
        """The message's row has changed: it ended, or waits."""
        self.look(message_id)
        if message_id in self._stored_elsewhere:
            self._others.tell("changed", message_id)

    def stored_elsewhere(self, message_id: UUID) -> None:
        """Another control plane has stored the message, where somebody may follow it."""
        self._stored_elsewhere[message_id] = None
        if len(self._stored_elsewhere) > MAX_STORED_ELSEWHERE:
            self._stored_elsewhere.popitem(last=False)

    def look(self, message_id: UUID) -> None:
        """Those who follow the message here are to look at its row."""
        for follower in self._by_message.get(message_id, ()):
            follower.look()
