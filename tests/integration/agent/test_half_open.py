"""An employee whose database does not answer any more, on a connection that stands."""

import asyncio

from agent.models.offline import OfflineModel
from tests.cable import cabled_over_tcp
from tests.conftest import Database
from tests.integration.agent.conftest import Office
from tests.integration.agent.test_pipeline import WHOLE_WAY


async def test_a_step_that_waits_for_a_lost_answer_costs_no_attempt(office: Office) -> None:
    message_id = await office.store("Hello?")
    conversation_id = (await office.row(message_id))["conversation_id"]
    async with cabled_over_tcp(office.database.socket) as cable:
        office.database = Database(office.database.over(cable), "")
        async with office.employee(OfflineModel()) as gateway:
            cable.last_heard = conversation_id.bytes  # the first that asks for it reads its turns
            await office.deliver_all(gateway)
            async with asyncio.timeout(90):  # much longer than any statement is waited for
                assert await gateway.handed_over(message_id) == "sending"
    assert cable.last_heard == b""
    assert await office.attempts(message_id) == [(step, "succeeded") for step in WHOLE_WAY]


async def test_a_drain_gives_back_what_waits_for_a_lost_answer(office: Office) -> None:
    message_id = await office.store("Hello?")
    conversation_id = (await office.row(message_id))["conversation_id"]
    async with cabled_over_tcp(office.database.socket) as cable:
        office.database = Database(office.database.over(cable), "")
        async with asyncio.timeout(60), office.employee(OfflineModel()) as gateway:
            cable.last_heard = conversation_id.bytes
            await office.deliver_all(gateway)
            while cable.last_heard:
                await asyncio.sleep(0.05)
    assert await office.attempts(message_id) == [("security_filter", "succeeded"), ("context_retrieval", "drained")]
