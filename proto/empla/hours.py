"""The hours of the week in which an employee begins work of its own: `Mon-Fri 08:00-12:00, 13:00-17:30, Sat 22:00-02:00`."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Self

from empla.schedules import ImpossibleSchedule, zone_named

MAX_HOURS = 500
"""Characters."""
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_ALL_DAYS = frozenset(range(7))
_DAY_MINUTES = 24 * 60
_PART = re.compile(
    r"(?:(?P<first>[a-z]{3})(?:\s*-\s*(?P<last>[a-z]{3}))?)?"
    r"(?:(?:^|\s+)(?P<start>\d\d?:\d\d)\s*-\s*(?P<end>\d\d?:\d\d))?",
    re.IGNORECASE,
)


class ImpossibleHours(ValueError):
    """No such hours; `field` names what is wrong: active_hours or time_zone."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(why)
        self.field = field


@dataclass(frozen=True, slots=True)
class _Span:
    """From a minute of each of those days, 0 being Monday, to another: of the next day when that is not later."""

    days: frozenset[int]
    start: int
    end: int

    def has(self, day: int, minute: int) -> bool:
        if self.start < self.end:
            return day in self.days and self.start <= minute < self.end
        return day in self.days if minute >= self.start else minute < self.end and (day - 1) % 7 in self.days


@dataclass(frozen=True, slots=True)
class ActiveHours:
    """Spans of the week by the clocks of a time zone; without any, every moment is in them."""

    spans: tuple[_Span, ...] = ()
    zone: tzinfo = UTC

    @classmethod
    def parse(cls, text: str, zone: str = "") -> Self:
        """Read spans between commas, each of days and hours; '' is always.

        Days go on to hold until others are named, and are all seven until then. Hours that end no later than they begin end
        on the next day. `zone` is an IANA name, '' being UTC; others are read from a file when first used. Raises
        `ImpossibleHours`.
        """
        try:
            clocks = zone_named(zone) if zone else UTC
        except ImpossibleSchedule as error:
            raise ImpossibleHours(error.field, str(error)) from error
        return cls(_spans(text) if text.strip() else (), clocks)

    def contains(self, moment: datetime) -> bool:
        """Whether a moment, which has an offset, is in the hours: an hour that the clocks show twice is so both times."""
        if not self.spans:
            return True
        local = moment.astimezone(self.zone)
        return any(span.has(local.weekday(), local.hour * 60 + local.minute) for span in self.spans)


def _spans(text: str) -> tuple[_Span, ...]:
    if len(text) > MAX_HOURS:
        raise _impossible(f"{text[:20]!r}… is over {MAX_HOURS} characters")
    spans: list[_Span] = []
    days, complete = _ALL_DAYS, True
    for written in map(str.strip, text.split(",")):
        part = _PART.fullmatch(written) if written else None
        if part is None:
            raise _impossible(f"{written[:80]!r} are no hours; some are written Mon-Fri 08:00-18:00")
        if part["first"]:
            # Days without hours lie before those that have them: "Sat,Sun 10:00-12:00".
            days = _days(part["first"], part["last"]) | (frozenset() if complete else days)
        if complete := part["start"] is not None:
            spans.append(_Span(days, *_minutes(part["start"], part["end"])))
    if not complete:
        raise _impossible(f"{written!r} has no hours; all of a day is 00:00-24:00")
    return tuple(spans)


def _days(first: str, last: str | None) -> frozenset[int]:
    for name in filter(None, (first, last)):
        if name.lower() not in _DAYS:
            raise _impossible(f"{name!r} is no day; they are {', '.join(day.title() for day in _DAYS)}")
    begin, end = _DAYS.index(first.lower()), _DAYS.index((last or first).lower())
    return frozenset((begin + i) % 7 for i in range((end - begin) % 7 + 1))


def _minutes(start: str, end: str) -> tuple[int, int]:
    begins, ends = _minute(start), _minute(end)
    if begins in (ends, _DAY_MINUTES) or ends == 0:
        raise _impossible(f"{start}-{end} is no span; all of a day is 00:00-24:00, and midnight at its end is 24:00")
    return begins, ends


def _minute(text: str) -> int:
    hours, minutes = map(int, text.split(":"))
    if minutes > 59 or hours * 60 + minutes > _DAY_MINUTES:
        raise _impossible(f"{text} is no time of day")
    return hours * 60 + minutes


def _impossible(why: str) -> ImpossibleHours:
    return ImpossibleHours("active_hours", why)
