"""Intents and results in the database, each write fenced by this launch's epoch."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pydantic import JsonValue

from agent.capabilities.base import Action, EffectKey, RecordedEffect
from agent.errors import Superseded
from agent.identity import Identity
from agent.models.interface import storable
from agent.pipeline.step import Unrecorded
from agent.pipeline.stopping import go_on_unless_stopped
from agent.pipeline.transitions import SQL
from empla.store.connect import Pool, translated
from empla.store.errors import StoreUnavailable


class StoredEffects:
    """The `EffectLog` over the table `effects`.

    A database that is away ends the attempt with `StoreUnavailable`, and so may a deadline or a drain. What this process
    knows by then stays in `unrecorded`: the next attempt in this process writes it before it asks what became of a call,
    so that nobody has to find out what was known. Raises `Superseded` when a newer launch owns the employee.
    """

    def __init__(self, pool: Pool, identity: Identity, unrecorded: Unrecorded) -> None:
        self._pool, self._identity, self._unrecorded = pool, identity, unrecorded

    async def begin(
        self, key: EffectKey, *, capability: str, action: Action, arguments: dict[str, Any]
    ) -> RecordedEffect | None:
        """Record the intent; None when it is new, else what an earlier execution left."""
        if key in self._unrecorded.ended:
            await self._record(key)
        # Of an intent whose answer was lost, the same time says that nothing was done about it yet.
        begun = self._unrecorded.begun.setdefault(key, datetime.now(UTC))
        row = await self._begun(
            SQL.begin_effect,
            key,
            key.message_id,
            self._identity.employee_id,
            self._identity.epoch,
            capability,
            action.name,
            arguments,
            action.repeatable,
            begun,
            key.anew_since,
            key.works_for,
        )
        del self._unrecorded.begun[key]
        if row["mine"]:
            return None
        return RecordedEffect(row["state"], row["result"], row["error"], awaits=row["error_class"] == "ApprovalNeeded")

    async def end(
        self,
        key: EffectKey,
        *,
        state: str,
        result: JsonValue = None,
        error: Exception | None = None,
        places: Sequence[JsonValue] = (),
    ) -> None:
        """Record what came of it; what cannot be written now is kept for the next `begin` of the same call."""
        self._unrecorded.ended[key] = (
            state,
            result,
            type(error).__name__ if error else "",
            storable(str(error)) if error else "",
            list(places),
        )
        await self._record(key)

    async def cut_short(self, unit_id: UUID) -> None:
        """Record what is known of the actions of a unit that is stopped: of one that was begun and cut short, that."""
        for key in [key for key in self._unrecorded.ended if key.works_for == unit_id]:
            await self._record(key)
        with translated():
            await self._pool.execute(SQL.cut_short, unit_id, self._identity.employee_id, self._identity.epoch)

    async def _record(self, key: EffectKey) -> None:
        try:
            await self._write(
                SQL.end_effect,
                *_place_of(key),
                *self._unrecorded.ended[key],
                self._identity.employee_id,
                self._identity.epoch,
            )
        except StoreUnavailable:
            raise
        except Exception:  # what the database does not take now it will not take later
            del self._unrecorded.ended[key]
            raise
        del self._unrecorded.ended[key]

    async def _begun(self, statement: str, key: EffectKey, *arguments: Any) -> Any:
        try:
            return await self._write(statement, *_place_of(key), *arguments)
        except Superseded:
            await go_on_unless_stopped(self._pool, key.works_for)
            raise

    async def _write(self, statement: str, *arguments: Any) -> Any:
        with translated():
            row = await self._pool.fetchrow(statement, *arguments)
        if row is None:
            raise Superseded("a newer launch owns this employee")
        return row


def _place_of(key: EffectKey) -> tuple[UUID, int, int]:
    return key.unit_id, key.response_index, key.call_index
