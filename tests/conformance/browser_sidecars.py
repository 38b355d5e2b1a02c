"""Browser sidecars as processes, launched as the control plane does it: forked from a warm parent."""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from controlplane.launchers.interface import BROWSER
from controlplane.launchers.process import Parent, ProcessLauncher
from empla import rpc
from empla.v1 import control_pb2, sidecar_pb2, sidecar_pb2_grpc
from tests.conformance.leasing import Leased
from workstation.egress import EgressPolicy, EgressProxy
from workstation.interface import Browser, BrowserLimits, FileSystem
from workstation.remote.dialing import dialing

PARENT = Parent("browsers", {BROWSER: f"{__name__}:launch"}, ("importlib.metadata", "sidecars.browser.__main__"))
WORKSPACES: WeakKeyDictionary[FileSystem, tuple[Path, int | None]] = WeakKeyDictionary()
"""Where the files lie that a sidecar serves, and their quota: a browser sidecar opens them by itself."""


class BrowserSidecars:
    """Starts them, one for each Browser; `way_out` has the policy that they are told."""

    def __init__(self, place: Path, way_out: EgressProxy) -> None:
        self._place, self._way_out = place, way_out
        self._launcher = ProcessLauncher(place, place / "log", PARENT)

    @asynccontextmanager
    async def open(
        self, files: FileSystem, profile: Path | None, limits: BrowserLimits | None
    ) -> AsyncIterator[Browser]:
        """A Browser over the workspace of these files. Raises what opening it raises there."""
        leased, (workspace, quota) = Leased(), WORKSPACES[files]
        address = f"unix:{self._place}/{leased.lease.sidecar_id.hex}"
        settings = leased.settings(address, workspace, quota)
        settings |= {"browser_profile": profile and str(profile), "limits": limits and asdict(limits)}
        async with leased.launched(self._launcher, BROWSER, settings, self._place / "log"):
            await _configure(address, leased.token, self._way_out.policy)
            async with dialing(address, leased.token) as workstation:
                await workstation.browser.pages()
                yield workstation.browser


@asynccontextmanager
async def browser_sidecars(way_out: EgressProxy) -> AsyncIterator[BrowserSidecars]:
    """A warm parent of them, which ends with the block."""
    with tempfile.TemporaryDirectory(prefix="empla-") as directory:
        socket = Path(directory) / f"{PARENT.name}.sock"
        parent = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "empla.forkserver",
            str(socket),
            *PARENT.arguments,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert parent.stdout is not None
            assert await parent.stdout.readline() == b"ready\n"
            yield BrowserSidecars(Path(directory), way_out)
        finally:
            parent.kill()
            await parent.communicate()


async def _configure(address: str, token: str, policy: EgressPolicy) -> None:
    rules = [
        control_pb2.EgressRule(domain=rule.domain, ports=rule.ports, methods=rule.methods, private=rule.private)
        for rule in policy.rules
    ]
    async with rpc.dialing(address, token) as channel:
        control = sidecar_pb2_grpc.SidecarControlStub(channel)
        await control.Configure(sidecar_pb2.SidecarConfiguration(egress=rules), timeout=30, wait_for_ready=True)


async def _loopback(name: str) -> Sequence[str]:
    """Where the names of the tests' sites lead; all others are refused before they are looked for."""
    del name
    return ("127.0.0.1",)


def launch(settings: dict[str, Any]) -> int:
    """Be a sidecar in the forked child; only its limits, and who tells it addresses, may be others than usual."""
    from sidecars.browser import __main__ as sidecar
    from sidecars.serving import run
    from sidecars.settings import SidecarSettings
    from workstation.local.browser.browser import LocalBrowser

    if (limits := settings.pop("limits")) is not None:
        setattr(sidecar, "LocalBrowser", partial(LocalBrowser, limits=BrowserLimits(**limits)))  # noqa: B010
    setattr(sidecar, "EgressProxy", partial(EgressProxy, resolve=_loopback))  # noqa: B010 - in this process alone
    return run(SidecarSettings(**settings), sidecar.live)
