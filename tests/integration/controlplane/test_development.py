"""An office without a control plane: what its rows promise to employees of the same process."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.employee import DigitalEmployee
from agent.errors import Superseded
from agent.identity import Identity
from agent.local import LocalGateway
from agent.models.offline import OfflineModel
from controlplane.development import Launch, Office, office
from controlplane.employees import Employees
from controlplane.errors import NotNow, Unknown
from empla.store.connect import connect
from empla.store.embedded import EmbeddedPostgres
from tests.factories import add_intention

PATIENCE = 60


@pytest.fixture
async def here(short_directory: Path) -> AsyncIterator[Office]:
    async with office(short_directory / "home") as here:
        yield here


def employee_of(launch: Launch, gateway: LocalGateway) -> DigitalEmployee:
    identity = Identity(launch.record.employee_id, launch.record.tenant_id, launch.epoch)
    return DigitalEmployee(identity, launch.database_url, launch.workspace, gateway, OfflineModel())


async def test_the_same_rules_decide_what_leaves(here: Office):
    """A supervised employee's reply is held; whoever waits for it is told so."""
    launch = await here.launch("sue", "sdr")
    gateway = LocalGateway(launch.configuration)
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as life:
        life.create_task(employee_of(launch, gateway).start())
        message_id = await here.store(launch.record, "What is 17 * 23?")
        for message in await here.undelivered(launch.record):
            gateway.deliver(message)
        ended = await here.settled(launch.record, message_id)
        gateway.drain(5000)
    assert ended.state == "waiting"
    [reply] = ended.replies
    assert (reply.state, "391" in reply.text) == ("held", True)
    assert await here.undelivered(launch.record) == []


async def test_an_employee_is_handed_what_it_is_told_and_what_it_does_by_itself(here: Office):
    launch = await here.launch("ada", "sales-ae")
    gateway = LocalGateway(launch.configuration)
    ids = launch.record.tenant_id, launch.record.employee_id
    async with (
        connect(here._dsn, application_name="test") as pool,
        asyncio.timeout(PATIENCE),
        asyncio.TaskGroup() as life,
    ):
        life.create_task(employee_of(launch, gateway).start())
        delivering = life.create_task(here.deliver(launch.record, gateway.deliver))
        asked = await here.store(launch.record, "What is 17 * 23?")
        assert (await here.settled(launch.record, asked)).state == "answered"
        intention_id = await add_intention(pool, *ids, "What is 2 + 3?", "What is 4 + 5?")
        await pool.execute("NOTIFY empla_steps")
        for step, answer in ((1, "5"), (2, "9")):
            message_id = None
            while message_id is None:
                message_id = await pool.fetchval(
                    "SELECT message_id FROM intention_steps WHERE intention_id = $1 AND step = $2", intention_id, step
                )
            ended = await here.settled(launch.record, message_id)
            assert (ended.state, ended.channel) == ("answered", "own")
            assert answer in ended.replies[0].text
        delivering.cancel()
        gateway.drain(5000)


async def test_a_second_launch_is_the_only_one(here: Office):
    first, second = await here.launch("ada", "sales-ae"), await here.launch("ada", "support")
    assert (second.record.employee_id, second.epoch, second.workspace) == (
        first.record.employee_id,
        first.epoch + 1,
        first.workspace,
    )
    assert second.record.profile.role == first.record.profile.role  # a name that is there keeps its profile
    assert second.workspace.stat().st_mode & 0o077 == 0
    message_id = await here.store(first.record, "What is 1 + 1?")
    old, new = LocalGateway(first.configuration), LocalGateway(second.configuration)
    [message] = await here.undelivered(first.record)
    old.deliver(message)
    new.deliver(message)
    # The old login is no longer good, and the old epoch writes nothing, whichever of the two it meets first.
    stale = employee_of(Launch(first.record, first.epoch, second.database_url, first.workspace), old)
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as life:
        life.create_task(employee_of(second, new).start())
        with pytest.RaisesGroup(Superseded, flatten_subgroups=True):
            await stale.start()
        assert (await here.settled(first.record, message_id)).state == "answered"
        new.drain(5000)


async def test_an_employee_of_a_control_plane_is_left_alone(short_directory: Path):
    home = short_directory / "home"
    async with office(home) as here:
        launch = await here.launch("ada", "sales-ae")
        with pytest.raises(Unknown, match="no profile 'boss'"):
            await here.launch("eve", "boss")
    async with EmbeddedPostgres(home) as server, connect(server.dsn, application_name="test") as pool:
        await Employees(pool).want(launch.record.employee_id, "running")
    with pytest.RaisesGroup(pytest.RaisesExc(NotNow, match="empla employee stop ada")):
        async with office(home) as here:
            await here.launch("ada", "sales-ae")
