"""Each workstation that must behave as all do, and a healthy host and neighbour after each test."""

import asyncio
import inspect
import itertools
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from blockbuster import BlockBuster

from tests.conformance import matrix
from tests.conformance.brood import Brood
from tests.conformance.browsing import Tab, document, fresh_page_id
from tests.conformance.host import available_memory, described, jailed_processes
from tests.conformance.implementations import IMPLEMENTATIONS, Implementation, OpenBrowser
from tests.conformance.leasing import Running
from tests.conformance.programs import run
from tests.conformance.sites import Site, Sites, open_sites
from workstation.egress import EgressProxy
from workstation.interface import (
    Browser,
    BrowserLimits,
    Compute,
    ComputeCapabilities,
    ComputeLimits,
    FileSystem,
    FileSystemLimits,
)
from workstation.remote.dialing import RemoteWorkstation

type OpenFiles = Callable[..., AbstractAsyncContextManager[FileSystem]]
type OpenCompute = Callable[..., AbstractAsyncContextManager[Compute]]
type OpenTab = Callable[..., Awaitable[Tab]]


_accounts = itertools.count(1_910_000_000 + (os.getpid() % 900) * 100_000)
"""More than one run takes, so that one beside it does not come upon ours."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print which case passed where."""
    matrix.write(terminalreporter)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what an implementation is not for."""
    items[:] = [item for item in items if _is_for(item)]


def _is_for(item: pytest.Item) -> bool:
    call = getattr(item, "callspec", None)
    if call is None or "implementation_name" not in call.params:
        return True
    implementation, module = IMPLEMENTATIONS[call.params["implementation_name"]], item.path.stem
    browses = module.startswith("test_browser_") or module == "test_egress_vectors"
    if implementation.browser is None if browses else implementation.only_browser:
        return False
    if not implementation.egress and item.name.startswith("test_without_a_way_out"):
        return False  # it has a proxy of its own, which allows nothing until it is configured
    return implementation.egress or not module.endswith(
        ("_egress", "_egress_addresses", "_egress_rules", "_egress_vectors")
    )


@pytest.fixture(scope="package", params=IMPLEMENTATIONS)
def implementation_name(request: pytest.FixtureRequest) -> str:
    """The name of the workstation under test."""
    return str(request.param)


@pytest.fixture
def implementation(request: pytest.FixtureRequest, implementation_name: str) -> Implementation:
    """The workstation under test."""
    request.node.user_properties.append((matrix.PROPERTY, implementation_name))
    return IMPLEMENTATIONS[implementation_name]


def make_workspace(place: Path) -> Path:
    """An empty workspace, which as root is given to an account that nothing else on this machine has."""
    place.mkdir(mode=0o700)
    if os.geteuid() == 0:
        account = next(_accounts)
        os.chown(place, account, account)
    return place


@dataclass(frozen=True)
class Standing:
    """A sidecar that stays for several tests, and its workspace."""

    workspace: Path
    running: Running

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[RemoteWorkstation]:
        """Open it; afterwards its workspace is empty."""
        before = _attributes(self.workspace)
        async with self.running.dialing() as remote:
            yield remote
        for path in self.workspace.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        assert _attributes(self.workspace) == before, "the next test would find another workspace"


def _attributes(workspace: Path) -> tuple[int, ...]:
    status = workspace.stat()
    return status.st_ino, status.st_mode, status.st_uid, status.st_gid


@asynccontextmanager
async def _standing(implementation_name: str) -> AsyncIterator[Standing | None]:
    started = IMPLEMENTATIONS[implementation_name].started
    if started is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="empla-") as directory:
        Path(directory).chmod(0o711)
        workspace = make_workspace(Path(directory) / "workspace")
        async with started(workspace) as running:
            yield Standing(workspace, running)
        assert [described(pid) for pid in jailed_processes(workspace)] == []


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def standing(implementation_name: str) -> AsyncIterator[Standing | None]:
    """A sidecar for all tests that only want files in an empty workspace: starting one takes longer than such a test."""
    async with _standing(implementation_name) as sidecar:
        yield sidecar


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def standing_neighbour(implementation_name: str) -> AsyncIterator[Standing | None]:
    """The sidecar of another employee, who is the neighbour of all tests."""
    async with _standing(implementation_name) as sidecar:
        yield sidecar


_ALIKE = {
    "test_bad_arguments",
    "test_execution",
    "test_network",
    "test_ordinary_programs",
    "test_system_calls",
    "test_visible_files",
}
"""Their programs end by themselves, and those of one test are nothing to the next."""


_PAGES_ALONE = {
    "test_browser_actions",
    "test_browser_addresses",
    "test_browser_dialogs",
    "test_browser_forms",
    "test_browser_frames",
    "test_browser_hangs",
    "test_browser_hostile_text",
    "test_browser_leaving",
    "test_browser_lies",
    "test_browser_live_view",
    "test_browser_log",
    "test_browser_navigation",
    "test_browser_pages",
    "test_browser_passwords",
    "test_browser_pictures",
    "test_browser_popups",
    "test_browser_reading",
    "test_browser_snapshots",
    "test_browser_uploads",
    "test_browser_waiting",
    "test_browser_widgets",
    "test_egress_vectors",
}
"""What their pages do ends with the pages."""


@pytest.fixture
def shared(request: pytest.FixtureRequest, implementation: Implementation) -> "Standing | StandingBrowser | None":
    """What this test shares with others, if it wants only files, programs or pages with the usual limits."""
    asked = inspect.signature(request.function).parameters
    if "browser" in request.fixturenames:
        if not implementation.browser_apart or "open_browser" in asked or request.path.stem not in _PAGES_ALONE:
            return None
        kept: StandingBrowser = request.getfixturevalue("standing_browser")
        return kept
    if "open_files" in asked or "open_compute" in asked:
        return None
    if "open_compute" in request.fixturenames and request.path.stem not in _ALIKE:
        return None
    sidecar: Standing | None = request.getfixturevalue("standing")
    return sidecar


@pytest.fixture
def planted(short_directory: Path, shared: "Standing | StandingBrowser | None") -> Path:
    """The workspace as the host sees it, for planting there what a jailed program might."""
    return shared.workspace if shared else make_workspace(short_directory / "workspace")


@pytest.fixture
def outside(planted: Path) -> Iterator[Path]:
    """A directory beside the workspace with a secret that nobody may read or change."""
    directory = planted.parent / "outside"
    directory.mkdir()
    (directory / "file").write_text("secret")
    yield directory
    found = {path.name: path.read_text() for path in directory.iterdir()}
    shutil.rmtree(directory)
    assert found == {"file": "secret"}


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
async def files(open_files: OpenFiles, shared: "Standing | StandingBrowser | None") -> AsyncIterator[FileSystem]:
    """An open FileSystem over an empty workspace."""
    if isinstance(shared, Standing):
        async with shared.opened() as remote:
            yield remote.files
        return
    async with open_files() as opened:
        yield opened


@pytest.fixture
def next_door(standing_neighbour: Standing | None, short_directory: Path) -> Path:
    """The workspace of the neighbour."""
    return standing_neighbour.workspace if standing_neighbour else make_workspace(short_directory / "neighbour")


@pytest.fixture
async def neighbour(
    implementation: Implementation, standing_neighbour: Standing | None, next_door: Path
) -> AsyncIterator[Compute]:
    """A second Compute, of another employee, over a workspace of its own."""
    if standing_neighbour:
        async with standing_neighbour.opened() as remote:
            yield remote.compute
        return
    async with implementation.compute(next_door, None, None) as opened:
        yield opened


@pytest.fixture
async def healthy(
    planted: Path, shared: "Standing | StandingBrowser | None", neighbour: Compute
) -> AsyncIterator[None]:
    """After the test and the end of its Compute nothing of it is left, and host and neighbour are well."""
    yield
    if not shared:  # in a thread, where the alarm for blocking calls has nothing to compare
        assert [described(pid) for pid in await asyncio.to_thread(jailed_processes, planted)] == []
    assert (await run(neighbour, "true")).end.exit_code == 0
    assert available_memory() > 256 << 20


@pytest.fixture(scope="session")
def usual_limits() -> dict[str, ComputeLimits]:
    """What each implementation said its limits are; the machine and its settings decide on them."""
    return {}


@pytest.fixture
def open_compute(
    implementation: Implementation,
    implementation_name: str,
    usual_limits: dict[str, ComputeLimits],
    planted: Path,
    healthy: None,
) -> OpenCompute:
    """Open a Compute over the workspace, with a way out or without; named limits take the place of its usual ones."""

    @asynccontextmanager
    async def opened(*, egress: EgressProxy | None = None, **changes: Any) -> AsyncIterator[Compute]:
        limits = None
        if changes:
            if implementation_name not in usual_limits:
                async with implementation.compute(planted, None, None) as usual:
                    usual_limits[implementation_name] = (await usual.capabilities()).limits
            limits = replace(usual_limits[implementation_name], **changes)
        async with implementation.compute(planted, limits, egress) as compute:
            yield compute

    return opened


@pytest.fixture
async def compute(open_compute: OpenCompute, shared: "Standing | StandingBrowser | None") -> AsyncIterator[Compute]:
    """An open Compute over the workspace."""
    if isinstance(shared, Standing):
        async with shared.opened() as remote:
            yield remote.compute
        return
    async with open_compute() as opened:
        yield opened


@pytest.fixture
async def capabilities(compute: Compute) -> ComputeCapabilities:
    """What the Compute under test says it can do."""
    return await compute.capabilities()


# Browsers: one is kept warm for all of them, and every test has pages, cookies and files of its own on it. Their
# tests run in the session's event loop: `pytestmark = pytest.mark.asyncio(loop_scope="session")`.


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def sites() -> AsyncIterator[Sites]:
    """Sites on loopback, the same for all tests here: a test adds addresses and removes none."""
    with tempfile.TemporaryDirectory() as directory:
        async with open_sites(Path(directory)) as opened:
            yield opened


@pytest.fixture
def site(sites: Sites) -> Site:
    """The site over http."""
    return sites.http


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def shared_egress(sites: Sites) -> AsyncIterator[EgressProxy]:
    async with EgressProxy(sites.policy, resolve=sites.names) as proxy:
        yield proxy


@pytest.fixture
def egress(shared_egress: EgressProxy, sites: Sites) -> Iterator[EgressProxy]:
    """The way out of the browsers, which allows the sites; a test may set another policy."""
    yield shared_egress
    shared_egress.policy = sites.policy


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def warm_browser(implementation_name: str, shared_egress: EgressProxy) -> AsyncIterator[OpenBrowser]:
    """What opens Browsers; when all is closed no process of theirs is left."""
    brood = Brood()
    warm_up = IMPLEMENTATIONS[implementation_name].browser
    assert warm_up is not None
    async with warm_up(shared_egress) as opened:
        yield opened
        brood.look()
    assert not await brood.left()


@dataclass(frozen=True)
class StandingBrowser:
    """A Browser that stays for several tests, and its workspace."""

    workspace: Path
    files: FileSystem
    browser: Browser

    async def clear(self) -> None:
        """Close its pages and empty its workspace."""
        for page in await self.browser.pages():
            await self.browser.close_page(page.page_id)
        for path in self.workspace.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def standing_browser(implementation_name: str, warm_browser: OpenBrowser) -> AsyncIterator[StandingBrowser]:
    """A Browser for all tests that want no more than pages, where opening one takes longer than such a test."""
    with tempfile.TemporaryDirectory(prefix="empla-") as directory:
        Path(directory).chmod(0o711)
        workspace = make_workspace(Path(directory) / "workspace")
        async with (
            IMPLEMENTATIONS[implementation_name].files(workspace, FileSystemLimits(), None) as files,
            warm_browser(files, None, None) as browser,
        ):
            yield StandingBrowser(workspace, files, browser)


@pytest_asyncio.fixture(loop_scope="session")
async def browser_files(
    implementation: Implementation, planted: Path, shared: Standing | StandingBrowser | None
) -> AsyncIterator[FileSystem]:
    """The workspace of the browser under test."""
    if isinstance(shared, StandingBrowser):
        yield shared.files
        return
    async with implementation.files(planted, FileSystemLimits(), None) as opened:
        yield opened


@pytest.fixture(scope="session")
def usual_browser_limits() -> dict[str, BrowserLimits]:
    """Likewise for their Browsers: to ask opens one, which as a sidecar takes longer than most tests."""
    return {}


@pytest_asyncio.fixture(loop_scope="session")
async def open_browser(
    implementation: Implementation,
    implementation_name: str,
    usual_browser_limits: dict[str, BrowserLimits],
    warm_browser: OpenBrowser,
    egress: EgressProxy,
    browser_files: FileSystem,
) -> AsyncIterator[Callable[..., AbstractAsyncContextManager[Browser]]]:
    """Open a Browser over the workspace, or other files; named limits take the place of its usual ones."""
    del implementation, egress  # for the matrix, and for the policy

    @asynccontextmanager
    async def opened(
        *, files: FileSystem = browser_files, profile: Path | None = None, **changes: Any
    ) -> AsyncIterator[Browser]:
        limits = None
        if changes:
            if implementation_name not in usual_browser_limits:
                async with warm_browser(files, None, None) as usual:
                    usual_browser_limits[implementation_name] = (await usual.capabilities()).limits
            limits = replace(usual_browser_limits[implementation_name], **changes)
        async with warm_browser(files, profile, limits) as browser:
            yield browser

    yield opened
    assert available_memory() > 256 << 20


@pytest_asyncio.fixture(loop_scope="session")
async def browser(
    open_browser: Callable[..., AbstractAsyncContextManager[Browser]], shared: Standing | StandingBrowser | None
) -> AsyncIterator[Browser]:
    """An open Browser without pages or files, and without cookies where tests are about them."""
    if isinstance(shared, StandingBrowser):
        yield shared.browser
        await shared.clear()
        return
    async with open_browser() as opened:
        yield opened


@pytest.fixture
def open_tab(browser: Browser, site: Site) -> OpenTab:
    """Open a page with this body, or at this address, in the browser or in another."""

    async def opened(
        body: str = "", *, url: str = "", on: Browser | None = None, title: str = "A page", head: str = ""
    ) -> Tab:
        tab = Tab(on or browser, fresh_page_id())
        await tab.browser.open_page(tab.page_id, url=url or site.show(document(body, title=title, head=head)))
        return tab

    return opened
