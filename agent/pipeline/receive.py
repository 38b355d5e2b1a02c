"""The first durable step: decide by rules, before anything is spent, whether and how a message is worked on."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from agent.pipeline.step import Done, Step, Work
from agent.pipeline.units import Place
from empla.goals import STEP
from empla.schedules import RUN

MAX_WORKED_CHARACTERS = 64 * 1024
"""More is cut before a model sees it; the stored message stays whole."""
MAX_MARKS = 30
"""Combining marks in a row, as in the Stream-Safe Text Format of UAX #15: no language needs more, and to put a longer run
into its canonical order takes time with the square of its length."""

# Zero-width characters, direction overrides and the tag block: they hide instructions from people, not from models.
_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\U000e0000-\U000e007f]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_HTML_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_HIDDEN = {"hidden characters": _INVISIBLE, "control characters": _CONTROL, "comments": _HTML_COMMENT}
# Well-known forms of "do something else instead"; each adds to a score that routing reads, none decides alone. No repetition
# is unbounded: a message must not make the search take time with the square of its length.
_INJECTION = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\b(?:ignore|disregard|forget)\b.{0,40}\b(?:previous|prior|above|earlier|all)\b.{0,40}\b(?:instruction|prompt|rule)",
        r"\b(?:reveal|print|show|repeat)\b.{0,40}\b(?:system prompt|your instructions|hidden prompt)",
        r"\byou are now\b.{0,60}\b(?:mode|dan|unrestricted|jailbroken)\b",
        r"</?(?:system|assistant|data)\b[^>]{0,200}>",
        r"\b(?:begin|end) (?:system|admin) (?:prompt|message)\b",
    )
)


def visible_text(body: str) -> tuple[str, list[str]]:
    """The text a person would see, and what was taken out of it."""
    removed = [name for name, pattern in _HIDDEN.items() if pattern.search(body)]
    return _HTML_COMMENT.sub("", _CONTROL.sub("", _INVISIBLE.sub("", body))).strip(), removed


def normalized(text: str) -> str:
    """The text in NFC, at most `MAX_WORKED_CHARACTERS` of it, without the combining marks that no language needs."""
    safe = _without_long_runs_of_marks(text[:MAX_WORKED_CHARACTERS])
    return unicodedata.normalize("NFC", safe)[:MAX_WORKED_CHARACTERS]


def _without_long_runs_of_marks(text: str) -> str:
    kept, run = [], 0
    for character in text:
        run = run + 1 if unicodedata.combining(character) else 0
        if run <= MAX_MARKS:
            kept.append(character)
    return "".join(kept)


def withheld_because(metadata: dict[str, Any], text: str) -> str:
    """Why nobody answers a message with this visible text; '' when somebody does."""
    if metadata.get("from_self"):
        return "own message"
    if str(metadata.get("auto_submitted", "no")).lower() not in ("", "no"):
        return "auto-responder"
    return "" if text else "empty"


def is_run(metadata: Mapping[str, Any]) -> bool:
    """Whether a message is the run of a schedule or a step of the employee's own: nobody says it now."""
    return RUN in metadata or STEP in metadata


def injection_score(text: str) -> int:
    """How many of the known forms of injected instructions a text has."""
    return sum(bool(pattern.search(text)) for pattern in _INJECTION)


async def security_filter(work: Work, _: UUID) -> Done:
    """Clean the text, note what looks like an injection, and withhold what needs no answer."""
    visible, removed = visible_text(work.said())
    text = normalized(visible)
    output = {
        "text": text,
        "cut": max(0, len(visible) - MAX_WORKED_CHARACTERS),
        "removed": removed,
        "injection_score": injection_score(text),
    }
    if reason := withheld_because(work.message.metadata, text):
        return Done(Place("withheld"), output, reason=reason, ends=True)
    return Done(Place("analyzing", "context_retrieval"), output)


SECURITY_FILTER = Step("security_filter", "receive", retries=2, deadline=10, run=security_filter)
