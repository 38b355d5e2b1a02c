"""The workstations that must all behave alike, and a healthy host and neighbour after each test.

Another implementation joins by one entry in `IMPLEMENTATIONS`.
"""

import itertools
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockBuster

from tests.conformance import matrix
from tests.conformance.host import available_memory, jailed_processes
from tests.conformance.programs import run
from workstation.interface import Compute, ComputeCapabilities, ComputeLimits, FileSystem, FileSystemLimits
from workstation.local.compute import LocalCompute
from workstation.local.files import LocalFileSystem

type OpenFiles = Callable[..., AbstractAsyncContextManager[FileSystem]]
type OpenCompute = Callable[..., AbstractAsyncContextManager[Compute]]


@dataclass(frozen=True)
class Implementation:
    """How one kind of workstation is opened over a directory of this machine."""

    files: Callable[[Path, FileSystemLimits, int | None], AbstractAsyncContextManager[FileSystem]]
    compute: Callable[[Path, ComputeLimits | None], AbstractAsyncContextManager[Compute]]


IMPLEMENTATIONS = {
    "local": Implementation(
        files=lambda workspace, limits, quota: LocalFileSystem(workspace, limits=limits, quota_bytes=quota),
        compute=lambda workspace, limits: LocalCompute(workspace, limits=limits),
    )
}

_accounts = itertools.cycle(range(1_900_000_000 + (os.getpid() % 10_000) * 1000, 2_000_000_000))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print which case passed where."""
    matrix.write(terminalreporter)


@pytest.fixture(params=IMPLEMENTATIONS)
def implementation(request: pytest.FixtureRequest) -> Implementation:
    """The workstation under test."""
    request.node.user_properties.append((matrix.PROPERTY, request.param))
    return IMPLEMENTATIONS[request.param]


def make_workspace(place: Path) -> Path:
    """An empty workspace, which as root is given to an account that nothing else on this machine has."""
    place.mkdir(mode=0o700)
    if os.geteuid() == 0:
        account = next(_accounts)
        os.chown(place, account, account)
    return place


@pytest.fixture
def planted(short_directory: Path) -> Path:
    """The workspace as the host sees it, for planting there what a jailed program might."""
    return make_workspace(short_directory / "workspace")


@pytest.fixture
def outside(planted: Path) -> Iterator[Path]:
    """A directory beside the workspace with a secret that nobody may read or change."""
    directory = planted.parent / "outside"
    directory.mkdir()
    (directory / "file").write_text("secret")
    yield directory
    assert {path.name: path.read_text() for path in directory.iterdir()} == {"file": "secret"}


@pytest.fixture
def nothing_blocks() -> Iterator[None]:
    """No call on files blocks the event loop, not even for a moment that elsewhere is forgiven."""
    detector = BlockBuster(["workstation"])
    for name in [name for name in detector.functions if name.startswith("threading.Lock.")]:
        del detector.functions[name]
    detector.activate()
    yield
    detector.deactivate()


@pytest.fixture
def open_files(implementation: Implementation, planted: Path) -> OpenFiles:
    """Open a FileSystem over the workspace, with other limits or with a quota."""

    def opened(
        limits: FileSystemLimits | None = None, *, quota_bytes: int | None = None
    ) -> AbstractAsyncContextManager[FileSystem]:
        return implementation.files(planted, limits or FileSystemLimits(), quota_bytes)

    return opened


@pytest.fixture
async def files(open_files: OpenFiles) -> AsyncIterator[FileSystem]:
    """An open FileSystem over an empty workspace."""
    async with open_files() as opened:
        yield opened


@pytest.fixture
async def neighbour(implementation: Implementation, short_directory: Path) -> AsyncIterator[Compute]:
    """A second Compute, of another employee, over a workspace of its own."""
    async with implementation.compute(make_workspace(short_directory / "neighbour"), None) as opened:
        yield opened


@pytest.fixture
async def healthy(planted: Path, neighbour: Compute) -> AsyncIterator[None]:
    """After the test and the end of its Compute nothing of it is left, and host and neighbour are well."""
    yield
    assert jailed_processes(planted) == []
    assert (await run(neighbour, "true")).end.exit_code == 0
    assert available_memory() > 256 << 20


@pytest.fixture
def open_compute(implementation: Implementation, planted: Path, healthy: None) -> OpenCompute:
    """Open a Compute over the workspace; named limits take the place of its usual ones."""

    @asynccontextmanager
    async def opened(**changes: Any) -> AsyncIterator[Compute]:
        limits = None
        if changes:
            async with implementation.compute(planted, None) as usual:
                limits = replace((await usual.capabilities()).limits, **changes)
        async with implementation.compute(planted, limits) as compute:
            yield compute

    return opened


@pytest.fixture
async def compute(open_compute: OpenCompute) -> AsyncIterator[Compute]:
    """An open Compute over the workspace."""
    async with open_compute() as opened:
        yield opened


@pytest.fixture
async def capabilities(compute: Compute) -> ComputeCapabilities:
    """What the Compute under test says it can do."""
    return await compute.capabilities()
