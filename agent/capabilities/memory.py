"""The Memory capability: keep a fact, find it again, forget it, and note what one is at."""

from typing import Any, ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from agent.capabilities.base import Action, BaseCapability, EffectKey
from agent.capabilities.policy import Risk, Risky
from agent.errors import ActionFailed
from agent.gateway import Gateway
from agent.memory import Memories
from agent.working import HOURS, MAX_HOURS, MAX_NOTE

ASKED_SECONDS = 2.0
"""What a model that looks for a memory may wait for its meaning."""


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Remember(_Closed):
    """What to keep."""

    text: str = Field(min_length=1, max_length=4000, description="One fact, as a full sentence.")


class Remembered(BaseModel):
    """The memory's id; '' when it was known already."""

    memory_id: str


class Recall(_Closed):
    """What to look for."""

    query: str = Field(min_length=1, max_length=500, description="The question, or words of it.")


class RecalledMemory(BaseModel):
    """One memory that fits."""

    text: str
    kind: str
    created_at: str


class Recalled(BaseModel):
    """What fits, the best first."""

    memories: list[RecalledMemory]


class NoteDown(_Closed):
    """What to have in mind."""

    text: str = Field(min_length=1, max_length=MAX_NOTE, description="Such as what is to be done next, or waited for.")
    hours: int = Field(default=HOURS, ge=1, le=MAX_HOURS, description="How long it holds.")


class NotedDown(BaseModel):
    """The note's id."""

    note_id: str


class ClearNotes(_Closed):
    """Which note."""

    note_id: str = Field(default="", max_length=36, description="Absent: all of this conversation.")


class ClearedNotes(BaseModel):
    """How many notes went."""

    cleared: int


class Forget(_Closed):
    """What somebody wants forgotten."""

    subject: str = Field(min_length=1, max_length=500, description="Words that all occur in it, such as: budget Acme")


class Forgotten(BaseModel):
    """How much went; `more` says that as much again may be left."""

    memories: int
    beliefs: int
    more: bool


class MemoryCapability(BaseCapability):
    """Facts that people ask the employee to keep."""

    name: ClassVar[str] = "memory"
    actions: ClassVar[tuple[Action, ...]] = (
        Action("remember", "Keep a fact for later conversations.", Remember, Remembered, repeatable=True),
        Action("recall", "Find facts kept earlier, by words or meaning.", Recall, Recalled, repeatable=True),
        Action("note_down", "Keep in mind for this conversation.", NoteDown, NotedDown, repeatable=True),
        Action("clear_notes", "Forget notes of this conversation.", ClearNotes, ClearedNotes, repeatable=True),
        Action(
            "forget",
            "Forget for good what is remembered and believed about something, when somebody asks for it.",
            Forget,
            Forgotten,
            repeatable=True,
        ),
    )

    def __init__(self, memories: Memories, gateway: Gateway) -> None:
        self._memories, self._gateway = memories, gateway

    async def risks(self, action: str, arguments: Any, key: EffectKey) -> tuple[Risky, ...]:
        """Whoever writes to an employee could otherwise take away what others told it."""
        return (Risky(Risk.FORGET, f"forget all about {arguments.subject!r}"),) if action == "forget" else ()

    async def _execute_action_impl(self, action: str, arguments: Any, key: EffectKey) -> BaseModel:
        if action == "remember":
            kept = await self._memories.remember(
                arguments.text, kind="semantic", source="told", importance=0.8, message_id=key.message_id
            )
            return Remembered(memory_id=str(kept or ""))
        if action == "note_down":
            noted = await self._memories.working.note(_message(key), arguments.text, arguments.hours)
            return NotedDown(note_id=str(noted))
        if action == "clear_notes":
            cleared = await self._memories.working.clear(_message(key), arguments.note_id)
            return ClearedNotes(cleared=cleared)
        if action == "forget":
            gone = await self._gateway.forget(arguments.subject, _message(key))
            return Forgotten(memories=gone.memories, beliefs=gone.beliefs, more=gone.more)
        found = await self._memories.recall(arguments.query, deadline=ASKED_SECONDS, meaning=True)
        return Recalled(
            memories=[
                RecalledMemory(text=m.content, kind=m.kind, created_at=m.created_at.isoformat(timespec="seconds"))
                for m in found
            ]
        )


def _message(key: EffectKey) -> UUID:
    """The message that a call is for; notes belong to its conversation."""
    if key.message_id is None:
        raise ActionFailed("this is done in a conversation, and this is none")
    return key.message_id
