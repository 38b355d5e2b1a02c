"""The browser sidecar as a process: what it is told, what it serves, and that nothing of it is left."""

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from empla import rpc
from empla.leases import Lease, mint, new_key
from empla.v1 import control_pb2, sidecar_pb2_grpc
from empla.v1 import sidecar_pb2 as pb
from tests.conformance.brood import Brood
from tests.conformance.browsing import document, ref_of
from tests.conformance.conftest import make_workspace
from tests.conformance.sites import Sites, open_sites
from workstation.errors import (
    CredentialRefused,
    NavigationBlocked,
    ProfileBusy,
    SubmissionBlocked,
    Unsupported,
    WorkstationUnavailable,
)
from workstation.interface import Browser, Click, Direction, DownloadState, ExecSpec
from workstation.remote.dialing import RemoteWorkstation, dialing

type Start = Callable[..., AbstractAsyncContextManager["Running"]]

EMPLOYEE = uuid4()


@dataclass
class Running:
    """A sidecar, and the key of its leases."""

    process: asyncio.subprocess.Process
    socket: Path
    sidecar_id: UUID
    key: bytes
    brood: Brood

    def token(self, seconds: float = 60.0, employee_id: UUID = EMPLOYEE) -> str:
        return mint(self.key, Lease(self.sidecar_id, employee_id, time.time() + seconds))

    @asynccontextmanager
    async def reached(self, token: str = "") -> AsyncIterator[RemoteWorkstation]:
        async with dialing(f"unix:{self.socket}", token or self.token(), patience=5) as workstation:
            yield workstation

    async def control(self, name: str, request: Any) -> Any:
        async with rpc.dialing(f"unix:{self.socket}", self.token()) as channel:
            return await getattr(sidecar_pb2_grpc.SidecarControlStub(channel), name)(request, timeout=10)

    async def configure(self, sites: Sites, **refusals: str) -> None:
        hosts = ("localhost", "127.0.0.1")
        egress = [control_pb2.EgressRule(domain=host, ports=sites.ports, private=True) for host in hosts]
        await self.control("Configure", pb.SidecarConfiguration(egress=egress, **refusals))

    async def ended(self) -> int:
        async with asyncio.timeout(20):
            return await self.process.wait()


@pytest.fixture
async def sites() -> AsyncIterator[Sites]:
    with tempfile.TemporaryDirectory() as directory:
        async with open_sites(Path(directory)) as opened:
            yield opened


@pytest.fixture
def workspace(short_directory: Path) -> Path:
    return make_workspace(short_directory / "workspace")


@pytest.fixture
async def start(short_directory: Path, workspace: Path) -> AsyncIterator[Start]:
    """Start a sidecar over the workspace; afterwards nothing of it is left."""
    brood = Brood()

    @asynccontextmanager
    async def started(*, seconds: float = 60.0, **settings: Any) -> AsyncIterator[Running]:
        sidecar_id, key = uuid4(), new_key()
        socket, temporary = short_directory / sidecar_id.hex[-6:], short_directory / f"tmp-{sidecar_id.hex[-6:]}"
        temporary.mkdir()
        told = {
            "id": sidecar_id,
            "employee_id": EMPLOYEE,
            "key": key.hex(),
            "expires_at": time.time() + seconds,
            "address": f"unix:{socket}",
            "workspace": workspace,
        } | settings
        environment = {f"EMPLA_SIDECAR_{name.upper()}": str(value) for name, value in told.items()}
        environment |= {"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(sys.path), "TMPDIR": str(temporary)}
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "sidecars.browser", env=environment)
        running = Running(process, socket, sidecar_id, key, brood)
        try:
            async with asyncio.timeout(30):
                while not socket.exists() and process.returncode is None:
                    await asyncio.sleep(0.02)
            yield running
            brood.look()
            if process.returncode is None:
                process.terminate()
            assert await running.ended() in (0, -signal.SIGKILL, -signal.SIGTERM)
            assert process.returncode or not (socket.exists() or list(temporary.iterdir()))
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    yield started
    assert not await brood.left()


async def _open(browser: Browser, sites: Sites, body: str) -> str:
    url = sites.http.show(document(body), host="127.0.0.1")
    await browser.open_page("one", url=url)
    return (await browser.snapshot("one")).text


async def test_it_says_what_it_is_and_serves_browsers_only(start: Start) -> None:
    async with start(epoch=7) as sidecar, sidecar.reached() as workstation:
        said = await sidecar.control("Describe", pb.DescribeSidecarRequest())
        assert (said.sidecar_id, said.employee_id, said.epoch) == (str(sidecar.sidecar_id), str(EMPLOYEE), 7)
        assert (said.kind, said.pid) == (control_pb2.SIDECAR_KIND_BROWSER, sidecar.process.pid)
        assert "chrom" in (await workstation.browser.capabilities()).engine.lower()
        with pytest.raises(Unsupported):
            await workstation.files.stat(".")
        with pytest.raises(Unsupported):
            await workstation.compute.start("x", ExecSpec(argv=("true",)))


async def test_only_its_employee_may_use_it(start: Start) -> None:
    async with start() as sidecar:
        for token in ("nonsense", sidecar.token(employee_id=uuid4()), sidecar.token(-1)):
            async with sidecar.reached(token) as workstation:
                with pytest.raises(CredentialRefused):
                    await workstation.browser.pages()


