"""What is stopped ends where it stands, at once, whoever knows of it; what was done by then stays recorded."""

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from agent.local import LocalGateway
from agent.models.interface import ModelRequest, ModelResponse
from agent.models.scripted import ScriptedModel, Step, echo
from controlplane.auth import Operator
from controlplane.errors import NotNow, Unknown
from controlplane.messages import Messages
from controlplane.stopping import Stopping
from empla.store.ids import new_id
from empla.v1 import control_pb2
from tests.factories import said_in
from tests.integration.agent.conftest import Office
from tests.integration.agent.deciding import Desk, asking, call, result_in

BOSS = Operator("boss", control_pb2.SCOPE_OPERATE, None)
LATE = "nobody may get this far"


class Held(ScriptedModel):
    """Stands still when `stands` says so, until `released`."""

    def __init__(self, stands: Callable[[ModelRequest], bool], script: Callable[[ModelRequest], Step] = echo) -> None:
        super().__init__(script)
        self._stands, self.held, self.released = stands, asyncio.Event(), asyncio.Event()

    async def generate(self, request: ModelRequest, *arguments: object) -> ModelResponse:
        if self._stands(request):
            self.held.set()
            await self.released.wait()
        return await super().generate(request, *arguments)  # type: ignore[arg-type]


def note_then(what: Step) -> Callable[[ModelRequest], Step]:
    """A worker that writes a note, and then does `what`."""

    def script(request: ModelRequest) -> Step:
        if request.output is not None:
            return echo(request)
        return what if result_in(request) else call("append_file", path="notes.txt", content="noted\n")

    return script


@pytest.fixture
def office(office: Office) -> Office:
    office.record = replace(office.record, autonomy="autonomous")
    return office


@pytest.fixture
def desk(office: Office) -> Desk:
    return Desk(office)


async def cancel(office: Office, message_id: UUID, gateway: LocalGateway | None = None) -> None:
    await Stopping(office.pool).cancel(message_id, BOSS, "too dear")
    if gateway is not None:
        gateway.cancel(message_id)


async def came_to(office: Office, message_id: UUID, state: str) -> dict[str, object]:
    """The row of a message, once it is in this state."""
    async with asyncio.timeout(20):
        while (row := await office.row(message_id))["processing_state"] != state:
            await asyncio.sleep(0.02)
    return row


async def effects(office: Office) -> list[tuple[str, str]]:
    rows = await office.pool.fetch("SELECT action, state FROM effects ORDER BY started_at")
    return [(row["action"], row["state"]) for row in rows]


async def open_reviews(office: Office) -> int:
    count: int = await office.pool.fetchval("SELECT count(*) FROM reviews WHERE state = 'open'")
    return count


@pytest.mark.parametrize("at", ["classification", "worker"])
async def test_a_model_call_is_interrupted_at_once(office: Office, desk: Desk, at: str):
    model = Held(lambda request: (request.output is not None) == (at == "classification") and _last(request))
    async with office.employee(model) as gateway:
        message_id = await office.store("hello", conversation="thread")
        await office.deliver_all(gateway)
        await asyncio.wait_for(model.held.wait(), 20)
        await cancel(office, message_id, gateway)
        row = await came_to(office, message_id, "withheld")
        next_one = await office.store("again", conversation="thread")
        model.released.set()
        await office.deliver_all(gateway)
        assert await asyncio.wait_for(gateway.handed_over(next_one), 20) == "sending"
    assert row["reason"] == "cancelled by boss: too dear"
    assert await desk.told(message_id) == []
    assert ("classification" if at == "classification" else "action_planning", "cancelled") in await office.attempts(
        message_id
    )
    assert await desk.workers(message_id) == ([] if at == "classification" else ["cancelled"])


def _last(request: ModelRequest) -> bool:
    return "hello" in said_in(request)


def running(program: str) -> bool:
    """Whether a program with these words runs anywhere on this machine."""
    words = b"\0".join(word.encode() for word in program.split()) + b"\0"
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if line.read_bytes() == words:
                return True
    return False


