"""Day after day: people write, schedules run, things are forgotten, and once a week something is killed or started again."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from empla.v1 import control_pb2 as pb
from loadtests.quarter.account import Account, Day
from loadtests.quarter.checks import check_answers, check_faded, check_runs
from loadtests.quarter.chores import Chore
from loadtests.quarter.clock import Clock
from loadtests.quarter.database import SQL, Database
from loadtests.quarter.goals import SUBJECT, Goals, goals_of
from loadtests.quarter.staff import PEOPLE, PREDICATES, Employee, Fact, Wish, Words, staff, wishes
from tests.e2e.conftest import temporary_directory
from tests.e2e.system import System, kill

LONGEST_STEP = timedelta(hours=6)
KEPT = 1  # which fact of each employee: not the first, so that something has faded within a week
CONFIRMED_EVERY = 3  # days; often enough for what is believed to stay so
CONTRADICTED_AFTER = timedelta(days=12)  # by when nothing of it is believed any more
ROUNDED = 0.01
PATIENCE, LOOK_SECONDS = 300.0, 0.01
"""Seconds: how long a thing may take on a machine that others use as well, and how often is looked whether it is done."""
WHILE_IN_WORK = "What is 111 * 9?"
MESSAGES = frozenset({"inbound_messages", "message_bodies", "outbox"})
WORK = frozenset({"message_workers", "step_attempts", "model_responses", "effects", "reviews"})
REMAINS = MESSAGES | WORK
"""Tables that keep a word that was to be forgotten, as the README says: messages, and the records of work that was done."""


class Simulation:
    """The staff of one system that goes by `clock`; `chance` decides what is said of what to whom."""

    def __init__(
        self, system: System, clock: Clock, database: Database, chance: random.Random, employees: int = 5
    ) -> None:
        self.system, self.clock, self.database, self._chance = system, clock, database, chance
        self.staff, self.account = staff(employees), Account()
        self._words, self._chore = Words(chance), Chore(self.staff[1])

    def run(self, days: int, told: Callable[[int], object] = lambda _: None) -> Account:
        """Live through so many days; `told` is called with the number of each, from 1, when it is over."""
        midnight = self.clock.now.replace(hour=0, minute=0, second=0, microsecond=0)
        self._hire()
        goals = self._aim(midnight)
        asked = [(wish, self._wish(wish)) for wish in wishes(midnight) if self._named(wish.employee)]
        for number in range(days):
            self.account.days.append(Day())
            if number % 7 == 0:
                self._count(goals)
            self._live(midnight + timedelta(days=number), number)
            told(number + 1)
        for one in self.staff:
            for fact in one.facts:
                if fact.forgotten:
                    self._ask_in_vain(one, fact)
        check_answers(self.account, self.database)
        check_runs(self.account, self.database, asked, self.clock.now)
        check_faded(self.account, self.database, self.staff, self.clock.now)
        self._chore.check(self.account, self.database, self.system)
        for goal in goals:
            goal.check(self.account, self.database, self.system, self.clock.now)
        return self.account

    def until(self, moment: datetime) -> None:
        """Let time pass, in steps that no schedule is overslept by; it never goes back."""
        self.settle()
        while self.clock.now < moment:
            due = self.database.value(SQL.next_run)
            steps = (moment, self.clock.now + LONGEST_STEP, *([due + timedelta(seconds=1)] if due else []))
            self.clock.set(max(min(steps), self.clock.now))
            self.database.run(SQL.look)
            self.settle()

    def settle(self) -> None:
        """Until everything is done that no time need pass for; a person approves what waits for that."""
        end = time.monotonic() + PATIENCE
        while self.database.value(SQL.unsettled) or self._approve():
            if time.monotonic() > end:
                raise TimeoutError(f"what is to be done at {self.clock.now} is not done within {PATIENCE:g} s")
            time.sleep(LOOK_SECONDS)

    # A day

    def _live(self, midnight: datetime, number: int) -> None:
        self.until(midnight + timedelta(hours=8))
        for one in self.staff:
            self._tell_new(one)
        self.until(midnight + timedelta(hours=11, minutes=35))
        for one in self.staff:
            self._tell_again(one, number)
        self.until(midnight + timedelta(hours=14, minutes=5))
        for one in self.staff:
            self._ask(one)
        self._send(self._chore.one, self._chore.next_said(), sender=PEOPLE[-1])
        self.until(midnight + timedelta(hours=20, minutes=35))
        week = number // 7
        match midnight.weekday():
            case 1:
                self._restart(self.staff[1 + week % (len(self.staff) - 1)], killed=week % 2 == 0)
            case 3:
                self._restart_control_plane()
            case 4:
                self._forget(self.staff[week % len(self.staff)])
            case 5 if week == 0:  # so that what is done every day is told in the first week already
                self._restart(self._chore.one, killed=False)
        self.until(midnight + timedelta(hours=23, minutes=10))
        self._believe()
        self._measure()

    def _tell_new(self, one: Employee) -> None:
        fact = Fact(self._words.new(), self._chance.choice(PREDICATES), [self._words.new()], self.clock.now)
        one.facts.append(fact)
        one.kept = one.facts[KEPT] if len(one.facts) > KEPT else None
        self._tell(one, fact)

    def _tell_again(self, one: Employee, number: int) -> None:
        """What is kept is confirmed; and once a week, something old is no longer so."""
        if one.kept and number and number % CONFIRMED_EVERY == 0:
            self._tell(one, one.kept)
        old = [fact for fact in one.known() if fact is not one.kept and self.clock.now - fact.told > CONTRADICTED_AFTER]
        if old and number % 7 == 2:
            fact = self._chance.choice(old)
            fact.values.append(self._words.new())
            fact.told = self.clock.now
            self._tell(one, fact)

    def _tell(self, one: Employee, fact: Fact) -> None:
        person = self._chance.choice(PEOPLE)
        self._send(one, fact.said, sender=person, conversation=f"{person} {one.name}")
        self.settle()
        one.beliefs.told(fact.subject, fact.values[-1], self.clock.now)

    def _ask(self, one: Employee) -> None:
        """For something of today, for something of any time, and for a sum; each where nobody has spoken of it."""
        for fact in (one.facts[-1], self._chance.choice(one.known())):
            reply = self._send(one, fact.question, sender=self._chance.choice(PEOPLE))
            right = fact.values[-1] in reply and not any(value in reply for value in fact.values[:-1])
            ago = f"{(self.clock.now - fact.told).days} days ago"
            wrong = f"{one.name} was told {fact.values} {ago} and says to {fact.question!r}: {reply!r}"
            self.account.expect("facts recalled", "" if right else wrong)
        number, factor = (self._chance.randrange(100, 1000) for _ in range(2))
        reply = self._send(one, f"What is {number} * {factor}?", sender=self._chance.choice(PEOPLE))
        known = str(number * factor) in reply.replace(",", "")
        self.account.expect("sums worked out", "" if known else f"{number} * {factor}: {reply!r}")

    # What happens once a week

    def _restart(self, one: Employee, *, killed: bool) -> None:
        """While something is in work."""
        before = self.system.employee(one.name)
        self._send_only(one, WHILE_IN_WORK)
        if killed:
            kill(before.pid)
        else:
            self.system.call("RestartEmployee", pb.RestartEmployeeRequest(employee=one.name, drain_seconds=5))
        self.system.attached(one.name, after=before.epoch)
        self.account.expect("employees restarted")
        if one is self._chore.one:
            self._chore.started_again()

    def _restart_control_plane(self) -> None:
        """While something is in work; then once more, for two hours in which a schedule may be missed."""
        epochs = {one.name: self.system.employee(one.name).epoch for one in self.staff}
        for one in self.staff:
            self._send_only(one, WHILE_IN_WORK)
        for away in (timedelta(0), timedelta(hours=2)):
            self.system.kill_control_plane()
            self.clock.set(self.clock.now + away)
            self.system.start()
            launched = [name for name, epoch in epochs.items() if self.system.attached(name).epoch != epoch]
            self.account.expect("control planes killed", f"{launched} did not outlive it" if launched else "")
            self.settle()

    def _forget(self, one: Employee) -> None:
        fact = self._chance.choice([fact for fact in one.known() if fact is not one.kept])
        gone = self.system.call("Forget", pb.ForgetRequest(employee=one.name, subject=fact.subject))
        fact.forgotten = True
        one.beliefs.forget(fact.subject)
        self.account.expect("facts forgotten", "" if gone.memory_ids else f"nothing went of {fact}")
        self._ask_in_vain(one, fact)

    def _ask_in_vain(self, one: Employee, fact: Fact) -> None:
        """For what was forgotten: it is not known, nor does it stand anywhere but in messages and records of work."""
        reply = self._send(one, fact.question, sender=PEOPLE[0])
        self.settle()
        for value in fact.values:
            left = sorted(self.database.holding(value).keys() - REMAINS)
            wrong = f"{one.name} says {reply!r}" if value in reply else f"{value} is left in {left}" if left else ""
            self.account.expect("asked for in vain, and looked for in all tables", wrong)

    # What is looked at every evening

    def _believe(self) -> None:
        for one in self.staff:
            one.beliefs.fade(self.clock.now)
            found = {belief.subject: belief for belief in self._beliefs(one.name)}
            for subject, held in one.beliefs.shown(self.clock.now).items():
                belief, left = found.pop(subject, None), held.left(self.clock.now)
                said = (belief.object, belief.confidence) if belief else None
                right = said is not None and said[0] == held.object and abs(said[1] - left) < ROUNDED
                wrong = f"{one.name}, {subject}: {said}, not {held.object} {left:.2f}"
                self.account.expect("beliefs held", "" if right else wrong)
            for subject, belief in found.items():
                self.account.wrongs.append(
                    f"{one.name} still believes {subject} {belief.object} {belief.confidence:.2f}"
                )

    def _beliefs(self, name: str) -> Sequence[Any]:
        answer = self.system.call("ListBeliefs", pb.ListBeliefsRequest(employee=name, page_size=500))
        return answer.beliefs  # type: ignore[no-any-return]

    def _measure(self) -> None:
        day = self.account.days[-1]
        day.memory = {one.name: _memory(self.system.employee(one.name).pid) for one in self.staff}
        day.stored, day.messages = self.database.value(SQL.size), self.database.value(SQL.messages)
        day.beliefs = sum(len(one.beliefs.shown(self.clock.now)) for one in self.staff)
        day.facts = sum(len(one.known()) for one in self.staff)

    # What it takes

    def _hire(self) -> None:
        self.system.attached(self.staff[0].name)
        for one in self.staff[1:]:
            self.system.call(
                "CreateEmployee", pb.CreateEmployeeRequest(name=one.name, profile_name=one.name, start=True)
            )
        for one in self.staff[1:]:
            self.system.attached(one.name)

    def _aim(self, midnight: datetime) -> list[Goals]:
        goals = goals_of(self.staff, midnight)
        for goal in goals:
            goal.set(self.system)
        return goals

    def _count(self, goals: list[Goals]) -> None:
        """Tell everybody how far what is measured has come."""
        for goal in goals:
            self._send(goal.one, goal.next_told(self.clock.now), sender=PEOPLE[0])
            self.settle()
            goal.one.beliefs.told(SUBJECT, str(goal.told), self.clock.now)

    def _named(self, name: str) -> Employee | None:
        return next((one for one in self.staff if one.name == name), None)

    def _wish(self, wish: Wish) -> datetime:
        one = self._named(wish.employee)
        assert one is not None
        self._send(one, wish.said, sender=PEOPLE[0], conversation=f"{PEOPLE[0]} {one.name}")
        return self.clock.now

    def _send(self, one: Employee, text: str, **fields: Any) -> str:
        """Write, and return the answer, which may have to be approved first."""
        if one.approved:
            message_id = self._send_only(one, text, **fields)
            self.settle()
            message = self.system.message(message_id)
        else:
            pace = self.database.pace_ms()
            message = self.system.send(text, employee=one.name, **fields)
            if self.account.days:
                self.account.days[-1].pace_ms.append(pace)
                self.account.days[-1].elapsed_ms.append(message.elapsed_ms)
        return "\n".join(reply.text for reply in message.replies)

    def _send_only(self, one: Employee, text: str, **fields: Any) -> str:
        sent = self.system.send(text, wait=False, employee=one.name, **fields)
        return str(sent.message_id)

    def _approve(self) -> bool:
        """Approve what waits for a person; whether anything did."""
        waiting = self.database.rows(SQL.waiting_for_a_person)
        for review in waiting:
            decision = pb.ResolveReviewRequest(review_id=review["review_id"], approve=pb.Approve())
            self.system.call("ResolveReview", decision)
        return bool(waiting)


@contextmanager
def simulation(start: datetime, seed: int, *, employees: int = 5) -> Iterator[Simulation]:
    """A staff to live with, in a system whose clocks show `start`; it must end in order.

    Raises RuntimeError when it does not, or when there is nothing to set clocks with.
    """
    with temporary_directory() as directory, Clock(directory / "clock", start) as clock:
        program: list[str | Path] = [clock.python, "-m", "controlplane.cli"]
        system = System(directory, program=program, patience=PATIENCE, EMPLA_MODEL_PROVIDER="offline")
        try:
            system.start()
            with Database(system.database_url) as database:
                yield Simulation(system, clock, database, random.Random(seed), employees)
            if system.interrupt() or system.processes():
                raise RuntimeError(f"the system does not end in order: {system.printed[-2000:]} {system.processes()}")
        finally:
            system.kill_everything()


def _memory(pid: int) -> int:
    """What the process adds to the memory in use, in bytes: its share of what it has in common with others counts once."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))
