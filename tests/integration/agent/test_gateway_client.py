"""The employee's end of the gateway, against a server that ends calls."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any
from uuid import uuid4

import grpc
import pytest

from agent.errors import (
    ActionFailed,
    EmbeddingUnavailable,
    GatewayUnavailable,
    NoEmbeddingModel,
    SidecarEnded,
    SidecarUnavailable,
    Superseded,
)
from agent.gateway import GrpcGateway
from agent.identity import Identity
from empla import rpc
from empla.store.ids import new_id
from empla.v1 import control_pb2, gateway_pb2_grpc
from empla.v1 import gateway_pb2 as pb

COMPUTE = control_pb2.SIDECAR_KIND_COMPUTE


class Peer(gateway_pb2_grpc.EmployeeGatewayServicer):
    """Welcomes, reads `reads` frames of each call, then ends it as `ending` says."""

    def __init__(self, reads: int = 0, ending: Exception | None = None) -> None:
        self.reads, self.ending = reads, ending
        self.refusal: Exception | None = None
        self.heard: list[str] = []
        self.hellos: list[pb.Hello] = []

    async def Attach(self, request_iterator: AsyncIterator[pb.AgentFrame], context: Any) -> None:  # type: ignore[override]
        frames = aiter(request_iterator)
        self.hellos.append((await anext(frames)).hello)
        await context.write(pb.ControlFrame(welcome=pb.Welcome(heartbeat_ms=1000)))
        for _ in range(self.reads):
            self.heard.append((await anext(frames)).ack.message_id)
        if self.ending is not None:
            raise self.ending

    async def Embed(self, request: Any, context: Any) -> pb.EmbedResponse:
        self.asked = request
        if self.refusal is not None:
            raise self.refusal
        return pb.EmbedResponse(model="m", vectors=[pb.Vector(values=[1])])

    async def ForgetSubject(self, request: Any, context: Any) -> pb.ForgetSubjectResponse:
        self.asked = request
        if self.refusal is not None:
            raise self.refusal
        return pb.ForgetSubjectResponse(memories=2, beliefs=1)

    async def AcquireSidecar(self, request: Any, context: Any) -> pb.SidecarLease:
        self.asked = request
        if self.refusal is not None:
            raise self.refusal
        return pb.SidecarLease(sidecar_id="7", address="unix:/nowhere", token="token")

    RenewSidecar: Any = AcquireSidecar

    async def ReleaseSidecar(self, request: Any, context: Any) -> pb.ReleaseSidecarResponse:
        await self.AcquireSidecar(request, context)
        return pb.ReleaseSidecarResponse()


def peer_of(reads: int = 0, ending: Exception | None = None) -> Peer:
    return Peer(reads, ending)


async def nobody(*_: object) -> None:
    return None


def gateway(target: str) -> GrpcGateway:
    return GrpcGateway(target, "credential", Identity(uuid4(), uuid4(), 7), build="test", pid=1)


async def every_frame(target: str) -> list[pb.ControlFrame]:
    return [frame async for frame in gateway(target).frames()]


def serving(peer: Peer) -> Any:
    add = gateway_pb2_grpc.add_EmployeeGatewayServicer_to_server
    services: Any = {"empla.v1.EmployeeGateway": lambda server: add(peer, server)}
    return rpc.serving("127.0.0.1:0", services, authenticate=nobody, translate=lambda _: None)


async def test_a_reconnect_takes_no_frame_from_the_next_call():
    peer = peer_of(reads=1)
    async with serving(peer) as target:
        line = gateway(target)
        welcomes = 0
        async with asyncio.timeout(20):
            async for _ in line.frames():
                welcomes += 1
                line.send(pb.AgentFrame(ack=pb.Ack(message_id=str(welcomes))))
                if welcomes == 6:
                    break
    assert peer.heard[:5] == ["1", "2", "3", "4", "5"]
    assert {hello.epoch for hello in peer.hellos} == {7}


@pytest.mark.parametrize(
    ("code", "reason", "error"),
    [
        ("FAILED_PRECONDITION", "SUPERSEDED", Superseded),
        ("UNAUTHENTICATED", "UNAUTHENTICATED", GatewayUnavailable),
        ("NOT_FOUND", "EMPLOYEE_UNKNOWN", GatewayUnavailable),
    ],
)
async def test_a_refusal_for_good_ends_it(code: str, reason: str, error: type[Exception]):
    async with serving(peer_of(ending=rpc.StatusError(grpc.StatusCode[code], reason, "no"))) as target:
        with pytest.raises(error):
            await asyncio.wait_for(every_frame(target), 20)


async def test_a_passing_refusal_is_tried_again():
    peer = peer_of(ending=rpc.StatusError(grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE", "later"))
    async with serving(peer) as target, asyncio.timeout(20):
        async for _ in gateway(target).frames():
            if len(peer.hellos) == 3:
                break


async def test_where_one_control_plane_is_lost_the_next_one_is_tried():
    first, second = peer_of(), peer_of()
    async with serving(first) as one, serving(second) as two, asyncio.timeout(20):
        async for _ in gateway(f"{one},127.0.0.1:1,{two}").frames():
            if first.hellos and second.hellos:
                break


@asynccontextmanager
async def attached(peer: Peer) -> AsyncIterator[GrpcGateway]:
    async with serving(peer) as target:
        line = gateway(target)
        frames = line.frames()
        async with aclosing(frames):  # type: ignore[type-var]
            await anext(frames)
            yield line


async def test_texts_become_vectors():
    peer = peer_of(reads=1)
    async with attached(peer) as line:
        made = await line.embed(["tea"], query=True, deadline=20)
    assert (list(peer.asked.texts), peer.asked.query) == (["tea"], True)
    assert (made.model, list(made.vectors[0].values)) == ("m", [1])


@pytest.mark.parametrize(
    ("code", "reason", "error"),
    [
        ("FAILED_PRECONDITION", "NO_EMBEDDING_MODEL", NoEmbeddingModel),
        ("UNAVAILABLE", "EMBEDDING_BUSY", EmbeddingUnavailable),
        ("FAILED_PRECONDITION", "SUPERSEDED", Superseded),
    ],
)
async def test_without_vectors_it_is_said_why(code: str, reason: str, error: type[Exception]):
    peer = peer_of(reads=1)
    async with attached(peer) as line:
        peer.refusal = rpc.StatusError(grpc.StatusCode[code], reason, "because")
        with pytest.raises(error, match="because") as raised:
            await line.embed(["tea"], query=True, deadline=20)
    assert type(raised.value) is error


async def test_without_a_control_plane_there_are_no_vectors():
    with pytest.raises(EmbeddingUnavailable, match="not attached"):
        await gateway("unix:/nowhere").embed(["tea"], query=True, deadline=20)


async def test_forgetting_is_asked_for_with_the_message_that_wants_it():
    peer, message_id = peer_of(reads=1), new_id()
    async with attached(peer) as line:
        gone = await line.forget("tea", message_id)
        assert (gone.memories, gone.beliefs) == (2, 1)
        assert (peer.asked.subject, peer.asked.message_id) == ("tea", str(message_id))
        peer.refusal = rpc.StatusError(grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE", "because")
        with pytest.raises(ActionFailed, match="because"):
            await line.forget("tea", message_id)
    with pytest.raises(ActionFailed, match="not attached"):
        await gateway("unix:/nowhere").forget("tea", message_id)


async def test_a_sidecar_is_asked_for_by_what_it_needs():
    peer = peer_of(reads=1)
    async with attached(peer) as line:
        lease = await line.acquire_sidecar(COMPUTE, memory_bytes=7 << 20, idle_ttl=30)
        assert (lease.sidecar_id, lease.token) == ("7", "token")
        assert (peer.asked.kind, peer.asked.memory_bytes, peer.asked.idle_ttl_seconds) == (COMPUTE, 7 << 20, 30)
        assert (await line.renew_sidecar("7")).sidecar_id == "7"
        await line.release_sidecar("7")
        assert peer.asked.sidecar_id == "7"


@pytest.mark.parametrize(
    ("refusal", "error", "says"),
    [
        (
            rpc.StatusError(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "SIDECARS_OF_EMPLOYEE",
                "this employee has 4 sidecars already",
                retry_after=5,
            ),
            SidecarUnavailable,
            r"nothing was begun.* 4 sidecars already; try again in 5 s",
        ),
        (
            rpc.StatusError(grpc.StatusCode.UNAVAILABLE, "LAUNCH_FAILED", "the engine does not answer: start it"),
            SidecarUnavailable,
            r"the engine does not answer: start it",
        ),
        (
            rpc.StatusError(
                grpc.StatusCode.INVALID_ARGUMENT, "INVALID", "not that much", fields={"memory_bytes": "1 to 2"}
            ),
            SidecarUnavailable,
            r"not that much; memory_bytes: 1 to 2",
        ),
        (rpc.StatusError(grpc.StatusCode.FAILED_PRECONDITION, "SUPERSEDED", "epoch 8"), Superseded, "epoch 8"),
        (rpc.StatusError(grpc.StatusCode.NOT_FOUND, "SIDECAR_UNKNOWN", "it has ended"), SidecarEnded, "it has ended"),
        (KeyError("unforeseen"), SidecarUnavailable, "internal error"),
    ],
)
async def test_a_refusal_of_a_sidecar_is_an_error_that_says_what_to_do(refusal: Exception, error: Any, says: str):
    peer = peer_of(reads=1)
    async with attached(peer) as line:
        peer.refusal = refusal
        with pytest.raises(error, match=says):
            await line.renew_sidecar("7")
        with pytest.raises(error, match=says):
            await line.acquire_sidecar(COMPUTE, memory_bytes=0, idle_ttl=30)
        if error is SidecarEnded:
            await line.release_sidecar("7")  # that is all one wants


async def test_without_a_control_plane_there_is_no_sidecar():
    peer = peer_of(reads=1)
    async with serving(peer) as target:
        line = gateway(target)
        with pytest.raises(SidecarUnavailable, match="not attached"):
            await line.acquire_sidecar(COMPUTE, memory_bytes=0, idle_ttl=30)
        frames = line.frames()
        await anext(frames)
    with pytest.raises(SidecarUnavailable, match="the control plane is away"):
        await line.acquire_sidecar(COMPUTE, memory_bytes=0, idle_ttl=30)
    await frames.aclose()  # type: ignore[attr-defined]
