"""The one writer of the pipeline's states: a move is one compare-and-set, and moves that meet are written together."""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from uuid import UUID

import asyncpg

from agent.errors import IllegalTransition, Superseded, TransitionRefused
from agent.identity import Identity
from agent.moments import tell_health
from agent.pipeline.units import Machine, Move, Place, Unit
from empla.store.connect import Pool, load_queries, translated
from empla.store.errors import StoreUnavailable
from empla.store.outage import Outage

log = logging.getLogger(__name__)

SQL = load_queries("agent.pipeline", "queries.sql")
_LAST_LINE = "SELECT unit_id FROM moved;"
assert SQL.transition.endswith(_LAST_LINE)
TRANSITION_WITH_SELDOM_ROWS = SQL.transition.removesuffix(_LAST_LINE) + SQL.seldom_rows_of_moves + "\n" + _LAST_LINE
MAX_BATCH = 64
STORE_RETRY_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0)

Edge = tuple[Machine, Place, Place]


class _Entry:
    """A move that waits to be written, and what came of it."""

    __slots__ = ("done", "error", "move")

    def __init__(self, move: Move) -> None:
        self.move = move
        self.done = False
        self.error: Exception | None = None


class Transitions:
    """Writes moves for one launch of one employee.

    Moves that arrive while a statement is under way share the next one (group commit), so many in flight cost few
    commits and a lone one waits for nobody.
    """

    def __init__(self, pool: Pool, identity: Identity, edges: Iterable[Edge]) -> None:
        self._pool, self._identity = pool, identity
        self._edges = frozenset(edges)
        self._pending: deque[_Entry] = deque()
        self._writing = asyncio.Lock()
        self._outage = Outage(log, "a transition")

    @classmethod
    async def load(cls, pool: Pool, identity: Identity) -> "Transitions":
        """Read the legal edges from the table that also guards the rows; raises `StoreUnavailable`."""
        with translated():
            rows = await pool.fetch(SQL.edges)
        edges = [
            (r["machine"], Place(r["from_state"], r["from_step"]), Place(r["to_state"], r["to_step"])) for r in rows
        ]
        return cls(pool, identity, edges)

    async def commit(self, move: Move) -> Unit:
        """Make `move` durable and return the unit as it stands after it.

        While the database is away this waits and tries again. Raises `IllegalTransition`, `TransitionRefused` when the
        unit has been moved by somebody else, `Superseded` when a newer launch owns the employee.
        """
        if move.to != move.unit.place and (move.unit.machine, move.unit.place, move.to) not in self._edges:
            raise IllegalTransition(f"{move.unit.machine}: {move.unit.place} → {move.to}")
        uncertain = False
        for delay in _delays():
            try:
                await self._write_once(move, uncertain=uncertain)
            except StoreUnavailable as error:
                self._outage.lasts(error)
                tell_health("database", str(error))
                uncertain = True
                await asyncio.sleep(delay)
            else:
                self._outage.over()
                tell_health("database")
                break
        return move.after

    async def _write_once(self, move: Move, *, uncertain: bool) -> None:
        """Write `move`; with `uncertain`, an earlier try may have been committed although its answer was lost."""
        try:
            await self._write(move)
        except TransitionRefused:
            if not (uncertain and await self._took_effect(move)):
                raise

    async def _write(self, move: Move) -> None:
        entry = _Entry(move)
        self._pending.append(entry)
        async with self._writing:
            if not entry.done:
                batch = [self._pending.popleft() for _ in range(min(MAX_BATCH, len(self._pending)))]
                await self._write_batch(batch)
        if entry.error is not None:
            raise entry.error

    async def _write_batch(self, batch: list[_Entry]) -> None:
        try:
            with translated():
                rows = await self._pool.fetch(
                    TRANSITION_WITH_SELDOM_ROWS if any(_asks_or_answers(one.move) for one in batch) else SQL.transition,
                    [entry.move.as_row() for entry in batch],
                    self._identity.employee_id,
                    self._identity.epoch,
                )
            moved = {row["unit_id"] for row in rows}
            refused = [entry for entry in batch if entry.move.unit.unit_id not in moved]
            if refused:
                reason = await self._refusal()
                for entry in refused:
                    entry.error = reason
        except StoreUnavailable as error:
            _settle(batch, error)
        except asyncpg.PostgresError as error:
            if len(batch) == 1:
                _settle(batch, error)
            else:
                await self._write_each(batch)
        except BaseException:
            # Whoever writes for the others may be cancelled; they must not wait for an answer that never comes.
            _settle(batch, StoreUnavailable("the transition was interrupted"))
            raise
        finally:
            for entry in batch:
                entry.done = True

    async def _write_each(self, batch: list[_Entry]) -> None:
        """One bad move must not fail its neighbours."""
        _settle(batch, StoreUnavailable("the transition was interrupted"))
        for entry in batch:
            entry.error = None
            await self._write_batch([entry])

    async def _refusal(self) -> Exception:
        with translated():
            epoch = await self._pool.fetchval(SQL.epoch, self._identity.employee_id)
        if epoch != self._identity.epoch:
            return Superseded(f"epoch {epoch} owns this employee, this process is {self._identity.epoch}")
        return TransitionRefused("the unit has been moved by somebody else")

    async def _took_effect(self, move: Move) -> bool:
        rows = await self.where_are([move.unit.unit_id])
        after = move.after
        return any(
            (r["state"], r["step"], r["attempt"], r["epoch"])
            == (after.place.state, after.place.step, after.attempt, self._identity.epoch)
            for r in rows
        )

    async def where_are(self, units: list[UUID]) -> list[dict[str, object]]:
        """State, step, attempt and epoch of some units, as the table has them now."""
        with translated():
            return [dict(row) for row in await self._pool.fetch(SQL.where_is, units)]


def _asks_or_answers(move: Move) -> bool:
    return bool(move.reviews or move.answers or move.takes)


def _settle(batch: list[_Entry], error: Exception) -> None:
    for entry in batch:
        entry.error = error


def _delays() -> Iterable[float]:
    yield from STORE_RETRY_SECONDS
    while True:
        yield STORE_RETRY_SECONDS[-1]
