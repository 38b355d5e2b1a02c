"""The employees' gateway on the wire: Hello and Welcome, delivery and acknowledgement, replay, fencing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import asyncpg
import grpc
import grpc.aio
import pytest

from controlplane.auth import hashed, new_secret
from controlplane.employees import SQL as EMPLOYEES_SQL
from controlplane.gateway import WINDOW, credential
from controlplane.launching import record_end
from empla import rpc
from empla.store.ids import new_id
from empla.store.roles import create_employee_role, employee_dsn
from empla.v1 import control_pb2, gateway_pb2_grpc
from empla.v1 import gateway_pb2 as pb
from tests.integration.controlplane.conftest import Plane


@dataclass
class Attached:
    """A process of an employee as the gateway sees one, driven by the test."""

    call: Any
    up: asyncio.Queue[pb.AgentFrame] = field(default_factory=asyncio.Queue)

    async def frame(self) -> pb.ControlFrame:
        async with asyncio.timeout(10):
            frame: pb.ControlFrame = await self.call.read()
        return frame

    async def delivered(self) -> pb.Deliver:
        frame = await self.frame()
        assert frame.WhichOneof("frame") == "deliver"
        return frame.deliver

    async def tell(self, message_id: str, text: str) -> None:
        delta = control_pb2.TextDelta(text=text)
        await self.call.write(pb.AgentFrame(progress=pb.Progress(message_id=message_id, text_delta=delta)))


@dataclass
class Seat:
    """One launch of an employee, without its process."""

    plane: Plane
    employee_id: UUID
    epoch: int
    secret: str

    @asynccontextmanager
    async def attach(self, hello: pb.AgentFrame | None = None, secret: str = "") -> AsyncIterator[Attached]:
        token = credential(self.employee_id, self.epoch, secret or self.secret)
        async with rpc.dialing(self.plane.running.grpc_address, token) as channel:
            call = gateway_pb2_grpc.EmployeeGatewayStub(channel).Attach()
            await call.write(
                hello or pb.AgentFrame(hello=pb.Hello(employee_id=str(self.employee_id), epoch=self.epoch))
            )
            try:
                yield Attached(call)
            finally:
                call.cancel()

    async def send(self, text: str = "hello", conversation: str = "") -> str:
        request = control_pb2.SendMessageRequest(employee=str(self.employee_id), text=text, conversation=conversation)
        message: control_pb2.Message = await self.plane.stub.SendMessage(request, timeout=10)
        return message.message_id

    async def claim(self, message_id: str) -> None:
        await self.plane.pool.execute(
            "UPDATE inbound_messages SET epoch = $2, attempt = 1 WHERE message_id = $1", UUID(message_id), self.epoch
        )

    async def again(self) -> "Seat":
        return await launched(self.plane, self.employee_id)


@dataclass
class Conversing:
    """Whoever has sent a message and hears what becomes of it."""

    message_id: str
    call: Any

    async def told(self) -> str:
        async with asyncio.timeout(10):
            event: control_pb2.ConverseEvent = await self.call.read()
        return event.text_delta.text


async def conversing(plane: Plane, employee: str) -> Conversing:
    call = plane.stub.Converse(control_pb2.ConverseRequest(employee=employee, text="hello"), timeout=30)
    return Conversing((await call.read()).accepted.message_id, call)


async def launched(plane: Plane, employee_id: UUID) -> Seat:
    secret = new_secret()
    epoch = await plane.pool.fetchval(EMPLOYEES_SQL.launch, employee_id, hashed(secret), "test")
    return Seat(plane, employee_id, epoch, secret)


@pytest.fixture
async def seat(plane: Plane) -> Seat:
    created = await plane.stub.CreateEmployee(
        control_pb2.CreateEmployeeRequest(name="alone", profile_name="sales-ae"), timeout=10
    )
    return await launched(plane, UUID(created.employee_id))


async def refusal(attached: Attached) -> grpc.aio.AioRpcError:
    try:
        while await attached.call.read() is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError as error:
        return error
    pytest.fail("the stream ended without an error")


async def test_welcome_brings_the_configuration(seat: Seat):
    async with seat.attach() as attached:
        welcome = (await attached.frame()).welcome
    assert welcome.configuration.name == "alone"
    assert welcome.configuration.profile.role == "Account executive"
    assert welcome.heartbeat_ms == seat.plane.settings.heartbeat_ms


async def test_a_stored_message_is_delivered_and_again_after_a_reconnect_until_it_is_claimed(seat: Seat):
    before = await seat.send("before")
    async with seat.attach() as attached:
        await attached.frame()
        assert (await attached.delivered()).message_id == before
        after = await seat.send("after")
        delivered = await attached.delivered()
        assert (delivered.message_id, delivered.body, delivered.channel) == (after, "after", "api")
    await seat.claim(before)
    async with seat.attach() as attached:
        await attached.frame()
        assert (await attached.delivered()).message_id == after


async def test_at_most_a_window_of_deliveries_waits_for_acknowledgement(seat: Seat):
    for number in range(WINDOW + 1):
        await seat.send(f"message {number}")
    async with seat.attach() as attached:
        await attached.frame()
        window = [await attached.delivered() for _ in range(WINDOW)]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await attached.call.read()
        assert [d.body for d in window] == [f"message {number}" for number in range(WINDOW)]
    await seat.claim(window[0].message_id)
    async with seat.attach() as attached:
        await attached.frame()
        window = [await attached.delivered() for _ in range(WINDOW)]
        assert window[-1].body == f"message {WINDOW}"


@pytest.fixture
def nobody_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The backstop that would find by itself, a little later, what the fast path must find at once."""
    monkeypatch.setattr("controlplane.gateway.SWEEP_SECONDS", 3600)


