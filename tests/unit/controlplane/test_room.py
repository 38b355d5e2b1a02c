"""Who gets room for a sidecar, who waits, and who is refused."""

import asyncio

import pytest

from controlplane.errors import Exhausted
from controlplane.sidecars.room import Bounds, Party, Room
from empla.store.ids import new_id

TENANT = new_id()
ADA, GRACE = Party(new_id(), TENANT), Party(new_id(), TENANT)
FOREIGN = Party(new_id(), new_id())
QUEUE = Bounds(2, 3, 4)


def room(employee: int = 2, tenant: int = 3, host: int = 4, *, seconds: float = 5.0) -> Room:
    return Room(Bounds(employee, tenant, host), QUEUE, seconds)


async def waiting(room: Room, party: Party) -> asyncio.Task[None]:
    task = asyncio.create_task(room.take(party))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return task


@pytest.mark.parametrize(
    ("taken", "party", "reason"),
    [
        ([ADA, ADA], ADA, "SIDECARS_OF_EMPLOYEE"),
        ([ADA, ADA, GRACE], GRACE, "SIDECARS_OF_TENANT"),
        ([FOREIGN, FOREIGN, ADA, ADA], GRACE, "SIDECARS_OF_HOST"),
    ],
)
async def test_the_refusal_names_the_bound_and_when_to_ask_again(taken: list[Party], party: Party, reason: str):
    full = room(seconds=0.01)
    for one in taken:
        await full.take(one)
    with pytest.raises(Exhausted) as refused:
        await full.take(party)
    assert refused.value.reason == reason
    assert f"EMPLA_SIDECARS_PER_{reason.rpartition('_')[2]}" in str(refused.value)
    assert refused.value.retry_after > 0


async def test_whoever_waits_gets_the_room_of_one_that_is_gone_in_order():
    small = room(employee=1)
    await small.take(ADA)
    first, second = await waiting(small, ADA), await waiting(small, ADA)
    small.give(ADA)
    await first
    assert not second.done()
    small.give(ADA)
    await second


async def test_nobody_waits_for_anothers_bound():
    small = room(employee=1)
    await small.take(ADA)
    task = await waiting(small, ADA)
    await small.take(GRACE)
    await small.take(FOREIGN)
    small.give(GRACE)
    await asyncio.sleep(0)
    assert not task.done()
    small.give(ADA)
    await task


async def test_the_queue_is_bounded():
    small = room(employee=1)
    await small.take(ADA)
    tasks = [await waiting(small, ADA) for _ in range(QUEUE.employee)]
    with pytest.raises(Exhausted, match="waiting"):
        await small.take(ADA)
    for task in tasks:
        small.give(ADA)
        await task


async def test_whoever_leaves_the_queue_takes_nothing_along():
    small = room(employee=1)
    await small.take(ADA)
    task = await waiting(small, ADA)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    small.give(ADA)
    await asyncio.wait_for(small.take(ADA), 1)


async def test_room_that_is_granted_to_somebody_who_leaves_in_that_moment_is_given_on():
    small = room(employee=1)
    await small.take(ADA)
    leaving, staying = await waiting(small, ADA), await waiting(small, ADA)
    small.give(ADA)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    await asyncio.wait_for(staying, 1)


async def test_what_is_there_already_counts_whatever_the_bounds_say():
    small = room(employee=1, seconds=0.01)
    small.hold(ADA)
    small.hold(ADA)
    small.give(ADA)
    with pytest.raises(Exhausted):
        await small.take(ADA)
    small.give(ADA)
    await small.take(ADA)


async def test_nothing_at_all_may_be_had():
    with pytest.raises(Exhausted, match="has 0 sidecars"):
        await room(host=0, seconds=0.01).take(ADA)
