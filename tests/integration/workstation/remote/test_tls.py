"""A workstation of another machine: nothing is served or dialled there without TLS."""

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from empla import rpc
from tests.conformance.conftest import make_workspace
from workstation.errors import WorkstationUnavailable
from workstation.local.files import LocalFileSystem
from workstation.remote.dialing import dialing
from workstation.remote.serving import serving


async def anybody(_: str, metadata: Any) -> str:
    assert rpc.bearer(metadata) == "token"
    return "somebody"


def certified(directory: Path, name: str) -> tuple[bytes, bytes]:
    """A key, and a certificate for this machine that vouches for itself."""
    key, certificate = directory / f"{name}.key", directory / f"{name}.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return key.read_bytes(), certificate.read_bytes()


@pytest.fixture
def key_and_certificate(tmp_path: Path) -> tuple[bytes, bytes]:
    return certified(tmp_path, "ours")


@pytest.fixture
async def address(key_and_certificate: tuple[bytes, bytes], short_directory: Path) -> AsyncIterator[str]:
    """Where files are served, on every address of this machine."""
    credentials = grpc.ssl_server_credentials([key_and_certificate])
    async with (
        LocalFileSystem(make_workspace(short_directory / "workspace")) as files,
        serving("0.0.0.0:0", authenticate=anybody, files=files, credentials=credentials) as bound,
    ):
        yield f"127.0.0.1:{bound.rpartition(':')[2]}"


async def test_with_the_certificate_of_who_is_expected(address: str, key_and_certificate: tuple[bytes, bytes]) -> None:
    credentials = grpc.ssl_channel_credentials(key_and_certificate[1])
    async with dialing(address, "token", credentials=credentials) as station:
        await station.files.write("file", b"content" * 1_000_000)
        assert (await station.files.read_file("file")).data == b"content" * 1_000_000


async def test_with_the_certificate_of_somebody_else(address: str, tmp_path: Path) -> None:
    credentials = grpc.ssl_channel_credentials(certified(tmp_path, "theirs")[1])
    async with dialing(address, "token", credentials=credentials, patience=1.0) as station:
        with pytest.raises(WorkstationUnavailable, match="out of reach"):
            await station.files.usage()


async def test_in_clear_to_a_server_with_tls(address: str) -> None:
    async with dialing(address, "token", patience=1.0) as station:
        with pytest.raises(WorkstationUnavailable, match="out of reach"):
            await station.files.usage()


async def test_nothing_is_served_in_clear(short_directory: Path) -> None:
    async with LocalFileSystem(make_workspace(short_directory / "workspace")) as files:
        with pytest.raises(rpc.NotLocal, match="TLS"):
            async with serving("0.0.0.0:0", authenticate=anybody, files=files):
                pass


async def test_no_token_is_shown_in_clear() -> None:
    with pytest.raises(rpc.NotLocal, match="TLS"):
        async with dialing("192.0.2.1:443", "token"):
            pass
