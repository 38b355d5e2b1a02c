"""What a control plane does about what it may not have heard."""

import asyncio
from contextlib import ExitStack
from typing import Any, cast

import pytest

from controlplane import hints
from controlplane.employees import Employees
from controlplane.ending import Ending
from controlplane.followers import Followers
from controlplane.gateway import Launch, Stream, Streams
from controlplane.hints import Hints
from controlplane.planes import Planes
from empla.store.connect import connect
from tests.cable import cabled_over_tcp
from tests.conftest import Database
from tests.factories import add_employee, add_tenant


async def test_all_that_may_have_been_missed_is_looked_at_though_the_database_goes_away_meanwhile(
    database: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(hints, "RETRY_SECONDS", 0.05)
    async with database.connect() as pool, cabled_over_tcp(database.socket) as cable:
        tenant_id = await add_tenant(pool)
        streams = [Stream(Launch(await add_employee(pool, tenant_id, name), 1), "tests") for name in ("ada", "ben")]
        async with connect(database.over(cable), application_name="tests") as away:
            planes, held = Planes(database.dsn, "a", "unix:/a", home="h"), Streams()
            Hints(
                planes,
                employees=Employees(away),
                streams=held,
                followers=Followers(planes),
                lifecycle=cast("Any", None),
                sidecars=cast("Any", None),
                ending=Ending(away, held, planes),
            )
            cable.refusing = True
            async with planes.present():
                with ExitStack() as holding:
                    for stream in streams:
                        holding.enter_context(held.holding(stream))
                    await pool.fetch(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE application_name = 'empla control planes'"
                    )
                    async with asyncio.timeout(20):
                        while not planes._following:
                            await asyncio.sleep(0.01)
                        await asyncio.sleep(0.3)  # it asks, in vain
                        cable.refusing = False
                        for stream in streams:
                            told = [(await stream.waiting.get()).WhichOneof("frame") for _ in range(3)]
                            assert told == ["configuration_changed", "wake", "resume_unit"]
