"""Connections to the database, and the one place where the driver's connection errors become `StoreUnavailable`."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg
from asyncpg.pool import PoolAcquireContext, PoolConnectionProxy

from empla.store.errors import StoreUnavailable
from empla.store.queries import Queries, load_queries

__all__ = ["AnyConnection", "Connection", "Pool", "Queries", "connect", "connect_once", "load_queries", "translated"]

type Connection = asyncpg.Connection[asyncpg.Record]
type Pool = asyncpg.Pool[asyncpg.Record]
type AnyConnection = Connection | PoolConnectionProxy[asyncpg.Record]
"""A connection of one's own, or one borrowed from a pool."""

CONNECT_TIMEOUT = 10.0
COMMAND_TIMEOUT = 20.0
CANCEL_TIMEOUT = 5.0
"""For the server to say that it has given up a statement that took too long; then it counts as gone."""
ACQUIRE_TIMEOUT = 30.0
IDLE_LIFETIME = 30.0
CLOSE_TIMEOUT = 5.0

_SILENCE_SECONDS = 15
_PROBES = 2
_PROBE_SECONDS = _SILENCE_SECONDS // (_PROBES + 1)
_ON_TCP = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _PROBE_SECONDS),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBE_SECONDS),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SILENCE_SECONDS * 1000),
)
# The server gives a silent client up as soon, and what that had locked with it; also where somebody between the two still
# acknowledges every packet. Set by a statement, for poolers refuse a connection that begins with what they do not know.
_SESSION = f"""
SET tcp_keepalives_idle = {_PROBE_SECONDS};
SET tcp_keepalives_interval = {_PROBE_SECONDS};
SET tcp_keepalives_count = {_PROBES};
SET tcp_user_timeout = '{_SILENCE_SECONDS}s';
SET client_connection_check_interval = '{_PROBE_SECONDS}s';
SET idle_in_transaction_session_timeout = '20s';
"""

# What the driver would look up in the catalogue before the first statement with such an array, on every new connection: it
# costs the server a quarter of all that a message does on one. The numbers (pg_type.dat) never change.
_ARRAYS = [
    {"oid": oid, "name": f"_{of}", "ns": "pg_catalog", "kind": b"b", "elemtype": elemtype, "elemtype_name": of}
    | {"elemdelim": ",", "range_subtype": None, "attrtypoids": None, "basetype": None}
    for of, oid, elemtype in (
        ("bytea", 1001, 17),
        ("int4", 1007, 23),
        ("int8", 1016, 20),
        ("float8", 1022, 701),
        ("timestamptz", 1185, 1184),
        ("uuid", 2951, 2950),
    )
]

_UNAVAILABLE = (
    OSError,  # includes TimeoutError: the server, or a lock in it, did not answer in time
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,  # too many connections, a full disk, no memory
    asyncpg.ReadOnlySQLTransactionError,  # after a fail-over, until the connections lead to the new primary
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.QueryCanceledError,  # by a timeout of the server's, or by somebody who makes room
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    asyncpg.InternalClientError,  # the server ended an idle connection and the driver has not yet read to the end
)


@asynccontextmanager
async def connect(
    dsn: str,
    *,
    application_name: str,
    min_size: int = 0,
    max_size: int = 4,
    connect_timeout: float = CONNECT_TIMEOUT,
    command_timeout: float = COMMAND_TIMEOUT,
    acquire_timeout: float = ACQUIRE_TIMEOUT,
    idle_lifetime: float = IDLE_LIFETIME,
    close_timeout: float = CLOSE_TIMEOUT,
    statement_cache_size: int = 256,
) -> AsyncIterator[Pool]:
    """Open a pool of at most `max_size` connections and close it at the end of the block.

    Times are in seconds. Whoever gets no connection within `acquire_timeout` is told that the database is unavailable.
    So is whoever gets no answer within `command_timeout`; a server that then does not even cancel counts as gone, and
    every connection that there is gives place to a new one.
    A connection unused for `idle_lifetime` is closed, so an idle process holds none; at the end of
    the block those in use get `close_timeout`, then they are cut. `jsonb` comes and goes as Python objects. A released
    connection is rolled back but its session is not reset, which saves a round trip: leave no `SET`, `LISTEN` or session
    lock behind on it, take `connect_once` for those. Behind a pooler that cannot keep prepared statements set
    `statement_cache_size` to 0. Nothing is opened before the first use unless `min_size` says so; only then can entering
    raise `StoreUnavailable`. Wrap queries in `translated()` to see that error and no other one of the connection.
    """
    with translated():
        pool = await _BoundedPool(
            dsn,
            acquire_timeout=acquire_timeout,
            min_size=min_size,
            max_size=max_size,
            timeout=connect_timeout,
            command_timeout=command_timeout,
            max_inactive_connection_lifetime=idle_lifetime,
            statement_cache_size=statement_cache_size,
            server_settings={"application_name": application_name},
            reset=_keep_session,
        )
    try:
        yield pool
    finally:
        await _close(pool, close_timeout)


