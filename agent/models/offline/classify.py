"""A message sorted by rules: category, priority, sentiment, language, and the intents in it."""

import re

from agent.models.offline.asks import ask
from agent.models.offline.clauses import Clause, clauses, is_courtesy
from agent.models.offline.delegating import side_by_side
from agent.models.offline.language import language
from agent.models.offline.scheduling import later
from agent.models.offline.words import word_set, words
from empla.classification import Category, Classification, Intent, Priority, Sentiment

_SPAM = re.compile(
    r"\b(?:won (?:the|a) (?:lottery|prize|gift card)|lottery|claim your (?:prize|reward)|viagra|casino|crypto giveaway|"
    r"100% free|click here now|act now|limited time offer|make money fast|nigerian prince|seo services|guest post|"
    r"buy followers|wire transfer fee|congratulations,? you)\b",
    re.IGNORECASE,
)
_COMPLAINT = re.compile(
    r"\b(?:complain(?:t|ing)?|unacceptable|disappointed|terrible|awful|frustrat\w+|angry|furious|"
    r"ridiculous|fed up|refund|broken|"
    r"does(?:n['’]t| not) work|not working|still waiting|worst|never again|outrageous|let down|unhappy)\b",
    re.IGNORECASE,
)
_SCHEDULING = re.compile(
    r"\b(?:schedul\w+|reschedul\w+|calendar|appointment|book (?:a|the) (?:meeting|call|room|slot)|set up a (?:meeting|call)|"
    r"meet (?:on|at|next|this|tomorrow)|(?:move|cancel|postpone) (?:the|our|my) (?:meeting|call)|"
    r"free (?:on|at|next)|availab(?:le|ility))\b",
    re.IGNORECASE,
)
_QUESTION = re.compile(
    r"\?\s*$|^(?:what|who|whom|whose|when|where|which|why|how|is|are|am|do|does|did|has|have|was|were|will|should)\b",
    re.IGNORECASE,
)
_REQUEST = re.compile(
    r"^(?:please|can you|could you|would you|will you|kindly|i need|i want|i(?:['’]d| would) like|let['’]s|"
    r"summari[sz]e|write|create|make|"
    r"list|find|search|show|tell|give|send|read|append|add|update|change|remember|save|calculate|compute|count|draft|check|compare|"
    r"open|delete|remove|replace|translate|prepare|explain|get|look|note|keep|store|put|sum|work|book|schedule|remind|call|email|"
    r"download|print|visit|browse|go to|take a (?:screenshot|picture)|capture|find out)\b",
    re.IGNORECASE,
)
_URGENT = re.compile(
    r"\b(?:urgent(?:ly)?|asap|immediately|emergency|right away|right now|critical|outage|is down|p0|dringend|sofort)\b|!!!",
    re.I,
)
_HIGH = re.compile(
    r"\b(?:important|today|by (?:tomorrow|noon|tonight|end of day|eod)|deadline|as soon as possible|soon|"
    r"priority|quickly)\b",
    re.I,
)
_LOW = re.compile(
    r"\b(?:no rush|no hurry|whenever|when you have (?:a )?(?:time|minute|moment)|low priority|fyi|not urgent|some ?time)\b",
    re.I,
)
_GOOD = word_set(
    """great thanks thank good excellent love happy perfect awesome nice wonderful pleased glad appreciate fantastic
    amazing well"""
)
_BAD = word_set(
    """bad terrible awful broken angry unacceptable disappointed frustrated frustrating worst hate problem issue wrong
    fail failed failing late unhappy annoyed annoying useless complaint poor slow furious ridiculous error"""
)
_TELLING: tuple[tuple[Category, re.Pattern[str]], ...] = (
    ("spam", _SPAM),
    ("complaint", _COMPLAINT),
    ("scheduling", _SCHEDULING),
)
_NO_REQUESTS = ("question", "statement", "smalltalk", "help", "pointer")
_CHANGES = ("write", "append", "replace", "move", "delete", "remember", "run")
_DRAWN = re.compile(r"\b(?:charts?|plots?|graphs?|diagrams?|pdf|pictures?|screenshots?)\b", re.IGNORECASE)
_SENTENCE_ENDS = (".", "?", "!", ";", "\n")
_LONGEST_SUMMARY = 300
_MOST_INTENTS = 8


def classify(message: str) -> Classification:
    """Sort `message`; of an empty one the category is other."""
    intents = tuple(_intents(message)) or (_whole(message),)
    category, sure = _category(message, intents)
    return Classification(
        category=category,
        priority=_priority(message),
        sentiment=_sentiment(message),
        language=language(message),
        confidence=0.9 if sure else 0.6,
        intents=intents[:_MOST_INTENTS],
    )