async def test_it_reaches_what_it_is_told_it_may(start: Start, sites: Sites) -> None:
    async with start() as sidecar, sidecar.reached() as workstation:
        with pytest.raises(NavigationBlocked):
            await _open(workstation.browser, sites, "<h1>Here</h1>")
        await sidecar.configure(sites)
        assert "Here" in await _open(workstation.browser, sites, "<h1>Here</h1>")
        await sidecar.control("Configure", pb.SidecarConfiguration())
        with pytest.raises(NavigationBlocked):
            await workstation.browser.navigate("one", sites.http.show("x", host="127.0.0.1"))


async def test_downloads_land_in_the_workspace_unless_they_are_refused(
    start: Start, sites: Sites, workspace: Path
) -> None:
    file = sites.http.show("a,b", host="127.0.0.1", content_type="text/csv", content_disposition="attachment")
    async with start() as sidecar, sidecar.reached() as workstation:
        browser = workstation.browser

        async def downloaded() -> Any:
            await browser.navigate("one", file)
            async with asyncio.timeout(10):
                while (found := (await browser.downloads())[0]).state is DownloadState.RUNNING:
                    await asyncio.sleep(0.05)
            return found

        await sidecar.configure(sites)
        await browser.open_page("one")
        found = await downloaded()
        assert (workspace / found.path).read_text() == "a,b"
        await sidecar.configure(sites, download_refusal="no downloads here")
        found = await downloaded()
        assert (found.state, found.failure) == (DownloadState.FAILED, "no downloads here")
        await browser.allow_download("http://localhost/", seconds=60)
        assert (await downloaded()).state is DownloadState.FAILED
        await browser.allow_download(found.url, seconds=60)
        assert (await downloaded()).state is DownloadState.COMPLETE


async def test_forms_go_to_other_hosts_unless_they_are_refused(start: Start, sites: Sites) -> None:
    there = sites.http.show("<h1>Taken</h1>", host="127.0.0.1")
    form = f"<form method=post action='{there}'><button>Send</button></form>"
    async with start() as sidecar, sidecar.reached() as workstation:
        browser = workstation.browser
        await sidecar.configure(sites, submission_refusal="no forms there")
        await browser.open_page("one", url=sites.http.show(document(form), host="localhost"))
        send = Click(ref=ref_of((await browser.snapshot("one")).text, "button", "Send"))
        with pytest.raises(SubmissionBlocked, match="no forms there") as caught:
            await browser.act("one", send)
        assert (caught.value.sender, caught.value.receiver) == ("localhost", "127.0.0.1")
        assert not sites.http.requests(there)
        await browser.allow_submission("localhost", "127.0.0.1", seconds=60)
        assert (await browser.act("one", send)).page.url == there
        await browser.navigate("one", Direction.BACK)
        await sidecar.configure(sites)
        send = Click(ref=ref_of((await browser.snapshot("one")).text, "button", "Send"))
        assert (await browser.act("one", send)).page.url == there


async def test_one_that_waits_leaves_the_profile_to_others(start: Start, short_directory: Path) -> None:
    profile = short_directory / "profile"
    async with start(browser_profile=profile) as spare, start(browser_profile=profile) as used:
        async with used.reached() as workstation:
            assert (await workstation.browser.capabilities()).persistent
            await workstation.browser.set_storage(
                '{"cookies": [{"name": "who", "value": "ann", "domain": "site.test", "path": "/", "expires": 4e9}]}'
            )
        async with spare.reached() as workstation:
            for _ in range(2):
                with pytest.raises(ProfileBusy):
                    await workstation.browser.pages()
            used.process.terminate()
            assert await used.ended() == 0
            assert "ann" in await workstation.browser.storage()


async def test_it_ends_with_its_lease_in_the_midst_of_work(start: Start) -> None:
    async with start(seconds=6) as sidecar, sidecar.reached(sidecar.token(6)) as workstation:
        await workstation.browser.open_page("one")
        calls = [
            asyncio.ensure_future(workstation.browser.wait_for("one", text="never", timeout=60)),
            asyncio.ensure_future(anext(workstation.browser.live_view("one", frames_per_second=1))),
        ]
        sidecar.brood.look()
        assert await sidecar.ended() == 0
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(ended[0], WorkstationUnavailable)


async def test_a_later_token_lets_it_live_on(start: Start) -> None:
    async with start() as sidecar, sidecar.reached(sidecar.token(8)) as workstation:
        await workstation.browser.pages()
        async with sidecar.reached(sidecar.token(60)) as later:
            await later.browser.pages()
            await asyncio.sleep(9)
            await later.browser.open_page("one")


async def test_it_ends_with_its_owner(start: Start) -> None:
    owner = await asyncio.create_subprocess_exec("sleep", "100")
    async with start(owner_pid=owner.pid) as sidecar, sidecar.reached() as workstation:
        await workstation.browser.open_page("one")
        sidecar.brood.look()
        owner.kill()
        await owner.wait()
        assert await sidecar.ended() == 0


async def test_nothing_is_left_of_one_that_is_killed(start: Start) -> None:
    async with start() as sidecar, sidecar.reached() as workstation:
        await workstation.browser.open_page("one")
        sidecar.brood.look()
        assert sidecar.brood.named("chrom")
        sidecar.process.kill()
        with pytest.raises(WorkstationUnavailable):
            await workstation.browser.open_page("two")


async def test_told_to_end_while_chromium_starts(start: Start) -> None:
    async with start() as sidecar:
        sidecar.process.terminate()
        assert await sidecar.ended() in (0, -signal.SIGTERM)
