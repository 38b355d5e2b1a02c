"""Intents and results in the database, each write fenced by this launch's epoch."""

from typing import Any

from pydantic import JsonValue

from agent.capabilities.base import Action, EffectKey, RecordedEffect
from agent.errors import Superseded
from agent.identity import Identity
from agent.pipeline.transitions import SQL
from empla.store.connect import Pool, translated


class StoredEffects:
    """The `EffectLog` over the table `effects`; raises `Superseded` when a newer launch owns the employee."""

    def __init__(self, pool: Pool, identity: Identity) -> None:
        self._pool, self._identity = pool, identity

    async def begin(
        self, key: EffectKey, *, capability: str, action: Action, arguments: dict[str, Any]
    ) -> RecordedEffect | None:
        """Record the intent; None when it is new, else what an earlier execution left."""
        with translated():
            row = await self._pool.fetchrow(
                SQL.begin_effect,
                key.unit_id,
                key.response_index,
                key.call_index,
                key.message_id,
                self._identity.employee_id,
                self._identity.epoch,
                capability,
                action.name,
                arguments,
                action.reads_only,
            )
        if row is None:
            raise Superseded("a newer launch owns this employee")
        return None if row["state"] == "new" else RecordedEffect(row["state"], row["result"], row["error"])

    async def end(
        self, key: EffectKey, *, state: str, result: JsonValue = None, error: Exception | None = None
    ) -> None:
        """Record what came of it."""
        with translated():
            row = await self._pool.fetchrow(
                SQL.end_effect,
                key.unit_id,
                key.response_index,
                key.call_index,
                state,
                result,
                type(error).__name__ if error else "",
                str(error) if error else "",
                self._identity.employee_id,
                self._identity.epoch,
            )
        if row is None:
            raise Superseded("a newer launch owns this employee")
