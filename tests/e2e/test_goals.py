"""Goals, from outside: set, worked for step by step, and dropped."""

import asyncio
import random
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from tests.e2e.system import EMPLOYEE, System, until
from tests.factories import add_intention


async def _intend(dsn: str, goal_id: str, *instructions: str) -> None:
    """Have the employee intend something for the goal, as if it had planned it."""
    connection = await asyncpg.connect(dsn)
    try:
        row = await connection.fetchrow("SELECT tenant_id, employee_id FROM goals WHERE goal_id = $1::uuid", goal_id)
        assert row is not None
        pool: Any = connection
        await add_intention(pool, row["tenant_id"], row["employee_id"], *instructions, goal_id=UUID(goal_id))
        await connection.execute("NOTIFY empla_steps")
    finally:
        await connection.close()


def _steps(system: System, goal_id: str) -> list[dict[str, Any]]:
    plans = system.json("goals", "show", goal_id)["intentions"]
    return [step for plan in plans for step in plan["steps"]]


def test_a_goal_is_worked_for_step_by_step_also_when_the_control_plane_dies(system: System):
    text, number = f"Know {uuid4().hex}", random.randint(100, 900)
    goal = system.json("goals", "add", EMPLOYEE, text, "--maintain", "--priority", "7", "--by", "6w")
    assert [one["goal_id"] for one in system.json("goals", EMPLOYEE) if one["text"] == text] == [goal["goal_id"]]
    system.kill_control_plane()
    asyncio.run(_intend(system.database_url, goal["goal_id"], f"What is {number} + 1?", f"What is {number} + 2?"))
    system.start()

    def answered() -> Any:
        ids = [step["message_id"] for step in _steps(system, goal["goal_id"])]
        messages = [system.message(message_id) for message_id in ids if message_id]
        return messages if [message.state for message in messages] == ["answered"] * 2 else None

    first, second = until(answered, "both steps are answered")
    assert (first.channel, first.sender, first.conversation) == ("own", EMPLOYEE, second.conversation)
    assert str(number + 1) in first.replies[0].text
    assert str(number + 2) in second.replies[0].text
    dropped = system.json("goals", "drop", goal["goal_id"], "--reason", "known")
    assert dropped["state"] == "abandoned"
    assert [one for one in system.json("goals", EMPLOYEE) if one["text"] == text] == []
