"""Who works there, what is scheduled for whom, and what people tell them."""

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta

from loadtests.quarter.expected import DAILY, MONDAYS, WEEKDAYS, Beliefs, Clockwise, Once, Regularly

PEOPLE = ("ada@example.com", "bob@example.com", "cleo@example.com")
PREDICATES = ("supplier", "owner", "auditor", "landlord", "contact", "distributor")
_CONSONANTS, _VOWELS = "bdfgklmnprtvz", "aou"


@dataclass(slots=True)
class Fact:
    """Something that was told: who is the `predicate` of `subject`, the newest last."""

    subject: str
    predicate: str
    values: list[str]
    told: datetime
    forgotten: bool = False

    @property
    def said(self) -> str:
        """As somebody tells it."""
        return f"Note: the {self.predicate} of {self.subject} is {self.values[-1]}."

    @property
    def question(self) -> str:
        """As somebody asks for it."""
        return f"Who is the {self.predicate} of {self.subject}?"


@dataclass(slots=True)
class Employee:
    """One of the staff, by the shipped profile of this name, and what is known of it."""

    name: str
    approved: bool = False  # whether a person looks at each reply first
    facts: list[Fact] = field(default_factory=list)
    kept: Fact | None = None  # the one that is said again and again
    beliefs: Beliefs = field(default_factory=Beliefs)

    def known(self) -> list[Fact]:
        """The facts that nobody has had forgotten."""
        return [fact for fact in self.facts if not fact.forgotten]


@dataclass(frozen=True, slots=True)
class Wish:
    """What one is asked to do later or again and again, and when that must be."""

    employee: str
    when: str
    instruction: str
    answer: str
    timing: Clockwise | Regularly | Once

    @property
    def said(self) -> str:
        """As somebody asks for it."""
        return f"{self.when}, {self.instruction}"


def staff(count: int) -> list[Employee]:
    """So many employees, five at most; the first is never ended by us."""
    everybody = [
        Employee("sales-ae"),
        Employee("csm"),
        Employee("sdr", approved=True),
        Employee("researcher"),
        Employee("support"),
    ]
    return everybody[:count]


def wishes(start: datetime) -> list[Wish]:
    """What people ask for on the first day; some of it at hours that clocks are set forward over."""
    later = start + timedelta(days=3)
    at = datetime(later.year, later.month, later.day, 15, 30, tzinfo=UTC)
    return [
        Wish(
            "sales-ae",
            "Every Monday at nine Europe/Berlin",
            "what is 17 * 23?",
            "391",
            Clockwise(time(9), MONDAYS, "Europe/Berlin"),
        ),
        Wish(
            "sales-ae",
            "Every day at 02:30 Europe/Berlin",
            "what is 18 * 23?",
            "414",
            Clockwise(time(2, 30), DAILY, "Europe/Berlin"),
        ),
        Wish(
            "csm",
            "Every weekday at 5:15 pm America/New_York",
            "what is 19 * 23?",
            "437",
            Clockwise(time(17, 15), WEEKDAYS, "America/New_York"),
        ),
        Wish("csm", f"On {at:%Y-%m-%d} at {at:%H:%M}", "what is 20 * 23?", "460", Once(at)),
        Wish("researcher", "Every 36 hours", "what is 21 * 23?", "483", Regularly(timedelta(hours=36))),
        Wish(
            "sdr",
            "Every day at 8 am Europe/Berlin",
            "what is 22 * 23?",
            "506",
            Clockwise(time(8), DAILY, "Europe/Berlin"),
        ),
    ]


class Words:
    """Names that no language has and no two things share."""

    def __init__(self, chance: random.Random) -> None:
        self._chance, self._used = chance, set[str]()

    def new(self) -> str:
        """One that was not given before."""
        while True:
            word = "".join(
                self._chance.choice(_CONSONANTS) + self._chance.choice(_VOWELS) for _ in range(4)
            ).capitalize()
            if word not in self._used:
                self._used.add(word)
                return word
