"""A control plane that serves keeps the logs small, those that it does not write itself too."""

import asyncio

import pytest

from controlplane import logs
from tests.integration.controlplane.conftest import Plane


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MAX_FILE_BYTES", 1_000)
    monkeypatch.setattr(logs, "ROTATE_SECONDS", 0.05)


async def test_the_log_of_the_warm_parent_is_rotated(plane: Plane):
    log = plane.settings.log_directory / "forkserver.log"
    await asyncio.to_thread(log.write_bytes, b"words\n" * 1_000)
    async with asyncio.timeout(10):
        while log.stat().st_size:
            await asyncio.sleep(0.05)
    assert log.with_name("forkserver.log.1").stat().st_size <= 1_000
