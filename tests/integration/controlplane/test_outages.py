"""What the control plane says while the database is away."""

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from controlplane import sender
from controlplane.sender import Sender
from empla.store.connect import connect


async def test_sending_says_once_that_the_database_is_away(
    short_directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(sender, "POLL_SECONDS", 0.01)
    nowhere = f"postgresql://nobody:password@/empla?host={short_directory}"
    async with connect(nowhere, application_name="tests") as pool:
        sending = asyncio.create_task(Sender(pool, cast("Any", None), lambda _: None, instance="tests").run())
        await asyncio.sleep(0.5)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    [told] = [record.getMessage() for record in caplog.records if record.name == "controlplane.sender"]
    assert told.startswith("the database is away, sending waits: ")