@pytest.mark.usefixtures("nobody_sweeps")
async def test_an_acknowledgement_makes_room(seat: Seat):
    for number in range(WINDOW + 1):
        await seat.send(f"message {number}")
    async with seat.attach() as attached:
        await attached.frame()
        first, *_ = [await attached.delivered() for _ in range(WINDOW)]
        await seat.claim(first.message_id)
        await attached.call.write(pb.AgentFrame(ack=pb.Ack(message_id=first.message_id)))
        assert (await attached.delivered()).body == f"message {WINDOW}"


async def test_what_was_claimed_makes_room_when_its_acknowledgement_is_lost(seat: Seat):
    for number in range(WINDOW + 1):
        await seat.send(f"message {number}")
    async with seat.attach() as attached:
        await attached.frame()
        first, *_ = [await attached.delivered() for _ in range(WINDOW)]
        await seat.claim(first.message_id)
        assert (await attached.delivered()).body == f"message {WINDOW}"


@pytest.mark.usefixtures("nobody_sweeps")
async def test_a_conversation_has_one_delivery_under_way(seat: Seat):
    for number in range(WINDOW + 1):
        await seat.send(f"long {number}", "long")
    await seat.send("other")
    async with seat.attach() as attached:
        await attached.frame()
        first, other = await attached.delivered(), await attached.delivered()
        assert (first.body, other.body) == ("long 0", "other")
        await seat.send("latecomer")
        assert (await attached.delivered()).body == "latecomer"
        await seat.claim(first.message_id)
        await attached.call.write(pb.AgentFrame(ack=pb.Ack(message_id=first.message_id)))
        assert (await attached.delivered()).body == "long 1"
    async with seat.attach() as attached:
        await attached.frame()
        again = [await attached.delivered() for _ in range(3)]
        assert [deliver.body for deliver in again] == ["long 1", "other", "latecomer"]


async def test_a_conversation_goes_on_when_an_acknowledgement_is_lost(seat: Seat):
    for number in range(2):
        await seat.send(f"long {number}", "long")
    async with seat.attach() as attached:
        await attached.frame()
        await seat.claim((await attached.delivered()).message_id)
        assert (await attached.delivered()).body == "long 1"


