"""Dates as people write them, and the span of days a question names."""

import re
from dataclasses import dataclass
from datetime import date, timedelta

_YEAR_OF_MONTHS = "january february march april may june july august september october november december"
_MONTHS = _YEAR_OF_MONTHS.split()
_MONTH = "|".join(f"{name}|{name[:3]}" for name in _MONTHS) + "|sept"
_ISO = re.compile(r"\b(\d{4})-(\d{1,2})-(\d{1,2})\b")
_DOTTED = re.compile(r"\b(\d{1,2})\.(\d{1,2})\.(\d{4})\b")
_SLASHED = re.compile(r"\b(\d{1,2})/(\d{1,2})/(\d{4})\b")
_DAY_FIRST = re.compile(rf"\b(\d{{1,2}})(?:st|nd|rd|th)?\.?\s+(?:of\s+)?({_MONTH})\.?,?\s+(\d{{4}})\b", re.IGNORECASE)
_MONTH_FIRST = re.compile(rf"\b({_MONTH})\.?\s+(\d{{1,2}})(?:st|nd|rd|th)?,?\s+(\d{{4}})\b", re.IGNORECASE)
_MONTH_YEAR = re.compile(rf"\b({_MONTH})\.?\s+(\d{{4}})\b|\b(\d{{4}})-(\d{{2}})\b(?!-)", re.IGNORECASE)
_YEAR = re.compile(r"\b(?:19|20)\d\d\b")


@dataclass(frozen=True, slots=True)
class Span:
    """All days from `first` to `last`, both included."""

    first: date
    last: date

    def __contains__(self, day: object) -> bool:
        return isinstance(day, date) and self.first <= day <= self.last


def dates(text: str) -> list[date]:
    """Every date in `text`, in order. Of 3/4/2025 the month is the first number unless it cannot be."""
    found: dict[int, date] = {}
    for pattern, order in (
        (_ISO, "ymd"),
        (_DOTTED, "dmy"),
        (_SLASHED, "mdy"),
        (_DAY_FIRST, "dmy"),
        (_MONTH_FIRST, "mdy"),
    ):
        for match in pattern.finditer(text):
            if day := _date(dict(zip(order, match.groups(), strict=True))):
                found.setdefault(match.start(), day)
    return [found[start] for start in sorted(found)]


def span(text: str) -> Span | None:
    """The day, month or year that `text` names first."""
    if days := dates(text):
        return Span(days[0], days[0])
    if match := _MONTH_YEAR.search(text):
        year, month = int(match[2] or match[3]), _month(match[1] or match[4])
        return _whole_month(year, month) if 1 <= month <= 12 else None
    if match := _YEAR.search(text):
        return Span(date(int(match[0]), 1, 1), date(int(match[0]), 12, 31))
    return None


def _whole_month(year: int, month: int) -> Span:
    following = date(year + month // 12, month % 12 + 1, 1)
    return Span(date(year, month, 1), following - timedelta(days=1))


def _date(parts: dict[str, str]) -> date | None:
    year, month, day = int(parts["y"]), _month(parts["m"]), int(parts["d"])
    if month > 12 >= day:
        month, day = day, month
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _month(text: str) -> int:
    if text.isdigit():
        return int(text)
    return next(number for number, name in enumerate(_MONTHS, 1) if name.startswith(text.casefold()[:3]))
