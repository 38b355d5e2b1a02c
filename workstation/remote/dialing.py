"""Reaches a workstation in another process."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc

from empla import rpc
from workstation.interface import Browser, Compute, FileSystem
from workstation.remote.browser.client import RemoteBrowser
from workstation.remote.compute.client import RemoteCompute
from workstation.remote.connection import PATIENCE_SECONDS, Connection
from workstation.remote.files.client import RemoteFileSystem
from workstation.remote.serving import MAX_MESSAGE_BYTES


@dataclass(frozen=True, slots=True)
class RemoteWorkstation:
    """What one peer may serve; calls of what it does not serve raise `Unsupported`."""

    connection: Connection
    files: FileSystem
    compute: Compute
    browser: Browser


@asynccontextmanager
async def dialing(
    target: str,
    token: str | Callable[[], str],
    *,
    instance: str = "",
    credentials: grpc.ChannelCredentials | None = None,
    patience: float = PATIENCE_SECONDS,
) -> AsyncIterator[RemoteWorkstation]:
    """A workstation at a gRPC target, which is reached when it is first used; `patience` as for `Connection`, in seconds.

    Calls carry `token`, or what that gives then. `instance` names the process that is to serve, where that is known; else
    it is asked for. Raises `NotLocal` for another machine without `credentials` for TLS.
    """
    async with rpc.dialing(target, token, credentials=credentials, max_message_bytes=MAX_MESSAGE_BYTES) as channel:
        connection = Connection(channel, patience=patience)
        yield RemoteWorkstation(
            connection, RemoteFileSystem(connection), RemoteCompute(connection, instance), RemoteBrowser(connection)
        )