async def test_more_than_one_look_takes_in_are_found(seat: Seat):
    """A look at the table ends after a thousand rows, all of one conversation here."""
    await seat.send("first", "long")
    await seat.plane.pool.execute("""
        WITH more AS (
          INSERT INTO inbound_messages (message_id, tenant_id, employee_id, channel_id, conversation_id, event_id, sender)
          SELECT gen_random_uuid(), tenant_id, employee_id, channel_id, conversation_id, 'more ' || n, sender
          FROM inbound_messages, generate_series(1, 1000) n RETURNING *
        )
        INSERT INTO message_bodies (message_id, tenant_id, employee_id, body)
        SELECT message_id, tenant_id, employee_id, 'more' FROM more
    """)
    await seat.send("other")
    async with seat.attach() as attached:
        await attached.frame()
        assert [(await attached.delivered()).body for _ in range(2)] == ["first", "other"]


@pytest.mark.usefixtures("nobody_sweeps")
async def test_a_row_that_no_frame_can_carry_holds_up_no_conversation(seat: Seat):
    for text in ("impossible", "possible"):
        await seat.send(text, "thread")
    await seat.plane.pool.execute(
        """UPDATE message_bodies SET metadata = ('{"a": ' || repeat('9', 400) || '}')::jsonb WHERE body = 'impossible'"""
    )
    async with seat.attach() as attached:
        await attached.frame()
        assert (await attached.delivered()).body == "possible"


async def test_a_row_that_no_frame_can_carry_is_skipped_and_logged_once(seat: Seat, caplog: pytest.LogCaptureFixture):
    deep = "{" + '"a":{' * 49 + "}" * 50
    impossible = [deep, '{"a": %s}' % ("9" * 400), '{"a":{' + '"a":{' * 32 + "}" * 34]
    for metadata in impossible:
        await seat.plane.pool.execute(
            "UPDATE message_bodies SET metadata = $2::text::jsonb WHERE message_id = $1",
            UUID(await seat.send()),
            metadata,
        )
    async with seat.attach() as attached:
        await attached.frame()
        for text in ("before", "after"):
            message_id = await seat.send(text)
            assert (await attached.delivered()).message_id == message_id
    assert len([record for record in caplog.records if "cannot be delivered" in record.message]) == len(impossible)


async def test_progress_reaches_the_followers_of_the_employees_own_messages_only(seat: Seat):
    created = await seat.plane.stub.CreateEmployee(
        control_pb2.CreateEmployeeRequest(name="victim", profile_name="sales-ae"), timeout=10
    )
    victim = await launched(seat.plane, UUID(created.employee_id))
    async with seat.attach() as attached, victim.attach() as attached_victim:
        ours, theirs = [await conversing(seat.plane, name) for name in ("alone", "victim")]
        for message_id in (theirs.message_id, ours.message_id):
            await attached.tell(message_id, "by alone")
        assert await ours.told() == "by alone"  # and what was told before that has arrived as well
        await attached_victim.tell(theirs.message_id, "by the victim")
        assert await theirs.told() == "by the victim"


