"""A control plane that other machines reach: by TLS, by mutual TLS, or not at all unless somebody says so."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import grpc.aio
import pytest

from controlplane.auth import new_secret
from controlplane.certificates import Certificates
from controlplane.errors import LaunchFailed
from controlplane.server import control_plane
from controlplane.settings import Settings
from empla import rpc
from empla.v1 import control_pb2 as pb
from empla.v1 import control_pb2_grpc
from tests.conftest import Database
from tests.integration.controlplane.conftest import free_port


@dataclass
class Authority:
    """Signs certificates."""

    directory: Path

    @property
    def certificate(self) -> Path:
        return self.directory / "ca.pem"

    def issue(self, name: str, *hosts: str, place: str = "") -> tuple[Path, Path]:
        """A certificate for `hosts` and its key; `place` is what their files are called, if not as the name."""
        certificate, key = (self.directory / f"{place or name}{suffix}" for suffix in (".pem", ".key"))
        asked = self.directory / "asked.csr"
        _openssl("req", "-new", *_NEW_KEY, "-keyout", key, "-out", asked, "-subj", f"/CN={name}")
        alternative = self.directory / "names"
        alternative.write_text("subjectAltName=" + ",".join(hosts or ("DNS:nobody",)))
        signed = ("-CA", self.certificate, "-CAkey", self.directory / "ca.key", "-CAcreateserial", "-days", "2")
        _openssl("x509", "-req", "-in", asked, *signed, "-extfile", alternative, "-out", certificate)
        return certificate, key


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def _openssl(*arguments: Any) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = (
        "-days",
        "2",
        "-subj",
        "/CN=us",
        "-addext",
        "keyUsage=critical,keyCertSign",
        "-keyout",
        tmp_path / "ca.key",
        "-out",
        tmp_path / "ca.pem",
    )
    _openssl("req", "-x509", *_NEW_KEY, *made)
    return Authority(tmp_path)


@pytest.fixture
def settings(authority: Authority, plane_settings: Settings) -> Settings:
    """Both ports at every address of this machine, with mutual TLS at that for gRPC."""
    certificate, key = authority.issue("server", "DNS:localhost", "IP:127.0.0.1")
    client, client_key = authority.issue("client")
    return plane_settings.model_copy(
        update={
            "grpc_address": f"0.0.0.0:{free_port()}",
            "http_address": f"0.0.0.0:{free_port()}",
            "tls_certificate": certificate,
            "tls_key": key,
            "tls_ca": authority.certificate,
            "tls_client_ca": authority.certificate,
            "tls_client_certificate": client,
            "tls_client_key": client_key,
        }
    )


@asynccontextmanager
async def dialled(settings: Settings, token: str, **differently: Any) -> AsyncIterator[Any]:
    transport = settings.transport.model_copy(update=differently)
    async with rpc.dialing(settings.dialled_address, token, transport=transport) as channel:
        yield control_pb2_grpc.ControlPlaneStub(channel)


async def test_employees_operators_and_browsers_come_by_tls(settings: Settings, database: Database):
    token = new_secret()
    async with control_plane(settings, database.dsn, token) as running:
        try:
            async with dialled(settings, token) as stub:
                create = pb.CreateEmployeeRequest(name="ada", profile_name="sales-ae", start=True)
                await stub.CreateEmployee(create, timeout=10)
                restart = pb.RestartEmployeeRequest(employee="ada", drain_seconds=1)
                ada = await stub.RestartEmployee(restart, timeout=60)
            assert ada.observed_state == pb.OBSERVED_STATE_ATTACHED
            for wrong in (
                {"tls": False, "insecure": True},
                {"certificate": None, "key": None},
                {"server_name": "other"},
            ):
                async with dialled(settings, token, **wrong) as stub:
                    with pytest.raises(grpc.aio.AioRpcError) as refused:
                        await stub.ListEmployees(pb.ListEmployeesRequest(), timeout=5)
                assert refused.value.code() is grpc.StatusCode.UNAVAILABLE, wrong
            await check_https(settings)
        finally:
            await running.lifecycle.stop_all()
            await running.launcher.stop()


async def check_https(settings: Settings) -> None:
    port = settings.http_address.rpartition(":")[2]
    context = await asyncio.to_thread(ssl.create_default_context, cafile=settings.tls_ca)
    async with aiohttp.ClientSession() as client:
        async with client.get(f"https://127.0.0.1:{port}/healthz", ssl=context) as answer:
            assert answer.status == 200
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await client.get(f"https://127.0.0.1:{port}/healthz")
        with pytest.raises(aiohttp.ClientError):
            await client.get(f"http://127.0.0.1:{port}/healthz")


@pytest.mark.parametrize("address", ["grpc_address", "http_address"])
async def test_it_does_not_let_other_machines_in_in_clear(plane_settings: Settings, database: Database, address: str):
    open_to_all = plane_settings.model_copy(update={address: f"0.0.0.0:{free_port()}"})
    with pytest.raises(OSError, match=f"EMPLA_{address.upper()} lets other machines in.*EMPLA_TLS_CERTIFICATE"):
        async with control_plane(open_to_all, database.dsn, new_secret()):
            pass


async def test_it_does_so_when_told(plane_settings: Settings, database: Database):
    token, addresses = new_secret(), {"grpc_address": f"0.0.0.0:{free_port()}", "http_address": "0.0.0.0:0"}
    settings = plane_settings.model_copy(update={**addresses, "insecure": True})
    async with control_plane(settings, database.dsn, token), dialled(settings, token) as stub:
        await stub.ListEmployees(pb.ListEmployeesRequest(), timeout=10)


async def test_it_says_so_at_once_when_no_employee_would_trust_it(
    settings: Settings, authority: Authority, database: Database
):
    certificate, key = authority.issue("elsewhere", "DNS:elsewhere.example")
    wrong = settings.model_copy(update={"tls_certificate": certificate, "tls_key": key})
    with pytest.raises(ExceptionGroup) as refused:
        async with control_plane(wrong, database.dsn, new_secret()):
            pass
    assert refused.group_contains(LaunchFailed, match=r"localhost.*EMPLA_TLS_CA must vouch")


async def no_caller(_: str, __: Any) -> None:
    return None


async def test_a_renewed_certificate_is_shown_to_whoever_connects_next(authority: Authority):
    certificate, key = await asyncio.to_thread(authority.issue, "first", "DNS:localhost", place="shown")
    certificates = await asyncio.to_thread(Certificates, certificate, key)
    served = rpc.serving(
        "localhost:0", {}, authenticate=no_caller, translate=lambda _: None, credentials=certificates.for_grpc()
    )
    context = certificates.for_https()
    https = await asyncio.start_server(lambda _, writer: writer.close(), "localhost", 0, ssl=context)
    async with served as address, https:
        places = [int(address.rpartition(":")[2]), https.sockets[0].getsockname()[1]]
        assert [await asyncio.to_thread(shown, authority, port) for port in places] == ["first"] * 2
        # While only one of the two files is new, what was shown before is.
        old_key = await asyncio.to_thread(key.read_bytes)
        await asyncio.to_thread(authority.issue, "second", "DNS:localhost", place="shown")
        new_key = await asyncio.to_thread(key.read_bytes)
        await asyncio.to_thread(key.write_bytes, old_key)
        await asyncio.to_thread(certificates.look)
        assert [await asyncio.to_thread(shown, authority, port) for port in places] == ["first"] * 2
        await asyncio.to_thread(key.write_bytes, new_key)
        await asyncio.to_thread(certificates.look)
        assert [await asyncio.to_thread(shown, authority, port) for port in places] == ["second"] * 2


def shown(authority: Authority, port: int) -> str:
    """The name in the certificate that a port shows."""
    trusting = ("-CAfile", authority.certificate, "-verify_return_error", "-alpn", "h2")
    command = ["openssl", "s_client", "-connect", f"localhost:{port}", *map(str, trusting)]
    said = subprocess.run(command, input=b"", capture_output=True, timeout=20, check=False).stdout
    return said.partition(b"subject=CN")[2].partition(b"\n")[0].strip(b" =").decode()


async def test_files_that_are_no_certificate_and_its_key(authority: Authority):
    certificate, key_of_one = await asyncio.to_thread(authority.issue, "one", "DNS:localhost")
    _, other_key = await asyncio.to_thread(authority.issue, "two", "DNS:localhost")
    for key in (other_key, authority.directory / "names"):
        with pytest.raises(OSError, match="no certificate and its key"):
            await asyncio.to_thread(Certificates, certificate, key)
    with pytest.raises(FileNotFoundError, match="nowhere, which TLS needs, cannot be read: No such file"):
        await asyncio.to_thread(Certificates, certificate, authority.directory / "nowhere")
    with pytest.raises(OSError, match="has no certificate of whoever vouches for clients"):
        await asyncio.to_thread(Certificates, certificate, key_of_one, other_key)
