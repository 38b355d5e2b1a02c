"""One employee spins, leaks or floods, and the others answer as before."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from controlplane.logs import MAX_FILE_BYTES, MAX_LINE
from tests.e2e import trouble
from tests.e2e.conftest import one_system
from tests.e2e.system import EMPLOYEE, System, until

MEMORY_BYTES = 256 << 20
FLOOD = 40


@pytest.fixture(scope="module")
def troubled() -> Iterator[System]:
    """A system whose employees `spinner`, `leaker` and `flooder` do what they are called."""
    with trouble.installed() as package:
        path = os.pathsep.join(filter(None, (str(package), os.environ.get("PYTHONPATH", ""))))
        with one_system(
            PYTHONPATH=path, EMPLA_HOOKS=trouble.NAMED, EMPLA_EMPLOYEE_MEMORY_BYTES=str(MEMORY_BYTES)
        ) as system:
            system.start()
            yield system


@pytest.fixture
def other(troubled: System) -> Iterator[Any]:
    """An employee that makes no trouble, which must have lived through the test in one process."""
    before = troubled.attached()
    yield before
    after = troubled.employee()
    assert (after.epoch, after.pid, after.restarts) == (before.epoch, before.pid, before.restarts)


def all_answered(system: System, count: int = 6) -> None:
    for number in range(count):
        message = system.ended(system.send(f"What is {number} * 23?").message_id)
        assert message.state == "answered", message
        assert str(number * 23) in message.replies[0].text


@pytest.mark.usefixtures("other")
def test_one_that_spins_keeps_nobody_from_answering(troubled: System):
    troubled.json("employee", "create", "spinner")
    troubled.attached("spinner")
    all_answered(troubled)
    assert troubled.ended(troubled.send("What is 17 * 23?", employee="spinner").message_id).replies
    troubled.json("employee", "delete", "spinner", "--yes", "--force")


@pytest.mark.usefixtures("other")
def test_one_that_leaks_is_ended_for_its_memory_and_nobody_else_is(troubled: System):
    troubled.json("employee", "create", "leaker")
    until(lambda: troubled.employee("leaker").last_end.reason == "out of memory", "its memory is used up")
    all_answered(troubled)
    assert (
        f"{MEMORY_BYTES >> 20} MiB of memory, by its control group" in troubled.run("employee", "show", EMPLOYEE).stdout
    )
    shown = troubled.run("employee", "show", "leaker").stdout
    assert "out of memory, " in shown
    troubled.json("employee", "delete", "leaker", "--yes", "--force")


@pytest.mark.usefixtures("other")
def test_a_flood_of_output_statements_and_messages_loses_nothing_of_others(troubled: System):
    troubled.json("employee", "create", "flooder")
    employee_id = troubled.attached("flooder").employee_id
    with ThreadPoolExecutor(8) as threads:
        asked = [
            threads.submit(troubled.send, f"What is {number} * 7?", wait=False, employee="flooder")
            for number in range(FLOOD)
        ]
        all_answered(troubled)
        flood = [one.result().message_id for one in asked]
    for message_id in flood:
        troubled.ended(message_id)
    log = troubled.home / "logs" / f"{employee_id}.log"
    until(lambda: log.stat().st_size <= MAX_FILE_BYTES, "its log is cut")
    assert 0 < log.with_name(f"{log.name}.1").stat().st_size <= MAX_FILE_BYTES + MAX_LINE
    troubled.json("employee", "delete", "flooder", "--yes", "--force")
