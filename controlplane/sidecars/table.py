"""The sidecars on record: the table `sidecars`."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from controlplane import audit
from controlplane.launchers.interface import BROWSER, COMPUTE, LaunchedProcess
from empla.store.connect import Pool, load_queries, translated
from empla.v1 import control_pb2

SQL = load_queries("controlplane.sidecars", "sidecars.sql")
KINDS = {control_pb2.SIDECAR_KIND_COMPUTE: COMPUTE, control_pb2.SIDECAR_KIND_BROWSER: BROWSER}
_KIND_NUMBERS = {name: number for number, name in KINDS.items()}
MAX_LISTED = 1000


@dataclass(frozen=True, slots=True)
class Resources:
    """What a sidecar is to have: `memory_bytes` for its programs together, and `cpus` (0: all)."""

    kind: str
    memory_bytes: int
    cpus: float


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What does not change of a sidecar."""

    sidecar_id: UUID
    tenant_id: UUID
    employee_id: UUID
    epoch: int
    resources: Resources
    address: str
    key: bytes


@dataclass(frozen=True, slots=True)
class Launch:
    """The present launch of an employee; `process` is how `launcher` recognises it, None when that is not on record."""

    tenant_id: UUID
    epoch: int
    launcher: str | None
    process: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Row:
    """A sidecar on record; `present` says that its employee has not been launched anew or deleted since."""

    sidecar: Sidecar
    process: dict[str, Any]
    state: str
    ttl: int
    expires_at: float
    present: bool


class Table:
    """The table, as the control plane of one `launcher` uses it; raises `StoreUnavailable`."""

    def __init__(self, pool: Pool, launcher: str) -> None:
        self._pool, self._launcher = pool, launcher

    async def launch(self, employee_id: UUID) -> Launch | None:
        """The present launch of an employee."""
        with translated():
            row = await self._pool.fetchrow(SQL.launch, employee_id)
        return None if row is None else Launch(row["tenant_id"], row["epoch"], row["launcher"], row["process"])

    async def add(self, sidecar: Sidecar, process: LaunchedProcess, state: str, ttl: int, expires_at: float) -> bool:
        """Put one on record; False when its employee has been launched anew since."""
        wanted = sidecar.resources
        with translated():
            added = await self._pool.fetchval(
                SQL.insert,
                sidecar.sidecar_id,
                sidecar.tenant_id,
                sidecar.employee_id,
                sidecar.epoch,
                wanted.kind,
                state,
                self._launcher,
                process.identity(),
                sidecar.address,
                sidecar.key,
                wanted.memory_bytes,
                wanted.cpus,
                ttl,
                expires_at,
            )
        return added is not None

    async def lease(self, sidecar: Sidecar, ttl: int, expires_at: float) -> bool:
        """Have it leased until then; False when its employee has been launched anew since, or it is gone."""
        with translated():
            leased = await self._pool.fetchval(
                SQL.lease, sidecar.sidecar_id, sidecar.employee_id, sidecar.epoch, ttl, expires_at
            )
        return leased is not None

    async def remove(self, sidecar_id: UUID) -> None:
        """Its process is gone for certain."""
        with translated():
            await self._pool.execute(SQL.gone, sidecar_id)

    async def record_stop(self, sidecar: Sidecar) -> None:
        """Somebody ends it: into the audit log, before it is done."""
        about = sidecar.tenant_id, "sidecar.stop", sidecar.sidecar_id, {"employee_id": str(sidecar.employee_id)}
        with translated():
            async with self._pool.acquire() as connection:
                await audit.record(connection, *about)

    async def all(self) -> dict[UUID, Row]:
        """Everything on record."""
        with translated():
            rows = await self._pool.fetch(SQL.all, self._launcher)
        return {row["sidecar_id"]: _row(row) for row in rows}

    async def list_of(self, tenant_id: UUID | None, employee_id: UUID | None) -> list[control_pb2.Sidecar]:
        """Those of a tenant (None: of all) and an employee (None: of all), newest first, a thousand at most."""
        with translated():
            rows = await self._pool.fetch(SQL.list, tenant_id, employee_id, MAX_LISTED)
        return [_listed(row) for row in rows]


def _row(row: Any) -> Row:
    sidecar = Sidecar(
        row["sidecar_id"],
        row["tenant_id"],
        row["employee_id"],
        row["epoch"],
        Resources(row["kind"], row["memory_bytes"], row["cpus"]),
        row["address"],
        row["key"],
    )
    expires_at = row["expires_at"].timestamp()
    return Row(sidecar, row["process"], row["state"], row["idle_ttl_seconds"], expires_at, row["present"])


def _listed(row: Any) -> control_pb2.Sidecar:
    listed = control_pb2.Sidecar(
        sidecar_id=str(row["sidecar_id"]),
        tenant=row["tenant"],
        employee=row["employee"],
        employee_id=str(row["employee_id"]),
        epoch=row["epoch"],
        kind=_KIND_NUMBERS[row["kind"]],
        launcher=row["launcher"],
        address=row["address"],
        memory_bytes=row["memory_bytes"],
        cpus=row["cpus"],
        state=row["state"],
        pid=row["process"].get("pid", 0),
        idle_ttl_seconds=row["idle_ttl_seconds"],
    )
    listed.created_at.FromDatetime(row["created_at"])
    listed.expires_at.FromDatetime(row["expires_at"])
    return listed
