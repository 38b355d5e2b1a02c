"""What must be true when all is over."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from loadtests.quarter.account import Account
from loadtests.quarter.database import SQL, Database
from loadtests.quarter.expected import Regularly
from loadtests.quarter.staff import Employee, Wish

A_DAY = timedelta(days=1, hours=1)
"""In which what has faded must be dropped: everybody hears something every day."""
A_MOMENT = timedelta(seconds=60)
"""Between what the product notes as the time of something, and when it was seen from outside."""


def check_answers(account: Account, database: Database) -> None:
    """Each message has one reply."""
    account.counted["messages"] = database.value(SQL.messages)
    for row in database.rows(SQL.not_answered_once):
        told = f"{row['processing_state']} {row['reason']}".strip()
        account.wrongs.append(f"messages: {row['employee']}, {row['body']!r}: {row['replies']} replies, {told}")


def check_runs(account: Account, database: Database, wishes: Iterable[tuple[Wish, datetime]], end: datetime) -> None:
    """Each wish was done exactly when it had to be, once each time."""
    rows = database.rows(SQL.runs)
    for wish, asked in wishes:
        done = [row for row in rows if (row["employee"], row["instruction"]) == (wish.employee, wish.instruction)]
        most = A_MOMENT if isinstance(wish.timing, Regularly) else timedelta(0)
        _compare(account, wish, list(wish.timing.runs(asked, end)), done, most)
    known = {(wish.employee, wish.instruction) for wish, _ in wishes}
    others = [row for row in rows if not row["of_profile"] and (row["employee"], row["instruction"]) not in known]
    account.wrongs += [f"schedule runs: nobody asked for {dict(row)}" for row in others]


def check_faded(account: Account, database: Database, staff: Sequence[Employee], end: datetime) -> None:
    """What nobody has confirmed was dropped on the day on which too little was left of it, and nothing else was."""
    rows = database.rows(SQL.dropped)
    dropped = {(row["employee"], row["subject"], row["object"]): row["occurred_at"] for row in rows}
    for one in staff:
        for (subject, said), faded in one.beliefs.faded.items():
            if faded + A_DAY < end or (one.name, subject, said) in dropped:
                at = dropped.pop((one.name, subject, said), None)
                late = at is None or not faded - A_MOMENT <= at <= faded + A_DAY
                account.expect("beliefs faded", f"{one.name}, {subject} {said}: {at}, not {faded}" if late else "")
    account.wrongs += [f"beliefs faded: {key} was dropped at {at} for no reason" for key, at in dropped.items()]


def _compare(account: Account, wish: Wish, expected: list[datetime], done: list[Any], most: timedelta) -> None:
    for due in expected:
        found = [row for row in done if abs(row["due_at"] - due) <= most]
        right = [row["state"] == "fired" and wish.answer in (row["answer"] or "") for row in found] == [True]
        what = [(row["due_at"].isoformat(), row["state"], row["reason"], row["answer"]) for row in found]
        account.expect("schedule runs", "" if right else f"{wish.said!r} at {due}: {what}")
        done = [row for row in done if row not in found]
    account.wrongs += [f"schedule runs: {wish.said!r} has run at {row['due_at']} as well" for row in done]