async def test_a_command_is_ended_and_what_was_done_stays_recorded(
    office: Office, desk: Desk, jailable_workspace: Path
):
    office.workspace = jailable_workspace
    program = f"sleep 300.{random.randrange(10**9):09}"
    slow = call("run_command", command=f"echo begun >begun.txt; {program}; true")
    async with office.employee(ScriptedModel(note_then(slow))) as gateway:
        message_id = await office.store("hello")
        await office.deliver_all(gateway)
        async with asyncio.timeout(20):
            while not (office.workspace / "begun.txt").exists():
                await asyncio.sleep(0.02)
            while not await asyncio.to_thread(running, program):
                await asyncio.sleep(0.02)
        await cancel(office, message_id, gateway)
        await came_to(office, message_id, "withheld")
        assert not await asyncio.to_thread(running, program)
    assert (office.workspace / "notes.txt").read_text() == "noted\n"
    assert await effects(office) == [("append_file", "succeeded"), ("run_command", "ambiguous")]
    shown = await Messages(office.pool).get(message_id, None)
    assert (shown.cancelled_by, shown.cancel_reason, shown.cancelled_with) == ("boss", "too dear", "")
    assert shown.cancelled_at.seconds > 0
    assert await desk.told(message_id) == []


@pytest.mark.parametrize("hint", [True, False])
async def test_it_is_stopped_before_its_next_effect_whether_its_process_lives_or_not(
    office: Office, desk: Desk, hint: bool
):
    """A process that dies without having heard of it, and the next one that reads of it."""
    model = Held(lambda request: request.output is None and bool(result_in(request)), note_then(LATE))
    async with asyncio.TaskGroup() as life:
        gateway, process = await office.begin(life, model)
        message_id = await office.store("hello")
        await office.deliver_all(gateway)
        await asyncio.wait_for(model.held.wait(), 20)
        await cancel(office, message_id, gateway if hint else None)
        if hint:
            await came_to(office, message_id, "withheld")
        process.cancel()
    async with office.employee(ScriptedModel(note_then(LATE))):
        await came_to(office, message_id, "withheld")
    assert (await desk.told(message_id), await desk.workers(message_id)) == ([], ["cancelled"])
    assert (office.workspace / "notes.txt").read_text() == "noted\n"


async def test_an_effect_that_comes_after_a_stop_is_not_begun(office: Office, desk: Desk):
    """The stop comes while the model thinks, and nobody tells the employee of it."""
    model = Held(lambda request: request.output is None, note_then(LATE))
    async with office.employee(model) as gateway:
        message_id = await office.store("hello")
        await office.deliver_all(gateway)
        await asyncio.wait_for(model.held.wait(), 20)
        await cancel(office, message_id)
        model.released.set()
        await came_to(office, message_id, "withheld")
    assert (await effects(office), await desk.told(message_id)) == ([], [])


async def test_a_reply_that_is_ready_in_the_same_moment_does_not_leave(office: Office, desk: Desk):
    model = Held(lambda request: request.output is None)
    async with office.employee(model) as gateway:
        message_id = await office.store("hello")
        await office.deliver_all(gateway)
        await asyncio.wait_for(model.held.wait(), 20)
        await cancel(office, message_id)  # too late to be read before the model is asked: its answer is here now
        model.released.set()
        row = await came_to(office, message_id, "withheld")
    assert (row["reason"], await desk.told(message_id)) == ("cancelled by boss: too dear", [])


async def test_what_nobody_has_claimed_ends_without_its_employee(office: Office, desk: Desk):
    message_id = await office.store("hello")
    other = Operator("eve", control_pb2.SCOPE_OPERATE, new_id())
    for who, what in ((other, message_id), (BOSS, new_id())):
        with pytest.raises(Unknown):
            await Stopping(office.pool).cancel(what, who, "")
    await cancel(office, message_id)
    before = await office.row(message_id)
    await cancel(office, message_id)
    assert await office.row(message_id) == before
    assert (before["processing_state"], before["reason"]) == ("withheld", "cancelled by boss: too dear")
    assert await office.pool.fetchval("SELECT count(*) FROM audit_log WHERE action = 'message.cancel'") == 1
    async with office.employee(ScriptedModel()) as gateway:
        await office.deliver_all(gateway)
        answered = await office.store("and this?")
        await office.deliver_all(gateway)
        await asyncio.wait_for(gateway.handed_over(answered), 20)
    await desk.sent(answered)
    with pytest.raises(NotNow, match="answered"):
        await cancel(office, answered)
    assert await desk.told(message_id) == []


