import asyncio
import socket

import pytest

from workstation.egress.endings import Ending
from workstation.egress.limits import EgressLimits
from workstation.egress.wire import READ_BYTES, ClientWire, readable


async def test_a_socket_that_always_has_bytes_leaves_the_loop_its_turns() -> None:
    theirs, ours = socket.socketpair()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    theirs.setblocking(False)
    theirs.send(b"x" * 3 * READ_BYTES)
    wire = ClientWire(ours, EgressLimits())
    turns: list[str] = []

    async def others() -> None:
        while len(turns) < 10:
            turns.append("others")
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(others())
        for _ in range(3):
            await wire.read()
            turns.append("read")
    first = turns.index("read")
    assert turns[first + 1] == "others"
    wire.close()
    theirs.close()


async def test_waiting_takes_nothing_and_can_be_given_up() -> None:
    theirs, ours = socket.socketpair()
    with theirs, ours:
        ours.setblocking(False)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await readable(ours)
        theirs.send(b"x")
        await readable(ours)
        assert ours.recv(10) == b"x"


async def test_a_client_that_breaks_off_has_no_request() -> None:
    theirs, ours = socket.socketpair()
    wire = ClientWire(ours, EgressLimits())
    theirs.send(b"GET http://site.test/ HTT")
    assert await wire.begins()
    theirs.close()
    with pytest.raises(Ending):
        await wire.request()
    wire.close()
