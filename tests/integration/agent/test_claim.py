"""A message is claimed once, whatever became of the answer to the claim."""

import asyncio

from agent.models.scripted import ScriptedModel
from agent.pipeline.transitions import SQL
from controlplane.gateway import as_deliver
from tests.integration.agent.conftest import Office


async def test_a_claim_whose_answer_was_lost_is_made_again(office: Office):
    async with office.employee(ScriptedModel()) as gateway:
        async with asyncio.timeout(20):
            before = await office.store("Good day")
            await office.deliver_all(gateway)
            await gateway.handed_over(before)
        message_id = await office.store("Hello?")
        [row] = await office.undelivered()
        # The claim was committed, the connection broke, and the employee tries again.
        assert await office.pool.fetchrow(SQL.claim, [message_id], office.record.employee_id, office.epoch)
        gateway.deliver(as_deliver(row))
        async with asyncio.timeout(20):
            assert await gateway.handed_over(message_id) == "sending"
    assert len(await office.replies(message_id)) == 1


async def test_a_message_that_is_delivered_again_is_worked_on_once(office: Office):
    message_id = await office.store("Hello?")
    [row] = await office.undelivered()
    async with office.employee(ScriptedModel(delay=0.05)) as gateway:
        for _ in range(3):
            gateway.deliver(as_deliver(row))
        async with asyncio.timeout(20):
            assert await gateway.handed_over(message_id) == "sending"
        gateway.deliver(as_deliver(row))
    assert len(await office.replies(message_id)) == 1
    assert all(outcome == "succeeded" for _, outcome in await office.attempts(message_id))
