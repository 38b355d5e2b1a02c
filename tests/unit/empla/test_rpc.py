"""Who may be served and dialled in clear, and what counts as a token."""

from typing import Any

import grpc
import pytest

from empla import rpc
from empla.rpc import CannotListen, NotLocal, StatusError

FOREIGN = [
    "0.0.0.0:0",
    "[::]:0",
    "192.0.2.1:7400",
    "example.com:7400",
    ":7400",
    "",
    "localhost.example:1",
    "dns:///localhost:1",
]


async def nobody(*_: object) -> object:
    return None


@pytest.mark.parametrize("address", FOREIGN)
async def test_nothing_is_served_or_dialled_in_clear_off_this_machine(address: str):
    with pytest.raises(NotLocal, match="not on this machine"):
        async with rpc.serving(address, {}, authenticate=nobody, translate=lambda _: None):
            pass
    with pytest.raises(NotLocal):
        async with rpc.dialing(address, "token"):
            pass


async def test_an_address_that_is_served_already_is_told():
    async with rpc.serving("127.0.0.1:0", {}, authenticate=nobody, translate=lambda _: None) as address:
        with pytest.raises(CannotListen, match=address):
            async with rpc.serving(address, {}, authenticate=nobody, translate=lambda _: None):
                pass


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1", "unix:/run/empla.sock"])
def test_loopback_and_sockets_are_local(address: str):
    assert rpc.is_local(address)


async def test_loopback_goes_through_no_proxy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with (
        rpc.serving("127.0.0.1:0", {}, authenticate=nobody, translate=lambda _: None) as address,
        rpc.dialing(address, "token") as channel,
    ):
        check: Any = channel.unary_unary("/grpc.health.v1.Health/Check", response_deserializer=bytes)
        assert await check(b"", timeout=5) == b"\x08\x01"


@pytest.mark.parametrize("value", ["Bearer ", "Bearer   ", "bearer x", "Basic x", "", b"Bearer x"])
def test_without_a_token_the_token_is_missing(value: str | bytes):
    with pytest.raises(StatusError) as refused:
        rpc.bearer([("authorization", value)])
    assert (refused.value.code, refused.value.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING")


def test_the_token_is_what_follows_bearer():
    assert rpc.bearer([("a", "b"), ("authorization", "Bearer x")]) == "x"
