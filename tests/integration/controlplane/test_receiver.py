"""The Receiver's door: whatever a channel brings, what it stores can be delivered."""

from typing import Any

import pytest

from controlplane.errors import Invalid, TooLarge
from controlplane.receiver import CONTENT, MAX_METADATA_DEPTH, Arrival, Receiver
from empla.goals import STEP
from empla.schedules import RUN
from empla.store.ids import new_id
from tests.conftest import Database
from tests.factories import add_channel, add_employee, add_tenant


def nested(levels: int) -> dict[str, Any]:
    return {"a": nested(levels - 1)} if levels > 1 else {}


async def store(database: Database, **fields: Any) -> None:
    async with database.connect() as pool:
        tenant_id = await add_tenant(pool)
        employee_id = await add_employee(pool, tenant_id)
        channel_id = await add_channel(pool, tenant_id, employee_id)
        known: dict[str, Any] = {"event_id": new_id().hex, "sender": "ada@example.com", "text": "hello"}
        arrival = Arrival(tenant_id=tenant_id, channel_id=channel_id, employee_id=employee_id, **{**known, **fields})
        await Receiver(pool, lambda *_: None).store(arrival)


@pytest.mark.parametrize(
    "metadata",
    [
        nested(MAX_METADATA_DEPTH + 1),
        {"a": 10**400},
        {"a": float("nan")},
        {"a": [float("inf")]},
        {"a": "\0"},
        {"\0": 1},
        {"a": ["\ud800"]},
        {"\udc00": 1},
        {"a": object()},
        {CONTENT: "of a channel"},
        {RUN: {}},
        {STEP: {}},
    ],
)
async def test_metadata_that_could_not_be_delivered_is_refused(database: Database, metadata: dict[str, Any]):
    with pytest.raises(Invalid) as refused:
        await store(database, metadata=metadata)
    assert set(refused.value.fields) == {"metadata"}


@pytest.mark.parametrize("field", ["text", "sender", "event_id", "conversation"])
@pytest.mark.parametrize("value", ["\0", "\ud800"])
async def test_text_that_cannot_be_stored_is_refused(database: Database, field: str, value: str):
    with pytest.raises(Invalid) as refused:
        await store(database, **{field: value})
    assert set(refused.value.fields) == {field}


async def test_metadata_up_to_the_limits_is_stored(database: Database):
    await store(database, metadata={**nested(MAX_METADATA_DEPTH), "b": [1e308, 10**308, None, True, "Grüße"]})


async def test_metadata_is_kept_as_the_channel_named_it(database: Database):
    await store(database, metadata={"content": "text/plain", "a": 1})
    async with database.connect() as pool:
        [row] = await pool.fetch("SELECT metadata FROM message_bodies")
    kept = row["metadata"]
    assert kept.pop(CONTENT)
    assert kept == {"content": "text/plain", "a": 1}


async def test_metadata_over_the_size_is_refused(database: Database):
    with pytest.raises(TooLarge):
        await store(database, metadata={"a": "b" * 17_000})
