"""The first durable step: decide by rules, before anything is spent, whether and how a message is worked on."""

import re
import unicodedata
from uuid import UUID

from agent.pipeline.step import Done, Step, Work
from agent.pipeline.units import Place

MAX_WORKED_CHARACTERS = 64 * 1024
"""More is cut before a model sees it; the stored message stays whole."""

# Zero-width characters, direction overrides and the tag block: they hide instructions from people, not from models.
_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\U000e0000-\U000e007f]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_HTML_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_HIDDEN = {"hidden characters": _INVISIBLE, "control characters": _CONTROL, "comments": _HTML_COMMENT}
# Well-known forms of "do something else instead"; each adds to a score that routing reads, none decides alone.
_INJECTION = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\b(?:ignore|disregard|forget)\b.{0,40}\b(?:previous|prior|above|earlier|all)\b.{0,40}\b(?:instruction|prompt|rule)",
        r"\b(?:reveal|print|show|repeat)\b.{0,40}\b(?:system prompt|your instructions|hidden prompt)",
        r"\byou are now\b.{0,60}\b(?:mode|dan|unrestricted|jailbroken)\b",
        r"</?(?:system|assistant|data)\b[^>]*>",
        r"\b(?:begin|end) (?:system|admin) (?:prompt|message)\b",
    )
)


def visible_text(body: str) -> tuple[str, list[str]]:
    """The text a person would see, and what was taken out of it."""
    removed = [name for name, pattern in _HIDDEN.items() if pattern.search(body)]
    text = _HTML_COMMENT.sub("", _CONTROL.sub("", _INVISIBLE.sub("", body)))
    return unicodedata.normalize("NFC", text).strip(), removed


def _withheld_because(work: Work, text: str) -> str:
    metadata = work.message.metadata
    if metadata.get("from_self"):
        return "own message"
    if str(metadata.get("auto_submitted", "no")).lower() not in ("", "no"):
        return "auto-responder"
    return "" if text else "empty"


async def security_filter(work: Work, _: UUID) -> Done:
    """Clean the text, note what looks like an injection, and withhold what needs no answer."""
    text, removed = visible_text(work.message.body)
    output = {
        "text": text[:MAX_WORKED_CHARACTERS],
        "cut": max(0, len(text) - MAX_WORKED_CHARACTERS),
        "removed": removed,
        "injection_score": sum(bool(pattern.search(text)) for pattern in _INJECTION),
    }
    if reason := _withheld_because(work, text):
        return Done(Place("withheld"), output, reason=reason, ends=True)
    return Done(Place("analyzing", "context_retrieval"), output)


SECURITY_FILTER = Step("security_filter", "receive", retries=2, deadline=10, run=security_filter)
