"""Sidecars and employees in containers: how large the images are, and how long it takes from a launch to what it is for.

It needs the images (deploy/images/build.sh) and an engine, which DOCKER_HOST names.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controlplane.errors import LaunchFailed
from controlplane.launchers.container import ContainerLauncher, images
from controlplane.launchers.engine import Engine
from controlplane.launchers.interface import BROWSER, COMPUTE, LaunchedProcess, LaunchSpec
from empla.leases import Lease, mint, new_key
from empla.store.ids import new_id
from loadtests import employee_containers
from loadtests.report import Figure, percentile
from workstation.interface import ExecSpec
from workstation.remote.dialing import RemoteWorkstation, dialing

ADDRESS = os.environ.get("DOCKER_HOST", "unix:///run/docker.sock")
OWNER = 1_900_000_000
SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Lengths:
    """How many sidecars are started one after the other, and how many at once; and how many employees live."""

    one_by_one: int
    at_once: int
    employees: int


FULL = Lengths(one_by_one=15, at_once=20, employees=10)
QUICK = Lengths(one_by_one=2, at_once=3, employees=1)


async def measure(lengths: Lengths) -> list[Figure]:
    """The figures; an engine or an image that is not there is a row that says why."""
    try:
        async with ContainerLauncher(ADDRESS, f"bench-{new_id()}", images("bridge")) as launcher:
            await launcher.prepare()
            figures = [*await _sizes(), *await _starts(launcher, lengths)]
            return figures + await employee_containers.measure(ADDRESS, lengths.employees)
    except LaunchFailed as error:
        return [Figure(f"in a container: {error}", None, "")]


async def _sizes() -> list[Figure]:
    async with Engine(ADDRESS) as engine:
        found = [(kind, await engine.size(image.name)) for kind, image in images("bridge").items()]
    return [Figure(f"image of a {kind} sidecar", size / 1e6, "MB") for kind, size in found]


async def _starts(launcher: ContainerLauncher, lengths: Lengths) -> list[Figure]:
    with _directory() as place:
        bare, program, page = [], [], []
        for n in range(lengths.one_by_one):  # in turns: the machine's load changes
            bare.append(await _bare())
            program.append(await _first_program(launcher, place / str(n)))
            page.append(await _first_page(launcher, place / f"page-{n}"))
        began = time.perf_counter()
        await asyncio.gather(*(_first_program(launcher, place / f"all-{n}") for n in range(lengths.at_once)))
        together = time.perf_counter() - began
    peer: dict[str, Any] = {"peer": "container of `true`", "peer_value": percentile(bare, 50) * 1e3}
    return [
        Figure("container: launch → first command done, p50", percentile(program, 50) * 1e3, "ms", 600, **peer),
        Figure("container: launch → first page's snapshot, p50", percentile(page, 50) * 1e3, "ms", 800, **peer),
        Figure(f"{lengths.at_once} containers at once: first command done in all, and all ended", together, "s"),
    ]


@contextmanager
def _directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="empla-") as directory:
        Path(directory).chmod(0o711)
        yield Path(directory)


async def _bare() -> float:
    """What the engine alone takes for a container of the same image."""
    configuration = {
        "Image": images("bridge")[COMPUTE].name,
        "Entrypoint": ["true"],
        "HostConfig": {"NetworkMode": "none"},
    }
    async with Engine(ADDRESS) as engine:
        began = time.perf_counter()
        container = await engine.create(f"empla-bare-{new_id()}", configuration)
        await engine.start(container)
        await engine.ended(container)
        took = time.perf_counter() - began
        await engine.remove(container)
        return took


async def _first_program(launcher: ContainerLauncher, place: Path) -> float:
    began = time.perf_counter()
    async with _launched(launcher, COMPUTE, place) as station:
        await station.compute.start("first", ExecSpec(argv=("true",)))
        await station.compute.wait("first")
        return time.perf_counter() - began


async def _first_page(launcher: ContainerLauncher, place: Path) -> float:
    began = time.perf_counter()
    async with _launched(launcher, BROWSER, place) as station:
        await station.browser.open_page("first")
        await station.browser.snapshot("first")
        return time.perf_counter() - began


@asynccontextmanager
async def _launched(launcher: ContainerLauncher, kind: str, place: Path) -> AsyncIterator[RemoteWorkstation]:
    workspace, socket = place / "workspace", place / "run" / "sock"
    workspace.mkdir(parents=True, mode=0o700)
    if os.geteuid() == 0:
        os.chown(workspace, OWNER, OWNER)
    sidecar_id, employee_id, key, expires_at = new_id(), new_id(), new_key(), time.time() + SECONDS
    settings: dict[str, Any] = {
        "id": str(sidecar_id),
        "employee_id": str(employee_id),
        "epoch": 1,
        "key": key.hex(),
        "expires_at": expires_at,
        "address": f"unix:{socket}",
        "workspace": str(workspace),
        "memory_bytes": 1 << 30,
    }
    spec = LaunchSpec(employee_id, 1, settings, place / "log", kind=kind, sidecar_id=sidecar_id, memory_bytes=1 << 30)
    process: LaunchedProcess = await launcher.launch(spec)
    try:
        async with dialing(f"unix:{socket}", mint(key, Lease(sidecar_id, employee_id, expires_at))) as station:
            yield station
    finally:
        process.kill(15)
        await process.wait()
