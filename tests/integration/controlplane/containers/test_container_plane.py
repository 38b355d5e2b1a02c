"""A control plane whose sidecars are containers."""

from collections.abc import Callable

import pytest

from controlplane.launchers.interface import COMPUTE
from controlplane.settings import Settings
from tests.integration.controlplane import seats
from tests.integration.controlplane.conftest import Plane
from tests.integration.controlplane.containers.conftest import Images
from tests.integration.controlplane.seats import place, run, until

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def plane_settings(plane_settings: Settings, engine_address: str, images: Images) -> Settings:
    images(COMPUTE)
    return plane_settings.model_copy(update={"sidecars_engine": engine_address})


async def test_an_employee_leases_a_container_as_it_does_a_process(
    plane: Plane, left_containers: Callable[[str], list[str]]
):
    seat = await seats.seat(plane)
    lease = await seat.acquire(idle_ttl_seconds=60)
    assert left_containers(lease.sidecar_id) == [f"empla-compute-{lease.sidecar_id}"]
    await run(lease, "sh", "-c", "echo kept > file")
    assert (place(lease) / "groups").read_bytes() == b""  # what it calls its control groups is not believed out here
    workspace = plane.settings.workspaces / str(seat.employee_id)
    assert (workspace / "file").read_text() == "kept\n"
    assert (workspace / "file").stat().st_uid == workspace.stat().st_uid
    await seat.release(lease)
    await until(lambda: not left_containers(lease.sidecar_id) and not place(lease).exists(), 30)


async def test_a_container_whose_lease_runs_out_leaves_nothing(
    plane: Plane, left_containers: Callable[[str], list[str]]
):
    seat = await seats.seat(plane)
    lease = await seat.acquire(idle_ttl_seconds=4)
    await until(lambda: not left_containers(lease.sidecar_id) and not place(lease).exists(), 30)