def _category(message: str, intents: tuple[Intent, ...]) -> tuple[Category, bool]:
    # What is surely spam gets no answer, so one suspicious phrase is not enough for that.
    marks = {match[0].casefold() for match in _SPAM.finditer(message)}
    if marks:
        return "spam", len(marks) > 1
    if _COMPLAINT.search(message):
        return "complaint", True
    kinds = [intent.category for intent in intents]
    for kind in kinds:
        if kind not in ("information", "smalltalk", "other"):
            return kind, True
    return kinds[0], kinds[0] == "smalltalk"


def _intents(message: str) -> list[Intent]:
    """One intent for each clause that can be answered by itself; one that cannot belongs to what it depends on."""
    if later(message):  # all of it is to be done then
        return [Intent(summary=_summary(message, "scheduling"), category="scheduling", start=0, end=len(message))]
    if side_by_side(message):  # by one worker, with the help of others
        return [Intent(summary=_summary(message, "request"), category="request", start=0, end=len(message))]
    merged: list[list[Clause]] = []
    for clause in clauses(message):
        first = next((index for index, run in enumerate(merged) if _depends(clause, run)), None)
        if first is None and merged and _belongs(merged[-1][-1], clause, message):
            first = len(merged) - 1
        if first is None:
            merged.append([clause])
        else:
            merged[first:] = [[one for run in merged[first:] for one in run] + [clause]]
    found = [_intent(message, run) for run in merged]
    wanted = [intent for intent in found if intent.category not in ("information", "smalltalk", "other")]
    return wanted or found[:1]


def _depends(clause: Clause, run: list[Clause]) -> bool:
    """Whether the clause may come out differently once that is done: it names the same file, or something changes before."""
    own, earlier = ask(clause.text), [ask(one.text) for one in run]
    return (
        own.kind in ("move", "delete", "run")
        or any(one.kind in _CHANGES for one in earlier)
        or any(not {*own.files, own.target}.isdisjoint({*one.files, one.target} - {""}) for one in earlier)
    )


def _belongs(before: Clause, clause: Clause, message: str) -> bool:
    """Whether the clause makes no sense without the one before: it goes on in its sentence, or about the same thing.

    That is what "it" says, a picture of something, what names no file after one that did, and all in a message about a page.
    """
    if "://" in message or not message[before.start : clause.start].rstrip(" \t").endswith(_SENTENCE_ENDS):
        return True
    if (
        clause.refers_back()
        or _kind(clause.text) in ("information", "smalltalk", "other")
        or _DRAWN.search(clause.text)
    ):
        return True
    return bool(ask(before.text).files) and not ask(clause.text).files


def _intent(message: str, run: list[Clause]) -> Intent:
    start, end = run[0].start, run[-1].end
    kinds: list[Category] = [_kind(clause.text) for clause in run]
    kind = next((one for one in kinds if one not in ("information", "smalltalk", "other")), kinds[0])
    return Intent(summary=_summary(message[start:end], kind), category=kind, start=start, end=end)


def _whole(message: str) -> Intent:
    return Intent(summary=_summary(message, "other"), category="other", start=0, end=len(message))


def _kind(text: str) -> Category:
    if is_courtesy(text):
        return "smalltalk"
    for kind, pattern in _TELLING:
        if pattern.search(text):
            return kind
    if re.match(r"fyi\b|for your information\b", text, re.IGNORECASE):
        return "information"
    asks = ask(text).kind
    if _REQUEST.match(text) or re.search(r"\bplease\b", text, re.IGNORECASE) or asks not in _NO_REQUESTS:
        return "request"
    if _QUESTION.search(text) or asks in ("question", "help"):
        return "question"
    return "information" if re.search(r"\w", text) else "other"


def _summary(text: str, kind: Category) -> str:
    plain = " ".join(text.split())[:_LONGEST_SUMMARY].strip() or "An empty message"
    lead = {
        "question": "Answer: ",
        "information": "Take note: ",
        "smalltalk": "Reply to: ",
        "complaint": "Resolve: ",
    }.get(kind, "")
    return lead + (plain if lead else plain[:1].upper() + plain[1:])


def _priority(message: str) -> Priority:
    if _LOW.search(message):
        return "low"
    if _URGENT.search(message):
        return "urgent"
    return "high" if _HIGH.search(message) else "normal"


def _sentiment(message: str) -> Sentiment:
    found = words(message)
    balance = sum(word in _GOOD for word in found) - 2 * sum(word in _BAD for word in found)
    if balance < 0 or _COMPLAINT.search(message):
        return "negative"
    return "positive" if balance > 0 else "neutral"