async def test_a_reply_that_has_not_left_is_withheld_with_its_review(office: Office):
    async with office.employee(ScriptedModel()) as gateway:
        message_id = await office.store("hello")
        await office.deliver_all(gateway)
        await asyncio.wait_for(gateway.handed_over(message_id), 20)
    await cancel(office, message_id)
    assert (await office.row(message_id))["processing_state"] == "withheld"
    assert await office.pool.fetchval("SELECT state FROM outbox") == "withheld"


async def said(office: Office, text: str = "/stop", conversation: str = "thread") -> tuple[UUID, str]:
    message_id = await office.store(text, conversation=conversation)
    return message_id, " ".join(await office.replies(message_id))


async def test_stop_overtakes_its_conversation_and_says_what_it_stopped(office: Office, desk: Desk):
    model = Held(lambda request: request.output is None and "first" in said_in(request))
    async with office.employee(model) as gateway:
        ids = [await office.store(text, conversation="thread") for text in ("first", "second", "third")]
        other = await office.store("hello", conversation="other")
        await office.deliver_all(gateway)
        await asyncio.wait_for(model.held.wait(), 20)
        stop, told = await said(office, "  /STOP \n")
        assert (await office.row(stop))["processing_state"] == "sending"  # without its employee
        for message_id in ids:
            gateway.cancel(message_id)
        rows = [await came_to(office, message_id, "withheld") for message_id in ids]
        assert await asyncio.wait_for(gateway.handed_over(other), 20) == "sending"
        _, nothing = await said(office)
        assert (await office.row(await office.store("/stop it", conversation="x")))["processing_state"] == "received"
        from_itself = await office.store("/stop", conversation="thread", from_self=True)
        assert (await office.row(from_itself))["processing_state"] == "received"
    assert told == (
        "Stopped: 2 waiting messages are dropped; the message I was working on is left. "
        "What had been done by then stays done."
    )
    assert nothing == "Stopped: a reply that had not left is withheld. What had been done by then stays done."
    assert {row["cancelled_with"] for row in rows} == {stop}
    assert [await desk.told(message_id) for message_id in ids] == [[], [], []]
    approved = await office.pool.fetch("SELECT approved_by FROM outbox WHERE message_id = $1", stop)
    assert [row["approved_by"] for row in approved] == ["empla"]


@pytest.mark.parametrize("alive", [True, False])
async def test_what_waits_for_an_answer_is_closed(office: Office, desk: Desk, alive: bool):
    async with office.employee(ScriptedModel(_asking)) as gateway:
        message_id = await office.store("hello", conversation="thread")
        await office.deliver_all(gateway)
        await asyncio.wait_for(gateway.handed_over(message_id), 20)
        await desk.sent(message_id)
        if alive:
            _, told = await said(office)
            gateway.cancel(message_id)
            await stopped_parts(desk, message_id)
    if not alive:
        _, told = await said(office)
        async with office.employee(ScriptedModel(_asking)):
            await stopped_parts(desk, message_id)
    assert told == "Stopped: what waited for an answer is closed. What had been done by then stays done."
    assert await open_reviews(office) == 0
    [review] = await office.pool.fetch("SELECT decision, resolved_by FROM reviews")
    assert (review["decision"]["decision"], review["resolved_by"]) == ("cancel", "ada@example.com")
    assert [kind for kind, *_ in await desk.told(message_id)] == ["reply"]


async def stopped_parts(desk: Desk, message_id: UUID) -> None:
    async with asyncio.timeout(20):
        while await desk.workers(message_id) != ["cancelled"]:
            await asyncio.sleep(0.02)


def _asking(request: ModelRequest) -> Step:
    return echo(request) if request.output is not None else asking("Which one?")(request)


async def test_a_message_that_a_person_was_to_sort_is_sorted_no_more(office: Office, desk: Desk):
    class Confused(ScriptedModel):
        async def generate(self, request: ModelRequest, *arguments: object) -> ModelResponse:
            if request.output is not None:
                return ModelResponse(text="{}", model="scripted")
            return await super().generate(request, *arguments)  # type: ignore[arg-type]

    async with office.employee(Confused()) as gateway:
        message_id = await office.store("hello", conversation="thread")
        await office.deliver_all(gateway)
        await asyncio.wait_for(gateway.handed_over(message_id), 30)
        assert (await office.row(message_id))["processing_state"] == "waiting"
        await said(office)
        gateway.cancel(message_id)
        await came_to(office, message_id, "withheld")
    assert await open_reviews(office) == 0


