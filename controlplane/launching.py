"""What an employee is told when it is launched."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from controlplane.auth import hashed, new_secret
from controlplane.employees import SQL, EmployeeRecord
from controlplane.gateway import credential
from controlplane.launchers.bounds import BoundsRecords
from controlplane.launchers.interface import LaunchSpec
from controlplane.planes import Planes
from controlplane.settings import Settings
from empla.store.connect import Pool, translated
from empla.store.roles import close_employee_role, create_employee_role, employee_dsn
from empla.telemetry import Collector
from empla.transport import Transport


@dataclass(frozen=True, slots=True)
class LaunchSettings:
    """What every launch on this machine has in common."""

    gateway: str
    database_url: str
    logs: Path
    drain_seconds: float
    heartbeat_ms: int
    model: dict[str, Any]
    quota_bytes: int | None = None
    quota_entries: int | None = None
    compute_packages: Path | None = None
    browsers: Path | None = None
    collector: Collector | None = None
    hooks: tuple[str, ...] = ()
    memory_bytes: int | None = None
    bounds: Path | None = None
    transport: Transport = field(default_factory=Transport)


async def next_launch(
    pool: Pool,
    record: EmployeeRecord,
    launcher: str,
    common: LaunchSettings,
    *,
    planes: Planes | None,
    workspace: Path,
    browser_profile: Path | None,
) -> LaunchSpec:
    """Begin the employee's next epoch, with a credential and a database password of its own; raises `NotLeading`."""
    secret, password = new_secret(), new_secret()
    with translated():
        async with pool.acquire() as connection, connection.transaction():
            if planes is not None:
                await planes.check(connection)
            epoch = await connection.fetchval(SQL.launch, record.employee_id, hashed(secret), launcher)
            await create_employee_role(connection, record.employee_id, password)
    settings = {
        "employee_id": str(record.employee_id),
        "tenant_id": str(record.tenant_id),
        "epoch": epoch,
        "credential": credential(record.employee_id, epoch, secret),
        "gateway": common.gateway,
        "transport": common.transport.model_dump(mode="json"),
        "database_url": employee_dsn(common.database_url, record.employee_id, password),
        "workspace": str(workspace),
        "quota_bytes": common.quota_bytes,
        "quota_entries": common.quota_entries,
        "compute_packages": str(common.compute_packages) if common.compute_packages else None,
        "browser_profile": str(browser_profile) if browser_profile else None,
        "collector": common.collector.model_dump() if common.collector else None,
        "hooks": common.hooks,
        "memory_bytes": common.memory_bytes,
        "bounds": str(BoundsRecords(common.bounds).place(record.employee_id)) if common.bounds else None,
        **_model_of(record, common.model),
    }
    return LaunchSpec(record.employee_id, epoch, settings, common.logs / f"{record.employee_id}.log")


async def record_end(pool: Pool, employee_id: UUID, epoch: int) -> None:
    """The process of a launch is gone: what it knew opens nothing any more, should somebody have it from there."""
    with translated():
        async with pool.acquire() as connection, connection.transaction():
            if await connection.fetchval(SQL.ended, employee_id, epoch):
                await close_employee_role(connection, employee_id)


def _model_of(record: EmployeeRecord, machine: dict[str, Any]) -> dict[str, Any]:
    """The machine's keys, and the profile's choice of a model where it makes one."""
    chosen = record.profile.model
    mine = {"model_provider": chosen.provider, "model_name": chosen.name, "model_mind": chosen.mind}
    return machine | {name: value for name, value in mine.items() if value and value != "auto"}


def launch_settings(settings: Settings, dsn: str) -> LaunchSettings:
    """What the settings say of every launch; employees find the database at `dsn`."""
    model: dict[str, Any] = {
        "model_provider": settings.model_provider,
        "model_name": settings.model_name,
        "model_mind": settings.model_mind,
        "openai_base_url": settings.openai_base_url,
        "model_prices": {name: price.model_dump() for name, price in settings.model_prices.items()},
    }
    for name in ("anthropic_api_key", "openai_api_key"):
        secret = getattr(settings, name)
        model[name] = secret.get_secret_value() if secret else None
    return LaunchSettings(
        gateway=settings.gateways or settings.dialled_address,
        database_url=dsn,
        logs=settings.log_directory,
        drain_seconds=settings.drain_seconds,
        heartbeat_ms=settings.heartbeat_ms,
        model=model,
        quota_bytes=settings.workspace_quota_bytes,
        quota_entries=settings.workspace_quota_entries,
        compute_packages=settings.compute_packages.absolute(),
        browsers=settings.browsers.absolute(),
        collector=settings.collector,
        hooks=settings.hooks,
        transport=settings.transport,
        memory_bytes=settings.employee_memory_bytes,
        bounds=settings.bounds.absolute() if settings.launcher == "process" else None,
    )
