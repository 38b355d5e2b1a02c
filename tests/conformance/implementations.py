"""The workstations under test: how each kind is opened over a directory of this machine.

Another one joins by an entry in `IMPLEMENTATIONS`.
"""

import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tests.conformance.browser_sidecars import WORKSPACES, browser_sidecars
from tests.conformance.leasing import Running
from tests.conformance.sidecar_containers import sidecar_container
from tests.conformance.sidecar_processes import sidecar_process
from workstation.egress import EgressProxy
from workstation.interface import Browser, BrowserLimits, Compute, ComputeLimits, FileSystem, FileSystemLimits
from workstation.local.compute import LocalCompute
from workstation.local.files import LocalFileSystem
from workstation.remote.dialing import RemoteWorkstation, dialing
from workstation.remote.serving import serving

type OpenBrowser = Callable[[FileSystem, Path | None, BrowserLimits | None], AbstractAsyncContextManager[Browser]]


@dataclass(frozen=True)
class Implementation:
    """One kind of workstation.

    `browser` warms up what may serve several Browsers, each then opened over files, a profile's directory and limits.
    Without one it browses nowhere. With `egress`, its way out is the proxy that the tests hold and look into. With
    `only_browser`, it is there for browsing. `started` is there for what runs outside the tests, and may outlive one.
    """

    files: Callable[[Path, FileSystemLimits, int | None], AbstractAsyncContextManager[FileSystem]]
    compute: Callable[[Path, ComputeLimits | None, EgressProxy | None], AbstractAsyncContextManager[Compute]]
    browser: Callable[[EgressProxy], AbstractAsyncContextManager[OpenBrowser]] | None
    egress: bool = True
    only_browser: bool = False
    started: "Sidecar | None" = None


def _local_files(
    workspace: Path, limits: FileSystemLimits, quota: int | None
) -> AbstractAsyncContextManager[FileSystem]:
    return LocalFileSystem(workspace, limits=limits, quota_bytes=quota)


def _local_compute(
    workspace: Path, limits: ComputeLimits | None, egress: EgressProxy | None
) -> AbstractAsyncContextManager[Compute]:
    return LocalCompute(workspace, limits=limits, egress=egress)


@asynccontextmanager
async def _local_browsers(egress: EgressProxy) -> AsyncIterator[OpenBrowser]:
    # Playwright is imported by those who browse, not by all who collect these tests.
    from workstation.local.browser.browser import LocalBrowser
    from workstation.local.browser.engine import Engine

    async with Engine(egress) as engine:
        yield lambda files, profile, limits: LocalBrowser(
            files, egress=egress, profile=profile, limits=limits, engine=engine
        )


@asynccontextmanager
async def _over_grpc(**served: Any) -> AsyncIterator[RemoteWorkstation]:
    """A workstation of this process, reached through a socket."""
    with tempfile.TemporaryDirectory(prefix="empla-") as directory:
        address = f"unix:{directory}/socket"
        async with serving(address, authenticate=_anybody, **served), dialing(address, "token") as remote:
            yield remote


async def _anybody(method: str, metadata: Any) -> str:
    return "somebody"


@asynccontextmanager
async def _grpc_files(workspace: Path, limits: FileSystemLimits, quota: int | None) -> AsyncIterator[FileSystem]:
    async with _local_files(workspace, limits, quota) as files, _over_grpc(files=files) as remote:
        yield remote.files


@asynccontextmanager
async def _grpc_compute(
    workspace: Path, limits: ComputeLimits | None, egress: EgressProxy | None
) -> AsyncIterator[Compute]:
    async with _local_compute(workspace, limits, egress) as compute, _over_grpc(compute=compute) as remote:
        yield remote.compute


@asynccontextmanager
async def _grpc_browsers(egress: EgressProxy) -> AsyncIterator[OpenBrowser]:
    async with _local_browsers(egress) as open_local:

        @asynccontextmanager
        async def opened(
            files: FileSystem, profile: Path | None, limits: BrowserLimits | None
        ) -> AsyncIterator[Browser]:
            async with open_local(files, profile, limits) as browser, _over_grpc(browser=browser) as remote:
                yield remote.browser

        yield opened


@asynccontextmanager
async def _known_files(workspace: Path, limits: FileSystemLimits, quota: int | None) -> AsyncIterator[FileSystem]:
    async with _local_files(workspace, limits, quota) as files:
        WORKSPACES[files] = workspace, quota  # a browser sidecar opens them by itself
        yield files


@asynccontextmanager
async def _sidecar_browsers(egress: EgressProxy) -> AsyncIterator[OpenBrowser]:
    async with browser_sidecars(egress) as sidecars:
        yield sidecars.open


class Sidecar(Protocol):
    """Starts a sidecar over a workspace, with these limits in place of its usual ones."""

    def __call__(
        self,
        workspace: Path,
        *,
        quota: int | None = None,
        files: FileSystemLimits | None = None,
        compute: ComputeLimits | None = None,
    ) -> AbstractAsyncContextManager[Running]: ...


def _in_sidecar(started: Sidecar) -> Implementation:
    @asynccontextmanager
    async def files(workspace: Path, limits: FileSystemLimits, quota: int | None) -> AsyncIterator[FileSystem]:
        async with started(workspace, quota=quota, files=limits) as running, running.dialing() as remote:
            yield remote.files

    @asynccontextmanager
    async def compute(
        workspace: Path, limits: ComputeLimits | None, egress: EgressProxy | None
    ) -> AsyncIterator[Compute]:
        assert egress is None, "a sidecar has a proxy of its own"
        async with started(workspace, compute=limits) as running, running.dialing() as remote:
            yield remote.compute

    return Implementation(files=files, compute=compute, browser=None, egress=False, started=started)


IMPLEMENTATIONS = {
    "local": Implementation(files=_local_files, compute=_local_compute, browser=_local_browsers),
    "grpc": Implementation(files=_grpc_files, compute=_grpc_compute, browser=_grpc_browsers),
    "sidecar": _in_sidecar(sidecar_process),
    "browser sidecar": Implementation(
        files=_known_files, compute=_local_compute, browser=_sidecar_browsers, egress=False, only_browser=True
    ),
    "container": _in_sidecar(sidecar_container),
}
