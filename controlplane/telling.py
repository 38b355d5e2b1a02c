"""What is told of a message to whoever waits for it: what happens, and how it ends."""

import math
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from uuid import UUID

from controlplane.followers import Follower, Followers
from controlplane.messages import Messages
from empla.v1 import control_pb2 as pb

LOOK_SECONDS = 1.0


class Telling:
    """Tells of messages, from their tables and from what their employees say meanwhile."""

    def __init__(self, messages: Messages, followers: Followers) -> None:
        self._messages, self._followers = messages, followers

    async def until_settled(
        self, message_id: UUID, follower: Follower, end: float = math.inf
    ) -> AsyncIterator[pb.ConverseEvent]:
        """What happens to a message until it has ended, waits or its employee is paused, at most until `end` (monotonic).

        Of one that was collected: to the message that it is answered with, or that goes on from its answer to a question,
        until what comes of that has left or is held.
        """
        led_by: UUID | None = None
        look = True
        with ExitStack() as stack:
            while time.monotonic() < end:
                if look:
                    standing = await self._messages.standing(message_id)
                    if standing.settled or standing.paused:
                        return
                    if standing.collected_into not in (None, led_by):
                        led_by = standing.collected_into
                        follower = stack.enter_context(self._followers.follow(led_by, follower.employee_id))
                        continue  # something may have happened before it was followed
                events, look = await follower.changes(min(LOOK_SECONDS, max(0.0, end - time.monotonic())))
                for event in events:
                    yield event

    async def whole(self, message_id: UUID, follower: Follower) -> AsyncIterator[pb.ConverseEvent]:
        """What happens to a message until it is settled, then how it stands."""
        async for event in self.until_settled(message_id, follower):
            yield event
        message = await self._messages.get(message_id, None)
        match message.state:
            case "answered" | "collected":
                yield pb.ConverseEvent(reply=message)
            case state if state == "waiting" or message.HasField("pause"):
                yield pb.ConverseEvent(waiting=message)
            case "withheld":
                yield pb.ConverseEvent(withheld=message)
            case _:
                yield pb.ConverseEvent(failed=message)
