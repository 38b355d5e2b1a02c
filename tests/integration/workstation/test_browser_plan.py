"""Chromium's jail from within, should somebody take Chromium over: what a program in it can do, and what it cannot."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from textwrap import dedent

import pytest

from workstation.local.browser.exchange import Exchange
from workstation.local.browser.plan import BrowserPlan
from workstation.local.jail.cgroups import GroupLimits
from workstation.local.jail.configuration import WORKSPACE, python_inside
from workstation.local.jail.jail import Jail, JailBuilder

type Run = Callable[..., Awaitable[str]]

CALLS = """
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    result = getattr(libc, name)(*arguments)
    return "done" if result >= 0 else errno.errorcode[ctypes.get_errno()]
"""


@pytest.fixture
def exchange() -> object:
    opened = Exchange()
    opened.open()
    yield opened.exchange
    opened.close()


@pytest.fixture
async def jail(exchange: Path) -> AsyncIterator[Jail]:
    plan = BrowserPlan(Path("/usr/lib/chromium/chromium-headless-shell"), exchange)
    async with JailBuilder(plan, GroupLimits(256 << 20, 64, 1.0), listens=True) as builder:
        jail = await builder.build()
        yield jail
        await jail.destroy()


@pytest.fixture
def run(jail: Jail, exchange: Path) -> Run:
    """Run Python code in the place of Chromium: what it printed."""

    async def ran(source: str, *arguments: str) -> str:
        reading, writing = os.pipe()
        null = os.open(os.devnull, os.O_RDWR)
        argv = [python_inside(), "-c", dedent(source), *arguments]
        try:
            await jail.start([part.encode() for part in argv], WORKSPACE.encode(), {}, [null, writing, writing], None)
        finally:
            os.close(null)
            os.close(writing)
        await jail.ended
        with open(reading) as output:
            return output.read()

    return ran


async def test_namespaces_for_chromium_s_own_sandbox_and_no_others(run: Run) -> None:
    source = """
        flags = {"user": 1 << 28, "mount": 1 << 17, "ipc": 1 << 27, "uts": 1 << 26, "cgroup": 1 << 25, "time": 1 << 7}
        for name, flag in flags.items():
            print(name, call("unshare", flag))
    """
    said = dict(line.split() for line in (await run(CALLS + dedent(source))).splitlines())
    assert said.pop("user") == "done"
    assert said == dict.fromkeys(said, "EPERM")


async def test_root_of_a_namespace_of_one_s_own_gains_little(run: Run) -> None:
    source = """
        import socket
        call("unshare", 1 << 28 | 1 << 30)
        open("/proc/self/uid_map", "w").write("0 1000 1")
        print(os.getuid())
        print(call("mount", b"none", b"/tmp", b"tmpfs", 0, None))
        print(call("setns", os.open("/proc/self/ns/net", os.O_RDONLY), 0))
        print(call("ptrace", 16, 1, 0, 0))
        print(call("keyctl", 0, 0, 0) if hasattr(libc, "keyctl") else "EPERM")
        for protocol in (0, 12):
            try:
                socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
                print("made")
            except OSError as error:
                print(errno.errorcode[error.errno])
        for family in (17, 38, 40):
            try:
                socket.socket(family, socket.SOCK_RAW)
                print("made")
            except OSError as error:
                print(errno.errorcode[error.errno])
    """
    expected = ["0", "EPERM", "EPERM", "EPERM", "EPERM", "made", "EPROTONOSUPPORT", *["EAFNOSUPPORT"] * 3]
    assert (await run(CALLS + dedent(source))).split() == expected


async def test_what_it_can_write(run: Run, exchange: Path) -> None:
    source = """
        import errno, sys
        for place in ("/", "/etc", "/usr", "/usr/lib/chromium", "/workspace", "/dev", "/proc/sys/kernel", *sys.argv[1:]):
            try:
                open(f"{place}/written", "w").close()
                print(place)
            except OSError as error:
                assert error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT), (place, error)
    """
    places = [str(exchange / name) for name in ("uploads", "downloads")]
    assert (await run(source, *places, "/tmp", "/dev/shm")).split() == [str(exchange / "downloads"), "/tmp", "/dev/shm"]
    assert [path.name for path in (exchange / "downloads").iterdir()] == ["written"]


async def test_what_is_there_of_the_host(run: Run) -> None:
    source = """
        import os
        for place in ("/home", "/work", "/etc/shadow", "/etc/resolv.conf", "/run", "/var/run", "/sys", "/boot", "/mnt"):
            if os.path.exists(place):
                print(place)
    """
    assert await run(source) == ""


async def test_who_connects_is_accepted_outside_alone(run: Run, jail: Jail) -> None:
    assert jail.listener is not None
    jail.listener.setblocking(False)
    source = """
        import socket
        with socket.create_connection(("127.0.0.1", 3128), timeout=20) as connection:
            print(connection.recv(5).decode())
    """
    talking = asyncio.ensure_future(run(source))
    connection, _ = await asyncio.get_running_loop().sock_accept(jail.listener)
    with connection:
        await asyncio.get_running_loop().sock_sendall(connection, b"hello")
    assert await talking == "hello\n"


async def test_it_listens_for_no_other_program(run: Run) -> None:
    source = """
        import socket
        for port in (3127, 3129):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=2)
                print("reached", port)
            except ConnectionRefusedError:
                pass
    """
    assert await run(source) == ""
