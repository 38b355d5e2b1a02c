"""Which of the driver's errors mean that the database is away."""

import asyncpg
import pytest

from empla.store.connect import translated
from empla.store.errors import StoreUnavailable


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.DiskFullError("no space left on device"),
        asyncpg.OutOfMemoryError("out of memory"),
        asyncpg.TooManyConnectionsError("too many clients"),
        asyncpg.ReadOnlySQLTransactionError("cannot execute UPDATE in a read-only transaction"),
        asyncpg.SerializationError("could not serialize access due to concurrent update"),
    ],
)
def test_a_server_that_cannot_take_a_write_now_is_unavailable(error: Exception):
    with pytest.raises(StoreUnavailable), translated():
        raise error


def test_a_refused_statement_is_not():
    with pytest.raises(asyncpg.UniqueViolationError), translated():
        raise asyncpg.UniqueViolationError("duplicate key")
