"""Work that is the same every day: the employee learns how it is done, and is told so the next time."""

from dataclasses import dataclass

from empla.v1 import control_pb2 as pb
from loadtests.quarter.account import Account
from loadtests.quarter.database import SQL, Database
from loadtests.quarter.staff import Employee
from tests.e2e.system import System

NOTES = "deals.md"
FIRST = f"Write '- Zorn: open' to {NOTES}"
ASKED = f"Write a summary of {NOTES}"


@dataclass(slots=True)
class Chore:
    """A summary a day; `learnt` once the employee was started again after three of them."""

    one: Employee
    done: int = 0
    learnt: bool = False

    def next_said(self) -> str:
        """What it is asked for today."""
        self.done += 1
        return f"{ASKED} to day{self.done}.md" if self.done > 1 else FIRST

    def started_again(self) -> None:
        """What was done before is looked at when the employee starts."""
        self.learnt = self.learnt or self.done > 3

    def check(self, account: Account, database: Database, system: System) -> None:
        """It is know-how that went well each time, and was told with what was asked for after that."""
        if not self.learnt:
            return
        request = pb.SearchMemoryRequest(employee=self.one.name, kind="procedural")
        known = [one for one in system.call("SearchMemory", request).memories if ASKED in one.content]
        right = len(known) == 1 and known[0].state == "promoted" and known[0].uses == known[0].successes
        account.expect("procedures learnt", "" if right else f"{self.one.name} knows {known}")
        told = database.value(SQL.told_how, self.one.name)
        account.expect("procedures told", "" if told else f"{self.one.name} was never told how")
        account.counted["messages with a procedure"] = told
