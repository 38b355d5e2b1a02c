"""A container engine, the images of sidecars, and sidecars of a test's own in containers."""

import os
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from controlplane.launchers.container import ContainerLauncher
from controlplane.launchers.container import images as images_of
from controlplane.launchers.engine import Engine
from controlplane.launchers.interface import COMPUTE, LaunchSpec
from empla.leases import Lease, mint, new_key
from empla.store.ids import new_id
from tests import container_engine
from tests.cable import Cable, cabled
from workstation.remote.dialing import RemoteWorkstation, dialing

MEMORY = 512 << 20
IMAGES = images_of("bridge")

type Images = Callable[[str], str]


@pytest.fixture(scope="session")
def engine_address() -> str:
    """Where an engine listens: the one that DOCKER_HOST names, or our own."""
    return container_engine.address()


@pytest.fixture(scope="session")
def images() -> Images:
    """Builds the image of a kind of sidecar from the code as it is now; returns its name."""
    return container_engine.image


@pytest.fixture
async def engine(engine_address: str) -> AsyncIterator[Engine]:
    async with Engine(engine_address) as engine:
        yield engine


@pytest.fixture
def installation() -> str:
    """Tells this test's containers from all others."""
    return f"test-{new_id()}"


@pytest.fixture
async def launcher(engine_address: str, engine: Engine, installation: str) -> AsyncIterator[ContainerLauncher]:
    """Launches for this test; what it leaves is removed."""
    async with ContainerLauncher(engine_address, installation, IMAGES) as launcher:
        yield launcher
    for container in await engine.containers({"empla.installation": installation}):
        await engine.remove(container["Id"])


@dataclass
class Order:
    """A sidecar of one employee that is to be launched, and how to reach it."""

    directory: Path
    workspace: Path
    kind: str = COMPUTE
    seconds: float = 300.0
    memory_bytes: int = MEMORY
    key: bytes = field(default_factory=new_key)
    sidecar_id: Any = field(default_factory=new_id)
    employee_id: Any = field(default_factory=new_id)

    @property
    def socket(self) -> Path:
        return self.directory / "run" / "sock"

    @property
    def log(self) -> Path:
        return self.directory / "sidecar.log"

    def spec(self, **changes: Any) -> LaunchSpec:
        self.expires_at = time.time() + self.seconds
        settings = {
            "id": str(self.sidecar_id),
            "employee_id": str(self.employee_id),
            "epoch": 3,
            "key": self.key.hex(),
            "expires_at": self.expires_at,
            "address": f"unix:{self.socket}",
            "workspace": str(self.workspace),
            "memory_bytes": self.memory_bytes,
            "cpus": 1.0,
            "owner_pid": os.getpid(),
            "compute_packages": None,
        }
        settings |= changes
        return LaunchSpec(
            self.employee_id,
            3,
            settings,
            self.log,
            kind=self.kind,
            sidecar_id=self.sidecar_id,
            memory_bytes=self.memory_bytes,
            cpus=1.0,
        )

    def reached(self) -> AbstractAsyncContextManager[RemoteWorkstation]:
        token = mint(self.key, Lease(self.sidecar_id, self.employee_id, self.expires_at))
        return dialing(f"unix:{self.socket}", token)


@pytest.fixture
def order(short_directory: Path, jailable_workspace: Path) -> Order:
    """A compute sidecar over a workspace of its own."""
    return Order(short_directory, jailable_workspace)


@pytest.fixture
async def cable(engine_address: str, short_directory: Path) -> AsyncIterator[Cable]:
    """A way of the test's own to the engine."""
    async with cabled(str(short_directory / "engine.sock"), engine_address.removeprefix("unix://")) as cable:
        yield cable


@pytest.fixture
def left_containers(engine_address: str) -> Callable[[str], list[str]]:
    """The names of all containers, running or not, with a word in them."""

    def named(word: str) -> list[str]:
        command = ["docker", "ps", "--all", "--format", "{{.Names}}", "--filter", f"name={word}"]
        said = subprocess.run(
            command, check=True, capture_output=True, text=True, env=os.environ | {"DOCKER_HOST": engine_address}
        )
        return said.stdout.split()

    return named
