"""The employee's end of the gateway, against a server that ends calls."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import grpc
import pytest

from agent.errors import GatewayUnavailable, Superseded
from agent.gateway import GrpcGateway
from agent.identity import Identity
from empla import rpc
from empla.v1 import gateway_pb2 as pb
from empla.v1 import gateway_pb2_grpc


class Peer(gateway_pb2_grpc.EmployeeGatewayServicer):
    """Welcomes, reads `reads` frames of each call, then ends it as `ending` says."""

    def __init__(self, reads: int = 0, ending: Exception | None = None) -> None:
        self.reads, self.ending = reads, ending
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


def peer_of(reads: int = 0, ending: Exception | None = None) -> Peer:
    return Peer(reads, ending)  # type: ignore[abstract]


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
