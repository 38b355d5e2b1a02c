"""What crosses the wire to a Compute: as much as one message holds, and whatever else a peer may send."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from empla import rpc
from empla.v1 import workstation_pb2 as pb
from empla.v1.workstation_pb2_grpc import ComputeStub
from tests.conformance.conftest import make_workspace
from tests.conformance.programs import fresh_id, interpreter, start
from workstation.errors import ExecNotFound, InvalidArgument, LimitExceeded
from workstation.interface import Compute, ExecSpec, OutputStream, RichResult, SessionError, SessionEvent, SessionText
from workstation.local.compute import LocalCompute
from workstation.remote.compute import messages
from workstation.remote.dialing import RemoteWorkstation, dialing
from workstation.remote.serving import MAX_MESSAGE_BYTES, serving

TOO_MUCH = MAX_MESSAGE_BYTES + 1
UNKNOWN_SIGNAL: Any = 99


async def anybody(method: str, metadata: Any) -> str:
    return "somebody"


@pytest.fixture
async def workstation(short_directory: Path) -> AsyncIterator[RemoteWorkstation]:
    place = f"unix:{short_directory}/socket"
    async with (
        LocalCompute(make_workspace(short_directory / "workspace")) as local,
        serving(place, authenticate=anybody, compute=local, grace=0.2),
        dialing(place, "token") as remote,
    ):
        yield remote


@pytest.fixture
def compute(workstation: RemoteWorkstation) -> Compute:
    return workstation.compute


@pytest.fixture
def stub(workstation: RemoteWorkstation) -> Any:
    return ComputeStub(workstation.connection.channel)


class TestSizes:
    async def test_a_list_that_no_message_holds_comes_in_parts(self, compute: Compute) -> None:
        word = "x" * 90_000
        started = [await start(compute, "true", word, str(number)) for number in range(100)]
        listed = await compute.list()
        assert [status.exec_id for status in listed] == started[::-1]
        assert sum(len(status.argv[1]) for status in listed) > MAX_MESSAGE_BYTES
        assert [status.argv[2] for status in listed] == [str(number) for number in reversed(range(100))]

    async def test_a_list_goes_on_only_after_what_is_there(self, stub: Any) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.List(pb.ExecListRequest(after="unknown"))
        assert rpc.reason_of(caught.value) == ExecNotFound.reason

    async def test_what_no_message_holds_is_beyond_the_limits(self, compute: Compute) -> None:
        limits = (await compute.capabilities()).limits
        exec_id = await start(compute, "cat", stdin=True)
        async with interpreter(compute) as python:
            calls: dict[str, Awaitable[object]] = {
                "argument_bytes": compute.start(fresh_id(), ExecSpec(argv=("true", "x" * TOO_MUCH))),
                "stdin_bytes": compute.write_stdin(exec_id, b"x" * TOO_MUCH, offset=0),
                "code_bytes": anext(compute.run_in_session(python.session_id, fresh_id(), "#" * TOO_MUCH)),
            }
            for limit, call in calls.items():
                with pytest.raises(LimitExceeded) as caught:
                    await call
                assert (caught.value.limit, caught.value.allowed) == (limit, getattr(limits, limit))
        with pytest.raises(InvalidArgument):
            await compute.wait("x" * TOO_MUCH)

    async def test_a_result_that_no_message_holds_is_left_out_and_said_so(self, compute: Compute) -> None:
        most = (await compute.capabilities()).limits.result_bytes
        assert most < MAX_MESSAGE_BYTES
        async with interpreter(compute) as python:
            await python.run(
                "class Image:\n    def __init__(self, n): self.n = n\n    def _repr_png_(self): return b'x' * self.n"
            )
            ran = await python.run(f"Image({most} - 1000)")
            assert [len(result["image/png"]) for result in ran.results] == [most - 1000]
            ran = await python.run(f"Image({most} + 1000)")
            assert not ran.results
            assert "left out" in "".join(event.text for event in ran.events if isinstance(event, SessionText))
            assert (await python.run("print(1)")).text == "1\n"

    def test_many_small_events_are_few_messages(self) -> None:
        events = [SessionText(stream=OutputStream.STDOUT, text="x" * 1000 + str(number)) for number in range(5000)]
        sent = list(messages.session_event_messages(events))
        assert len(sent) == 5
        assert max(message.ByteSize() for message in sent) < 2 * messages.LISTED_BYTES
        assert [event for message in sent for event in messages.session_events_of(message)] == events

    def test_halves_of_characters_are_shown(self) -> None:
        half = "a\ud800"
        events: list[SessionEvent] = [
            SessionText(stream=OutputStream.STDERR, text=half),
            SessionError(name=half, message=half, traceback=half),
            RichResult(data=((half, b"x"),)),
        ]
        (message,) = messages.session_event_messages(events)
        assert list(messages.session_events_of(message)) == [
            SessionText(stream=OutputStream.STDERR, text="a?"),
            SessionError(name="a?", message="a?", traceback="a?"),
            RichResult(data=(("a?", b"x"),)),
        ]


SPEC = pb.ExecSpec(argv=["true"], cwd=".")
NONSENSE: dict[str, Callable[[Any], Any]] = {
    "no spec": lambda stub: stub.Start(pb.ExecStartRequest(exec_id="a")),
    "no id": lambda stub: stub.Start(pb.ExecStartRequest(spec=SPEC)),
    "no program": lambda stub: stub.Start(pb.ExecStartRequest(exec_id="a", spec=pb.ExecSpec(cwd="."))),
    "a long id": lambda stub: stub.Start(pb.ExecStartRequest(exec_id="a" * 1_000_000, spec=SPEC)),
    "no size": lambda stub: stub.Start(
        pb.ExecStartRequest(exec_id="a", spec=pb.ExecSpec(argv=["true"], cwd=".", terminal=pb.Terminal()))
    ),
    "no number": lambda stub: stub.Start(
        pb.ExecStartRequest(exec_id="a", spec=pb.ExecSpec(argv=["true"], cwd=".", limits=pb.ExecLimits(cpus=math.nan)))
    ),
    "offset": lambda stub: aiter(stub.Follow(pb.ExecFollowRequest(exec_id="known", stdout_offset=-1))).__anext__(),
    "stdin": lambda stub: stub.WriteStdin(pb.ExecWriteStdinRequest(exec_id="known", offset=-1)),
    "no signal": lambda stub: stub.Signal(pb.ExecSignalRequest(exec_id="known")),
    "new signal": lambda stub: stub.Signal(pb.ExecSignalRequest(exec_id="known", signal=UNKNOWN_SIGNAL)),
    "no time": lambda stub: stub.Wait(pb.ExecWaitRequest(exec_id="known", timeout=math.nan)),
    "no directory": lambda stub: stub.OpenSession(pb.SessionOpenRequest(session_id="a")),
    "no run": lambda stub: anext(aiter(stub.RunInSession(pb.SessionRunRequest(session_id="a")))),
    "reader": lambda stub: anext(aiter(stub.RunInSession(_run(reader="x" * 65)))),
    "hold": lambda stub: anext(aiter(stub.RunInSession(_run(reader="x", hold_seconds=-1)))),
    "no hold": lambda stub: anext(aiter(stub.RunInSession(_run(reader="x", hold_seconds=math.nan)))),
    "for ever": lambda stub: anext(aiter(stub.RunInSession(_run(reader="x", hold_seconds=math.inf)))),
    "never": lambda stub: anext(aiter(stub.RunInSession(_run(timeout=0.0)))),
}


def _run(**changes: Any) -> pb.SessionRunRequest:
    return pb.SessionRunRequest(session_id="a", run_id="a", code="1", **changes)


class TestNonsense:
    @pytest.mark.parametrize("call", NONSENSE.values(), ids=NONSENSE)
    async def test_it_is_refused(self, compute: Compute, stub: Any, call: Callable[[Any], Any]) -> None:
        await compute.start("known", ExecSpec(argv=("sleep", "1000"), stdin=True))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(stub)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert rpc.reason_of(caught.value) in ("INVALID_ARGUMENT", "INVALID_PATH")
        assert (await compute.wait("known", timeout=0)).end is None

    async def test_a_reader_who_was_never_there_may_leave(self, stub: Any) -> None:
        await stub.LeaveRun(pb.SessionLeaveRunRequest(session_id="a", run_id="b", reader="c"))

    async def test_a_reader_comes_back_for_the_same_code_only(self, compute: Compute, stub: Any) -> None:
        async with interpreter(compute) as python:
            request = pb.SessionRunRequest(
                session_id=python.session_id, run_id="a", code="print(1)\nwhile True: pass", reader="a", hold_seconds=60
            )
            call = stub.RunInSession(request)
            await anext(aiter(call))
            request.code = "2"
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await anext(aiter(stub.RunInSession(request)))
            assert rpc.reason_of(caught.value) == InvalidArgument.reason
            call.cancel()