@asynccontextmanager
async def connect_once(
    dsn: str, *, application_name: str, command_timeout: float | None = COMMAND_TIMEOUT
) -> AsyncIterator[Connection]:
    """Open a single connection for the block, for listeners and migrations; raises `StoreUnavailable`."""
    with translated():
        connection = await asyncpg.connect(
            dsn,
            timeout=CONNECT_TIMEOUT,
            command_timeout=command_timeout,
            server_settings={"application_name": application_name},
            connection_class=_BoundedConnection,
        )
    try:
        with translated():
            await _prepare(connection)
        yield connection
    finally:
        await _close(connection, CLOSE_TIMEOUT)


@contextmanager
def translated() -> Iterator[None]:
    """Turn "the server cannot be reached, is full, went away or says try again" into `StoreUnavailable`; all else passes.

    Wrap queries only: any `OSError` of the block counts as the server's.
    """
    try:
        yield
    except _UNAVAILABLE as error:
        raise StoreUnavailable(f"the database is unavailable: {_reason(error)}") from error
    except asyncpg.InterfaceError as error:
        if not _lost(error):
            raise
        raise StoreUnavailable(f"the database is unavailable: {_reason(error)}") from error


class _BoundedConnection(asyncpg.Connection):
    """A connection that never waits for a silent server without an end; `on_silence` is called once it has waited."""

    on_silence: Callable[[], Awaitable[None]] | None = None
    _protocol: Any

    def __init__(self, protocol: Any, transport: asyncio.Transport, *rest: Any) -> None:
        super().__init__(protocol, transport, *rest)
        sock = transport.get_extra_info("socket")
        if sock.family != socket.AF_UNIX:
            for option in _ON_TCP:
                sock.setsockopt(*option)

    async def _cancel(self, *waiters: Any) -> None:
        # The driver's own, but with an end. It offers nothing else: its wait for a cancelling is as long as for the
        # statement itself, and whatever follows on the connection, ROLLBACK and release, waits for it.
        async with asyncio.timeout(CANCEL_TIMEOUT) as bound:
            await super()._cancel(*waiters)  # type: ignore[misc]
        if bound.expired():
            self.terminate()
            if self.on_silence is not None:
                await self.on_silence()

    async def close(self, *, timeout: float | None = None) -> None:
        """Say goodbye; to a server that does not answer it is cut short."""
        try:
            await super().close(timeout=CLOSE_TIMEOUT if timeout is None else min(timeout, CLOSE_TIMEOUT))
        except TimeoutError:
            return  # the driver has cut it


class _BoundedPool(asyncpg.Pool):
    """A pool whose `acquire` has an end by itself: those in line behind statements that hang would wait for each in turn."""

    def __init__(self, dsn: str, *, acquire_timeout: float, **options: Any) -> None:
        usual: dict[str, Any] = {
            "max_queries": 50_000,
            "init_size": None,
            "init": self._admit,
            "setup": None,
            "connect": None,
            "loop": None,
            "connection_class": _BoundedConnection,
            "record_class": asyncpg.Record,
        }
        super().__init__(dsn, **usual, **options)
        self._acquire_timeout = acquire_timeout

    def acquire(self, *, timeout: float | None = None) -> "PoolAcquireContext[asyncpg.Record]":
        """See `asyncpg.Pool.acquire`."""
        return super().acquire(timeout=self._acquire_timeout if timeout is None else timeout)

    async def _admit(self, connection: _BoundedConnection) -> None:
        connection.on_silence = self.expire_connections
        await _prepare(connection)


def _lost(error: asyncpg.InterfaceError) -> bool:
    """Tell a connection that broke from a wrong use of the driver, which has the same type."""
    text = str(error)
    return "connection is closed" in text or "connection was closed" in text or "pool is clos" in text


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__


async def _prepare(connection: _BoundedConnection) -> None:
    await connection.execute(_SESSION)
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
    connection._protocol.get_settings().register_data_types(_ARRAYS)


async def _keep_session(_: Connection) -> None:
    """Reset nothing: the driver has already rolled back whatever was open."""


async def _close(resource: Pool | Connection, deadline: float) -> None:
    try:
        async with asyncio.timeout(deadline):
            await resource.close()
    except (TimeoutError, OSError):
        resource.terminate()
