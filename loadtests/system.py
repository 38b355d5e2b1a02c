"""A whole system to put load on: the one that the environment points at, or one of our own, started with `empla up`."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from controlplane.cli.client import load_settings
from controlplane.cli.errors import Failure
from controlplane.cli.target import local_target
from controlplane.settings import Settings

START_SECONDS = 120.0
STOP_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class System:
    """Where a system is, and what lets an operator in."""

    grpc_address: str
    http_address: str
    token: str

    @property
    def settings(self) -> Settings:
        """What the command line's client connects with."""
        return Settings(grpc_address=self.grpc_address, http_address=self.http_address, token=SecretStr(self.token))

    @property
    def environment(self) -> dict[str, str]:
        """The same for another process."""
        return {
            "EMPLA_GRPC_ADDRESS": self.grpc_address,
            "EMPLA_HTTP_ADDRESS": self.http_address,
            "EMPLA_TOKEN": self.token,
        }

    def is_ready(self) -> bool:
        """Whether it answers and has its database."""
        try:
            with urllib.request.urlopen(f"http://{self.http_address}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def running_system() -> System | None:
    """The system that the EMPLA_* variables point at, as the command line finds it; None when none answers there."""
    settings = load_settings()
    try:
        system = System(settings.grpc_address, settings.http_address, local_target(settings).token)
    except Failure:
        return None
    return system if system.is_ready() else None


@contextmanager
def own_system(home: Path, environment: Mapping[str, str]) -> Iterator[System]:
    """`empla up` with all its state in `home`, stopped at the end; `environment` adds to what it is told.

    Raises RuntimeError, with the last lines of its log, when it does not come up.
    """
    grpc_address, http_address = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    told = {
        name: value for name, value in os.environ.items() if not name.startswith(("EMPLA_", "ANTHROPIC_", "OPENAI_"))
    }
    told |= {
        "EMPLA_HOME": str(home),
        "EMPLA_GRPC_ADDRESS": grpc_address,
        "EMPLA_HTTP_ADDRESS": http_address,
        **environment,
    }
    output = home / "up.out"
    with output.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "controlplane.cli", "up", "--no-chat"], env=told, stdout=sink, stderr=sink
        )
        try:
            yield _when_ready(process, home, grpc_address, http_address, output)
        finally:
            _stop(process)


def _when_ready(
    process: subprocess.Popen[bytes], home: Path, grpc_address: str, http_address: str, output: Path
) -> System:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        token = home / "token"
        if token.exists():
            system = System(grpc_address, http_address, token.read_text().strip())
            if system.is_ready():
                return system
        time.sleep(0.05)
    raise RuntimeError(f"the system does not come up:\n{output.read_text(errors='replace')[-2000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    """A port of loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
