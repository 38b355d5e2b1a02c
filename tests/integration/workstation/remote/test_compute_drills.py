"""A Compute behind a connection that breaks: nothing is lost, nothing comes or is done twice, and what is gone is said."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from empla import rpc
from empla.v1 import workstation_pb2 as pb
from empla.v1 import workstation_pb2_grpc
from tests.cable import Cable, cabled
from tests.conformance.conftest import make_workspace
from tests.conformance.programs import Interpreter, collect, fresh_id, heard, start, until
from workstation.errors import ExecNotFound, SessionBusy, SessionLost, WorkstationUnavailable
from workstation.interface import Compute, EndReason, ExecSpec, ExecStatus, Output, RunEnd, SessionSpec, SessionText
from workstation.local.compute import LocalCompute, default_limits
from workstation.remote.dialing import dialing
from workstation.remote.serving import serving

CHUNK_BYTES = 16 << 10
AWAY_SECONDS = 2.0
LINES = b"".join(b"%d\n" % number for number in range(1, 200_001))
SLOWLY = "for number in $(seq 1 60); do echo $number; sleep 0.1; done"
COUNTING = """
import os, time
count += 1
for number in range(60):
    print(number, flush=True)
    time.sleep(0.05)
"""


@dataclass
class Served:
    """A Compute of this process, where it is served and how often each RPC came."""

    local: LocalCompute
    place: str
    calls: list[str]


@dataclass
class Line:
    """A Compute, and how it is reached from outside."""

    served: Served
    cable: Cable
    place: str
    remote: Compute


type Serve = Callable[[str], AbstractAsyncContextManager[Served]]


@pytest.fixture
def serve(short_directory: Path) -> Serve:
    """Serve another Compute over a workspace of its own."""

    @asynccontextmanager
    async def served(name: str) -> AsyncIterator[Served]:
        limits = replace(default_limits(), chunk_bytes=CHUNK_BYTES)
        place, calls = f"{short_directory}/{name}.socket", list[str]()

        async def authenticate(method: str, metadata: Any) -> str:
            calls.append(method.rpartition("/")[2])
            return "somebody"

        workspace = make_workspace(short_directory / name)
        async with (
            LocalCompute(workspace, limits=limits) as local,
            serving(f"unix:{place}", authenticate=authenticate, compute=local, grace=0.2),
        ):
            yield Served(local, place, calls)

    return served


@asynccontextmanager
async def dialled(place: str, *, patience: float = 20.0) -> AsyncIterator[Compute]:
    async with dialing(f"unix:{place}", "token", patience=patience) as workstation:
        yield workstation.compute


@pytest.fixture
async def line(serve: Serve, short_directory: Path) -> AsyncIterator[Line]:
    place = f"{short_directory}/cable"
    async with serve("first") as served, cabled(place, served.place) as cable, dialled(place) as remote:
        yield Line(served, cable, place, remote)


async def eventually(holds: Callable[[], bool]) -> None:
    async def held() -> bool:
        return holds()

    await until(held)


async def refused_for(cable: Cable, seconds: float) -> None:
    """Break all connections, and let nobody through for so long."""
    cable.refusing = True
    cable.cut()
    await asyncio.sleep(seconds)
    cable.refusing = False


async def session(compute: Compute) -> Interpreter:
    python = Interpreter(compute, fresh_id())
    await compute.open_session(python.session_id, SessionSpec())
    return python


async def events_of(python: Interpreter, code: str) -> list[Any]:
    stream = python.compute.run_in_session(python.session_id, fresh_id(), code)
    async with aclosing(stream):
        return [event async for event in stream]


class TestFollowing:
    async def test_output_through_many_cuts_comes_once_in_order_and_whole(self, line: Line) -> None:
        exec_id = await start(line.remote, "seq", "1", "200000")
        line.cable.cut_after = 8 * CHUNK_BYTES
        line.cable.cut()
        ran = await collect(line.remote, exec_id)
        assert ran.stdout == LINES
        assert (ran.end.reason, ran.end.exit_code) == (EndReason.EXITED, 0)
        assert line.cable.connections > 5

    async def test_it_goes_on_after_a_peer_was_out_of_reach(self, line: Line) -> None:
        exec_id = await start(line.remote, "sh", "-c", SLOWLY)
        following = asyncio.ensure_future(collect(line.remote, exec_id))
        await heard(line.served.local, exec_id, b"5\n")
        await refused_for(line.cable, AWAY_SECONDS)
        ran = await following
        assert ran.stdout == b"".join(b"%d\n" % number for number in range(1, 61))
        assert line.served.calls.count("Follow") == 2

    async def test_a_peer_that_falls_silent_is_given_up_and_reached_anew(self, line: Line) -> None:
        exec_id = await start(line.remote, "sh", "-c", SLOWLY)
        following = asyncio.ensure_future(collect(line.remote, exec_id))
        await heard(line.served.local, exec_id, b"5\n")
        line.cable.freeze()
        stands = line.cable.connections
        await eventually(lambda: line.cable.connections > stands)
        line.cable.cut()
        line.cable.thaw()
        assert (await following).stdout == b"".join(b"%d\n" % number for number in range(1, 61))

    async def test_a_follower_behind_a_dead_line_holds_nobody_up(self, line: Line) -> None:
        flood = "import sys\ninput()\nfor number in range(400): sys.stdout.write('%09d\\n' % number * 1000)"
        exec_id = await start(line.remote, "python3", "-c", flood, stdin=True)
        stuck = asyncio.ensure_future(collect(line.remote, exec_id))
        await eventually(lambda: "Follow" in line.served.calls)
        line.cable.freeze()
        async with dialled(line.served.place) as other:
            following = asyncio.ensure_future(collect(other, exec_id))
            await other.write_stdin(exec_id, b"\n", offset=0)
            assert len((await following).stdout) == 4_000_000
        stuck.cancel()
        await asyncio.wait([stuck])

    async def test_waiting_and_cancelling_go_on_too(self, line: Line) -> None:
        exec_id = await start(line.remote, "sleep", "1000")
        waiting = asyncio.ensure_future(line.remote.wait(exec_id))
        await eventually(lambda: "Wait" in line.served.calls)
        line.cable.mute = True
        cancelling = asyncio.ensure_future(line.remote.cancel(exec_id))
        await line.served.local.wait(exec_id)
        line.cable.mute = False
        await refused_for(line.cable, 0.2)
        ended = await cancelling
        assert ended.end is not None
        assert ended.end.reason is EndReason.CANCELLED
        assert await waiting == ended


class TestInput:
    async def test_it_is_taken_once_however_often_the_answer_is_lost(self, line: Line) -> None:
        exec_id = await start(line.remote, "cat", stdin=True)
        offset, pieces = 0, [b"%d\n" % number * 5000 for number in range(20)]
        for number, piece in enumerate(pieces):
            line.cable.mute = number % 3 == 0
            writing = asyncio.ensure_future(line.remote.write_stdin(exec_id, piece, offset=offset))
            if line.cable.mute:
                await self._taken(line, exec_id, offset + len(piece))
                line.cable.mute = False
                line.cable.cut()
            offset = await writing
        await line.remote.write_stdin(exec_id, b"", offset=offset, eof=True)
        assert (await collect(line.remote, exec_id)).stdout == b"".join(pieces)

    async def test_an_end_of_input_that_ended_the_program_is_no_error(self, line: Line) -> None:
        exec_id = await start(line.remote, "cat", stdin=True)
        await line.remote.write_stdin(exec_id, b"some ", offset=0)
        line.cable.mute = True
        writing = asyncio.ensure_future(line.remote.write_stdin(exec_id, b"more", offset=5, eof=True))
        await line.served.local.wait(exec_id)
        line.cable.mute = False
        line.cable.cut()
        assert await writing == 9
        assert (await collect(line.remote, exec_id)).text == "some more"

    async def _taken(self, line: Line, exec_id: str, count: int) -> None:
        async def taken() -> bool:
            return (await line.served.local.wait(exec_id, timeout=0)).stdin_bytes >= count

        await until(taken)


class TestRuns:
    async def test_a_run_goes_on_through_cuts_and_its_events_come_once(self, line: Line) -> None:
        python = await session(line.remote)
        await python.run("count = 0")
        running = asyncio.ensure_future(events_of(python, COUNTING))
        for _ in range(3):
            await asyncio.sleep(0.4)
            await refused_for(line.cable, 0.3)
        events = await running
        texts = [event.text for event in events if isinstance(event, SessionText)]
        assert "".join(texts) == "".join(f"{number}\n" for number in range(60))
        assert (events[-1].reason, events[-1].session_alive) == (EndReason.EXITED, True)
        assert [event for event in events if isinstance(event, RunEnd)] == events[-1:]
        assert line.served.calls.count("RunInSession") > 2
        assert (await python.run("print(count)")).text == "1\n"

    async def test_a_run_that_ends_while_its_reader_is_away_is_not_run_again(self, line: Line) -> None:
        python = await session(line.remote)
        await python.run("count = 0")
        line.cable.mute = True
        running = asyncio.ensure_future(events_of(python, "count += 1\nopen('done', 'w').close()\ncount"))
        done = await start(line.served.local, "sh", "-c", "until [ -e done ]; do sleep 0.05; done")
        await line.served.local.wait(done)
        line.cable.mute = False
        await refused_for(line.cable, 0.3)
        result, end = await running
        assert (result.data, end.reason) == ((("text/plain", b"1"),), EndReason.EXITED)
        assert (await python.run("print(count)")).text == "1\n"

    async def test_cancelling_the_caller_interrupts(self, line: Line) -> None:
        python = await session(line.remote)
        running = asyncio.ensure_future(python.run("open('begun', 'w').close()\nwhile True: pass"))
        begun = await start(line.served.local, "sh", "-c", "until [ -e begun ]; do sleep 0.05; done")
        await line.served.local.wait(begun)
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled()
        await self._free(python)
        assert line.served.calls.count("LeaveRun") == 1

    async def test_a_reader_who_does_not_come_back_lets_go_of_its_run(self, line: Line) -> None:
        python = await session(line.remote)
        async with rpc.dialing(f"unix:{line.served.place}", "token") as channel:
            for reader, hold in (("", 0.0), ("reader", 0.0), ("reader", 0.3), ("", 1000.0)):
                request = pb.SessionRunRequest(
                    session_id=python.session_id,
                    run_id=fresh_id(),
                    code="print(1, flush=True)\nwhile True: pass",
                    reader=reader,
                    hold_seconds=hold,
                )
                call = workstation_pb2_grpc.ComputeStub(channel).RunInSession(request)
                assert (await anext(aiter(call))).text.text[:1] == "1"
                call.cancel()
                await self._free(python)

    async def test_one_reader_who_leaves_does_not_interrupt_another(self, line: Line) -> None:
        python, run_id = await session(line.remote), fresh_id()
        code = "import os, time\nprint('begun', flush=True)\nwhile not os.path.exists('go'): time.sleep(0.01)\nprint('done')"
        staying = asyncio.ensure_future(python.run(code, run_id=run_id))
        async with aclosing(line.remote.run_in_session(python.session_id, run_id, code)) as leaving:
            await anext(leaving)
        await start(line.remote, "touch", "go")
        assert (await staying).text == "begun\ndone\n"

    async def _free(self, python: Interpreter) -> None:
        async def free() -> bool:
            try:
                return (await python.run("print('free')")).text == "free\n"
            except SessionBusy:
                return False

        await until(free)


class TestGone:
    """Another process answers at the address: what the first one ran is gone with it."""

    async def test_a_follower_is_told_that_it_is_lost(self, line: Line, serve: Serve) -> None:
        exec_id = await start(line.remote, "sh", "-c", "echo begun; sleep 1000")
        async with aclosing(line.remote.follow(exec_id)) as stream, serve("second") as second:
            first = await anext(stream)
            assert isinstance(first, Output)
            line.cable.target = second.place
            line.cable.cut()
            (status,) = [event async for event in stream]
            assert isinstance(status, ExecStatus)
            assert status.end is not None
            assert (status.argv[0], status.stdout_bytes, status.end.reason) == ("sh", 6, EndReason.LOST)
            assert (await line.remote.wait(exec_id)).end == status.end
            assert (await line.remote.cancel(exec_id)).end == status.end

    async def test_what_somebody_else_began_is_not_known(self, line: Line, serve: Serve) -> None:
        exec_id = await start(line.served.local, "sleep", "1000")
        with pytest.raises(ExecNotFound):
            await line.remote.wait("unknown")
        async with serve("second") as second:
            line.cable.target = second.place
            line.cable.cut()
            with pytest.raises(ExecNotFound):
                await anext(line.remote.follow(exec_id))

    async def test_a_start_whose_answer_was_lost_is_not_made_twice(self, line: Line, serve: Serve) -> None:
        await line.remote.capabilities()
        async with serve("second") as second:
            exec_id = fresh_id()
            line.cable.mute = True
            starting = asyncio.ensure_future(line.remote.start(exec_id, ExecSpec(argv=("sleep", "1000"))))
            await eventually(lambda: "Start" in line.served.calls)
            line.cable.target, line.cable.mute = second.place, False
            line.cable.cut()
            status = await starting
            assert status.end is not None
            assert status.end.reason is EndReason.LOST
            assert await second.local.list() == ()
            assert (await line.remote.wait(exec_id)).end == status.end

    async def test_a_new_program_starts_in_the_new_process(self, line: Line, serve: Serve) -> None:
        await start(line.remote, "true")
        async with serve("second") as second:
            line.cable.target = second.place
            line.cable.cut()
            await line.remote.list()  # a start that the cut takes along may have been made, and counts as lost
            exec_id = await start(line.remote, "echo", "new")
            assert (await collect(line.remote, exec_id)).text == "new\n"
            assert [status.exec_id for status in await second.local.list()] == [exec_id]

    async def test_a_run_is_lost_and_not_made_again_in_a_session_of_the_same_id(self, line: Line, serve: Serve) -> None:
        python = await session(line.remote)
        async with serve("second") as second:
            running = asyncio.ensure_future(events_of(python, "print('begun', flush=True)\nwhile True: pass"))
            await eventually(lambda: "RunInSession" in line.served.calls)
            await second.local.open_session(python.session_id, SessionSpec())
            line.cable.target = second.place
            line.cable.cut()
            end = (await running)[-1]
            assert (end.reason, end.session_alive) == (EndReason.LOST, False)
            with pytest.raises(SessionLost):
                await python.run("1")
            await line.remote.open_session(python.session_id, SessionSpec())
            assert (await python.run("print(1)")).text == "1\n"

    async def test_patience_begins_when_the_connection_breaks(self, line: Line) -> None:
        exec_id = await start(line.remote, "sleep", "5")
        async with dialled(line.place, patience=3.0) as hasty:
            following = asyncio.ensure_future(collect(hasty, exec_id))
            waiting = asyncio.ensure_future(hasty.wait(exec_id))
            await asyncio.sleep(2)
            await refused_for(line.cable, 2)
            assert (await waiting).end == (await following).end

    async def test_nobody_waits_for_ever(self, line: Line) -> None:
        exec_id = await start(line.remote, "sleep", "1000")
        async with dialled(line.place, patience=1.0) as hasty:
            following = asyncio.ensure_future(collect(hasty, exec_id))
            waiting = asyncio.ensure_future(hasty.wait(exec_id))
            await eventually(lambda: {"Follow", "Wait"} <= set(line.served.calls))
            line.cable.refusing = True
            line.cable.cut()
            for call in (following, waiting, hasty.start(fresh_id(), ExecSpec(argv=("true",)))):
                with pytest.raises(WorkstationUnavailable):
                    await call
