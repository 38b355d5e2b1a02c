"""Intents and results in the database, each write fenced by this launch's epoch."""

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any

from pydantic import JsonValue

from agent.capabilities.base import Action, EffectKey, RecordedEffect
from agent.errors import Superseded
from agent.identity import Identity
from agent.pipeline.transitions import SQL
from empla.store.connect import Pool, translated
from empla.store.errors import StoreUnavailable

log = logging.getLogger(__name__)

STORE_RETRY_SECONDS = 0.25


class StoredEffects:
    """The `EffectLog` over the table `effects`; raises `Superseded` when a newer launch owns the employee.

    A database that is away is waited for: this process knows what it did, and must not leave it to a person to find out.
    """

    def __init__(self, pool: Pool, identity: Identity) -> None:
        self._pool, self._identity = pool, identity

    async def begin(
        self, key: EffectKey, *, capability: str, action: Action, arguments: dict[str, Any]
    ) -> RecordedEffect | None:
        """Record the intent; None when it is new, else what an earlier execution left."""
        row = await self._write(
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
            action.repeatable,
            datetime.now(UTC),
        )
        return None if row["mine"] else RecordedEffect(row["state"], row["result"], row["error"])

    async def end(
        self, key: EffectKey, *, state: str, result: JsonValue = None, error: Exception | None = None
    ) -> None:
        """Record what came of it."""
        await self._write(
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

    async def _write(self, statement: str, *arguments: Any) -> Any:
        while True:
            try:
                with translated():
                    row = await self._pool.fetchrow(statement, *arguments)
            except StoreUnavailable as error:
                log.warning("the database is away, the record of an action waits: %s", error)
                await asyncio.sleep(STORE_RETRY_SECONDS)
                continue
            if row is None:
                raise Superseded("a newer launch owns this employee")
            return row
