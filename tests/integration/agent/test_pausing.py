"""An employee that is paused begins nothing; what it is at waits, and goes on from its record."""

import asyncio
from uuid import UUID

from agent.local import LocalGateway
from agent.models.interface import ModelRequest, ModelResponse, TextSink, ToolCall
from agent.models.scripted import ScriptedModel, Step, echo
from tests.integration.agent.conftest import Office

WAIT = 0.4


class Held(ScriptedModel):
    """Writes a note, then answers; stands still at its first response to work until it is released."""

    def __init__(self) -> None:
        super().__init__(self._step)
        self.held, self.released = asyncio.Event(), asyncio.Event()
        self.worked = 0

    def _step(self, request: ModelRequest) -> Step:
        if request.output is not None:
            return echo(request)
        self.worked += 1
        if self.worked > 1:
            return "it is written"
        call = ToolCall(call_id="1", name="write_file", arguments={"path": "note.txt", "content": "x"})
        return ModelResponse(calls=(call,), model="scripted", stop_reason="calls")

    async def generate(self, request: ModelRequest, on_text: TextSink | None = None) -> ModelResponse:
        response = await super().generate(request, on_text)
        if request.output is None and not self.released.is_set():
            self.held.set()
            await self.released.wait()
        return response


async def still_waits(gateway: LocalGateway, message_id: UUID) -> bool:
    try:
        async with asyncio.timeout(WAIT):
            await gateway.handed_over(message_id)
    except TimeoutError:
        return True
    return False


async def effects(office: Office) -> list[str]:
    return [row["state"] for row in await office.pool.fetch("SELECT state FROM effects")]


async def test_in_the_middle_of_a_message_it_stops_before_the_next_action_and_goes_on_with_it(office: Office):
    model = Held()
    async with office.employee(model) as gateway:
        message_id = await office.store("write a note")
        await office.deliver_all(gateway)
        await model.held.wait()
        gateway.pause(paused=True)
        await asyncio.sleep(0)
        other = await office.store("hello")
        await office.deliver_all(gateway)
        model.released.set()
        assert await still_waits(gateway, message_id)
        assert await effects(office) == []
        assert (await office.row(other))["processing_state"] == "received"
        assert other not in gateway.acknowledged
        gateway.pause(paused=False)
        assert await gateway.handed_over(message_id) == "sending"
        assert await gateway.handed_over(other) == "sending"
    assert (await effects(office), model.worked) == (["succeeded"], 3)
    assert {outcome for _, outcome in await office.attempts(message_id)} == {"succeeded"}
    assert await office.replies(message_id) == ["it is written"]


async def test_what_waits_can_be_cancelled(office: Office):
    model = Held()
    async with office.employee(model) as gateway:
        message_id = await office.store("write a note")
        await office.deliver_all(gateway)
        await model.held.wait()
        gateway.pause(paused=True)
        await asyncio.sleep(0)
        model.released.set()
        assert await still_waits(gateway, message_id)
        await office.pool.execute(
            "UPDATE inbound_messages SET cancelled_by = 'op', cancelled_at = now() WHERE message_id = $1", message_id
        )
        await office.pool.execute("UPDATE message_workers SET cancelled_by = 'op' WHERE message_id = $1", message_id)
        gateway.cancel(message_id)
        assert await gateway.handed_over(message_id) == "withheld"
    assert await effects(office) == []


async def test_a_pause_outlives_the_process_and_costs_no_attempt(office: Office):
    model = Held()
    async with asyncio.TaskGroup() as life:
        gateway, running = await office.begin(life, model)
        message_id = await office.store("write a note")
        await office.deliver_all(gateway)
        await model.held.wait()
        gateway.pause(paused=True)
        await asyncio.sleep(0)
        model.released.set()
        assert await still_waits(gateway, message_id)
        gateway.drain(60_000)  # what waits does not keep it
        async with asyncio.timeout(20):
            await running
    [failures] = [row["failures"] for row in await office.pool.fetch("SELECT failures FROM message_workers")]
    assert failures == 0
    for _ in range(5):  # more deaths than a step has tries
        async with asyncio.TaskGroup() as life:
            gateway, running = await office.begin(life, model, paused=True)
            await asyncio.sleep(WAIT)
            running.cancel()
    async with office.employee(model) as gateway:
        assert await gateway.handed_over(message_id) == "sending"
    assert await office.replies(message_id) == ["it is written"]


async def test_no_cycle_begins_while_it_is_paused(office: Office):
    await office.pool.execute(
        "INSERT INTO employee_events (tenant_id, employee_id, kind) VALUES ($1, $2, 'x')",
        office.record.tenant_id,
        office.record.employee_id,
    )
    async with office.employee(ScriptedModel(), paused=True) as gateway:
        gateway.wake("operator")
        await asyncio.sleep(WAIT)
        assert await office.pool.fetchval("SELECT count(*) FROM cycles") == 0
        gateway.pause(paused=False)
        async with asyncio.timeout(20):
            while not await office.pool.fetchval("SELECT count(*) FROM cycles WHERE phase = 'done'"):
                await asyncio.sleep(0.02)
