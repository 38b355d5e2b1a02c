"""What every sidecar does: serve its employee until its tenure is over, then go without leaving anything."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib.metadata import version
from socket import AF_UNIX, SOCK_DGRAM, socket
from typing import Any

import grpc

from empla import rpc, telemetry
from empla.egress import EgressRule, rule_of
from empla.v1 import control_pb2, sidecar_pb2_grpc
from empla.v1 import sidecar_pb2 as pb
from sidecars.bounds import bounded
from sidecars.settings import SidecarSettings
from sidecars.tenure import Tenure
from workstation.interface import Browser, Compute, FileSystem
from workstation.remote.memory import keep_freed_memory
from workstation.remote.serving import serving

log = logging.getLogger(__name__)

GRACE_SECONDS = 0.2
"""For calls that are being answered when the end comes."""
END_SECONDS = 10
"""A sidecar that has not ended by then is ended by the kernel, and whatever it started with it."""
NEWS = "news"
"""The socket beside ours at which they wait who launched this one."""
CONTROL = "empla.v1.SidecarControl"

Configure = Callable[[tuple[EgressRule, ...], pb.SidecarConfiguration], None]
"""Takes the egress rules of a configuration, and all of it."""


def run(settings: SidecarSettings, live: Callable[[SidecarSettings], Coroutine[Any, Any, None]]) -> int:
    """Be a sidecar, in a process that has nothing else to do; returns its exit code."""
    with telemetry.started(
        "empla-sidecar",
        level=settings.log_level,
        collector=settings.collector,
        employee=str(settings.employee_id),
        sidecar=str(settings.id),
    ):
        keep_freed_memory()
        with bounded(settings):
            asyncio.run(live(settings))
    return 0


async def serve(
    settings: SidecarSettings,
    kind: control_pb2.SidecarKind.ValueType,
    configure: Configure,
    *,
    files: FileSystem | None = None,
    compute: Compute | None = None,
    browser: Browser | None = None,
) -> None:
    """Serve what is given, and `SidecarControl`, until the tenure is over; what is not given is UNIMPLEMENTED.

    Raises OSError when the address cannot be had.
    """
    tenure = Tenure(settings)
    control = Control(settings, kind, configure, tenure)
    also = {CONTROL: partial(sidecar_pb2_grpc.add_SidecarControlServicer_to_server, control)}
    with _no_socket_left(settings):
        async with serving(
            settings.address,
            authenticate=tenure.authenticate,
            files=files,
            compute=compute,
            browser=browser,
            instance=str(settings.id),  # which is this process's alone: no sidecar is started twice
            also=also,
            grace=GRACE_SECONDS,
        ) as address:
            log.info("serving at %s, pid %d", address, os.getpid())
            _tell(settings)
            why = await tenure.over()
            signal.alarm(END_SECONDS)
            log.info("ends: %s", why)


class Control(sidecar_pb2_grpc.SidecarControlServicer):
    """Says what this sidecar is, and takes its employee's configuration; see sidecar.proto."""

    def __init__(
        self,
        settings: SidecarSettings,
        kind: control_pb2.SidecarKind.ValueType,
        configure: Configure,
        tenure: Tenure,
    ) -> None:
        self._settings, self._kind, self._configure, self._tenure = settings, kind, configure, tenure

    async def Describe(self, request: pb.DescribeSidecarRequest, context: Any) -> pb.SidecarDescription:  # noqa: N802
        """See sidecar.proto."""
        settings = self._settings
        description = pb.SidecarDescription(
            sidecar_id=str(settings.id),
            employee_id=str(settings.employee_id),
            epoch=settings.epoch,
            kind=self._kind,
            build=await asyncio.to_thread(version, "empla"),
            pid=os.getpid(),
            memory_bytes=settings.memory_bytes or 0,
            cpus=settings.cpus or 0.0,
        )
        description.expires_at.FromMilliseconds(round(self._tenure.expires_at * 1000))
        return description

    async def Configure(self, request: pb.SidecarConfiguration, context: Any) -> pb.ConfigureSidecarResponse:  # noqa: N802
        """See sidecar.proto."""
        try:
            rules = tuple(rule_of(written) for written in request.egress)
        except ValueError as error:
            raise rpc.StatusError(
                grpc.StatusCode.INVALID_ARGUMENT, "INVALID", f"an egress rule: {error}", fields={"egress": str(error)}
            ) from error
        self._configure(rules, request)
        return pb.ConfigureSidecarResponse()


def _tell(settings: SidecarSettings) -> None:
    """Tell whoever launched this one that it serves, if they wait for that, in the directory of the socket."""
    if settings.socket is not None:
        with socket(AF_UNIX, SOCK_DGRAM) as news, suppress(FileNotFoundError, ConnectionRefusedError):
            news.sendto(b"1", str(settings.socket.with_name(NEWS)))


@contextmanager
def _no_socket_left(settings: SidecarSettings) -> Iterator[None]:
    try:
        yield
    finally:
        if settings.socket is not None:
            settings.socket.unlink(missing_ok=True)
