"""Serves a workstation to another process."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import grpc
import grpc.aio

from empla import rpc
from empla.v1 import workstation_pb2, workstation_pb2_grpc
from workstation.interface import Browser, Compute, FileSystem
from workstation.remote.browser.servicer import BrowserServicer
from workstation.remote.compute.servicer import ComputeServicer
from workstation.remote.errors import to_status
from workstation.remote.files.pieces import add_to_server
from workstation.remote.files.servicer import FileSystemServicer

MAX_MESSAGE_BYTES = 8 << 20
"""As `workstation.proto` says."""
_SERVICES = {name: service.full_name for name, service in workstation_pb2.DESCRIPTOR.services_by_name.items()}


@asynccontextmanager
async def serving(
    address: str,
    *,
    authenticate: rpc.Authenticate,
    files: FileSystem | None = None,
    compute: Compute | None = None,
    browser: Browser | None = None,
    instance: str = "",
    also: Mapping[str, rpc.Register] | None = None,
    credentials: grpc.ServerCredentials | None = None,
    grace: float = 1.0,
) -> AsyncIterator[str]:
    """Serve what is given, and `also` other services; yields the address that is bound.

    A service that is not given is UNIMPLEMENTED. `instance` as for `ComputeServicer`, `address` and `credentials` as for
    `rpc.serving`, whose errors this raises. Leaving the block gives running calls `grace` seconds.
    """
    async with AsyncExitStack() as stack:
        services: dict[str, rpc.Register] = dict(also or {})
        if files is not None:
            servicer: Any = FileSystemServicer(files)
            services[_SERVICES["FileSystem"]] = partial(add_to_server, servicer)
        if compute is not None:
            servicer = await stack.enter_async_context(ComputeServicer(compute, instance))
            services[_SERVICES["Compute"]] = partial(workstation_pb2_grpc.add_ComputeServicer_to_server, servicer)
        if browser is not None:
            servicer = BrowserServicer(browser)
            services[_SERVICES["Browser"]] = partial(workstation_pb2_grpc.add_BrowserServicer_to_server, servicer)
        served = rpc.serving(
            address,
            services,
            authenticate=authenticate,
            translate=to_status,
            grace=grace,
            credentials=credentials,
            max_message_bytes=MAX_MESSAGE_BYTES,
        )
        yield await stack.enter_async_context(served)
