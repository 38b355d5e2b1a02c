"""Turns: the messages of one conversation are worked on one after another, those of different ones side by side."""

import asyncio
from collections import defaultdict, deque
from uuid import UUID


class Turns:
    """Whose turn it is in each conversation."""

    def __init__(self) -> None:
        self._waiting: defaultdict[UUID, deque[asyncio.Event]] = defaultdict(deque)

    def enter(self, conversation_id: UUID) -> asyncio.Event:
        """Take the next turn of the conversation; what is returned is set when those before it have left."""
        turns, turn = self._waiting[conversation_id], asyncio.Event()
        turns.append(turn)
        turns[0].set()
        return turn

    def leave(self, conversation_id: UUID, turn: asyncio.Event) -> None:
        """Give the turn up, whether it has come or not."""
        turns = self._waiting[conversation_id]
        turns.remove(turn)
        if turns:
            turns[0].set()
        else:
            del self._waiting[conversation_id]
