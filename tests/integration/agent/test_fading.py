"""Episodes that matter little and that nobody recalls fade; what matters, is recalled or is a fact stays."""

from typing import Any

import pytest

from agent.errors import Superseded
from agent.memory import Memories
from agent.mind import consolidation
from agent.models.offline import OfflineModel
from tests.integration.agent.conftest import Office
from tests.integration.agent.learning import Clerk, handled, lessons, request_for, resting
from tests.integration.agent.test_loop import looping


@pytest.fixture(autouse=True)
def always_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consolidation, "FADE_SECONDS", 0.0)


async def episode(memories: Memories, content: str, importance: float = 0.1, kind: str = "episodic") -> None:
    await memories.remember(content, kind=kind, source=content, importance=importance)


async def aged(office: Office, days: int) -> None:
    await office.pool.execute("UPDATE memories SET created_at = created_at - make_interval(days => $1)", days)


async def kept(office: Office) -> set[str]:
    return {row["content"] for row in await office.pool.fetch("SELECT content FROM memories")}


async def test_what_matters_little_fades_and_what_matters_more_stays_longer(office: Office):
    async with resting(office) as (memories, mind):
        for content, importance in (("a run", 0.1), ("small talk", 0.3), ("a decision", 0.8)):
            await episode(memories, content, importance)
        await episode(memories, "a fact", kind="semantic")
        for days, left in (
            (20, {"a run", "small talk", "a decision", "a fact"}),
            (5, {"small talk", "a decision", "a fact"}),
            (30, {"a decision", "a fact"}),
            (30, {"a fact"}),
            (4000, {"a fact"}),
        ):
            await aged(office, days)
            await mind.tend(None)
            assert await kept(office) == left
    assert await lessons(office) == [{"fade": 1}] * 3


async def test_what_is_recalled_stays(office: Office, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("agent.memory.REINFORCE_SECONDS", 0.0)
    async with resting(office) as (memories, mind):
        await episode(memories, "the door code was asked for")
        await episode(memories, "the weather was fine")
        await aged(office, 20)
        await memories.recall("which door?", 1, deadline=0)
        await memories.tend()
        await office.pool.execute(
            "UPDATE memories SET created_at = created_at - interval '5 days', "
            "last_recalled_at = last_recalled_at - interval '5 days'"
        )
        await mind.tend(None)
        assert await kept(office) == {"the door code was asked for"}


async def test_much_fades_in_turns(office: Office, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(consolidation, "FADE_SECONDS", 3600.0)
    monkeypatch.setattr(consolidation, "MAX_FADED", 2)
    async with resting(office) as (memories, mind):
        for number in range(5):
            await episode(memories, f"run {number}")
        await aged(office, 30)
        left = []
        for _ in range(4):
            await mind.tend(None)
            left.append(len(await kept(office)))
    assert left == [3, 1, 0, 0]


async def test_an_older_launch_lets_nothing_fade(office: Office):
    async with resting(office) as (memories, mind):
        await episode(memories, "a run")
        await aged(office, 30)
        await office.launch()
        with pytest.raises(Superseded):
            await mind.tend(None)
    assert await kept(office) == {"a run"}


async def importances(office: Office) -> dict[str, float]:
    rows = await office.pool.fetch("SELECT content, importance FROM memories WHERE kind = 'episodic'")
    return {row["content"].partition(" wrote: ")[2].partition("\n")[0]: round(row["importance"], 1) for row in rows}


async def test_an_episode_is_as_important_as_what_it_led_to(office: Office):
    belief = "Note: the budget of Acme is 12k."
    await handled(office, Clerk(), request_for("Acme"))
    async with office.employee(OfflineModel()) as gateway:
        for text in ("What is 6 * 7?", belief):
            message_id = await office.store(text)
            await office.deliver_all(gateway)
            await gateway.handed_over(message_id)
        await office.store_run("What is 1 + 1?")
        await office.deliver_all(gateway)
    await office.pool.execute("UPDATE employee_events SET cycle_id = NULL")
    await office.pool.execute("DELETE FROM memories")
    async with looping(office) as (_, loop, _memories):
        loop.model = OfflineModel()
        assert await loop.cycle() == "acted"
    found: dict[str, Any] = await importances(office)
    assert found == {request_for("Acme"): 0.5, "What is 6 * 7?": 0.3, belief: 0.6, "What is 1 + 1?": 0.1}
