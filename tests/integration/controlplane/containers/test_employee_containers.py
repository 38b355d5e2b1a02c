"""A control plane whose employees are containers, with real ones."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from controlplane.auth import new_secret
from controlplane.errors import LaunchFailed
from controlplane.launchers.containers import Image
from controlplane.launchers.employee_container import IMAGE, EmployeeContainerLauncher
from controlplane.launchers.engine import Engine
from controlplane.launchers.interface import COMPUTE, EMPLOYEE, LaunchSpec
from controlplane.settings import Settings
from empla.store.ids import new_id
from empla.v1 import control_pb2 as pb
from tests.conftest import Database
from tests.integration.controlplane.conftest import Plane, serving
from tests.integration.controlplane.containers.conftest import Images
from tests.integration.controlplane.seats import until

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can give each employee an account of its own"),
]

NAME = "sales-ae"
SMALL = 128 << 20
FILL = ("dd", "if=/dev/zero", "of=/tmp/all", "bs=32M")
"""What is in /tmp counts as the container's memory; the employee is larger than dd, so it is whom the kernel kills."""

type Left = Callable[[str], list[str]]


@pytest.fixture
async def plane_settings(
    plane_settings: Settings, engine_address: str, engine: Engine, images: Images
) -> AsyncIterator[Settings]:
    """Of a control plane that has employees in containers; what it leaves is removed."""
    for kind in (EMPLOYEE, COMPUTE):
        images(kind)
    update = {"launcher": "container", "sidecars_engine": engine_address, "employee_memory_bytes": SMALL}
    yield plane_settings.model_copy(update={**update, "sidecars_warm": 0, "employees_network": "none"})
    for container in await engine.containers({"empla.installation": str(plane_settings.home)}):
        await engine.remove(container["Id"])


async def test_an_employee_lives_in_a_container_of_its_own(plane: Plane, engine: Engine, left_containers: Left):
    employee = await hired(plane)
    container = f"empla-employee-{employee.employee_id}-{employee.epoch}"
    assert left_containers(employee.employee_id) == [container]
    log = plane.settings.log_directory / f"{employee.employee_id}.log"

    # It works: beside it with files, in a sidecar with programs.
    (plane.settings.workspaces / employee.employee_id / "team.md").write_text("- Ada: engineer\n- Bo: sales\n")
    assert "2" in await answered(plane, "How many people does team.md list?")
    assert "42" in await answered(plane, "Run the command `expr 6 \\* 7`")
    ran = await plane.pool.fetchval("SELECT count(*) FROM sidecars WHERE kind = 'compute' AND launcher = 'container'")
    assert ran == 1

    # It may do nothing else, and nobody who asks the engine sees its secrets.
    known = await engine._docker.containers.get(container)
    inspected = json.dumps(known._container)
    assert not any(secret in inspected for secret in ("credential", "postgresql://", "EMPLA_"))
    host = known["HostConfig"]
    assert (host["Memory"], host["MemorySwap"], host["ReadonlyRootfs"], host["Privileged"]) == (
        SMALL,
        SMALL,
        True,
        False,
    )
    state = dict(line.split(":\t") for line in Path(f"/proc/{employee.pid}/status").read_text().splitlines())
    account = (plane.settings.workspaces / employee.employee_id).stat().st_uid
    assert account != 0
    assert (employee.bound.kind, employee.bound.memory_bytes) == ("cgroup", SMALL)
    assert state["Uid"].split() == [str(account)] * 4
    assert (int(state["CapEff"], 16), int(state["CapBnd"], 16), state["NoNewPrivs"]) == (0, 0, "1")
    assert (state["Seccomp"], int(host["PidsLimit"]) > 0) == ("2", True)

    # It is on record by what nobody else ever is, and its end leaves its log alone.
    process = await plane.pool.fetchval("SELECT process FROM employee_epochs WHERE epoch = $1", employee.epoch)
    assert process == {"container": known["Id"], "pid": employee.pid}
    await plane.stub.StopEmployee(pb.StopEmployeeRequest(employee=NAME, drain_seconds=5), timeout=60)
    await until(lambda: left_containers(employee.employee_id) == [], 30)
    assert "is gone: exit code 0" not in log.read_text()
    assert log.read_text() != ""


