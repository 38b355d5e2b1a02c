"""Messages that were restored from a backup: what their employee wants to do, the old installation may have done since."""

import asyncio
from pathlib import Path

import pytest

from agent.models.interface import ModelRequest
from agent.models.scripted import Step
from tests.integration.agent.conftest import Office
from tests.integration.agent.deciding import Desk, Parts, call, result_in
from tests.integration.agent.test_waiting import TEXT, killed_while_waiting, risky, writing  # noqa: F401 - a fixture


def reading(request: ModelRequest) -> Step:
    return result_in(request) or call("read_file", path="notes.md")


RESTORED = "UPDATE inbound_messages SET restored_at = now()"


@pytest.fixture
def log(office: Office) -> Path:
    return office.workspace / "log.txt"


async def acted(office: Office) -> None:
    async with asyncio.timeout(20):
        while await office.pool.fetchval("SELECT state FROM effects") != "succeeded":
            await asyncio.sleep(0.02)


async def test_what_can_be_done_only_once_a_person_decides_about(office: Office, log: Path):
    desk, model = Desk(office), Parts(TEXT, {"": writing})
    await office.store(TEXT)
    await office.pool.execute(RESTORED)
    async with office.employee(model) as gateway:
        await office.deliver_all(gateway)
        review = await desk.review("needs_manual_intervention")
        assert "append_file" in review["reason"]
        assert not log.exists()
        assert await office.pool.fetchval("SELECT state FROM effects") == "ambiguous"
        await desk.decide("needs_manual_intervention", "approve", gateway)
        await acted(office)
    assert log.read_text() == "once\n"


async def test_what_only_reads_is_done(office: Office):
    (office.workspace / "notes.md").write_text("12k")
    model = Parts(TEXT, {"": reading})
    message_id = await office.store(TEXT)
    await office.pool.execute(RESTORED)
    async with office.employee(model) as gateway:
        await office.deliver_all(gateway)
        [(_, _, body)] = await Desk(office).told_more(message_id, 1)
    assert "12k" in body


@pytest.mark.usefixtures("risky")
async def test_what_was_allowed_before_the_backup_may_have_been_done_since(office: Office, log: Path):
    desk, model = Desk(office), Parts(TEXT, {"": writing})
    await killed_while_waiting(office, model)
    await desk.decide("approval", "approve")
    await office.pool.execute(RESTORED)
    async with office.employee(model) as gateway:
        await desk.review("needs_manual_intervention")
        assert not log.exists()
        await desk.decide("needs_manual_intervention", "approve", gateway)
        await acted(office)
    assert log.read_text() == "once\n"
