"""The container engine of the tests, and the images of employees and sidecars on it.

As root both are made when they are missing, which takes minutes the first time. The engine goes on running:
`deploy/engine.sh down` ends it.
"""

import os
import select
import signal
import subprocess
from functools import cache
from pathlib import Path

import pytest

from controlplane.launchers.interface import EMPLOYEE

ROOT = Path(__file__).parents[1]
END_SECONDS = 60.0


@cache
def address() -> str:
    """Where an engine listens: the one that DOCKER_HOST names, or our own."""
    if "DOCKER_HOST" not in os.environ and os.geteuid() != 0:
        pytest.skip("set DOCKER_HOST to an engine that this account may use")
    said = subprocess.run(["deploy/engine.sh", "up"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return said.stdout.strip().removeprefix("DOCKER_HOST=")


@cache
def image(kind: str) -> str:
    """The name of the image of an employee or a kind of sidecar, which is built from the code as it is now."""
    environment = os.environ | {"DOCKER_HOST": address()}
    subprocess.run(["nice", "deploy/images/build.sh", kind], cwd=ROOT, check=True, env=environment)
    return "localhost/empla/employee:latest" if kind == EMPLOYEE else f"localhost/empla/sidecar-{kind}:latest"


def restart() -> None:
    """End our own engine, as an update of it does, and start it again."""
    directory = Path(address().removeprefix("unix://")).parent
    pid = int((directory / "engine.pid").read_text())
    engine = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(engine, signal.SIGTERM)
        ended, _, _ = select.select([engine], [], [], END_SECONDS)
        assert ended, f"the engine, process {pid}, does not end"
    finally:
        os.close(engine)
    subprocess.run(["deploy/engine.sh", "up"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
