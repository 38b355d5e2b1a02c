"""The keeper of the sidecars: gives them out, and sees that each ends with its lease, its employee's launch, or its process.

A sidecar ends itself when its lease has run out or its employee's process is gone. What is done here holds when it cannot:
it hangs, it was launched and never leased, or this control plane is not the one that launched it.
"""

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import grpc

from controlplane.errors import LaunchFailed, Unknown
from controlplane.health import WITHIN_MINUTES
from controlplane.launchers.interface import LaunchedProcess, Launcher
from controlplane.planes import Nobody, Others
from controlplane.recent import Recent
from controlplane.sidecars.launching import SidecarPlan, owner_of
from controlplane.sidecars.places import READY_SECONDS, Places
from controlplane.sidecars.room import Party, Room
from controlplane.sidecars.table import Launch, Resources, Row, Sidecar, Table
from controlplane.sidecars.warm import Spares, Use
from empla.leases import Lease, mint, new_key
from empla.rpc import StatusError
from empla.store.errors import StoreUnavailable
from empla.store.ids import new_id
from empla.v1 import control_pb2
from empla.v1 import gateway_pb2 as pb

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
LATE_SECONDS = 2.0
"""A sidecar whose lease has run out may take so long to end by itself."""
TERM_SECONDS = 3.0
KILL_SECONDS = 10.0
RETRY_SECONDS = 0.5
KNOWN_SECONDS = 10.0
"""How long a call waits for what an earlier control plane left to be known."""


@dataclass(eq=False)
class Held:
    """A sidecar whose process is watched."""

    sidecar: Sidecar
    process: LaunchedProcess
    expires_at: float
    ttl: int = 0
    leased: bool = False
    ending: asyncio.Lock = field(default_factory=asyncio.Lock)
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def party(self) -> Party:
        """Whose room it takes while it is leased."""
        return Party(self.sidecar.employee_id, self.sidecar.tenant_id)

    @property
    def lease(self) -> pb.SidecarLease:
        """What its employee is told."""
        sidecar = self.sidecar
        token = mint(sidecar.key, Lease(sidecar.sidecar_id, sidecar.employee_id, self.expires_at))
        lease = pb.SidecarLease(sidecar_id=str(sidecar.sidecar_id), address=sidecar.address, token=token)
        lease.expires_at.FromMilliseconds(round(self.expires_at * 1000))
        return lease


