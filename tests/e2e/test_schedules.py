"""What people ask an employee to do later, and again and again: it is done, and answered where it was asked for."""

import asyncio
import random
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from tests.e2e.conftest import Inbox
from tests.e2e.system import EMPLOYEE, System, until


def _make_due(system: System, schedule_id: str) -> None:
    """Let the schedule's time come, as the hours would."""
    asyncio.run(_set_due(system.database_url, schedule_id))


async def _set_due(dsn: str, schedule_id: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("UPDATE schedules SET next_at = now() WHERE schedule_id = $1::uuid", schedule_id)
        await connection.execute("NOTIFY empla_schedules")
    finally:
        await connection.close()


def _runs(system: System, schedule_id: str, count: int) -> Any:
    """The runs of the schedule, newest first, as soon as there are so many."""

    def found() -> Any:
        runs = system.json("schedules", "show", schedule_id)["runs"]
        return runs if len(runs) == count else None

    return until(found, f"{count} runs of {schedule_id}")


def _schedules(system: System, name: str) -> list[dict[str, Any]]:
    return [one for one in system.json("schedules", "list", "--employee", EMPLOYEE) if one["name"] == name]


def test_every_hour_asked_in_a_message_is_answered_in_its_thread(inbox: Inbox):
    system, thread = inbox.system, uuid4().hex
    number = random.randint(100, 900)
    asked = inbox.accept(f"Every hour, what is {number} + 1?", conversation=thread)
    assert "every hour" in inbox.callbacks.first_about(asked).reply["text"]
    [schedule] = _schedules(system, f"what is {number} + 1")
    assert (schedule["every_seconds"], schedule["sender"], schedule["conversation"], schedule["asked_in"]) == (
        3600,
        "ada@example.com",
        thread,
        asked,
    )
    for count in (1, 2):
        _make_due(system, schedule["schedule_id"])
        message_id = _runs(system, schedule["schedule_id"], count)[0]["message_id"]
        assert str(number + 1) in inbox.callbacks.first_about(message_id).reply["text"]
        assert system.message(message_id).conversation == thread
        if count == 1:  # and it goes on after the control plane has died
            system.kill_control_plane()
            system.start()
    inbox.accept(f"Cancel the schedule what is {number} + 1", conversation=thread)
    until(lambda: not _schedules(system, schedule["name"]) or None, "its end")


def test_an_operators_schedule_is_shown_paused_and_deleted(system: System):
    name = uuid4().hex
    made = system.json(
        "schedules", "create", EMPLOYEE, name, "What is 1 + 1?", "--cron", "0 9 * * 1", "--time-zone", "Europe/Berlin"
    )
    assert made["next_run_at"]
    assert system.json("schedules", "pause", made["schedule_id"])["state"] == "paused"
    assert system.json("schedules", "resume", made["schedule_id"])["state"] == "active"
    assert system.json("schedules", "delete", made["schedule_id"])["deleted"]
    assert _schedules(system, name) == []


@pytest.mark.parametrize("cron", ["0 9 30 2 *", "soon"])
def test_an_impossible_schedule_is_refused(system: System, cron: str):
    ended = system.run("schedules", "create", EMPLOYEE, uuid4().hex, "What is 1 + 1?", "--cron", cron)
    assert ended.returncode == 2
    assert cron in ended.stderr
