"""What people want forgotten: "forget what I told you about the budget of Acme", "forget that the budget of Acme is 12k"."""

import re

from agent.models.offline.desk import Desk, ToolFailed
from agent.models.offline.words import content

_FORGET = re.compile(
    r"(?:please\s+|now\s+)*forget\s+(?:(?:all|everything|anything|what)\b[^.?!]*?\b(?:about|on|of)\s+|about\s+|that\s+(?:about\s+)?|)"
    r"(?P<what>[^?!]+?)(?:,?\s+please)?[\s.!]*",
    re.IGNORECASE,
)
_NOTHING = re.compile(r"(?:it|that|this|about it|about that|what i said)", re.IGNORECASE)


def forgotten(message: str, desk: Desk) -> str | None:
    """The answer to a message that wants something forgotten, None where it does not; raises `Wanted` for the result."""
    match = _FORGET.fullmatch(message.strip())
    if match is None or not desk.has("forget"):
        return None
    words = content(match["what"])
    if not words or _NOTHING.fullmatch(match["what"]):
        return "What am I to forget? Say for example “forget everything about the budget of Acme”."
    try:
        gone = desk.use("forget", subject=match["what"].strip())
    except ToolFailed as error:
        return f"That did not work: {error}"
    count = sum(int(str(gone[kind])) for kind in ("memories", "beliefs"))
    return f"I forgot all that I knew of that ({count})." if count else f"I knew nothing of {match['what'].strip()!r}."
