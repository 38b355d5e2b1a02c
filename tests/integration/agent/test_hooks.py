"""Hooks of an employee that lives: what they are told of its life, and that nothing they do touches it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict

from agent.employee import DigitalEmployee
from agent.errors import Superseded
from agent.gateway import GrpcGateway
from agent.hooks import Hooks
from agent.local import LocalGateway
from agent.models.interface import ModelRequest, ModelUnavailable
from agent.models.offline import OfflineModel
from agent.models.scripted import ScriptedModel, Step, echo
from agent.moments import (
    BeliefUpdated,
    CapabilityCalled,
    CycleEnded,
    EmployeeStarted,
    EmployeeStopped,
    HealthChanged,
    MessageAnswered,
    MessageEnded,
    MessageReceived,
    MessageWaits,
    Moment,
    PerceptionEnded,
)
from controlplane.gateway import configuration
from empla.store.roles import employee_dsn
from empla.v1 import gateway_pb2 as pb
from tests.integration.agent.conftest import Office
from tests.integration.agent.test_gateway_client import Peer, serving
from tests.integration.agent.test_pipeline import answered


class Told(list[Any]):
    """What a hook was told."""

    def of[M: Moment](self, kind: type[M]) -> list[M]:
        return [one for one in self if isinstance(one, kind)]

    async def until[M: Moment](self, kind: type[M], like: Callable[[M], object] = lambda _: True) -> M:
        """The first of a kind that is like that, as soon as it was told."""
        async with asyncio.timeout(20):
            while not (found := [one for one in self.of(kind) if like(one)]):
                await asyncio.sleep(0.01)
        return found[0]


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Opened at the end, so that no thread stays."""
    gate = threading.Event()
    yield gate
    gate.set()


async def test_a_life_is_told_in_order(office: Office, told: Told):
    (office.workspace / "notes.md").write_text("- Acme - open\n")
    async with office.employee(OfflineModel(), hooks=Hooks().on(Moment, told.append)) as gateway:
        text = "How many open deals does notes.md list?"
        message_id, _ = await answered(office, gateway, text)
        await told.until(CycleEnded, lambda one: one.outcome == "acted")
    assert {(one.employee, one.employee_id) for one in told} == {("sales-ae", office.record.employee_id)}
    assert [one.epoch for one in told.of(EmployeeStarted)] == [office.epoch]
    assert [one.reason for one in told.of(EmployeeStopped)] == ["drained"]
    assert isinstance(told[-1], EmployeeStopped)

    [received], [reply], [ended] = told.of(MessageReceived), told.of(MessageAnswered), told.of(MessageEnded)
    row = await office.row(message_id)
    assert (received.text, received.sender, received.received_at) == (text, "ada@example.com", row["received_at"])
    assert [reply.reply] == await office.replies(message_id)
    assert (reply.kind, reply.proposal, ended.outcome) == ("reply", "send", "answered")
    assert {one.message_id for one in (received, reply, ended)} == {message_id}
    assert {one.trace for one in (received, reply, ended)} == {row["trace_context"]}
    assert {one.conversation_id for one in (received, reply, ended)} == {row["conversation_id"]}
    assert 0 < reply.milliseconds <= ended.milliseconds

    effects = await office.pool.fetch(
        "SELECT capability, action, state FROM effects ORDER BY response_index, call_index"
    )
    calls = told.of(CapabilityCalled)
    assert [(one.capability, one.action, one.outcome) for one in calls] == [tuple(row) for row in effects]
    assert calls
    assert all(one.message_id == message_id for one in calls)
    assert told.index(received) < told.index(calls[0]) < told.index(reply) < told.index(ended)
    [seen] = [one for one in told.of(PerceptionEnded) if one.events]
    assert told.index(ended) < told.index(seen) < len(told) - 1


async def test_what_becomes_of_other_messages_is_told(office: Office, told: Told):
    async with office.employee(OfflineModel(), hooks=Hooks().on(Moment, told.append)) as gateway:
        withheld = await office.store("I am away", auto_submitted="auto-replied")
        await office.deliver_all(gateway)
        ended = await told.until(MessageEnded)
    assert (ended.message_id, ended.outcome, ended.why) == (withheld, "withheld", "auto-responder")
    assert not told.of(MessageAnswered)


async def test_what_waits_for_a_person_is_told(office: Office, told: Told):
    def unsortable(request: ModelRequest) -> Step:
        raise ValueError("no category")

    async with office.employee(ScriptedModel(unsortable), hooks=Hooks().on(Moment, told.append)) as gateway:
        message_id, state = await answered(office, gateway, "what is this?")
    assert state == "waiting"
    [waits] = told.of(MessageWaits)
    assert (waits.message_id, waits.asked) == (message_id, "ValueError: no category")
    assert not told.of(MessageEnded)


async def test_beliefs_and_a_model_that_is_away_are_told(office: Office, told: Told):
    gone = [True]

    class Moody(OfflineModel):
        async def generate(self, request: ModelRequest, on_text: Any = None) -> Any:
            if gone[0]:
                raise ModelUnavailable("overloaded")
            return await super().generate(request, on_text)

    hooks = Hooks().on(Moment, told.append)
    async with office.employee(OfflineModel(), mind=Moody(), hooks=hooks) as gateway:
        await answered(office, gateway, "The budget of Acme is 12k.")
        away = await told.until(CycleEnded, lambda one: one.outcome == "failed")
        assert "overloaded" in away.error
        gone[0] = False
        gateway.wake("operator")
        belief = await told.until(BeliefUpdated)
    assert (belief.change, belief.subject, belief.object) == ("formed", "Acme", "12k")
    health = [(one.part, one.healthy) for one in told.of(HealthChanged)]
    assert health[:2] == [("mind", False), ("mind", True)]


