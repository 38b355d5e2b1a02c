"""A package of hooks that makes trouble in employees of certain names: see TROUBLE in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.conftest import temporary_directory

NAMED = '["trouble"]'
"""For EMPLA_HOOKS."""
SOURCE = """
import asyncio
import gc
import os
import threading
import time

import asyncpg

from agent.hooks import Hooks
from agent.moments import EmployeeStarted
from agent.settings import AgentSettings


def spin() -> None:
    while True:
        pass


def leak() -> None:
    kept = []
    while True:
        kept.append(b"x" * (8 << 20))
        time.sleep(0.02)


def write() -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        os.write(2, (b"flood " * 1000 + b"\\n") * 10)


def ask() -> None:
    asyncio.run(asked())


async def asked() -> None:
    settings = next(one for one in gc.get_objects() if isinstance(one, AgentSettings))
    async with asyncio.TaskGroup() as group:
        for _ in range(40):
            group.create_task(ask_again_and_again(settings.database_url.get_secret_value()))


async def ask_again_and_again(url: str) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        try:
            connection = await asyncpg.connect(url)
        except asyncpg.PostgresError:
            await asyncio.sleep(0.1)
            continue
        try:
            while time.monotonic() < end:
                await connection.fetch("SELECT count(*) FROM generate_series(1, 2000000)")
        finally:
            await connection.close()


TROUBLE = {"spinner": [spin], "leaker": [leak], "writer": [write], "asker": [ask], "flooder": [write, ask]}


def begin(moment: EmployeeStarted) -> None:
    for work in TROUBLE.get(moment.employee, []):
        threading.Thread(target=work, daemon=True).start()


hooks = Hooks().on(EmployeeStarted, begin)
"""


@contextmanager
def installed(seconds: float = 8) -> Iterator[Path]:
    """A directory for PYTHONPATH with the package as an installer leaves it; its floods last so many seconds."""
    with temporary_directory() as directory:
        (directory / "trouble.py").write_text(f"SECONDS = {seconds}\n{SOURCE}")
        described = directory / "trouble-1.0.dist-info"
        described.mkdir()
        (described / "METADATA").write_text("Metadata-Version: 2.1\nName: trouble\nVersion: 1.0\n")
        (described / "entry_points.txt").write_text("[empla.hooks]\ntrouble = trouble:hooks\n")
        yield directory