async def test_one_that_ends_is_started_again_and_says_why(plane: Plane, engine: Engine):
    first = await hired(plane)
    os.kill(first.pid, signal.SIGKILL)
    second = await attached(plane, after=first)
    assert (second.restarts, second.last_end.reason) == (1, "killed by SIGKILL")
    assert "2" in await answered(plane, "What is 1 + 1?")
    await run_in(engine, second, *FILL)
    third = await attached(plane, after=second)
    assert (third.restarts, third.last_end.reason) == (2, "out of memory")


async def test_a_control_plane_that_comes_back_goes_on_with_what_runs(
    plane_settings: Settings, database: Database, engine: Engine, left_containers: Left
):
    stray = str(new_id())
    async with plane_of(plane_settings, database) as plane:
        first = await hired(plane)
        labels = {**await labels_of(engine, first), "empla.employee": stray}
    container = await engine.create(f"empla-employee-{stray}-1", {"Image": IMAGE, "Labels": labels, "OpenStdin": True})
    await engine.start(container)  # of an employee that is deleted meanwhile
    await engine.create(f"empla-employee-{first.employee_id}-99", {"Image": IMAGE, "Labels": labels})  # never started
    async with plane_of(plane_settings, database) as plane:
        assert "2" in await answered(plane, "What is 1 + 1?")
        again = await found(plane)
        assert (again.pid, again.epoch, again.restarts) == (first.pid, first.epoch, 0)
        await until(lambda: left_containers(stray) == [], 30)
        assert len(left_containers(first.employee_id)) == 1
    async with plane_of(plane_settings.model_copy(update={"launcher": "process"}), database) as plane:
        assert left_containers(first.employee_id) == []
        await attached(plane, after=first)
        await plane.running.lifecycle.stop_all()
        await plane.running.launcher.stop()


async def test_a_container_that_ends_as_it_starts(
    engine_address: str, images: Images, short_directory: Path, jailable_workspace: Path, left_containers: Left
):
    wrong = {EMPLOYEE: Image(images(COMPUTE))}  # its first program has to be root
    settings = {
        "workspace": str(jailable_workspace),
        "gateway": "127.0.0.1:7400",
        "database_url": "postgresql://ada:secret@/empla?host=/tmp",
        "memory_bytes": SMALL,
    }
    spec = LaunchSpec(new_id(), 1, settings, short_directory / "log")
    for place in (gateways := short_directory / "gateways", sidecars := short_directory / "sidecars"):
        place.mkdir()
    async with EmployeeContainerLauncher(
        engine_address, "test", wrong, gateways=gateways, sidecars=sidecars
    ) as launcher:
        with pytest.raises(LaunchFailed) as caught:
            await launcher.launch(spec)
    assert caught.value.reason == "ENDED"
    assert left_containers(str(spec.employee_id)) == []
    os.chown(jailable_workspace, 0, 0)
    with pytest.raises(LaunchFailed, match="give it to an unprivileged account"):
        await launcher.launch(spec)


@asynccontextmanager
async def plane_of(settings: Settings, database: Database) -> AsyncIterator[Plane]:
    async with database.connect() as pool, serving(settings, database.dsn, new_secret(), pool) as plane:
        yield plane


async def hired(plane: Plane) -> Any:
    """A new employee, once it is attached."""
    create = pb.CreateEmployeeRequest(name=NAME, profile_name="sales-ae", start=True)
    return await attached(plane, after=await plane.stub.CreateEmployee(create, timeout=10))


async def answered(plane: Plane, text: str) -> str:
    """What the employee says to that."""
    request = pb.SendMessageRequest(employee=NAME, text=text, wait_ms=60_000)
    message = await plane.stub.SendMessage(request, timeout=90)
    assert message.state == "answered", message
    return str(message.replies[0].text)


async def found(plane: Plane) -> Any:
    return await plane.stub.GetEmployee(pb.GetEmployeeRequest(employee=NAME), timeout=10)


async def attached(plane: Plane, *, after: Any) -> Any:
    """The employee, as soon as a later launch of it is attached."""
    async with asyncio.timeout(60):
        while True:
            now = await found(plane)
            if now.epoch > after.epoch and now.observed_state == pb.OBSERVED_STATE_ATTACHED:
                return now
            await asyncio.sleep(0.05)


async def labels_of(engine: Engine, employee: Any) -> dict[str, str]:
    (container,) = await engine.containers({"empla.employee": employee.employee_id})
    labels: dict[str, str] = container["Labels"]
    return labels


async def run_in(engine: Engine, employee: Any, *command: str) -> None:
    container = engine._docker.containers.container(f"empla-employee-{employee.employee_id}-{employee.epoch}")
    run = await container.exec(list(command))
    await run.start(detach=True)
