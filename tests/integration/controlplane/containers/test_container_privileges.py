"""A container has what the sandbox and Chromium need, and each part of that is needed."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from controlplane.launchers.confinement import CAPABILITIES, host_configuration, system_calls
from controlplane.launchers.engine import Engine
from controlplane.launchers.interface import BROWSER, COMPUTE
from empla.store.ids import new_id
from tests.integration.controlplane.containers.conftest import Images

pytestmark = pytest.mark.timeout(900)

JAIL = ("python3", "-m", "workstation.local.jail")
CHROMIUM = ("python3", "-m", "workstation.local.browser")

type Tried = tuple[int, str]
type Try = Callable[..., Awaitable[Tried]]


@pytest.fixture
def attempt(engine: Engine, images: Images, jailable_workspace: Path, short_directory: Path) -> Try:
    """Run a command in a container of a sidecar's image, with changes to what it may do: exit code and output."""

    async def run(kind: str, *command: str, **changes: Any) -> Tried:
        said = short_directory / f"{new_id()}.log"
        said.touch()
        binds = [f"{jailable_workspace}:/workspace", f"{said}:/run/empla.log"]
        host = {
            **host_configuration(),
            "NetworkMode": "none",
            "Binds": binds,
            "Tmpfs": {"/tmp": "exec,mode=1777,size=1g"},
            **changes,
        }
        name = f"empla-attempt-{new_id()}"
        image = await asyncio.to_thread(images, kind)
        container = await engine.create(name, {"Image": image, "Cmd": list(command), "HostConfig": host})
        try:
            await engine.start(container)
            return await engine.ended(container), said.read_text()
        finally:
            await engine.remove(container)

    return run


def refusing(*names: str) -> list[str]:
    """The security options with more system calls refused."""
    profile = json.loads(system_calls())
    profile["syscalls"].append({"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": 1})
    return ["no-new-privileges", "apparmor=unconfined", f"seccomp={json.dumps(profile)}"]


async def test_a_program_gets_its_jail(attempt: Try):
    assert await attempt(COMPUTE, *JAIL) == (0, "ok\n")


async def test_chromium_starts_in_its_jail_and_its_own_sandbox(attempt: Try):
    code, said = await attempt(BROWSER, *CHROMIUM)
    assert (code, said.strip().replace(".", "").isdecimal()) == (0, True), said


@pytest.mark.parametrize("missing", CAPABILITIES)
async def test_each_capability_is_needed(attempt: Try, missing: str):
    code, said = await attempt(COMPUTE, *JAIL, CapAdd=[name for name in CAPABILITIES if name != missing])
    assert code != 0
    assert "ok" not in said.splitlines()


@pytest.mark.parametrize("call", ["mount", "umount2", "pivot_root", "sethostname"])
async def test_each_system_call_that_builds_a_jail_is_needed(attempt: Try, call: str):
    code, said = await attempt(COMPUTE, *JAIL, SecurityOpt=refusing(call))
    assert code != 0
    assert "ok" not in said.splitlines()


@pytest.mark.parametrize("call", ["unshare", "chroot"])
async def test_each_system_call_of_chromiums_sandbox_is_needed(attempt: Try, call: str):
    code, said = await attempt(BROWSER, *CHROMIUM, SecurityOpt=refusing(call))
    assert code != 0
    assert "Chromium" in said


async def test_the_engines_own_profile_would_not_do(attempt: Try):
    code, said = await attempt(COMPUTE, *JAIL, SecurityOpt=["no-new-privileges", "apparmor=unconfined"])
    assert code != 0
    assert "pivot_root" in said


@pytest.mark.parametrize("usual", ["MaskedPaths", "ReadonlyPaths"])
async def test_a_proc_with_covered_places_would_not_do(attempt: Try, usual: str):
    code, said = await attempt(COMPUTE, *JAIL, **{usual: ["/proc/sys"]})
    assert code != 0
    assert "nsjail could not build the sandbox" in said


async def test_nothing_is_left_of_the_privileges_when_the_sidecar_begins(attempt: Try, jailable_workspace: Path):
    program = """
import json, os
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
def refused(action):
    try:
        action()
    except OSError as error:
        return error.errno
print(json.dumps({
    "ids": os.getresuid() + os.getresgid() + tuple(os.getgroups()),
    "capabilities": [int(status[f"Cap{name}"], 16) for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")],
    "gains": int(status["NoNewPrivs"]),
    "filtered": int(status["Seccomp"]),
    "networks": sorted(os.listdir("/sys/class/net")),
    "image": refused(lambda: open("/usr/made", "w")),
    "bounds": refused(lambda: open(BOUND, "w")),
    "kernel": refused(lambda: open("/proc/sys/kernel/core_pattern", "w")),
}))
"""
    bound = "memory.limit_in_bytes" if Path("/sys/fs/cgroup/memory").is_dir() else "memory.max"
    place = "/sys/fs/cgroup/memory" if Path("/sys/fs/cgroup/memory").is_dir() else "/sys/fs/cgroup"
    code, said = await attempt(COMPUTE, "python3", "-c", program.replace("BOUND", repr(f"{place}/{bound}")))
    assert code == 0, said
    owner = jailable_workspace.stat()
    assert json.loads(said) == {
        "ids": [owner.st_uid] * 3 + [owner.st_gid] * 3 + [owner.st_gid] * (len(json.loads(said)["ids"]) - 6),
        "capabilities": [0] * 5,
        "gains": 1,
        "filtered": 2,
        "networks": ["lo"],
        "image": 30,
        "bounds": 13,
        "kernel": 13,
    }


async def test_system_calls_that_nobody_needs_are_refused_to_the_sidecar_itself(attempt: Try):
    # bpf, keyctl, io_uring_setup, ptrace and perf_event_open, setns; open_tree as if there were none; AF_VSOCK and AF_PACKET
    program = """
import ctypes, socket
libc = ctypes.CDLL(None, use_errno=True)
def call(number):
    libc.syscall(number, 0, 0, 0, 0, 0)
    return ctypes.get_errno()
print([call(number) for number in (321, 250, 425, 101, 298, 308)], call(428))
for family in (40, 17):
    try:
        socket.socket(family, socket.SOCK_DGRAM)
    except OSError as error:
        print(error.errno)
"""
    if os.uname().machine != "x86_64":
        pytest.skip("the numbers are those of x86_64")
    assert await attempt(COMPUTE, "python3", "-c", program) == (0, "[1, 1, 1, 1, 1, 1] 38\n97\n97\n")
