"""A lifecycle that launches nothing, for who only asks how employees do."""

from pathlib import Path
from typing import Any

from controlplane.alerts import Alerts, Patience
from controlplane.employees import Employees
from controlplane.gateway import Streams
from controlplane.launchers.volumes import Volumes
from controlplane.launchers.workspaces import Workspaces
from controlplane.launching import LaunchSettings
from controlplane.lifecycle import Lifecycle
from controlplane.vitals import Vitals
from empla.store.connect import Pool
from tests.integration.controlplane.test_lifecycle import ScriptedLauncher, ScriptedSidecars

HEARTBEAT_MS = 1000


def quiet_lifecycle(pool: Pool, streams: Streams, place: Path = Path("/nonexistent")) -> Lifecycle:
    settings = LaunchSettings(
        gateway="127.0.0.1:1", database_url="", logs=place, drain_seconds=0.1, heartbeat_ms=HEARTBEAT_MS, model={}
    )
    return Lifecycle(
        pool=pool,
        employees=Employees(pool),
        streams=streams,
        launcher=ScriptedLauncher(),
        workspaces=Workspaces(place, Volumes(place, None, None)),
        sidecars=ScriptedSidecars(),
        settings=settings,
    )


def vitals_of(pool: Pool, lifecycle: Lifecycle, streams: Streams) -> Vitals:
    return Vitals(
        pool=pool,
        employees=Employees(pool),
        lifecycle=lifecycle,
        streams=streams,
        sidecars_failed=lambda _: 0,
        heartbeat_ms=HEARTBEAT_MS,
    )


def alerts_of(pool: Pool, vitals: Vitals, *, fires: float = 0, clears: float = 0, **fields: Any) -> Alerts:
    return Alerts(pool=pool, vitals=vitals, home=Path("/"), patience=Patience(fires, clears), **fields)
