"""What the staff is to reach: a number that people tell, something by a day on which it is not, and something to be done."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from empla.v1 import control_pb2 as pb
from loadtests.quarter.account import Account
from loadtests.quarter.checks import A_DAY, A_MOMENT
from loadtests.quarter.database import SQL, Database
from loadtests.quarter.staff import Employee
from tests.e2e.system import System

SUBJECT = "Contracts"
HOPELESS_DAYS = 5
FILE, LINE = "prices.md", "Acme 12k"
PLANNED = f"Publish the prices. Steps: write “{LINE}” to {FILE}; list the files"


@dataclass(slots=True)
class Goals:
    """Those of one employee: `target` contracts are to be counted, one more each week."""

    one: Employee
    target: int
    hopeless_until: datetime
    told: int = 0
    reached: datetime | None = None

    @property
    def counted(self) -> str:
        """The goal that is measured, in words."""
        return f"Have {self.target} contracts signed"

    @property
    def hopeless(self) -> str:
        """The goal that nobody works for, in words."""
        return "Be known on the moon"

    def set(self, system: System) -> None:
        """As an operator does."""
        counted = pb.GoalMeasure(subject=SUBJECT, predicate="count", target=self.target)
        moon = pb.GoalMeasure(subject="Moon", predicate="count", target=1)
        deadline = Timestamp()
        deadline.FromDatetime(self.hopeless_until)
        for goal in (
            pb.Goal(text=self.counted, measure=counted),
            pb.Goal(text=self.hopeless, measure=moon, deadline=deadline),
            pb.Goal(text=PLANNED),
        ):
            goal.employee, goal.kind = self.one.name, "achieve"
            system.call("SetGoal", pb.SetGoalRequest(goal=goal))

    def next_told(self, now: datetime) -> str:
        """What somebody says of how far it is."""
        self.told += 1
        if self.told == self.target:
            self.reached = now
        return f"Note: the count of {SUBJECT} is {self.told}."

    def check(self, account: Account, database: Database, system: System, end: datetime) -> None:
        """Each is where it must be, and ended when it had to."""
        found = {row["text"]: row for row in database.rows(SQL.goals, self.one.name)}
        counted, hopeless, planned = (found[text] for text in (self.counted, self.hopeless, PLANNED))
        far = abs(counted["progress"] - min(1.0, self.told / self.target)) < 1e-6
        account.expect("goals", "" if far and _ended(counted, "achieved", self.reached) else f"{dict(counted)}")
        if self.hopeless_until + A_DAY < end:
            failed = _ended(hopeless, "failed", self.hopeless_until)
            account.expect("goals", "" if failed else f"{dict(hopeless)}")
        written = system.workspace(self.one.name) / FILE
        done = planned["state"] == "achieved" and planned["plans"] == ["done"] and written.read_text().strip() == LINE
        account.expect("goals", "" if done else f"{dict(planned)}")


def goals_of(staff: list[Employee], start: datetime) -> list[Goals]:
    """Each has its own; the first has more to do than in a week."""
    until = start + timedelta(days=HOPELESS_DAYS, hours=12)
    return [Goals(one, 10 if place == 0 else 1, until) for place, one in enumerate(staff) if not one.approved]


def _ended(row: dict[str, object], state: str, at: datetime | None) -> bool:
    """Whether the goal ended so, within a day after `at`; None: it has not ended."""
    ended = row["ended_at"]
    if at is None or ended is None:
        return at is ended is None and row["state"] == "active"
    assert isinstance(ended, datetime)
    return row["state"] == state and at - A_MOMENT <= ended <= at + A_DAY
