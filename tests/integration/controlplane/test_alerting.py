"""A frozen employee of a real system: told once, over a restart of the control plane, and once when it is over."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pydantic import SecretStr

from controlplane import alert_notices, alerts
from controlplane.auth import new_secret
from controlplane.settings import Settings
from empla.v1 import control_pb2 as pb
from tests.conftest import Database
from tests.integration.controlplane.conftest import Plane, serving
from tests.integration.controlplane.test_alerts import SECRET, Listener, listening

PATIENCE = 60


async def until[T](look: Callable[[], Awaitable[T | None]]) -> T:
    async with asyncio.timeout(PATIENCE):
        while not (found := await look()):
            await asyncio.sleep(0.05)
        return found


async def judged(plane: Plane, state: pb.HealthState.ValueType) -> pb.Employee:
    async def look() -> pb.Employee | None:
        employee: pb.Employee = await plane.stub.GetEmployee(pb.GetEmployeeRequest(employee="sales-ae"), timeout=10)
        return employee if employee.health_state == state else None

    return await until(look)


async def told(listener: Listener, event: str) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        of_it = [one for one in listener.bodies("/hook") if one["event"] == event and one["kind"] == "employee_lost"]
        return of_it[0] if of_it and len(listener.bodies("/slack")) >= len(listener.bodies("/hook")) else None

    return await until(look)


async def listed(plane: Plane) -> list[pb.Alert]:
    answer = await plane.stub.ListAlerts(pb.ListAlertsRequest(employee="sales-ae"), timeout=10)
    return [one for one in answer.alerts if one.kind == "employee_lost"]


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "ROUND_SECONDS", 0.1)
    monkeypatch.setattr(alert_notices, "POLL_SECONDS", 0.1)


async def test_an_employee_that_freezes_is_told_once_and_so_is_its_return(plane_settings: Settings, database: Database):
    token = new_secret()
    async with listening() as (listener, url), database.connect() as pool:
        settings = plane_settings.model_copy(
            update={
                "alert_webhook": SecretStr(f"{url}/hook"),
                "alert_webhook_secret": SecretStr(SECRET.decode()),
                "alert_slack": SecretStr(f"{url}/slack"),
                "alert_after_seconds": 0.5,
                "alert_clear_seconds": 0.5,
            }
        )
        async with serving(settings, database.dsn, token, pool) as plane:
            launched_by = plane.running.launcher
            await plane.attached()
            well = await judged(plane, pb.HEALTH_STATE_HEALTHY)
            assert well.figures.start_ms > 0
            os.kill(well.pid, signal.SIGSTOP)
            fired = await told(listener, "fired")
            lost = await judged(plane, pb.HEALTH_STATE_LOST)
            assert "no heartbeat" in lost.health_reasons[0]
            [alert] = await listed(plane)
            assert (alert.alert_id, alert.tenant, alert.employee) == (fired["alert_id"], "default", "sales-ae")
            assert not alert.HasField("cleared_at")
            assert (await plane.stub.GetOverview(pb.GetOverviewRequest(), timeout=10)).open_alerts >= 1
        async with serving(settings, database.dsn, token, pool) as plane:
            try:
                await until(lambda: asyncio.sleep(0, plane.running.lifecycle.records))
                await asyncio.sleep(1)  # many rounds of a control plane that has not heard of it
                [again] = await listed(plane)
                assert (again.alert_id, again.HasField("cleared_at")) == (alert.alert_id, False)
                os.kill(well.pid, signal.SIGCONT)
                await told(listener, "cleared")
                back = await judged(plane, pb.HEALTH_STATE_HEALTHY)
                assert back.figures.idle_memory_bytes > 0
                [over] = await listed(plane)
                assert over.HasField("cleared_at")
            finally:
                await plane.running.lifecycle.stop_all()
                await launched_by.stop()
        events = [one["event"] for one in listener.bodies("/hook") if one["kind"] == "employee_lost"]
        assert events == ["fired", "cleared"]
        of_slack = [one["text"] for one in listener.bodies("/slack") if "*employee lost*" in one["text"]]
        assert len(of_slack) == 2