class Beating(LocalGateway):
    """Keeps what the heartbeats report of hooks, and of what is away."""

    def __init__(self, *arguments: Any, **fields: Any) -> None:
        super().__init__(*arguments, **fields, heartbeat_ms=20)
        self.hooks: dict[str, Any] = {}
        self.away: dict[str, str] = {}

    def send(self, frame: pb.AgentFrame) -> None:
        super().send(frame)
        if frame.WhichOneof("frame") == "heartbeat":
            self.hooks = MessageToDict(frame.heartbeat.reported).get("hooks", {})
            self.away = dict(frame.heartbeat.away)


async def _raises(_: Moment) -> None:
    raise ValueError("broken")


async def _hangs(_: Moment) -> None:
    await asyncio.Event().wait()


@pytest.fixture
def beating(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.integration.agent.conftest.LocalGateway", Beating)


@pytest.mark.usefixtures("beating")
@pytest.mark.parametrize(
    ("wrong", "counted"),
    [("raises", "failed"), ("hangs", "timed_out"), ("hangs in a thread", "timed_out"), ("is full", "dropped")],
)
async def test_an_employee_answers_whatever_its_hooks_do(
    office: Office, told: Told, gate: threading.Event, wrong: str, counted: str
):
    call: Any = {"raises": _raises, "hangs": _hangs}.get(wrong, lambda _: gate.wait())
    deadline = 0.02 if counted == "timed_out" else 60
    hooks = Hooks().on(Moment, call, name="wrong", deadline=deadline).on(Moment, told.append, name="right")
    hooks.missing("crm", "ModuleNotFoundError: crm")
    async with office.employee(ScriptedModel(echo), hooks=hooks) as gateway:
        for number in range(3):
            _, state = await answered(office, gateway, f"message {number}", conversation=str(number))
            assert state == "sending"
        assert isinstance(gateway, Beating)
        async with asyncio.timeout(60):
            while not gateway.hooks["wrong"][counted]:
                gateway.wake("more to be told of")
                await asyncio.sleep(0.005)
        reported = gateway.hooks
    assert (reported["right"]["failed"], reported["right"]["dropped"]) == (0, 0)
    assert reported["crm"] == {"missing": "ModuleNotFoundError: crm"}
    assert [one.outcome for one in told.of(MessageEnded)] == ["answered"] * 3
    assert told.of(EmployeeStopped)


@pytest.mark.usefixtures("beating")
async def test_without_hooks_heartbeats_say_nothing_of_them(office: Office):
    async with office.employee(ScriptedModel(echo)) as gateway:
        await answered(office, gateway, "hello")
        assert isinstance(gateway, Beating)
        assert gateway.hooks == {}


@pytest.mark.usefixtures("beating")
async def test_heartbeats_say_which_of_two_models_is_away(office: Office):
    gone = [True]

    def answer(request: ModelRequest) -> Step:
        if gone[0]:
            raise ModelUnavailable("overloaded")
        return echo(request)

    async with office.employee(ScriptedModel(answer), mind=OfflineModel()) as gateway:
        assert isinstance(gateway, Beating)
        told = asyncio.create_task(answered(office, gateway, "hello"))
        async with asyncio.timeout(60):
            while not gateway.away:
                await asyncio.sleep(0.005)
            assert list(gateway.away) == ["model"]
            assert "overloaded" in gateway.away["model"]
            gone[0] = False
            await told
            while gateway.away:
                await asyncio.sleep(0.005)


async def test_an_employee_that_is_superseded_tells_it(office: Office, told: Told):
    with pytest.raises(ExceptionGroup) as raised:
        await _superseded(office, Hooks().on(Moment, told.append))
    assert raised.group_contains(Superseded)
    assert [one.reason for one in told.of(EmployeeStopped)] == ["superseded"]


async def _superseded(office: Office, hooks: Hooks) -> None:
    async with office.employee(ScriptedModel(echo), hooks=hooks) as gateway:
        await answered(office, gateway, "hello")
        await office.launch()
        await answered(office, gateway, "hello again", conversation="other")


async def test_a_gateway_that_is_lost_and_there_again_is_told(office: Office, told: Told):
    """The server ends the first call; the employee dials again and is drained."""
    peer = Twice(configuration(office.record))
    identity = await office.launch()
    dsn = employee_dsn(office.database.dsn, identity.employee_id, "password")
    async with serving(peer) as target:
        line = GrpcGateway(target, "token", identity, build="tests", pid=1)
        hooks = Hooks().on(HealthChanged, told.append)
        async with asyncio.timeout(20):
            await DigitalEmployee(identity, dsn, office.workspace, line, ScriptedModel(echo), hooks=hooks).start()
    gateway = [(one.healthy, one.why) for one in told.of(HealthChanged) if one.part == "gateway"]
    assert gateway == [(False, "gone"), (True, "")]


class Twice(Peer):
    """Ends the first call with an error, and drains on the second."""

    def __init__(self, configuration: pb.EmployeeConfiguration) -> None:
        super().__init__()
        self._welcome = pb.Welcome(configuration=configuration, heartbeat_ms=20)

    async def Attach(self, request_iterator: AsyncIterator[pb.AgentFrame], context: Any) -> None:  # type: ignore[override]
        frames = aiter(request_iterator)
        self.hellos.append((await anext(frames)).hello)
        await context.write(pb.ControlFrame(welcome=self._welcome))
        while (await anext(frames)).WhichOneof("frame") != "heartbeat":
            pass
        if len(self.hellos) == 1:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
        await context.write(pb.ControlFrame(drain=pb.Drain(deadline_ms=1000)))
        async for _ in frames:
            pass
