"""Questions about days: how many lie between two dates, what date comes so long after another, which weekday it is."""

import re
from datetime import date, timedelta

from agent.models.offline.dates import dates
from agent.models.offline.words import NUMBER_WORDS, plural

_BETWEEN = re.compile(
    r"\bhow (?:many (?P<unit>days|weeks)|long)\b.*\b(?:between|from|until|till|to|and)\b", re.IGNORECASE
)
_SHIFT = re.compile(
    rf"\b(?P<count>\d{{1,5}}|a|an|{'|'.join(NUMBER_WORDS)})\s+(?P<unit>day|week)s?\s+(?P<side>after|before|from)\b",
    re.IGNORECASE,
)
_WEEKDAY = re.compile(r"\b(?:what|which) (?:day of the week|weekday|day) (?:is|was|will)\b", re.IGNORECASE)


def about_days(text: str) -> str | None:
    """The answer to a question about days that names its dates, None when `text` asks nothing of the kind."""
    found = dates(text)
    if len(found) == 2 and (match := _BETWEEN.search(text)):
        return _between(found[0], found[1], (match["unit"] or "days").lower())
    if len(found) == 1 and (match := _SHIFT.search(text)):
        return _shifted(found[0], match)
    if len(found) == 1 and _WEEKDAY.search(text):
        return f"{found[0]:%Y-%m-%d} is a {found[0]:%A}."
    return None


def _between(first: date, last: date, unit: str) -> str:
    days = abs((last - first).days)
    span = f"{days} {plural('days', days)}"
    weeks = (
        f" ({days // 7} {plural('weeks', days // 7)} and {days % 7} {plural('days', days % 7)})"
        if unit == "weeks"
        else ""
    )
    return f"From {first} to {last} it is {span}{weeks}."


def _shifted(start: date, match: re.Match[str]) -> str | None:
    written = match["count"].lower()
    count = int(written) if written.isdigit() else NUMBER_WORDS.get(written, 1)
    days = count * (7 if match["unit"].lower() == "week" else 1)
    side = "before" if match["side"].lower() == "before" else "after"
    try:
        day = start - timedelta(days=days) if side == "before" else start + timedelta(days=days)
    except OverflowError:
        return None
    return f"{count} {plural(match['unit'].lower(), count)} {side} {start} is {day} (a {day:%A})."
