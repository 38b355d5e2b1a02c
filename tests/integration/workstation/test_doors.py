"""The way out of a jail: who is named in the access log, under which trace, and who holds the listener."""

import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path

import pytest
from opentelemetry import context

from empla.telemetry import remote_context
from workstation.egress import EgressProxy
from workstation.interface import ExecSpec, SessionSpec
from workstation.local.compute import LocalCompute

ASK = """
import urllib.error, urllib.request
try:
    urllib.request.urlopen("http://site.test/")
except urllib.error.HTTPError:
    pass
"""
ONE, TWO, THREE = (f"{number:032x}" for number in (0xA1, 0xB2, 0xC3))


@pytest.fixture
async def compute(jailable_workspace: Path) -> AsyncIterator[LocalCompute]:
    async with EgressProxy() as proxy, LocalCompute(jailable_workspace, egress=proxy) as opened:
        yield opened


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "workstation.egress")
    return caplog


@contextmanager
def traced(trace_id: str) -> Iterator[None]:
    """Work for this trace."""
    token = context.attach(remote_context(f"00-{trace_id}-00000000000000aa-01"))
    try:
        yield
    finally:
        context.detach(token)


def entries(log: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Who asked, and for which trace."""
    return [(record.client, record.trace_id) for record in log.records if record.name == "workstation.egress"]  # type: ignore[attr-defined]


async def ask_in_session(compute: LocalCompute, run_id: str) -> None:
    async with aclosing(compute.run_in_session("s", run_id, ASK)) as events:
        async for _ in events:
            pass


async def test_an_execution_asks_for_its_caller(compute: LocalCompute, log: pytest.LogCaptureFixture) -> None:
    for exec_id, trace in (("first", ONE), ("second", TWO)):
        with traced(trace):
            await compute.start(exec_id, ExecSpec(argv=("python3", "-c", ASK)))
    for exec_id in ("first", "second"):
        await compute.wait(exec_id)
    assert sorted(entries(log)) == [("execution first", ONE), ("execution second", TWO)]


async def test_a_session_asks_for_whoever_runs_code(compute: LocalCompute, log: pytest.LogCaptureFixture) -> None:
    with traced(ONE):
        await compute.open_session("s", SessionSpec())
    for run_id, trace in (("r1", TWO), ("r2", THREE)):
        with traced(trace):
            await ask_in_session(compute, run_id)
    assert entries(log) == [("session s", TWO), ("session s", THREE)]


async def test_nobody_but_the_proxy_holds_the_listener(compute: LocalCompute, jailable_workspace: Path) -> None:
    if os.geteuid() != 0:
        return  # nobody else may look at what PID 1 of a jail holds
    account = jailable_workspace.stat().st_uid
    await compute.start("sleeper", ExecSpec(argv=("sleep", "1000")))
    jailed = [pid for pid in filter(str.isdigit, os.listdir("/proc")) if _belongs(pid, account)]
    assert jailed
    listening = {_inode(line) for pid in jailed for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]}
    assert listening
    held = {os.readlink(f"/proc/{pid}/fd/{fd}") for pid in jailed for fd in os.listdir(f"/proc/{pid}/fd")}
    assert not {f"socket:[{inode}]" for inode in listening} & held
    await compute.cancel("sleeper")


def _belongs(pid: str, account: int) -> bool:
    try:
        return os.stat(f"/proc/{pid}/task").st_uid == account and Path(f"/proc/{pid}/ns/net").readlink() != OUR_NETWORK
    except (FileNotFoundError, ProcessLookupError):
        return False


def _inode(line: str) -> str:
    return line.split()[9]


OUR_NETWORK = Path("/proc/self/ns/net").readlink()
