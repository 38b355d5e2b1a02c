"""The system's database, looked at from outside."""

import asyncio
import time
from types import TracebackType
from typing import Any, Self

import asyncpg

from empla.store.connect import load_queries

SQL = load_queries("loadtests.quarter", "queries.sql")


class Database:
    """One connection of the tables' owner, which is opened again after the server has stopped."""

    def __init__(self, dsn: str) -> None:
        self._dsn, self._runner = dsn, asyncio.Runner()
        self._connection: Any = None

    def rows(self, statement: str, *values: Any) -> list[Any]:
        """What a query finds."""
        return self._runner.run(self._fetch(statement, values))

    def value(self, statement: str, *values: Any) -> Any:
        """The one value that a query finds."""
        return self.rows(statement, *values)[0][0]

    def run(self, statement: str) -> None:
        """Carry out a statement that finds nothing."""
        self.rows(statement)

    def holding(self, word: str) -> dict[str, int]:
        """The tables in which `word` stands anywhere, and in how many rows."""
        tables = [row[0] for row in self.rows(SQL.tables)]
        counted = {
            table: self.value(f"SELECT count(*) FROM {table} t WHERE strpos(lower(t::text), lower($1)) > 0", word)
            for table in tables
        }
        return {table: count for table, count in counted.items() if count}

    def pace_ms(self) -> float:
        """How long the server takes for what is always the same: five times a little work and a durable commit."""
        before = time.perf_counter()
        for _ in range(5):
            self.value(SQL.pace)
        return (time.perf_counter() - before) * 1000

    async def _fetch(self, statement: str, values: tuple[Any, ...]) -> list[Any]:
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(self._dsn)
        found: list[Any] = await self._connection.fetch(statement, *values)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            self._runner.run(self._connection.close())
        self._runner.close()
