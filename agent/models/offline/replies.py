"""Sentences that the rules' replies share."""

import re
from collections.abc import Sequence

from agent.models.offline.words import joined

NO_KEY = "I have no model key"
DREW = "I drew that as a bar chart into"
_CAN_DO = (
    "summarise, read, search, list, write and append to workspace files; count, filter, total and look up what they list; "
    "draw charts of tables; run a command or Python that you give me between backquotes; "
    "open web pages, compare the plans on them and save them as PDFs or "
    "pictures; calculate; do such things later or again and again, as in “every Monday at nine, …”; "
    "and remember and recall what you tell me"
)


def help_text() -> str:
    """What the rules can do, and why only that."""
    return f"{NO_KEY}, so I can only {_CAN_DO}."


def short_help() -> str:
    """Why there is no better answer, and what to set for one."""
    return (
        f"{NO_KEY}, so I can only answer from those by fixed rules; "
        "ANTHROPIC_API_KEY or OPENAI_API_KEY gives me a model for open questions."
    )


def unable(why: str = "I did not understand that") -> str:
    """That something cannot be done, and what can."""
    return f"{why}. {help_text()}"


def not_done(text: str) -> str:
    """That a part of the message was not acted on."""
    return f"I did not act on “{text.strip(' .!')}”: that is beyond my rules."


def outside(names: Sequence[str]) -> str:
    """That files lie where no employee can reach."""
    return f"I cannot reach {joined([*names])}: that lies outside my workspace."


def closed(text: str) -> str:
    """`text` with a full stop, unless it ends as a sentence already."""
    return text if text.endswith((".", "!", "?")) else text + "."


def did_not_work(error: Exception) -> str:
    """What to say of a tool's error."""
    return f"That did not work: {closed(reason(error))}"


def reason(error: Exception) -> str:
    """Why a tool failed, without the code that stands in front of it for programs."""
    return re.sub(r"^[A-Z][A-Z_]+: ", "", str(error))


def is_result(text: str) -> bool:
    """Whether a reply says what was asked for, not that something could not be done."""
    return NO_KEY not in text and not _NO_RESULT.search(text)


_NO_RESULT = re.compile(
    r"^(?:I drew nothing|That did not work|I cannot |I could not |I found no|I did not |I read .* but found no answer|"
    r"Which file |The program ended|No file says )|^\S.* has no column “|^\S+ is empty",
)


def preview(content: str) -> str:
    """The beginning of what was written, on one line."""
    text = " / ".join(line for line in content.splitlines() if line.strip())
    return f"“{text[:200]}{' …' if len(text) > 200 else ''}”"
