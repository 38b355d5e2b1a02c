"""Who is attached where, as control planes tell each other."""

import time
from uuid import UUID

from controlplane.gateway import Launch, Stream, Streams
from controlplane.planes import LEASE_SECONDS, Planes
from controlplane.presence import Presence
from empla.store.connect import Pool
from empla.v1 import gateway_pb2
from tests.conftest import Database
from tests.factories import add_employee, add_tenant

LOST_AFTER = 30.0


class Side:
    """One of two control planes."""

    def __init__(self, database: Database, pool: Pool, name: str) -> None:
        self.streams, planes = Streams(), Planes(database.dsn, name, f"unix:/{name}", home="h")
        planes.others = 1
        self.presence = Presence(pool, self.streams, planes, lost_after=LOST_AFTER)

    def attach(self, employee_id: UUID) -> Stream:
        stream = Stream(Launch(employee_id, 1), "tests")
        stream.beat(gateway_pb2.Heartbeat(state="idle", memory_bytes=7), time.time())
        stream.beat(gateway_pb2.Heartbeat(state="working", memory_bytes=9, idle_memory_bytes=99), time.time())
        return stream


async def test_who_is_attached_nowhere_any_more_was_heard_before(database: Database):
    async with database.connect() as pool:
        here, there = (Side(database, pool, name) for name in ("here", "there"))
        employee_id = await add_employee(pool, await add_tenant(pool), "ada")
        stream = here.attach(employee_id)
        with here.streams.holding(stream):
            await here.presence.round()
            await there.presence.round()
            seen = there.streams.seen(employee_id)
            assert seen is not None
            assert seen.heartbeat is not None
            assert (seen.heartbeat.memory_bytes, seen.heartbeat.idle_memory_bytes) == (9, 7)
        await here.presence.round()
        for side in (here, there):
            await side.presence.round()
            assert side.streams.seen(employee_id) is None
            assert abs(side.streams.left[employee_id].seen_at - stream.seen_at) < 1
        with there.streams.holding(there.attach(employee_id)):
            await there.presence.round()
            await here.presence.round()
            assert here.streams.seen(employee_id) is not None
            assert not here.streams.left


async def test_who_could_not_hear_for_a_while_knows_since_when_it_does(database: Database):
    async with database.connect() as pool:
        side = Side(database, pool, "here")
        since = side.streams.hears_since
        await side.presence.round()
        assert side.streams.hears_since == since
        side.presence._heard_at -= LEASE_SECONDS + 1
        await side.presence.round()
        assert side.streams.hears_since > since
