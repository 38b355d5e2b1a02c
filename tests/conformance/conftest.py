"""The workstations that must all behave alike, and a healthy neighbour beside each.

Another implementation joins by one entry in `IMPLEMENTATIONS`.
"""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
from blockbuster import BlockBuster

from workstation.interface import FileSystem, FileSystemLimits
from workstation.local.files import LocalFileSystem

type OpenFiles = Callable[..., AbstractAsyncContextManager[FileSystem]]


@dataclass(frozen=True)
class Implementation:
    """How one kind of workstation is opened over a directory of this machine."""

    files: Callable[[Path, FileSystemLimits, int | None], AbstractAsyncContextManager[FileSystem]]


IMPLEMENTATIONS = {
    "local": Implementation(
        files=lambda workspace, limits, quota: LocalFileSystem(workspace, limits=limits, quota_bytes=quota)
    )
}


@pytest.fixture(params=IMPLEMENTATIONS)
def implementation(request: pytest.FixtureRequest) -> Implementation:
    """The workstation under test."""
    request.node.user_properties.append(("implementation", request.param))
    return IMPLEMENTATIONS[request.param]


def make_workspace(place: Path, number: int) -> Path:
    """An empty workspace, which as root is given to an account that nothing else on this machine has."""
    place.mkdir(mode=0o700)
    if os.geteuid() == 0:
        account = 1_900_000_000 + 8 * os.getpid() + number
        os.chown(place, account, account)
    return place


@pytest.fixture
def planted(short_directory: Path) -> Path:
    """The workspace as the host sees it, for planting there what a jailed program might."""
    return make_workspace(short_directory / "workspace", 0)


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
