"""The egress proxy: what a request pays for the way through it, beside a direct connection in the same run."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from loadtests.children import Child, running_module
from loadtests.report import Figure, percentile
from loadtests.traffic import HOST
from workstation.egress import EgressPolicy, EgressProxy, EgressRule

SMALL = 1 << 10
LARGE_MIB = 256
ROUTES = ("direct", "proxy", "tunnel")
_IN_A_ROW = 20
"""Requests of one route before the next one's turn."""


@dataclass(frozen=True, slots=True)
class Route:
    """The client, and the ports of the upstream and of the proxy."""

    client: Child
    upstream: int
    proxy: int

    async def fetch(self, route: str, size: int, count: int, *, fresh: bool = False) -> list[float]:
        """The milliseconds of each of `count` answers; `fresh` opens a connection for each."""
        order = {"route": route, "upstream": self.upstream, "proxy": self.proxy}
        answer = await self.client.ask({**order, "bytes": size, "count": count, "fresh": fresh})
        return [seconds * 1000 for seconds in answer["seconds"]]


async def measure(requests: int, transfers: int) -> list[Figure]:
    """The figures: of `requests` small answers by each route, and of `transfers` large ones."""
    async with _routes() as routes:
        kept = await _take_turns(routes, requests, fresh=False)
        fresh = await _take_turns(routes, requests, fresh=True)
        return [
            *_requests("request through the egress proxy", kept["proxy"], kept["direct"], "direct, connection kept"),
            *_requests("request in an open tunnel", kept["tunnel"], kept["direct"], "direct, connection kept"),
            *_requests("tunnel opened and first answer", fresh["tunnel"], fresh["direct"], "direct, connection opened"),
            *await _transfers(routes, transfers),
        ]


@asynccontextmanager
async def _routes() -> AsyncIterator[Route]:
    async with (
        running_module("loadtests.traffic", "serve") as server,
        running_module("loadtests.traffic", "fetch") as client,
    ):
        upstream = int((await server.hear())["port"])
        policy = EgressPolicy((EgressRule(HOST, ports=(upstream,), private=True),))
        listener = socket.create_server((HOST, 0))
        port = listener.getsockname()[1]
        async with EgressProxy(policy) as proxy, proxy.open_door(listener, client="bench"):
            yield Route(client, upstream, port)


async def _take_turns(routes: Route, requests: int, *, fresh: bool) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {name: [] for name in ROUTES}
    for turn in range(-(-requests // _IN_A_ROW) + 1):
        for name in ROUTES:
            milliseconds = await routes.fetch(name, SMALL, _IN_A_ROW, fresh=fresh)
            if turn:  # the first warms up
                taken[name] += milliseconds
    return taken


async def _transfers(routes: Route, transfers: int) -> list[Figure]:
    """Each over a connection of its own: all that one tunnel gives is bounded."""
    taken: dict[str, list[float]] = {name: [] for name in ROUTES}
    for _ in range(transfers):
        for name in ROUTES:
            taken[name] += await routes.fetch(name, LARGE_MIB << 20, 1, fresh=True)
    rates = {name: LARGE_MIB / percentile(milliseconds, 50) * 1000 for name, milliseconds in taken.items()}
    return [
        Figure(
            f"{LARGE_MIB} MiB through {where}",
            rates[name],
            "MiB/s",
            better="high",
            peer="direct",
            peer_value=rates["direct"],
        )
        for name, where in (("proxy", "the egress proxy"), ("tunnel", "a tunnel of the egress proxy"))
    ]


def _requests(name: str, own: list[float], direct: list[float], peer: str) -> list[Figure]:
    return [
        Figure(f"{name}, p{percent}", percentile(own, percent), "ms", peer=peer, peer_value=percentile(direct, percent))
        for percent in (50, 99)
    ]
