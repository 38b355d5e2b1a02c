"""A network that is gone without a goodbye, between control plane and employee or database: nothing is lost or doubled."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from agent.gateway import GrpcGateway
from agent.identity import Identity
from controlplane import sender as sending
from controlplane.gateway import credential
from controlplane.sender import Sender
from controlplane.settings import Settings
from empla.store import connect as store
from empla.store.connect import Pool, connect
from empla.v1 import control_pb2
from empla.v1 import gateway_pb2 as pb
from tests.cable import Cable, cabled, cabled_over_tcp
from tests.conftest import Database
from tests.integration.controlplane.conftest import Plane
from tests.integration.controlplane.http.site import Site, a_message, serving
from tests.integration.controlplane.seats import seat
from tests.integration.controlplane.test_sender import Counter, Door

NOTICED_SECONDS = 60
"""Many times the 15 s after which HTTP/2 gives a silent connection up."""


@pytest.fixture
def plane_settings(short_directory: Path) -> Settings:
    return Settings(
        home=short_directory / "home",
        grpc_address=f"unix:{short_directory}/grpc",
        http_address="127.0.0.1:0",
        heartbeat_ms=500,
        drain_seconds=2,
        model_provider="offline",
        sidecars_warm=0,
    )


async def test_both_ends_of_a_stream_notice_and_what_was_not_claimed_is_delivered_again(
    plane: Plane, short_directory: Path
) -> None:
    ada = await seat(plane)
    identity = Identity(ada.employee_id, await _tenant(plane), ada.epoch)
    async with cabled(str(short_directory / "cable"), plane.settings.grpc_address.removeprefix("unix:")) as cable:
        token = credential(ada.employee_id, ada.epoch, ada.secret)
        frames: Any = GrpcGateway(f"unix:{cable.place}", token, identity, build="tests", pid=1).frames()
        assert (await _next(frames)).HasField("welcome")
        first = await _send(plane, ada.employee_id)
        assert (await _next(frames)).deliver.message_id == first
        cable.freeze()
        second, before = await _send(plane, ada.employee_id), cable.connections
        waiting = asyncio.ensure_future(anext(frames))
        async with asyncio.timeout(NOTICED_SECONDS):
            while await _attached(plane) or cable.connections == before:
                await asyncio.sleep(0.05)
        assert not waiting.done()
        cable.thaw()
        async with asyncio.timeout(NOTICED_SECONDS):
            assert (await waiting).HasField("welcome")
        again = [(await _next(frames)).deliver.message_id for _ in range(2)]
        assert again == [first, second]
        third = await _send(plane, ada.employee_id)
        assert (await _next(frames)).deliver.message_id == third  # neither of them comes twice
        await frames.aclose()


async def _next(frames: Any) -> pb.ControlFrame:
    async with asyncio.timeout(20):
        frame: pb.ControlFrame = await anext(frames)
    return frame


async def _send(plane: Plane, employee_id: UUID) -> str:
    request = control_pb2.SendMessageRequest(employee=str(employee_id), text="Hello?")
    message: control_pb2.Message = await plane.stub.SendMessage(request, timeout=10)
    return message.message_id


async def _attached(plane: Plane) -> bool:
    found = await plane.stub.GetEmployee(control_pb2.GetEmployeeRequest(employee="ada"), timeout=10)
    return bool(found.observed_state == control_pb2.OBSERVED_STATE_ATTACHED)


async def _tenant(plane: Plane) -> UUID:
    tenant_id: UUID = await plane.pool.fetchval("SELECT tenant_id FROM tenants WHERE name = 'default'")
    return tenant_id


@asynccontextmanager
async def over_cable(dsn: str, database: Database, *, bound: float = 1.0) -> AsyncIterator[tuple[Cable, Pool]]:
    """A pool over TCP that gives up after `bound` seconds."""
    seconds: Any = dict.fromkeys(("command_timeout", "acquire_timeout", "connect_timeout", "close_timeout"), bound)
    async with cabled_over_tcp(database.socket) as cable:
        there = Database(dsn, "").over(cable)
        async with connect(there, application_name="tests", max_size=10, **seconds) as pool:
            yield cable, pool


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection on which nothing is cancelled is given up after a second."""
    monkeypatch.setattr(store, "CANCEL_TIMEOUT", 1.0)


@pytest.mark.usefixtures("soon")
async def test_a_claim_whose_answer_is_lost_is_taken_back_and_sent_once(database: Database) -> None:
    door, instance = Door(), "the sender whose answer is lost"
    async with (
        connect(database.superuser_dsn, application_name="tests") as pool,
        over_cable(database.superuser_dsn, database) as (cable, slow),
        asyncio.TaskGroup() as group,
    ):
        counter = Counter(pool)
        message_id = await counter.reply()
        cable.last_heard = instance.encode()  # which nothing but a claim names, once the sender looks for lost ones
        running = group.create_task(Sender(slow, door, lambda _: None, instance=instance).run())
        row = await counter.ends(message_id)
        await asyncio.sleep(2 * sending.POLL_SECONDS)
        running.cancel()
    assert cable.last_heard == b""
    assert (row["state"], row["processing_state"], row["attempt"]) == ("sent", "answered", 2)
    assert len(door.posted) == 1
    assert await _reviews(database) == 0


async def test_what_was_sent_and_cannot_be_written_down_is_not_taken_for_a_lost_claim(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "POLL_SECONDS", 0.2)
    monkeypatch.setattr(sending, "LONGEST_SENDING_SECONDS", 3.0)
    door = Door()
    async with connect(database.superuser_dsn, application_name="tests") as pool:
        await pool.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no receipts'; END $$"
        )
        await pool.execute(
            "CREATE TRIGGER refuse BEFORE UPDATE ON outbox FOR EACH ROW WHEN (NEW.state = 'sent') EXECUTE FUNCTION refuse()"
        )
        counter = Counter(pool)
        message_id = await counter.reply()
        async with counter.sender(door):
            row = await counter.ends(message_id)
    assert row["state"] == "unknown_after_send"
    assert len(door.posted) == 1


@pytest.mark.usefixtures("soon")
async def test_webhooks_are_refused_side_by_side_while_the_database_says_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controlplane.receiver.STORE_SECONDS", 1.0)
    async with over_cable(database.dsn, database, bound=3.0) as (cable, pool), serving(pool) as site:
        assert (await site.deliver(a_message())).status == 202
        cable.freeze()
        async with asyncio.timeout(60):  # one after the other, 200 take minutes
            refused = await asyncio.gather(*[_status(site) for _ in range(200)])
        assert refused == [503] * 200
        cable.thaw()
        async with asyncio.timeout(60):
            while await _status(site) != 202:
                pass


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("text", ["Hello", "/stop"])
async def test_what_is_not_known_to_be_stored_is_not_acknowledged_and_stored_once(
    database: Database, text: str
) -> None:
    async with over_cable(database.dsn, database) as (cable, pool), serving(pool) as site:
        message = a_message(text=text)
        cable.last_heard = message["event_id"].encode()  # the message gets there, the answer does not
        assert (await site.deliver(message)).status == 503
        again = await site.deliver(message)
        assert again.status == 202
        async with database.connect() as observer:
            assert await observer.fetchval("SELECT count(*) FROM inbound_messages") == 1


async def _status(site: Site) -> int:
    return (await site.deliver(a_message())).status


async def _reviews(database: Database) -> int:
    async with connect(database.superuser_dsn, application_name="tests") as pool:
        count: int = await pool.fetchval("SELECT count(*) FROM reviews")
    return count
