"""`python -m loadtests.load`: put load on the system that is running, or on one of our own if none is."""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import click

from loadtests.database import temporary_home
from loadtests.system import System, own_system, running_system

LOCUSTFILE = Path(__file__).parent / "locustfile.py"


@click.command()
@click.option(
    "--users",
    default=20,
    show_default=True,
    help="Half write over gRPC, half through webhooks, one message a second each.",
)
@click.option("--rate", default=10.0, show_default=True, help="Users that begin in a second.")
@click.option("--seconds", default=30, show_default=True, help="How long.")
@click.option(
    "--employees", default=5, show_default=True, help="Employees that are hired for it, and deleted afterwards."
)
def load(users: int, rate: float, seconds: int, employees: int) -> None:
    """Measure message latency, end to end; ends with 1 when a message went wrong.

    The address and the token are those of the command line: EMPLA_GRPC_ADDRESS, EMPLA_HTTP_ADDRESS, EMPLA_TOKEN, EMPLA_HOME.
    """
    with ExitStack() as stack:
        system = running_system()
        if system is None:
            click.echo("no system is running: starting one", err=True)
            system = stack.enter_context(own_system(stack.enter_context(temporary_home()), {}))
        sys.exit(_run(system, users=users, rate=rate, seconds=seconds, employees=employees))


def _run(system: System, *, users: int, rate: float, seconds: int, employees: int) -> int:
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--only-summary"]
    command += ["--users", str(users), "--spawn-rate", str(rate), "--run-time", f"{seconds}s", "--stop-timeout", "60s"]
    environment = os.environ | system.environment | {"EMPLA_LOAD_EMPLOYEES": str(employees)}
    return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    load()
