"""What words for columns and states mean the same."""

import re

from agent.models.offline.words import stems, word_set

_FAMILIES = """
value: value amount worth price size revenue total cost sum money budget arr mrr sales volume fee spend salary balance
quantity: quantity qty unit stock piece count seat headcount inventory
contact: contact person poc rep representative champion
owner: owner responsible assignee assigned manager lead owned handle
date: date due deadline day close closing renewal expire expiry start end
place: city location country region place office address town market
phone: phone telephone tel mobile cell
email: email mail e-mail
status: status state stage phase outcome progress resolution
priority: priority urgency severity importance
probability: probability likelihood chance confidence
age: age old year
role: role title position job function
name: name deal customer client company account product task title project item opportunity prospect vendor supplier partner
note: note comment remark description next step detail
"""

_LINES = (line.partition(":") for line in _FAMILIES.strip().splitlines())
COLUMNS = {name: tuple(members.split()) for name, _, members in _LINES}
"""Labels of the same meaning, by stem, under the name of their family."""

ATTRIBUTES = frozenset(label for family in COLUMNS.values() for label in family) | {
    "sku", "id", "type", "category", "tag", "company", "industry", "discount", "rate", "risk", "result", "reason",
}  # fmt: skip
"""Stems of labels that describe a thing rather than name one."""

_MODIFIERS = word_set(
    """total unit annual expected next last first current sale main primary order purchase net gross monthly yearly target
    created updated signed est estimated planned customer win average max min new our full short list"""
)

STATUS_LABELS = frozenset(COLUMNS["status"])

OPEN = word_set(
    """open active ongoing pending progress todo outstanding unresolved incomplete remaining unfinished undone unpaid
    waiting live new started backlog unchecked doing negotiation negotiating proposal qualified qualification
    discovery demo prospecting lead overdue blocked"""
)
DONE = word_set(
    """closed done complete completed finished resolved won lost cancelled canceled shipped paid delivered archived
    rejected merged fixed checked dropped dead signed abandoned expired inactive solved ticked"""
)
GENERIC_OPEN = word_set(
    """open active ongoing pending outstanding remaining unfinished incomplete todo undone unresolved unchecked running"""
)
"""Words that ask for everything that is not over, whatever word the file has for it."""

GENERIC_DONE = word_set("""closed done complete completed finished resolved checked ticked over""")
"""Words that ask for everything that is over, whatever word the file has for it."""

PLAIN_STATES = GENERIC_OPEN | GENERIC_DONE | {"won", "lost", "cancelled", "paid", "unpaid"}
"""Words that, in a question, can hardly mean anything but a state."""

NEGATIONS = word_set(
    """not no never without except excluding isn't aren't wasn't weren't haven't hasn't don't doesn't didn't non nicht
    kein keine"""
)


_DONE_BY = {
    "lose": "lost", "win": "won", "close": "closed", "complete": "completed", "finish": "finished", "cancel": "cancelled",
    "ship": "shipped", "deliver": "delivered", "pay": "paid", "resolve": "resolved", "solve": "solved", "fix": "fixed",
    "sign": "signed", "reject": "rejected", "drop": "dropped", "archive": "archived", "merge": "merged",
}  # fmt: skip
_DID = re.compile(rf"\bdid(?P<denied>n['’]t)?\b(?P<who>[^.?!]{{0,40}}?)\b(?P<verb>{'|'.join(_DONE_BY)})\b")
_OUTCOMES = (
    (re.compile(r"\bclosed?[\s/–-]+(?=(?:won|lost)\b)"), ""),
    (re.compile(r"\blosses\b"), "lost deals"),
    (re.compile(r"\bwins\b"), "won deals"),
)
_PHRASES = {"in progress": "ongoing", "to do": "todo", "not started": "open", "not done": "open", "on hold": "waiting"}


def rephrased(text: str) -> str:
    """`text` with states that are phrases as one word."""
    for phrase, word in _PHRASES.items():
        text = text.replace(phrase, word)
    return text


def asked_states(text: str) -> str:
    """A question, in lower case, with what was done to things said as their state: did we lose as were lost."""
    for pattern, state in _OUTCOMES:
        text = pattern.sub(state, text)
    return _DID.sub(_state_of, text)


def _state_of(match: re.Match[str]) -> str:
    return f"were{match['who']}{'not ' if match['denied'] else ''}{_DONE_BY[match['verb']]}"


def family(label: str) -> str | None:
    """The family of meaning that a column's label belongs to, None when it is in none."""
    parts = stems(label)
    for part in reversed(parts):
        for name, members in COLUMNS.items():
            if part in members:
                return name
    return None


def is_attribute(label: str) -> bool:
    """Whether `label` describes a thing (Status, Due date) rather than names one (Acme)."""
    parts = stems(label)
    return bool(parts) and parts[-1] in ATTRIBUTES and all(part in ATTRIBUTES | _MODIFIERS for part in parts)
