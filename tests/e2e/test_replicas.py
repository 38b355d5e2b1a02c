"""One of three: control planes of one installation are killed under load, and whatever they had the others go on with."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import asyncpg
import grpc
import pytest

from empla.v1 import control_pb2 as pb
from tests.conftest import Database
from tests.e2e.conftest import temporary_directory
from tests.e2e.system import EMPLOYEE, System, until

MESSAGES = 60
SENDERS = 6
LEADER = "SELECT instance FROM control_lease WHERE expires_at > now()"
HOLDER = "SELECT instance FROM employee_presence JOIN employees USING (employee_id) WHERE name = 'sales-ae'"
AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


@dataclass
class Three:
    """Control planes over one database and one home."""

    planes: Sequence[System]
    dsn: str

    @property
    def alive(self) -> list[System]:
        return [plane for plane in self.planes if plane.is_up]

    def kill(self, query: str) -> None:
        """Kill the control plane that the database names."""
        pid = until(lambda: self._pid(query), f"somebody is named by {query}")
        [plane] = [plane for plane in self.planes if plane.pid == pid]
        plane.kill_control_plane()

    def _pid(self, query: str) -> int:
        instance = asyncio.run(self._named(query))
        pid = int(instance.split(":")[1]) if instance else 0
        return pid if pid in [plane.pid for plane in self.planes] else 0

    async def _named(self, query: str) -> str | None:
        connection = await asyncpg.connect(self.dsn)
        try:
            instance: str | None = await connection.fetchval(query)
        finally:
            await connection.close()
        return instance


@pytest.fixture
def three(database: Database) -> Iterator[Three]:
    with temporary_directory() as directory:
        planes = [
            System(
                directory,
                output=f"output-{number}",
                EMPLA_DATABASE_URL=database.dsn,
                EMPLA_DRAIN_SECONDS="1",
                EMPLA_MODEL_PROVIDER="offline",
            )
            for number in range(3)
        ]
        for plane in planes:
            plane.is_one_of(planes)
        try:
            for plane in planes:
                plane.start()
            yield Three(planes, database.dsn)
        finally:
            for plane in planes:
                plane.kill_everything()


@pytest.mark.timeout(400)
def test_ending_one_and_killing_two_of_three_loses_nothing_and_restarts_nobody(three: Three):
    first = three.planes[0]
    second = f"support-{uuid4().hex[:6]}"
    first.call("CreateEmployee", pb.CreateEmployeeRequest(name=second, profile_name="support", start=True))
    names = (EMPLOYEE, second)
    for name in names:
        first.call("UpdateEmployee", pb.UpdateEmployeeRequest(employee=name, autonomy=pb.AUTONOMY_AUTONOMOUS))
    before = {name: first.attached(name) for name in names}

    with ThreadPoolExecutor(SENDERS) as threads:
        sendings = [threads.submit(_answered, three, number, names[number % 2]) for number in range(MESSAGES)]
        until(lambda: sum(one.done() for one in sendings) >= MESSAGES // 6, "some are answered")
        assert first.interrupt() == 0, "the one that the employees were launched by"
        first.start()
        three.kill(LEADER)
        until(lambda: sum(one.done() for one in sendings) >= MESSAGES // 2, "more are answered")
        three.kill(HOLDER)
        results = [one.result() for one in sendings]

    [left] = three.alive
    for message in results:
        told = left.message(message.message_id)
        assert (told.state, [reply.state for reply in told.replies]) == ("answered", ["sent"])
        done = [(step.intent_index, step.step) for step in told.attempts if step.outcome == "succeeded"]
        assert len(done) == len(set(done))
    assert len({message.message_id for message in results}) == MESSAGES
    for name in names:
        after = left.attached(name)
        assert (after.pid, after.epoch) == (before[name].pid, before[name].epoch)

    for plane in three.planes:
        plane.ensure_running()
    assert [plane.interrupt() for plane in three.planes[:2]] == [0, 0]
    assert three.planes[2].attached().pid == before[EMPLOYEE].pid
    assert three.planes[2].interrupt() == 0
    assert first.processes() == {}, "the last one ends the employees"


def _answered(three: Three, number: int, name: str) -> Any:
    """Send a message over one control plane after the other, until one tells the answer."""
    plane = number
    while True:
        try:
            return three.planes[plane % 3].send(
                "What is 17 * 23?", employee=name, idempotency_key=f"m{number}", conversation=f"{name} {number % 7}"
            )
        except grpc.RpcError as error:
            if error.code() not in AWAY:
                raise
            plane += 1
            threading.Event().wait(0.1)
