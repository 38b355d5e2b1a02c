"""The Memory capability: keep a fact, find it again."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from agent.capabilities.base import Action, BaseCapability, EffectKey
from agent.memory import Memories

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


class MemoryCapability(BaseCapability):
    """Facts that people ask the employee to keep."""

    name: ClassVar[str] = "memory"
    actions: ClassVar[tuple[Action, ...]] = (
        Action("remember", "Keep a fact for later conversations.", Remember, Remembered, repeatable=True),
        Action("recall", "Find facts kept earlier, by words or meaning.", Recall, Recalled, repeatable=True),
    )

    def __init__(self, memories: Memories) -> None:
        self._memories = memories

    async def _execute_action_impl(self, action: str, arguments: Any, key: EffectKey) -> BaseModel:
        if action == "remember":
            kept = await self._memories.remember(
                arguments.text, kind="semantic", source="told", importance=0.8, message_id=key.message_id
            )
            return Remembered(memory_id=str(kept or ""))
        found = await self._memories.recall(arguments.query, deadline=ASKED_SECONDS, meaning=True)
        return Recalled(
            memories=[
                RecalledMemory(text=m.content, kind=m.kind, created_at=m.created_at.isoformat(timespec="seconds"))
                for m in found
            ]
        )
