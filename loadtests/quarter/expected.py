"""What must come of what is said, worked out from what the product promises and by nothing of its code."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

QUARTER_HOUR = timedelta(minutes=15)
DAILY = frozenset(range(7))
WEEKDAYS = frozenset(range(5))
MONDAYS = frozenset({0})
SAID, FADES_A_DAY, GONE_BELOW, FACT_FROM = 0.6, 0.1, 0.1, 0.9
"""How sure the offline rules are of what somebody says, how that ends, and what is a fact until something else is said."""


@dataclass(frozen=True, slots=True)
class Clockwise:
    """Once on each of these weekdays, when the clocks of `zone` first show `at`, a quarter of an hour, or later."""

    at: time
    days: frozenset[int]
    zone: str

    def runs(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """All runs after `start` and before `end`."""
        zone = ZoneInfo(self.zone)
        moment, done = start.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1), None
        while moment < end:
            local = moment.astimezone(zone)
            if local.time() >= self.at and local.date() != done:
                done = local.date()
                if moment > start and local.weekday() in self.days:
                    yield moment
            moment += QUARTER_HOUR


@dataclass(frozen=True, slots=True)
class Regularly:
    """After so long, again and again, from when it was asked for."""

    every: timedelta

    def runs(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """All runs after `start` and before `end`."""
        moment = start + self.every
        while moment < end:
            yield moment
            moment += self.every


@dataclass(frozen=True, slots=True)
class Once:
    """At a moment."""

    moment: datetime

    def runs(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """The moment, when it lies between."""
        if start < self.moment < end:
            yield self.moment


@dataclass(slots=True)
class Held:
    """A belief as it must be."""

    object: str
    confidence: float
    since: datetime
    fact: bool = False

    def left(self, now: datetime) -> float:
        """What is left of the confidence."""
        return self.confidence - FADES_A_DAY * ((now - self.since) / timedelta(days=1))

    @property
    def ends(self) -> datetime:
        """When too little is left of it to be shown, unless it is said again; what is no fact is dropped then."""
        return self.since + timedelta(days=(self.confidence - GONE_BELOW) / FADES_A_DAY)


@dataclass(slots=True)
class Beliefs:
    """What one employee must believe, and has believed until too little was left of it."""

    held: dict[str, Held] = field(default_factory=dict)
    faded: dict[tuple[str, str], datetime] = field(default_factory=dict)

    def told(self, subject: str, said: str, now: datetime) -> None:
        """Somebody says it."""
        self.fade(now)
        old = self.held.get(subject)
        if old is None or (old.object != said and old.left(now) <= SAID):
            self.held[subject] = Held(said, SAID, now)
        elif old.object == said:
            surer = min(0.99, 1 - (1 - max(0, old.left(now))) * (1 - SAID))
            self.held[subject] = Held(said, surer, now, old.fact or surer >= FACT_FROM)
        else:
            self.held[subject] = Held(old.object, old.left(now) * (1 - SAID), now, old.fact)

    def fade(self, now: datetime) -> None:
        """Time has passed."""
        for subject in [subject for subject, one in self.held.items() if one.ends <= now and not one.fact]:
            one = self.held.pop(subject)
            self.faded[subject, one.object] = one.ends

    def shown(self, now: datetime) -> dict[str, Held]:
        """Of what enough is left."""
        return {subject: one for subject, one in self.held.items() if one.ends > now}

    def forget(self, subject: str) -> None:
        """Nothing of it is left, not even that it was believed."""
        self.held.pop(subject, None)
        for key in [key for key in self.faded if key[0] == subject]:
            del self.faded[key]


def first_time(clock: time, zone: str, day: datetime) -> datetime:
    """When the clocks of `zone` show `clock` on the date of `day`."""
    return datetime.combine(day.date(), clock, ZoneInfo(zone)).astimezone(UTC)