class Sidecars:
    """See the module. `run` as a task; calls wait for it to know what an earlier control plane left."""

    def __init__(
        self,
        *,
        table: Table,
        launcher: Launcher,
        places: Places,
        room: Room,
        plan: SidecarPlan,
        others: Others | None = None,
        warm: int = 0,
    ) -> None:
        self._table, self._launcher, self._places, self._room, self._plan = table, launcher, places, room, plan
        self._held: dict[UUID, Held] = {}
        self._others, self._spares = others or Nobody(), Spares(warm)
        self.failed = Recent(60 * WITHIN_MINUTES)
        """Sidecars that an employee wanted and could not have because their launch failed, here or at another keeper."""
        self._known = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Adopt what runs, then see to what ends and to what is kept warm; until cancelled.

        Then another control plane may be the keeper, and this one knows nothing any more.
        """
        self._room.clear()
        try:
            async with asyncio.TaskGroup() as self._group:
                await self._adopt()
                self._known.set()
                self._task(self._keep_warm(), "warm sidecars")
                await self._rounds()
        finally:
            self._known.clear()
            for held in self._held.values():
                held.process.release()
            self._held.clear()
            self._spares.clear()

    async def _rounds(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            late = time.time() - LATE_SECONDS
            for held in [held for held in self._held.values() if held.expires_at < late]:
                if not held.ending.locked():
                    self._task(self._end(held, "its lease has run out"), f"end {held.sidecar.sidecar_id}")

    # Leases

    async def acquire(self, employee_id: UUID, epoch: int, wanted: Resources, ttl: int) -> pb.SidecarLease:
        """A sidecar for a launch of an employee. Raises `Exhausted`, `LaunchFailed`, or FAILED_PRECONDITION SUPERSEDED."""
        await self._until_known()
        use = Use(employee_id, epoch, wanted)
        spare = self._spares.of(use)  # whose lease is refused to a launch that is over
        tenant_id = spare.sidecar.tenant_id if spare is not None else (await self._present(use)).tenant_id
        await self._room.take(Party(employee_id, tenant_id))
        if not self._known.is_set():  # it was when this began
            raise _not_keeping()
        held = await self._owned(self._leased(use, tenant_id, ttl), self._let_go)
        self._spares.used(use)
        return held.lease

    async def renew(self, employee_id: UUID, epoch: int, sidecar_id: UUID) -> pb.SidecarLease:
        """The lease for its idle time from now on; raises `Unknown` when the sidecar has ended or is another's."""
        held = await self._find(employee_id, epoch, sidecar_id)
        expires_at = time.time() + held.ttl
        if not await self._table.lease(held.sidecar, held.ttl, expires_at) or held.gone.is_set():
            raise _unknown(sidecar_id)
        held.expires_at = max(held.expires_at, expires_at)
        return held.lease

    async def release(self, employee_id: UUID, epoch: int, sidecar_id: UUID) -> None:
        """Have it end, soon. Nothing happens when there is none."""
        with suppress(Unknown):
            held = await self._find(employee_id, epoch, sidecar_id)
            self._task(self._end(held, "it was released"), f"end {sidecar_id}")

    async def stop(self, sidecar_id: UUID, tenant_id: UUID | None) -> None:
        """End a sidecar of that tenant (None: of any); raises `Unknown`, and `LaunchFailed` when it does not end."""
        await self._until_known()
        held = self._held.get(sidecar_id)
        if held is None or tenant_id not in (None, held.sidecar.tenant_id):
            raise _unknown(sidecar_id)
        await self._table.record_stop(held.sidecar)
        await self._end(held, "an operator stopped it")

    async def end_of(self, employee_id: UUID, epoch: int) -> None:
        """End all sidecars of an employee's launches up to `epoch`; then none of them can touch its files any more.

        Raises `LaunchFailed` when that is not certain.
        """
        await self._until_known()
        theirs = [held for held in self._held.values() if held.sidecar.employee_id == employee_id]
        await self._end_each([held for held in theirs if held.sidecar.epoch <= epoch], "its employee's launch is over")
        async with self._running(employee_id) as running:
            for process in running:
                if process.epoch <= epoch and process.sidecar_id not in self._held:
                    await self._end_stray(process)

    async def end_all(self) -> None:
        """End every sidecar and what launching takes: the end of the control plane in the foreground."""
        self._spares.close()
        await self._end_each(list(self._held.values()), "the control plane ends")
        await self._launcher.stop()

    async def list_of(self, tenant_id: UUID | None, employee_id: UUID | None) -> list[control_pb2.Sidecar]:
        """Those of a tenant (None: of all) and an employee (None: of all)."""
        return await self._table.list_of(tenant_id, employee_id)

    # Launching

    async def _leased(self, use: Use, tenant_id: UUID, ttl: int) -> Held:
        """A sidecar with a lease, for which room is taken; the room is given back if there is none."""
        try:
            return await self._spare(use, ttl) or await self._launch(use, await self._present(use), ttl, leased=True)
        except BaseException as error:
            if isinstance(error, LaunchFailed):
                self.failed.add(use.employee_id)
                self._others.tell("sidecar_failed", use.employee_id, self.failed.count(use.employee_id))
            self._room.give(Party(use.employee_id, tenant_id))
            raise

    async def _present(self, use: Use) -> Launch:
        """The launch that a use is of; raises SUPERSEDED when it is over."""
        launch = await self._table.launch(use.employee_id)
        if launch is None or launch.epoch != use.epoch:
            raise _superseded(launch)
        return launch

    async def _spare(self, use: Use, ttl: int) -> Held | None:
        """One that was kept warm, leased from now on."""
        while (spare := self._spares.take(use)) is not None:
            if await self._lease(spare, ttl):
                return spare
            self._task(self._end(spare, "nobody can use it"), f"end {spare.sidecar.sidecar_id}")
        return None

    async def _lease(self, held: Held, ttl: int) -> bool:
        expires_at = time.time() + ttl
        if held.ending.locked() or not await self._table.lease(held.sidecar, ttl, expires_at) or held.gone.is_set():
            return False
        held.expires_at, held.ttl, held.leased = expires_at, ttl, True
        return True

    async def _launch(self, use: Use, launch: Launch, ttl: int, *, leased: bool) -> Held:
        """Start one and put it on record. Raises `LaunchFailed`, `StoreUnavailable`, SUPERSEDED; nothing is left then."""
        held = self._hold(await self._begun(use, launch, ttl, warm=not leased))
        try:
            await self._serving(held, ttl, leased=leased)
        except Exception:  # when this is cancelled, the next keeper ends it: at once, or with its lease
            self._task(self._discard(held), f"end {held.sidecar.sidecar_id}")
            raise
        held.leased = leased
        log.info("sidecar %s of employee %s serves, pid %d", held.sidecar.sidecar_id, use.employee_id, held.process.pid)
        return held

    async def _begun(self, use: Use, launch: Launch, ttl: int, *, warm: bool) -> Held:
        address = await self._places.make(sidecar_id := new_id())
        sidecar = Sidecar(sidecar_id, launch.tenant_id, use.employee_id, use.epoch, use.resources, address, new_key())
        expires_at = time.time() + READY_SECONDS + ttl  # its lease begins when it serves
        try:
            spec = await self._plan.spec(sidecar, expires_at, owner_of(launch, self._launcher.name), warm=warm)
            process = await self._launcher.launch(spec)
        except BaseException:
            await self._places.clear(sidecar_id)
            raise
        return Held(sidecar, process, expires_at, ttl)

    async def _serving(self, held: Held, ttl: int, *, leased: bool) -> None:
        sidecar = held.sidecar
        await self._places.until_serving(sidecar.sidecar_id, held.process)
        held.expires_at = time.time() + ttl
        state = "leased" if leased else "ready"
        if not await self._table.add(sidecar, held.process, state, ttl, held.expires_at):
            raise _superseded(await self._table.launch(sidecar.employee_id))
        if held.gone.is_set():
            raise LaunchFailed("the sidecar ended at once; the log says why")

    # Keeping warm

    async def _keep_warm(self) -> None:
        """Have a spare one for whoever used one last, until cancelled."""
        while True:
            await self._spares.changed()
            for held in self._spares.unwanted():
                self._task(self._end(held, "it was kept warm and nobody came"), f"end {held.sidecar.sidecar_id}")
            for use in self._spares.missing():
                try:
                    await self._prepare(use)
                except (LaunchFailed, StoreUnavailable, StatusError) as error:
                    self._spares.forget(use)
                    log.warning("no sidecar is kept warm for employee %s: %s", use.employee_id, error)

    async def _prepare(self, use: Use) -> None:
        held = await self._launch(use, await self._present(use), self._spares.seconds, leased=False)
        if not self._spares.add(use, held):
            await self._end(held, "nobody needs it any more")

    # Adopting, watching, ending

    async def _adopt(self) -> None:
        """Take over what an earlier control plane left; until that is known nothing is given out."""
        while True:
            try:
                rows = await self._table.all()
                async with self._running() as running:
                    for process in running:
                        row = rows.pop(process.sidecar_id, None) if process.sidecar_id else None
                        await self._take(process, row)
                for sidecar_id in rows:
                    await self._table.remove(sidecar_id)
                await self._places.keep_only(set(self._held))
            except (LaunchFailed, StoreUnavailable) as error:
                log.warning("sidecars cannot be adopted yet: %s", error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    async def _take(self, process: LaunchedProcess, row: Row | None) -> None:
        if process.sidecar_id in self._held:
            return
        if row is None or row.process != process.identity() or not row.present or row.expires_at < time.time():
            await self._end_stray(process)
            return
        held = self._hold(Held(row.sidecar, process, row.expires_at, row.ttl))
        if row.state == "leased":
            held.leased = True
            self._room.hold(held.party)
        else:  # whom it was kept warm for is not known any more
            self._task(self._end(held, "it was kept warm and nobody came"), f"end {row.sidecar.sidecar_id}")
        log.info("adopted sidecar %s of employee %s", row.sidecar.sidecar_id, row.sidecar.employee_id)

    async def _end_stray(self, process: LaunchedProcess) -> None:
        """End one that nobody may use: of no lease, of an earlier launch, or never put on record."""
        log.warning(
            "sidecar %s of employee %s has no place here; it is killed", process.sidecar_id, process.employee_id
        )
        process.kill(signal.SIGKILL)
        await _within(process.wait(), KILL_SECONDS, f"sidecar {process.sidecar_id} does not end")
        if process.sidecar_id is not None:
            await self._places.clear(process.sidecar_id)
            await self._table.remove(process.sidecar_id)

    def _hold(self, held: Held) -> Held:
        self._held[held.sidecar.sidecar_id] = held
        self._task(self._watch(held), f"watch {held.sidecar.sidecar_id}")
        return held

    async def _watch(self, held: Held) -> None:
        code = await held.process.wait()
        sidecar = held.sidecar
        await self._places.clear(sidecar.sidecar_id)
        log.info("sidecar %s of employee %s is gone: exit code %s", sidecar.sidecar_id, sidecar.employee_id, code)
        self._spares.drop(held)
        if held.leased:
            self._room.give(held.party)
        del self._held[sidecar.sidecar_id]
        held.gone.set()
        await self._forget(sidecar.sidecar_id)

    async def _forget(self, sidecar_id: UUID) -> None:
        while True:
            try:
                await self._table.remove(sidecar_id)
            except StoreUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    async def _end(self, held: Held, why: str) -> None:
        """Ask it to end, then kill it; returns when it and all it started are gone. Raises `LaunchFailed`."""
        async with held.ending:
            self._spares.drop(held)
            for number, seconds in ((signal.SIGTERM, TERM_SECONDS), (signal.SIGKILL, KILL_SECONDS)):
                if held.gone.is_set():
                    return
                log.info("sidecar %s gets %s: %s", held.sidecar.sidecar_id, signal.Signals(number).name, why)
                held.process.kill(number)
                with suppress(LaunchFailed):
                    await _within(held.gone.wait(), seconds, why)
            if not held.gone.is_set():
                raise LaunchFailed(f"sidecar {held.sidecar.sidecar_id} does not end")

    async def _discard(self, held: Held) -> None:
        """End one that nobody was told of; it may have been put on record after its end."""
        await self._end(held, "it is of no use")
        await self._forget(held.sidecar.sidecar_id)

    async def _end_each(self, several: Iterable[Held], why: str) -> None:
        ends = await asyncio.gather(*(self._end(held, why) for held in several), return_exceptions=True)
        for error in ends:
            if error is not None:
                raise error

    # What they share

    @asynccontextmanager
    async def _running(self, employee_id: UUID | None = None) -> AsyncIterator[Sequence[LaunchedProcess]]:
        """What runs, of one employee or of all; what of it is not watched by the end of the block is let go of."""
        running = await self._launcher.running(employee_id)
        try:
            yield running
        finally:
            watched = {id(held.process) for held in self._held.values()}
            for process in running:
                if id(process) not in watched:
                    process.release()

    def _let_go(self, held: Held) -> None:
        self._task(self._end(held, "whoever wanted it has left"), f"end {held.sidecar.sidecar_id}")

    async def _find(self, employee_id: UUID, epoch: int, sidecar_id: UUID) -> Held:
        await self._until_known()
        held = self._held.get(sidecar_id)
        theirs = held is not None and (held.sidecar.employee_id, held.sidecar.epoch) == (employee_id, epoch)
        if held is None or not theirs or not held.leased or held.ending.locked() or held.expires_at < time.time():
            raise _unknown(sidecar_id)
        return held

    async def _until_known(self) -> None:
        await _within(self._known.wait(), KNOWN_SECONDS, "what an earlier control plane left is not known yet")

    async def _owned[Result](self, work: Coroutine[Any, Any, Result], unwanted: Callable[[Result], None]) -> Result:
        """The result of work that goes on when the caller leaves; `unwanted` takes a result that then comes too late."""
        wanted: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

        async def do() -> None:
            try:
                result = await work
            except asyncio.CancelledError:
                if not wanted.done():
                    wanted.set_exception(_not_keeping())
                raise
            except Exception as error:
                if wanted.cancelled():
                    raise
                wanted.set_exception(error)
            else:
                if wanted.cancelled():
                    unwanted(result)
                else:
                    wanted.set_result(result)

        self._task(do(), "acquire a sidecar")
        return await wanted

    def _task(self, work: Coroutine[Any, Any, None], name: str) -> None:
        assert self._group is not None
        self._group.create_task(_logged(work, name), name=name)


async def _logged(work: Coroutine[Any, Any, None], name: str) -> None:
    """One sidecar's trouble ends its own task, not those of all."""
    try:
        await work
    except Exception:
        log.exception("%s failed", name)


async def _within(work: Coroutine[Any, Any, Any], seconds: float, why: str) -> None:
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError as error:
        raise LaunchFailed(why) from error


def _not_keeping() -> LaunchFailed:
    return LaunchFailed("this control plane gives out no sidecars any more; try again")


def _superseded(launch: Launch | None) -> StatusError:
    now = "the employee is gone" if launch is None else f"epoch {launch.epoch} owns this employee"
    return StatusError(grpc.StatusCode.FAILED_PRECONDITION, "SUPERSEDED", now)


def _unknown(sidecar_id: UUID) -> Unknown:
    return Unknown(f"no sidecar {sidecar_id} runs: it has ended, or there was none", reason="SIDECAR_UNKNOWN")