async def test_the_sweep_outlives_an_error_that_nobody_foresaw(
    seat: Seat, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr("controlplane.gateway.SWEEP_SECONDS", 0.05)
    with monkeypatch.context() as broken:
        broken.setattr("controlplane.gateway.SQL", SimpleNamespace(employees_with_undelivered="SELECT 1 / 0"))
        async with asyncio.timeout(20):
            while caplog.text.count("wait for the next round") < 2:
                await asyncio.sleep(0.02)
    async with seat.attach() as attached:
        await attached.frame()
        message_id = await seat.send()
        assert (await attached.delivered()).message_id == message_id


async def test_a_second_stream_of_the_same_launch_replaces_the_first(seat: Seat):
    async with seat.attach() as first:
        await first.frame()
        async with seat.attach() as second:
            await second.frame()
            async with asyncio.timeout(10):
                assert await first.call.read() is grpc.aio.EOF
            message_id = await seat.send()
            assert (await second.delivered()).message_id == message_id


async def test_an_older_launch_is_superseded(seat: Seat):
    await seat.again()
    async with seat.attach() as attached:
        error = await refusal(attached)
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert rpc.reason_of(error) == "SUPERSEDED"


@pytest.mark.parametrize("over", ["superseded", "ended"])
async def test_a_launch_that_is_over_has_no_stream_any_more(seat: Seat, over: str):
    """A process that is still there, or whoever has its credential, hears nothing further and does not come back."""
    async with seat.attach() as attached:
        await attached.frame()
        if over == "superseded":
            await seat.again()
        else:
            await record_end(seat.plane.pool, seat.employee_id, seat.epoch)
        error = await refusal(attached)
    assert (error.code(), rpc.reason_of(error)) == (grpc.StatusCode.FAILED_PRECONDITION, "SUPERSEDED")
    async with seat.attach() as attached:
        refused = (await refusal(attached)).code()
    assert refused is (grpc.StatusCode.FAILED_PRECONDITION if over == "superseded" else grpc.StatusCode.UNAUTHENTICATED)


async def test_nobody_logs_in_to_the_database_as_a_launch_that_has_ended(seat: Seat):
    async with seat.plane.pool.acquire() as connection:
        await create_employee_role(connection, seat.employee_id, "password")
    dsn = employee_dsn(seat.plane.dsn, seat.employee_id, "password")
    await record_end(seat.plane.pool, seat.employee_id, seat.epoch - 1)  # that of an earlier one closes nothing
    await (await asyncpg.connect(dsn)).close()
    await record_end(seat.plane.pool, seat.employee_id, seat.epoch)
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        await asyncpg.connect(dsn)


async def test_a_wrong_credential_and_a_future_epoch_are_refused(seat: Seat):
    async with seat.attach(secret="wrong") as attached:
        assert (await refusal(attached)).code() is grpc.StatusCode.UNAUTHENTICATED
    future = Seat(seat.plane, seat.employee_id, seat.epoch + 1, seat.secret)
    async with future.attach() as attached:
        assert (await refusal(attached)).code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    "hello",
    [
        pb.AgentFrame(heartbeat=pb.Heartbeat()),
        pb.AgentFrame(),
        pb.AgentFrame(hello=pb.Hello(employee_id=str(new_id()), epoch=1)),
    ],
)
async def test_the_first_frame_must_be_the_employees_own_hello(seat: Seat, hello: pb.AgentFrame):
    async with seat.attach(hello) as attached:
        assert (await refusal(attached)).code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("nonsense", ["x", "", "\0"])
async def test_a_nonsensical_acknowledgement_ends_the_stream_and_nothing_else(seat: Seat, nonsense: str):
    async with seat.attach() as attached:
        await attached.frame()
        await attached.call.write(pb.AgentFrame(ack=pb.Ack(message_id=nonsense)))
        assert (await refusal(attached)).code() is grpc.StatusCode.INVALID_ARGUMENT
    async with seat.attach() as attached:
        assert (await attached.frame()).WhichOneof("frame") == "welcome"


async def test_heartbeats_show_in_the_employees_health(seat: Seat):
    async with seat.attach() as attached:
        await attached.frame()
        await attached.call.write(pb.AgentFrame(heartbeat=pb.Heartbeat(state="idle", stage="sleep", memory_bytes=7)))
        async with asyncio.timeout(10):
            while True:
                request = control_pb2.GetEmployeeRequest(employee="alone")
                health = (await seat.plane.stub.GetEmployee(request, timeout=10)).health
                if health.memory_bytes == 7:
                    break
                await asyncio.sleep(0.02)
    assert (health.state, health.stage) == ("idle", "sleep")


async def test_what_later_builds_add_is_unimplemented(seat: Seat):
    token = credential(seat.employee_id, seat.epoch, seat.secret)
    async with rpc.dialing(seat.plane.running.grpc_address, token) as channel:
        later: Any = channel.unary_unary("/empla.v1.EmployeeGateway/Later")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await later(b"", timeout=10)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
