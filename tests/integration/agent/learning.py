"""An employee that does work of a kind again and again, and what is made of it when it has nothing else to do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from agent.local import LocalGateway
from agent.memory import Memories
from agent.mind.consolidation import Consolidation
from agent.models.interface import ModelError, ModelRequest, ModelResponse, TextSink
from agent.models.scripted import ScriptedModel, Step, echo
from empla.store.connect import connect
from empla.store.roles import employee_dsn
from empla.v1 import gateway_pb2 as pb
from tests.integration.agent.conftest import Office
from tests.integration.agent.deciding import call

CUSTOMERS = ("Acme", "Brandt", "Corte", "Dahl", "Ewald", "Falk", "Gruber", "Heinz")


def request_for(customer: str) -> str:
    return f"Write the weekly report for {customer}, please."


class Clerk(ScriptedModel):
    """Reads deals.md and writes a report, whatever is asked; with `error` it cannot."""

    def __init__(self, error: ModelError | None = None) -> None:
        super().__init__(self._step)
        self.error = error

    def _step(self, request: ModelRequest) -> Step:
        if request.output is not None:
            return echo(request)
        if self.error:
            return self.error
        last = request.messages[-1]
        done = last.results[-1].name if last.results else ""
        match done:
            case "":
                return call("read_file", path="deals.md")
            case "read_file":
                return call("append_file", path="report.md", content="the week")
        return "The report is in report.md."

    @property
    def asked(self) -> list[str]:
        """What the worker was asked, in the first request of each message."""
        return [one.messages[-1].text for one in self.requests if one.output is None and not one.messages[-1].results]


class Nobody(ScriptedModel):
    """Is not to be asked; what a script that is over says is an error like that of any model."""

    async def generate(self, request: ModelRequest, on_text: TextSink | None = None) -> ModelResponse:
        raise AssertionError(f"asked: {request.messages[-1].text}")


async def handled(office: Office, model: ScriptedModel, *texts: str, state: str = "answered") -> list[UUID]:
    """Messages that the employee has handled, each in a conversation of its own, and that ended in `state`."""
    (office.workspace / "deals.md").write_text("- Acme: open\n")
    async with office.employee(model) as gateway:
        messages = [await office.store(text) for text in texts]
        for message_id in messages:
            await office.deliver_all(gateway)
            await gateway.handed_over(message_id)
    for message_id in messages:
        await sent(office, message_id, state)
    return messages


async def sent(office: Office, message_id: UUID, state: str = "answered") -> None:
    """End a message that is handed over as the Sender does."""
    await office.pool.execute(
        "UPDATE inbound_messages SET processing_state = $2, step = '', ended_at = now() "
        "WHERE message_id = $1 AND processing_state = 'sending'",
        message_id,
        state,
    )


@asynccontextmanager
async def resting(office: Office) -> AsyncIterator[tuple[Memories, Consolidation]]:
    """The employee's next launch while nothing is in work."""
    identity = await office.launch()
    async with connect(
        employee_dsn(office.database.dsn, identity.employee_id, "password"), application_name="tests"
    ) as pool:
        memories = Memories(pool, identity, LocalGateway(pb.EmployeeConfiguration()))
        yield memories, Consolidation(pool, identity, memories)


async def procedures(office: Office) -> list[dict[str, Any]]:
    rows = await office.pool.fetch("SELECT * FROM procedures ORDER BY created_at")
    return [dict(row) for row in rows]


async def lessons(office: Office) -> list[dict[str, Any]]:
    """What the cycles recorded that were spent on learning."""
    rows = await office.pool.fetch("SELECT intention FROM cycles ORDER BY started_at")
    found = [row["intention"] or {} for row in rows]
    return [one for one in found if one.keys() & {"learn", "refused", "fade", "generalise"}]
