"""Several control planes over one database: which one leads, and what they tell each other."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from controlplane import clock, planes
from controlplane.errors import AnotherHome, NotLeading
from controlplane.planes import MISSED, SQL, Planes
from empla.store.connect import Pool, connect
from empla.store.roles import create_employee_role, employee_dsn
from tests.conftest import Database
from tests.factories import add_employee, add_tenant

FOR_EVER = 3600.0


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    async with database.connect() as pool:
        yield pool


def plane(database: Database, name: str, *, home: str = "h", renew: float = 0.05, lease: float = FOR_EVER) -> Planes:
    return Planes(database.dsn, name, f"unix:/{name}", home=home, renew=renew, lease=lease)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def one_that_dies(one: Planes) -> AsyncIterator[None]:
    """At the end of the block its connection ends, and nothing is said."""
    being = asyncio.create_task(one._be_there())
    try:
        await until(one._looked.is_set)
        yield
    finally:
        being.cancel()
        await asyncio.gather(being, return_exceptions=True)


async def for_ever() -> None:
    await asyncio.Event().wait()


async def leads(one: Planes, pool: Pool) -> bool:
    """As the database knows."""
    try:
        async with pool.acquire() as connection:
            await one.check(connection)
    except NotLeading:
        return False
    return True


async def test_of_several_one_leads_and_the_others_know_where(database: Database, pool: Pool):
    a, b = plane(database, "a"), plane(database, "b")
    async with a.present(), b.present():
        assert (a.leads, b.leads) == (True, False)
        assert (await leads(a, pool), await leads(b, pool)) == (True, False)
        assert (a.leader_address, b.leader_address) == (None, "unix:/a")
        await until(lambda: (a.others, b.others) == (1, 1))
        await asyncio.sleep(0.3)  # some renewals
        assert (a.leads, b.leads) == (True, False)


async def test_the_end_of_the_leader_is_told(database: Database, pool: Pool):
    """And heard: the other one looks by itself in an hour only."""
    b = plane(database, "b", renew=FOR_EVER)
    async with AsyncExitStack() as first:
        await first.enter_async_context(plane(database, "a").present())
        async with b.present():
            assert not b.has_lease
            await first.aclose()
            await until(lambda: b.leads)


async def test_the_death_of_the_leader_frees_its_lease(database: Database, pool: Pool):
    a, b = plane(database, "a"), plane(database, "b")
    async with b.present():
        assert b.leads
    async with one_that_dies(a):
        assert a.leads, "it was free"
        async with b.present():
            await asyncio.sleep(0.2)
            assert not b.has_lease
    async with b.present():
        await until(lambda: b.leads)
        assert await leads(b, pool)


async def test_a_leader_that_stands_still_is_replaced_and_knows_it_when_it_wakes(database: Database, pool: Pool):
    a, b = plane(database, "a", renew=FOR_EVER, lease=0.5), plane(database, "b")
    async with one_that_dies(a), b.present():
        assert a.has_lease
        await until(lambda: b.leads)
        assert (a.leads, await leads(a, pool)) == (False, False)
        a._lease_ends = math.inf  # as by a clock that stood still with it
        assert (a.leads, await leads(a, pool)) == (True, False)
        a._look_now()
        await until(lambda: not a.has_lease)
        assert b.leads


async def test_the_leader_keeps_its_lease_when_the_database_has_ended_its_connection(database: Database, pool: Pool):
    a = plane(database, "a")
    async with a.present():
        generation, backend = a._generation, await pool.fetchval("SELECT backend FROM control_planes")
        await pool.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name = 'empla control planes'"
        )
        async with asyncio.timeout(20):
            while await pool.fetchval("SELECT backend FROM control_planes") == backend:
                await asyncio.sleep(0.01)
        assert a.leads
        assert a._generation == generation


async def test_work_of_the_leader_goes_on_as_long_as_it_leads(database: Database, pool: Pool):
    begun: list[str] = []

    async def work() -> None:
        begun.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            begun.append("ended")

    a, b = plane(database, "a", renew=FOR_EVER, lease=0.5), plane(database, "b")
    async with one_that_dies(a):
        leading = asyncio.create_task(a.leading(work))
        await until(lambda: begun == ["begun"])
        async with b.present():
            await until(lambda: b.leads)
            a._look_now()
            await until(lambda: begun == ["begun", "ended"])
        a._look_now()
        await until(lambda: begun == ["begun", "ended", "begun"])
        leading.cancel()
        await asyncio.gather(leading, return_exceptions=True)


async def test_work_begins_anew_if_another_one_led_between_two_looks(database: Database):
    begun: list[str] = []

    async def work() -> None:
        begun.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            begun.append("ended")

    a, b = plane(database, "a", renew=FOR_EVER, lease=0.5), plane(database, "b")
    async with one_that_dies(a):
        leading = asyncio.create_task(a.leading(work))
        await until(lambda: begun == ["begun"])
        async with b.present():
            await until(lambda: b.leads)
        a._look_now()  # if it has not heard of the end of the other one
        await until(lambda: begun == ["begun", "ended", "begun"])
        assert a._generation == 3
        leading.cancel()
        await asyncio.gather(leading, return_exceptions=True)


async def test_one_that_leads_no_more_leaves_that_to_another_at_once(database: Database):
    """Whatever it has yet to finish; the other one looks by itself in an hour only."""
    a, b = plane(database, "a"), plane(database, "b", renew=FOR_EVER)
    async with a.present(), b.present():
        leading = asyncio.create_task(a.leading(for_ever))
        await asyncio.sleep(0)
        leading.cancel()
        await asyncio.wait([leading])
        assert not a.has_lease
        await until(lambda: b.leads)
        b._resign()
        await asyncio.sleep(0.3)  # some looks
        assert not a.has_lease
        async with asyncio.timeout(20):
            assert await a.is_last() is False


async def test_what_one_tells_all_others_hear(database: Database):
    a, b, c = (plane(database, name) for name in "abc")
    heard: list[tuple[str, ...]] = []
    for name, one in (("a", a), ("b", b), ("c", c)):
        one.on("look", lambda *ids, name=name: heard.append((name, *ids)))
    async with a.present(), b.present(), c.present():
        await until(lambda: a.others == 2)
        a.tell("look", 1, 2)
        a.tell("nobody-knows-this-word", 1)
        await until(lambda: len(heard) == 2)
        a.tell("look", 3)
        await until(lambda: len(heard) == 4)
    assert sorted(heard) == [("b", "1", "2"), ("b", "3"), ("c", "1", "2"), ("c", "3")]


async def test_who_could_not_hear_for_a_while_knows_that(database: Database, pool: Pool):
    heard: list[tuple[str, ...]] = []
    a, b = plane(database, "a"), plane(database, "b")
    for one in (a, b):
        one.on(MISSED, lambda which=one.instance: heard.append((which, MISSED)))
    b.on("stored", lambda *ids: heard.append(("stored", *ids)))
    async with a.present(), b.present():
        await until(lambda: (a.others, b.others) == (1, 1))
        assert heard == []
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'empla control planes'"
        assert len(await pool.fetch(ended)) == 2
        await until(lambda: {("a", MISSED), ("b", MISSED)} <= set(heard))
        await until(lambda: (a.others, b.others) == (1, 1))
        a.tell("stored", "e", "m")
        await until(lambda: ("stored", "e", "m") in heard)


async def test_only_control_planes_are_heard(database: Database, pool: Pool, caplog: pytest.LogCaptureFixture):
    """An employee can notify as well, in the name of any of them; the server tells whose connection it was."""
    employee_id, heard = await add_employee(pool, await add_tenant(pool)), list[str]()
    async with pool.acquire() as connection:
        await create_employee_role(connection, employee_id, "password")
    a, b = plane(database, "a", renew=FOR_EVER), plane(database, "b")
    a.on("stop", heard.append)
    async with (
        a.present(),
        b.present(),
        connect(employee_dsn(database.dsn, employee_id, "password"), application_name="an employee") as employee,
    ):
        for instance in ("a", "b", "c"):
            await employee.execute("SELECT pg_notify($1, $2)", planes.CHANNEL, f"{instance} stop {instance}")
        await until(lambda: "come to nothing" in caplog.text)
        await until(lambda: b.others)
        b.tell("stop", "told")
        await until(lambda: heard == ["told"])


async def test_one_that_has_just_come_is_heard(database: Database):
    a, b, heard = plane(database, "a", renew=FOR_EVER), plane(database, "b"), list[str]()
    a.on("look", heard.append)
    async with a.present(), b.present():
        await until(lambda: b.others)
        b.tell("look", 1)
        await until(lambda: heard == ["1"])


async def test_strangers_who_notify_without_end_cause_few_looks(
    database: Database, pool: Pool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(planes, "SOON_SECONDS", FOR_EVER)
    monkeypatch.setattr(planes, "MAX_HEARD", 10)
    a = plane(database, "a", renew=FOR_EVER)
    async with a.present():
        looked_at = a._looked_at
        for told in ("'left'", "'stop ' || n"):
            await pool.execute(f"SELECT pg_notify($1, 'b ' || {told}) FROM generate_series(1, 20) n", planes.CHANNEL)
        await until(lambda: len(a._unsure) == planes.MAX_HEARD)
        assert a._looked_at == looked_at


async def test_of_hints_whose_senders_were_not_known_yet_it_is_known_that_they_are_lost(
    database: Database, pool: Pool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """If a control plane sent them: those of strangers, however many, lead to nothing."""
    monkeypatch.setattr(planes, "MAX_HEARD", 1)
    a, b, heard = plane(database, "a", renew=FOR_EVER), plane(database, "b"), list[str]()
    a.on("look", heard.append)
    a.on(MISSED, lambda: heard.append(MISSED))
    flood = "SELECT pg_notify($1, 'c look ' || n) FROM generate_series(1, 20) n"
    async with a.present():
        await pool.execute(flood, planes.CHANNEL)
        await until(lambda: "come to nothing" in caplog.text)
        monkeypatch.setattr(planes, "SOON_SECONDS", FOR_EVER)
        async with b.present():
            await until(lambda: b.others)
            await pool.execute(flood, planes.CHANNEL)
            b.tell("look", 1)
            await until(lambda: len(a._dropped) == 2)
            assert heard == []
            a._look_now()
            await until(lambda: heard == [MISSED])


async def test_a_hint_that_fails_ends_nothing(database: Database, caplog: pytest.LogCaptureFixture):
    a, b = plane(database, "a"), plane(database, "b")
    heard: list[str] = []

    async def fail(_: str) -> None:
        raise RuntimeError("nothing comes of it")

    b.on("fail", fail)
    b.on("look", heard.append)
    async with a.present(), b.present():
        await until(lambda: a.others)
        a.tell("fail", 1)
        a.tell("look", 2)
        await until(lambda: heard == ["2"])
        assert b.others == 1
    assert "the hint fail 1 comes to nothing" in caplog.text


async def test_of_hints_beyond_what_can_be_told_the_others_hear_that_they_are_lost(
    database: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(planes, "MAX_TOLD", 2)
    a, b = plane(database, "a"), plane(database, "b")
    heard: list[tuple[str, ...]] = []
    b.on("look", lambda *ids: heard.append(("look", *ids)))
    b.on(MISSED, lambda *ids: heard.append((MISSED, *ids)))
    async with a.present(), b.present():
        await until(lambda: a.others)
        for number in range(4):
            a.tell("look", number)
        await until(lambda: heard == [("look", "0"), ("look", "1"), (MISSED,)])


async def test_of_hints_beyond_what_can_be_followed_it_is_known_that_they_are_lost(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(planes, "MAX_HEARD", 2)
    a, b = plane(database, "a"), plane(database, "b")
    heard: list[str] = []
    may_end = asyncio.Event()

    async def follow(number: str) -> None:
        heard.append(number)
        await may_end.wait()

    b.on("follow", follow)
    b.on(MISSED, lambda: heard.append(MISSED))
    async with a.present(), b.present():
        await until(lambda: a.others)
        for number in range(5):
            a.tell("follow", number)
        await until(lambda: b._too_many)
        may_end.set()
        await until(lambda: heard == ["0", "1", MISSED])
        a.tell("follow", "later")
        await until(lambda: heard == ["0", "1", MISSED, "later"])
    assert caplog.text.count("those beyond are lost") == 1


async def test_who_is_alone_tells_nobody(database: Database):
    a = plane(database, "a")
    async with a.present():
        a.tell("look", 1)
        assert not a._told


async def test_one_that_has_died_is_not_there_any_more(database: Database, pool: Pool):
    a, b = plane(database, "a"), plane(database, "b")
    async with b.present():
        async with one_that_dies(a):
            await until(lambda: b.others == 1)
        await until(lambda: b.others == 0)


async def test_one_with_another_home_is_refused(database: Database):
    async with plane(database, "a").present():
        with pytest.raises(ExceptionGroup) as refused:
            async with plane(database, "b", home="another").present():
                pytest.fail("it is there")
        assert refused.group_contains(AnotherHome, match="the control plane at unix:/a uses this database")
        async with plane(database, "c").present():
            pass
    async with plane(database, "b", home="another").present():
        pass


async def test_of_two_that_come_or_end_each_sees_what_the_one_before_has_said(database: Database, pool: Pool):
    """While another one has not said all, it waits."""
    a = plane(database, "a", renew=FOR_EVER)
    async with a.present():
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute(SQL.one_at_a_time)
            last = asyncio.create_task(a.is_last())
            await asyncio.sleep(0.3)
            assert not a._said_leaving
        assert await last


async def test_of_two_that_end_at_once_the_last_one_leads_to_its_end(database: Database):
    a, b = plane(database, "a"), plane(database, "b")
    async with AsyncExitStack() as first:
        await first.enter_async_context(a.present())
        async with b.present():
            assert not await a.is_last()
            last = asyncio.create_task(b.is_last())
            await until(lambda: b._said_leaving)
            await first.aclose()
            assert await last
            assert b.leads


async def test_a_control_plane_whose_clock_is_off_leads_and_says_by_how_much(
    database: Database, pool: Pool, monkeypatch: pytest.MonkeyPatch
):
    machine = SimpleNamespace(time=lambda: time.time() + 600, monotonic=time.monotonic)
    monkeypatch.setattr(clock, "time", machine)
    a = plane(database, "a", lease=2.0)
    async with a.present(), plane(database, "b", lease=2.0).present():
        for skew in (600, 0):
            machine.time = lambda skew=skew: time.time() + skew
            async with asyncio.timeout(20):
                while abs(await pool.fetchval("SELECT skew FROM control_planes WHERE instance = 'a'") - skew) > 1:
                    await asyncio.sleep(0.05)
            assert abs(a.clock.skew - skew) < 1
            assert await pool.fetchval("SELECT abs(extract(epoch FROM now()) - $1) < 1", a.clock.time())
        assert a.leads
        assert await leads(a, pool)
