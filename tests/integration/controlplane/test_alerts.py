"""Alerts over real tables: what fires once, what flickers, who is told, and what a crash leaves behind."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web
from google.protobuf import timestamp_pb2

from controlplane import alert_notices, alerts
from controlplane.alert_notices import Notices, Target
from controlplane.alerts import Alerts
from controlplane.callbacks import Callbacks
from controlplane.channels import sign
from controlplane.employees import Employees
from controlplane.errors import Invalid
from controlplane.failures import note
from controlplane.gateway import Launch, Stream, Streams
from controlplane.lifecycle import Lifecycle, Observed
from controlplane.vitals import Vitals
from empla.store.connect import Pool
from empla.v1 import control_pb2 as pb
from empla.v1 import gateway_pb2
from tests.conftest import Database
from tests.factories import add_employee, add_tenant
from tests.integration.controlplane.quiet import alerts_of, quiet_lifecycle, vitals_of
from tests.integration.controlplane.test_lifecycle import ScriptedProcess

SECRET = b"what signs alerts"


@dataclass
class Office:
    """An employee that is attached, unless a test says otherwise, and what looks after it."""

    pool: Pool
    tenant_id: UUID
    employee_id: UUID
    streams: Streams
    lifecycle: Lifecycle
    vitals: Vitals
    known: Observed

    def alerts(self, **fields: Any) -> Alerts:
        return alerts_of(self.pool, self.vitals, **fields)

    async def round(self, looks: Alerts) -> None:
        self.lifecycle.records = await Employees(self.pool).list_of(None)
        await looks.round()

    def silent_for(self, seconds: float) -> None:
        assert isinstance(self.known.stream, Stream)
        now = asyncio.get_running_loop().time()
        self.known.launched_at = self.known.stream.seen_at = now - seconds
        self.lifecycle._heard_since = 0

    async def rows(self) -> list[tuple[str, bool, bool]]:
        rows = await self.pool.fetch("SELECT * FROM alerts ORDER BY since, kind")
        return [(row["kind"], row["fired_at"] is not None, row["cleared_at"] is not None) for row in rows]

    async def seen_with_skew(self, seconds: float) -> None:
        """A control plane says by how much its clock is ahead."""
        await self.pool.execute(
            "INSERT INTO control_planes (instance, address, home, leaving, skew, backend, backend_start) "
            "VALUES ('a', 'a:1', '', false, $1, 1, now()) ON CONFLICT (instance) DO UPDATE SET skew = excluded.skew",
            seconds,
        )

    async def later(self, seconds: float) -> None:
        """Have all that is noted be so much older."""
        await self.pool.execute(
            "UPDATE alerts SET since = since - age, gone_since = gone_since - age FROM make_interval(secs => $1) AS age",
            seconds,
        )


@pytest.fixture
async def office(database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Office]:
    monkeypatch.setattr(alerts, "DISK_FREE_BYTES", 0)
    monkeypatch.setattr(alerts, "DISK_FREE_SHARE", 0)
    async with database.connect() as pool:
        tenant_id = await add_tenant(pool)
        employee_id = await add_employee(pool, tenant_id, "ada", desired_state="running")
        streams = Streams()
        lifecycle = quiet_lifecycle(pool, streams)
        stream = Stream(Launch(employee_id, 1), "tests")
        known = Observed(process=ScriptedProcess(employee_id, 1, 7), stream=stream)
        lifecycle._observed[employee_id] = known
        with streams.holding(stream):
            vitals = vitals_of(pool, lifecycle, streams)
            yield Office(pool, tenant_id, employee_id, streams, lifecycle, vitals, known)


async def test_what_lasts_fires_once_and_is_cleared_once(office: Office, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "controlplane.alerts")
    looks = office.alerts(fires=10, clears=60)
    await office.round(looks)
    assert await office.rows() == []
    office.silent_for(20)
    await office.round(looks)
    assert await office.rows() == [("employee_lost", False, False)]
    assert await looks.open(None) == {}
    await office.later(11)
    for _ in range(3):
        await office.round(looks)
        assert await office.rows() == [("employee_lost", True, False)]
    assert await looks.open(office.tenant_id) == {"employee_lost": 1}
    office.silent_for(0)
    await office.round(looks)
    await office.later(59)
    await office.round(looks)
    assert await office.rows() == [("employee_lost", True, False)]
    await office.later(2)
    for _ in range(2):
        await office.round(looks)
    assert await office.rows() == [("employee_lost", True, True)]
    said = [record.getMessage() for record in caplog.records]
    assert [one.partition(":")[0] for one in said] == [
        "alert employee_lost of default/ada",
        "alert employee_lost of default/ada is over; it was",
    ]


async def test_what_flickers_fires_nothing_and_what_returns_is_the_same_alert(office: Office):
    looks = office.alerts(fires=10, clears=60)
    for _ in range(3):
        office.silent_for(20)
        await office.round(looks)
        await office.later(6)
        office.silent_for(0)
        await office.round(looks)
        assert await office.rows() == []
    office.silent_for(20)
    await office.round(looks)
    await office.later(11)
    await office.round(looks)
    for _ in range(3):
        office.silent_for(0)
        await office.round(looks)
        await office.later(40)
        office.silent_for(20)
        await office.round(looks)
    assert await office.rows() == [("employee_lost", True, False)]
    assert await office.pool.fetchval("SELECT gone_since IS NULL FROM alerts")


async def test_who_cannot_be_judged_keeps_its_alerts(office: Office):
    looks = office.alerts()
    office.silent_for(20)
    await office.round(looks)
    before = await office.rows()
    assert before == [("employee_lost", True, False)]
    other = quiet_lifecycle(office.pool, Streams())  # a control plane that begins
    begins = alerts_of(office.pool, vitals_of(office.pool, other, Streams()))
    await begins.round()  # it has looked at nobody yet
    other.records = await Employees(office.pool).list_of(None)
    await begins.round()  # it knows of no process
    assert await office.rows() == before
    await office.pool.execute("UPDATE employees SET desired_state = 'stopped'")
    for _ in range(2):
        await office.round(looks)
    assert await office.rows() == [("employee_lost", True, True)]


async def test_several_control_planes_fire_and_tell_once(office: Office):
    office.silent_for(20)
    office.lifecycle.records = await Employees(office.pool).list_of(None)
    changes: list[int] = []
    several = [office.alerts(targets=["slack"]) for _ in range(6)]
    for one in several:
        one.on_change = lambda: changes.append(1)
    for silent in (20, 0, 0):
        office.silent_for(silent)
        await asyncio.gather(*(one.round() for one in several))
    assert await office.rows() == [("employee_lost", True, True)]
    assert len(changes) == 2
    assert await office.pool.fetchval("SELECT count(*) FROM alert_notices") == 2


async def test_a_launcher_that_always_fails_is_an_alert_that_says_why(office: Office):
    looks = office.alerts()
    office.known.process = None
    for _ in range(3):
        office.known.failed("not started: no room", own=False)
    await note(office.pool, None, {office.employee_id: office.known})
    for _ in range(2):
        await office.round(looks)
    assert await office.rows() == [("start_failing", True, False)]
    assert (await office.pool.fetchval("SELECT detail FROM alerts")).endswith("lastly: not started: no room")
    office.known.process = ScriptedProcess(office.employee_id, 1, 7)
    for _ in range(2):
        await office.round(looks)
    assert await office.rows() == [("start_failing", True, True)]


async def test_crashes_and_what_the_tables_say_are_alerts_too(office: Office):
    office.known.backoff.failures = office.known.backoff.own = 3
    office.known.launched_at = asyncio.get_running_loop().time()
    await office.pool.execute(
        "INSERT INTO cycles (cycle_id, tenant_id, employee_id, epoch, phase, cost_micros, started_at, finished_at) "
        "SELECT gen_random_uuid(), $1, $2, 1, 'done', 1000000, ago, ago FROM (SELECT now() - interval '11 s' AS ago) t",
        office.tenant_id, office.employee_id,
    )  # fmt: skip
    await office.pool.execute(
        "UPDATE employee_epochs SET launched_at = now() - interval '40 s', attached_at = now(), epoch = 1"
    )
    looks = office.alerts()
    for _ in range(8):  # the ledgers of a week, a day at a time
        await office.round(looks)
    assert sorted(await looks.open(None)) == ["cold_start", "crash_loop", "idle_cost"]
    shown = pb.Employee()
    assert office.lifecycle.records
    office.vitals.show(office.lifecycle.records[0], shown)
    assert shown.health_state == pb.HEALTH_STATE_UNHEALTHY
    assert [why.partition(" times")[0] for why in shown.health_reasons] == [
        "its process ended or could not be launched 3"
    ]
    figures = shown.figures
    assert (figures.start_ms, figures.month_idle_cost_micros) == (40_000, 30_000_000)
    office.known.process, office.known.backoff.own = None, 2
    assert office.vitals.findings(office.lifecycle.records[0]) is None


async def test_a_full_disk_many_employees_and_a_clock_are_of_the_control_plane(
    office: Office, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(alerts, "DISK_FREE_SHARE", 1)
    monkeypatch.setattr(alerts, "MANY_EMPLOYEES", 0)
    await office.seen_with_skew(60)
    looks = office.alerts()
    await office.round(looks)
    assert await looks.open(None) == dict.fromkeys(alerts.OF_THE_CONTROL_PLANE, 1)
    assert await looks.open(office.tenant_id) == {}
    page, following = await looks.page(None, None, open_only=True, size=1, token="")
    rest, end = await looks.page(None, None, open_only=True, size=2, token=following)
    assert {one.kind for one in [*page, *rest]} == set(alerts.OF_THE_CONTROL_PLANE)
    assert (page[0].tenant, page[0].employee_id) == ("", "")
    assert await looks.page(None, None, open_only=True, size=5, token=end or "3") == ([], "")
    assert await looks.page(office.tenant_id, None, open_only=False, size=5, token="") == ([], "")
    with pytest.raises(Invalid):
        await looks.page(None, None, open_only=True, size=5, token="-1")


async def test_clocks_that_are_off_are_alerts_once_and_over_once(office: Office):
    looks, stream = office.alerts(), office.known.stream
    assert isinstance(stream, Stream)
    now = office.streams.clock.time()
    for skew, fired, cleared in ((9, False, False), (-700, True, False), (-701, True, False), (1, True, True)):
        sent_at = timestamp_pb2.Timestamp()
        sent_at.FromNanoseconds(round((now + skew) * 1e9))
        stream.beat(gateway_pb2.Heartbeat(sent_at=sent_at), now)
        await office.seen_with_skew(skew)
        for _ in range(2):
            await office.round(looks)
        rows = await office.rows()
        assert rows == ([(kind, True, cleared) for kind in ("clock_skew", "control_plane_clock")] if fired else [])
        state = pb.Employee()
        assert office.lifecycle.records
        office.vitals.show(office.lifecycle.records[0], state)
        assert state.health_state == (pb.HEALTH_STATE_DEGRADED if abs(skew) > 10 else pb.HEALTH_STATE_HEALTHY)
    details = await office.pool.fetch("SELECT detail FROM alerts ORDER BY kind")
    assert [row["detail"] for row in details] == [
        "its clock is 701 s behind the database's",
        "the clock of the control plane at a:1 is 701 s behind the database's",
    ]


async def test_the_memory_of_an_employee_is_that_of_its_idleness(office: Office):
    assert isinstance(office.known.stream, Stream)
    for state, taken in (("idle", 20), ("working", 50), ("draining", 70)):
        office.known.stream.beat(gateway_pb2.Heartbeat(state=state, memory_bytes=taken), now=0.0)
    [record] = await Employees(office.pool).list_of(None)
    assert office.vitals.figures(record).idle_memory_bytes == 20


# Telling


@dataclass
class Listener:
    """A server that answers by plan, then 200, and keeps what it was told."""

    plan: list[int] = field(default_factory=list)
    told: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        status = self.plan.pop(0) if self.plan else 200
        self.told.append((request.path, dict(request.headers), await request.read()))
        return web.Response(status=status)

    def bodies(self, path: str) -> list[dict[str, Any]]:
        return [json.loads(body) for at, _, body in self.told if at == path]


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[Listener, str]]:
    listener, application = Listener(), web.Application()
    application.router.add_post("/{any}", listener.take)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield listener, f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def telling(office: Office) -> AsyncIterator[tuple[Listener, Notices]]:
    async with listening() as (listener, url), Callbacks(["127.0.0.0/8"]) as callbacks:
        targets = {"webhook": Target(f"{url}/hook", SECRET), "slack": Target(f"{url}/slack")}
        yield listener, Notices(office.pool, callbacks, targets)


async def due_now(office: Office) -> None:
    await office.pool.execute("UPDATE alert_notices SET next_at = now()")


async def test_both_are_told_of_the_beginning_and_of_the_end_once(office: Office):
    looks = office.alerts(targets=["webhook", "slack"])
    async with telling(office) as (listener, notices):
        office.silent_for(20)
        await office.round(looks)
        for _ in range(2):
            await notices.round()
        office.silent_for(0)
        for _ in range(2):
            await office.round(looks)
        for _ in range(2):
            await due_now(office)
            await notices.round()
    fired, cleared = listener.bodies("/hook")
    assert (fired["event"], cleared["event"]) == ("fired", "cleared")
    assert fired["notice_id"] != cleared["notice_id"]
    assert {fired["alert_id"], cleared["alert_id"]} == {str(await office.pool.fetchval("SELECT alert_id FROM alerts"))}
    assert (fired["kind"], fired["tenant"], fired["employee"]) == ("employee_lost", "default", "ada")
    assert fired["employee_id"] == str(office.employee_id)
    assert (fired["cleared_at"], bool(cleared["cleared_at"])) == (None, True)
    for path, headers, body in listener.told:
        if path == "/hook":
            assert headers["X-Empla-Signature"] == sign(SECRET, headers["X-Empla-Timestamp"], body)
            assert headers["Idempotency-Key"] == json.loads(body)["notice_id"]
        else:
            assert "X-Empla-Signature" not in headers
    why = "no heartbeat for 20 s; its process hangs or cannot reach the control plane"
    assert listener.bodies("/slack") == [
        {"text": f":rotating_light: *employee lost* of default/ada: {why}"},
        {"text": f":white_check_mark: over: *employee lost* of default/ada; it was: {why}"},
    ]


async def test_what_is_not_taken_is_told_again_and_the_end_after_the_beginning(office: Office):
    looks = office.alerts(targets=["webhook"])
    async with telling(office) as (listener, notices):
        listener.plan = [503, 404]
        for silent in (20, 0, 0):
            office.silent_for(silent)
            await office.round(looks)
        for _ in range(2):
            await due_now(office)
            await notices.round()
            await notices.round()  # nothing is due before its time
        assert [one["event"] for one in listener.bodies("/hook")] == ["fired"] * 2
        for _ in range(3):
            await due_now(office)
            await notices.round()
    events = [(one["event"], one["notice_id"]) for one in listener.bodies("/hook")]
    assert [event for event, _ in events] == ["fired", "fired", "fired", "cleared"]
    assert len({told for _, told in events[:3]}) == 1


async def test_a_crash_in_the_midst_of_telling_loses_nothing(office: Office):
    looks = office.alerts(targets=["webhook"])
    office.silent_for(20)
    await office.round(looks)
    async with telling(office) as (listener, notices):
        claimed = await office.pool.fetch(alerts.SQL.claim, ["webhook"], 15.0, 900.0, 10, 16)
        assert len(claimed) == 1  # and whoever had it is gone
        await notices.round()
        assert listener.told == []
        await due_now(office)
        await notices.round()
        assert [one["notice_id"] for one in listener.bodies("/hook")] == [str(claimed[0]["notice_id"])]


async def test_telling_ends_some_time(
    office: Office, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(alert_notices, "MAX_ATTEMPTS", 2)
    looks = office.alerts(targets=["webhook", "slack"])
    office.silent_for(20)
    await office.round(looks)
    async with telling(office) as (listener, notices):
        listener.plan = [500] * 100
        for _ in range(4):
            await due_now(office)
            await notices.round()
        assert sorted(path for path, _, _ in listener.told) == ["/hook"] * 2 + ["/slack"] * 2
    last = [record.getMessage() for record in caplog.records if "not tried again" in record.getMessage()]
    assert sorted(one.split("check ")[1].split(":")[0] for one in last) == ["EMPLA_ALERT_SLACK", "EMPLA_ALERT_WEBHOOK"]
    assert "127.0.0.1" not in caplog.text.replace("Cannot connect", "")  # an address may hold a secret


async def test_addresses_that_callbacks_may_not_reach_are_not_told(office: Office, caplog: pytest.LogCaptureFixture):
    looks = office.alerts(targets=["webhook"])
    office.silent_for(20)
    await office.round(looks)
    async with listening() as (listener, url), Callbacks() as callbacks:
        await Notices(office.pool, callbacks, {"webhook": Target(f"{url}/hook")}).round()
    assert listener.told == []
    assert "not a public address" in caplog.text
