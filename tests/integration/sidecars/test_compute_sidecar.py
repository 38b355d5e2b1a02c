"""The compute sidecar as a program of its own, told by its environment, without a control plane."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from empla import rpc
from empla.leases import Lease, mint, new_key
from empla.store.ids import new_id
from empla.v1 import control_pb2, sidecar_pb2_grpc, workstation_pb2, workstation_pb2_grpc
from empla.v1 import sidecar_pb2 as pb
from workstation.errors import LimitExceeded, NotFound, Unsupported
from workstation.interface import ExecLimits, ExecSpec
from workstation.remote.dialing import RemoteWorkstation, dialing


@dataclass
class Sidecar:
    """One that runs."""

    process: asyncio.subprocess.Process
    address: str
    key: bytes
    lease: Lease

    @property
    def token(self) -> str:
        return mint(self.key, self.lease)

    @asynccontextmanager
    async def workstation(self) -> AsyncIterator[RemoteWorkstation]:
        async with dialing(self.address, self.token, patience=20) as workstation:
            yield workstation

    async def ask(self, method: str, request: Any) -> Any:
        async with rpc.dialing(self.address, self.token) as channel:
            return await getattr(sidecar_pb2_grpc.SidecarControlStub(channel), method)(request, timeout=20)

    async def ended(self) -> int:
        return await asyncio.wait_for(self.process.wait(), 20)

    @property
    def socket(self) -> Path:
        return Path(self.address.removeprefix("unix:"))


@asynccontextmanager
async def launched(workspace: Path, *, seconds: float = 60.0, **more: Any) -> AsyncIterator[Sidecar]:
    key, lease = new_key(), Lease(new_id(), new_id(), time.time() + seconds)
    address = f"unix:{workspace.parent}/sock"
    told = {
        "id": lease.sidecar_id,
        "employee_id": lease.employee_id,
        "key": key.hex(),
        "expires_at": lease.expires_at,
        "address": address,
        "workspace": workspace,
        "memory_bytes": 256 << 20,
        **more,
    }
    environment = {f"EMPLA_SIDECAR_{name.upper()}": str(value) for name, value in told.items()}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sidecars.compute", env={**os.environ, **environment}
    )
    sidecar = Sidecar(process, address, key, lease)
    try:
        async with asyncio.timeout(60):
            while not sidecar.socket.exists() and process.returncode is None:
                await asyncio.sleep(0.02)
        yield sidecar
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.fixture
async def sidecar(jailable_workspace: Path) -> AsyncIterator[Sidecar]:
    async with launched(jailable_workspace) as sidecar:
        yield sidecar


async def test_it_serves_files_and_programs_and_no_browser(sidecar: Sidecar):
    async with sidecar.workstation() as workstation:
        await workstation.files.write("a.txt", b"hello")
        await workstation.compute.start("x", ExecSpec(argv=("/bin/cp", "a.txt", "b.txt")))
        await workstation.compute.wait("x")
        assert (await workstation.files.read_file("b.txt")).data == b"hello"
        with pytest.raises(Unsupported):
            await workstation.browser.capabilities()
    async with rpc.dialing(sidecar.address, sidecar.token) as channel:
        stub = workstation_pb2_grpc.BrowserStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Capabilities(workstation_pb2.BrowserCapabilitiesRequest(), timeout=20)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_an_upload_that_is_refused_on_its_way_hears_why(sidecar: Sidecar):
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * (1 << 20)

    async with sidecar.workstation() as workstation:
        for _ in range(10):
            uploads = [workstation.files.write("missing/a", endless()) for _ in range(5)]
            for refusal in await asyncio.gather(*uploads, return_exceptions=True):
                assert isinstance(refusal, NotFound), refusal


async def test_it_says_what_it_is(sidecar: Sidecar):
    said: pb.SidecarDescription = await sidecar.ask("Describe", pb.DescribeSidecarRequest())
    assert (said.kind, said.pid, said.memory_bytes) == (
        control_pb2.SIDECAR_KIND_COMPUTE,
        sidecar.process.pid,
        256 << 20,
    )
    assert said.expires_at.ToMilliseconds() == round(sidecar.lease.expires_at * 1000)


async def test_its_memory_is_the_most_that_a_program_may_have(sidecar: Sidecar):
    async with sidecar.workstation() as workstation:
        assert (await workstation.compute.capabilities()).limits.exec.memory_bytes == 256 << 20
        more = ExecSpec(argv=("/bin/true",), limits=ExecLimits(memory_bytes=257 << 20))
        with pytest.raises(LimitExceeded):
            await workstation.compute.start("x", more)


async def test_a_rule_that_is_none_changes_nothing(sidecar: Sidecar):
    good = pb.SidecarConfiguration(egress=[control_pb2.EgressRule(domain="example.com")])
    await sidecar.ask("Configure", good)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await sidecar.ask("Configure", pb.SidecarConfiguration(egress=[control_pb2.EgressRule(domain="a b")]))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_it_ends_in_order_when_its_lease_has_run_out(jailable_workspace: Path):
    async with launched(jailable_workspace, seconds=6) as sidecar:
        async with sidecar.workstation() as workstation:
            await workstation.compute.start("x", ExecSpec(argv=("/bin/sleep", "300")))
        assert await sidecar.ended() == 0
        assert time.time() >= sidecar.lease.expires_at
        assert not sidecar.socket.exists()


async def test_a_later_token_lets_it_live_on(jailable_workspace: Path):
    async with launched(jailable_workspace, seconds=6) as sidecar:
        first = sidecar.lease
        sidecar.lease = replace(first, expires_at=first.expires_at + 4)
        await sidecar.ask("Describe", pb.DescribeSidecarRequest())
        assert await sidecar.ended() == 0
        assert time.time() >= sidecar.lease.expires_at


async def test_its_first_token_ends_the_time_that_it_had_to_be_launched(sidecar: Sidecar):
    at_launch = sidecar.lease.expires_at
    for seconds in (4, 6, 5):  # an older token shortens nothing
        sidecar.lease = replace(sidecar.lease, expires_at=time.time() + seconds)
        await sidecar.ask("Describe", pb.DescribeSidecarRequest())
    assert await sidecar.ended() == 0
    assert sidecar.lease.expires_at <= time.time() < at_launch


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_told_to_end_it_ends_in_order(sidecar: Sidecar, number: signal.Signals):
    async with sidecar.workstation() as workstation:
        await workstation.compute.start("x", ExecSpec(argv=("/bin/sleep", "300")))
        sidecar.process.send_signal(number)
        assert await sidecar.ended() == 0
    assert not sidecar.socket.exists()


async def test_it_ends_with_its_owner_and_not_with_another_that_got_its_pid(jailable_workspace: Path):
    owner = await asyncio.create_subprocess_exec("sleep", "300")
    async with launched(jailable_workspace, owner_pid=owner.pid) as sidecar:
        await sidecar.ask("Describe", pb.DescribeSidecarRequest())
        owner.kill()
        await owner.wait()
        assert await sidecar.ended() == 0
    async with launched(jailable_workspace, owner_pid=os.getpid(), owner_start_time=1) as sidecar:
        assert await sidecar.ended() == 0


async def test_an_address_that_cannot_be_had_ends_it_with_an_error(jailable_workspace: Path):
    async with launched(jailable_workspace, address="unix:/nonexistent/sock") as sidecar:
        assert await sidecar.ended() == 1
