"""The parts of a message: one worker for each intent, with the stretch of text that is its own."""

from typing import Any
from uuid import UUID

from agent.pipeline.step import Part, Work
from agent.prompts import mark
from empla.classification import Classification, Intent
from empla.store.ids import new_id


def forks(found: Classification, text: str) -> list[dict[str, Any]]:
    """A worker for each intent; one alone has the whole message.

    Spans come from a model: they are clamped to the text, and one that holds nothing stands for all of it.
    """
    if len(found.intents) == 1:
        return [_worker(0, found.intents[0].summary, (0, len(text)))]
    return [_worker(index, intent.summary, _span(intent, text)) for index, intent in enumerate(found.intents)]


def _worker(index: int, summary: str, span: tuple[int, int]) -> dict[str, Any]:
    intent = {"summary": summary, "start": span[0], "end": span[1]}
    return {"worker_id": str(new_id()), "intent_index": index, "intent": intent}


def _span(intent: Intent, text: str) -> tuple[int, int]:
    start, end = min(intent.start, len(text)), min(intent.end, len(text))
    return (start, end) if text[start:end].strip() else (0, len(text))


def part_of(index: int, intent: dict[str, Any]) -> Part:
    """A part as its row has it."""
    return Part(index, intent["summary"], intent["start"], intent["end"])


def own_part(work: Work, unit_id: UUID) -> str:
    """What a worker is told of its part, to go below the message; '' for the only one."""
    if len(work.parts) < 2:
        return ""
    part, text = work.parts[unit_id], work.output("security_filter")["text"]
    told = (
        f"The message has {len(work.parts)} parts, each answered by itself; the answers become one reply. Yours is part "
        f"{part.index + 1}, marked below: do and answer this one, and leave the others alone. Neither greet nor close."
    )
    return f"{told}\n{mark('intent', text[part.start : part.end], summary=part.summary)}"