@pytest.mark.parametrize("writes", [0, 1, 3])
async def test_a_kill_between_the_steps_of_a_stop_leaves_nothing_behind(office: Office, desk: Desk, writes: int):
    """The employee dies when it has been told, when it has ended its worker, or when it has ended the message."""
    model = Held(lambda request: request.output is None)
    async with asyncio.TaskGroup() as life:
        gateway, process = await office.begin(life, model)
        message_id = await office.store("hello")
        await office.deliver_all(gateway)
        await asyncio.wait_for(model.held.wait(), 20)
        await dying_after(office, gateway, message_id, writes, process)
    async with office.employee(ScriptedModel(note_then(LATE))):
        await came_to(office, message_id, "withheld")
    assert await desk.told(message_id) == []
    assert await desk.workers(message_id) == ["cancelled"]
    assert await effects(office) == []


async def dying_after(
    office: Office, gateway: LocalGateway, message_id: UUID, writes: int, process: "asyncio.Task[None]"
) -> None:
    """Cancel a message, and kill its process when so many of its rows have changed."""
    await cancel(office, message_id, gateway)
    async with asyncio.timeout(20):
        while await written(office, message_id) < writes:
            await asyncio.sleep(0)
    process.cancel()


async def written(office: Office, message_id: UUID) -> int:
    count: int = await office.pool.fetchval(
        "SELECT (SELECT count(*) FROM step_attempts WHERE message_id = $1 AND outcome = 'cancelled') + "
        "(SELECT count(*) FROM message_workers WHERE message_id = $1 AND state = 'cancelled') + "
        "(SELECT count(*) FROM inbound_messages WHERE message_id = $1 AND ended_at IS NOT NULL)", message_id,
    )  # fmt: skip
    return count


async def test_a_stop_that_cannot_be_answered_has_stopped_nothing(office: Office):
    """As when the control plane dies before the last of its writes: the provider delivers it again."""
    waiting = await office.store("hello", conversation="thread")
    await office.pool.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$; "
        "CREATE TRIGGER refuse BEFORE INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    before = await office.row(waiting)
    with pytest.raises(asyncpg.RaiseError):
        await said(office)
    assert await office.row(waiting) == before
    assert await office.pool.fetchval("SELECT count(*) FROM inbound_messages") == 1
    await office.pool.execute("DROP TRIGGER refuse ON outbox")
    _, told = await said(office)
    assert told == "Stopped: a waiting message is dropped. What had been done by then stays done."


async def test_a_stop_and_a_part_that_ends_at_that_moment_take_their_locks_in_one_order(office: Office):
    """Or PostgreSQL has to end one of them: what a part sends counts up its conversation, which a /stop is stored into."""
    message_id = await office.store("hello", conversation="thread")
    await office.pool.execute(
        "INSERT INTO message_workers (worker_id, message_id, tenant_id, employee_id, intent_index, intent) "
        "SELECT $2, message_id, tenant_id, employee_id, 0, '{}' FROM inbound_messages WHERE message_id = $1",
        message_id, new_id(),
    )  # fmt: skip
    async with asyncio.TaskGroup() as group, office.pool.acquire() as part, part.transaction():
        await part.execute("UPDATE message_workers SET reason = 'ends' WHERE message_id = $1", message_id)
        stopping = group.create_task(said(office))
        async with asyncio.timeout(20):
            while not await office.pool.fetchval(
                "SELECT true FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            ):
                await asyncio.sleep(0.01)
        await part.execute(
            "INSERT INTO outbox (outbox_id, message_id, conversation_id, tenant_id, employee_id, kind, body, epoch) "
            "SELECT $2, message_id, conversation_id, tenant_id, employee_id, 'follow_up', 'x', 1 FROM inbound_messages "
            "WHERE message_id = $1", message_id, new_id(),
        )  # fmt: skip
    await stopping
    assert (await office.row(message_id))["cancelled_by"] is not None
