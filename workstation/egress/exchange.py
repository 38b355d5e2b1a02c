"""One request of a client: decided about, passed on, recorded."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import h11

from workstation.egress.access import Access, Outcome
from workstation.egress.account import Account
from workstation.egress.clock import Clock
from workstation.egress.dialer import Dialer
from workstation.egress.endings import Ending, failed, forbidden, limited
from workstation.egress.policy import TUNNEL, EgressPolicy, EgressRefused, EgressRule
from workstation.egress.target import (
    Headers,
    Target,
    body_length,
    end_to_end,
    target_of,
    value,
    wants_websocket,
)
from workstation.egress.wire import ClientWire, UpstreamWire, Wire

_SWITCH: Headers = [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]


class Exchange:
    """From the head of a request to the end of its answer, or of the tunnel that it opened."""

    def __init__(
        self, account: Account, client: ClientWire, dialer: Dialer, policy: Callable[[], EgressPolicy]
    ) -> None:
        self._account, self._client, self._dialer, self._policy = account, client, dialer, policy
        self._limits = account.limits
        self._clock = Clock(self._limits.total_seconds)
        self._trace, self._time, self._started = account.trace, datetime.now(UTC), time.monotonic()
        self._upstream: UpstreamWire | None = None
        self._target: Target | None = None
        self._method = self._rule = self._address = ""
        self._status = self._up = self._down = 0
        self._upgrade = self._open = self._recorded = False

    async def run(self) -> bool:
        """Serve the request that begins; whether the client's connection is good for another."""
        self._account.passing.add(self)
        try:
            async with self._clock:
                await self._serve(await self._client.request())
            self._record(Outcome.ALLOWED, "")
            return self._client.next()
        except Ending as ending:
            return await self._end(ending)
        except EgressRefused as error:
            return await self._end(self._forbidden(error))
        finally:
            self._account.passing.discard(self)
            self._record(Outcome.FAILED, "its door was closed, or a fault of ours ended it")
            if self._upstream is not None:
                self._upstream.close()

    def recheck(self, policy: EgressPolicy) -> None:
        """End unless the policy still allows what is under way."""
        try:
            self._check(policy)
        except EgressRefused as error:
            self._clock.stop(self._forbidden(error))

    def _forbidden(self, error: EgressRefused) -> Ending:
        return forbidden(error, *self._place)

    @property
    def _place(self) -> tuple[str, int]:
        """The host and the port asked for; '' and 0 where the request named none."""
        return (self._target.host, self._target.port) if self._target else ("", 0)

    def _check(self, policy: EgressPolicy) -> None:
        if self._target is None:
            return
        rule = self._decide(policy, self._target)
        if self._address:
            rule.check_address(self._address)
        self._rule = rule.domain

    def _decide(self, policy: EgressPolicy, target: Target) -> EgressRule:
        rule = policy.decide(target.host, target.port, self._method)
        # What follows an upgrade is as hidden as what is in a tunnel.
        return policy.decide(target.host, target.port, TUNNEL) if self._upgrade else rule

    async def _serve(self, request: h11.Request) -> None:
        self._method = request.method[:32].decode()
        self._target = target_of(request)  # refuses a method that is longer
        length = body_length(request, self._limits.request_bytes)
        self._upgrade = length == 0 and wants_websocket(request)
        if length == 0:
            await self._client.event()  # its end: the connection is good for another then, however this request ends
        upstream = await self._connect(self._target)
        if not self._target.path:
            await self._tunnel(upstream)
        else:
            await self._forward(upstream, request, self._target, length)

    async def _connect(self, target: Target) -> UpstreamWire:
        self._account.check()
        rule = self._decide(self._policy(), target)
        self._rule = rule.domain
        seconds = self._limits.connect_seconds
        self._clock.allow(seconds, failed(504, f"no connection to the server within {seconds:g} seconds"))
        sock, self._address = await self._dialer.connect(target.host, target.port, rule)
        self._upstream = UpstreamWire(sock, self._limits)
        self._check(self._policy())  # it may have changed meanwhile
        return self._upstream

    async def _forward(self, upstream: UpstreamWire, request: h11.Request, target: Target, length: int | None) -> None:
        seconds = self._limits.answer_seconds
        self._clock.allow(seconds, failed(504, f"no answer from the server within {seconds:g} seconds"))
        await upstream.send(_onward(request, target, length, upgrade=self._upgrade))
        if self._client.http.they_are_waiting_for_100_continue:
            await self._client.send(h11.InformationalResponse(status_code=100, headers=[]))
        async with _together() as tasks:
            sending = tasks.create_task(self._send_body(upstream))
            response = await upstream.response()
            if isinstance(response, h11.Response):
                await self._answer(upstream, response)
            sending.cancel()
        if isinstance(response, h11.InformationalResponse):
            await self._switch(upstream, response)

    async def _send_body(self, upstream: UpstreamWire) -> None:
        """Pass the body on, and watch the client after that: an answer that nobody waits for is not fetched."""
        while self._client.http.their_state is h11.SEND_BODY:
            event = await self._client.event()
            if isinstance(event, h11.Data):
                self._count(len(event.data), 0)
                self._clock.touch()
            elif not isinstance(event, h11.EndOfMessage):
                break
            try:
                await upstream.send(h11.EndOfMessage() if isinstance(event, h11.EndOfMessage) else event)
            except Ending:  # it wants no more, and may have said why
                return
        if upstream.http.our_state is h11.SEND_BODY:
            await upstream.send(h11.EndOfMessage())
        if await self._client.gone():
            raise failed(0, "the client went away")

    async def _answer(self, upstream: UpstreamWire, response: h11.Response) -> None:
        self._check_answer(response)
        self._clock.allow(
            self._limits.idle_seconds, limited(504, f"nothing came for {self._limits.idle_seconds:g} seconds")
        )
        self._open, self._status = True, response.status_code
        headers = end_to_end(response) + _length(response)
        await self._client.send(h11.Response(status_code=response.status_code, reason=response.reason, headers=headers))
        while isinstance(event := await upstream.event(), h11.Data):
            self._count(0, len(event.data))
            await self._client.send(event)
            self._clock.touch()
        await self._client.send(h11.EndOfMessage())

    def _check_answer(self, response: h11.Response) -> None:
        if response.status_code == 407:
            raise failed(502, "the server asks for a password as if it were this proxy")
        length, coding = value(response, b"content-length"), value(response, b"transfer-encoding")
        if length and coding:
            raise failed(502, "the server's answer tells its length in two ways")
        if int(length or 0) > self._limits.response_bytes and self._method != "HEAD":
            raise limited(502, f"its answer is over {self._limits.response_bytes} bytes")

    async def _switch(self, upstream: UpstreamWire, response: h11.InformationalResponse) -> None:
        if value(response, b"upgrade") != b"websocket":
            raise failed(502, "the server switched to a protocol that nobody asked for")
        self._open, self._status = True, response.status_code
        headers = _SWITCH + end_to_end(response)
        await self._client.send(h11.InformationalResponse(status_code=101, reason=response.reason, headers=headers))
        await self._join(upstream)

    async def _tunnel(self, upstream: UpstreamWire) -> None:
        self._open, self._status = True, 200
        await self._client.send(h11.Response(status_code=200, reason="Connection established", headers=[]))
        await self._join(upstream)

    async def _join(self, upstream: UpstreamWire) -> None:
        """Pass bytes in both directions until both have ended."""
        seconds = self._limits.tunnel_idle_seconds
        self._clock.allow(seconds, limited(504, f"nothing came for {seconds:g} seconds"))
        async with _together() as tasks:
            tasks.create_task(self._pass(self._client, upstream, lambda size: self._count(size, 0)))
            tasks.create_task(self._pass(upstream, self._client, lambda size: self._count(0, size)))

    async def _pass(self, source: Wire, sink: Wire, count: Callable[[int], None]) -> None:
        data = source.unread()
        while data or (data := await source.read()):
            count(len(data))
            await sink.write(data)
            self._clock.touch()
            data = b""
        sink.finish()

    def _count(self, up: int, down: int) -> None:
        self._account.count(up, down)
        self._up += up
        self._down += down
        if self._up > self._limits.request_bytes:
            raise limited(413, f"it sent over {self._limits.request_bytes} bytes")
        if self._down > self._limits.response_bytes:
            raise limited(502, f"it got over {self._limits.response_bytes} bytes")

    async def _end(self, ending: Ending) -> bool:
        """Say why, if the client can still be told; whether its connection is good for another request."""
        if self._open or not ending.status:
            self._record(ending.outcome, ending.clause)
            self._client.cut()
            return False
        self._status = ending.status
        self._record(ending.outcome, ending.clause)  # first: who was told finds it in the log
        try:
            async with asyncio.timeout(self._limits.head_seconds):
                await self._client.answer(ending.status, ending.outcome, self._sentence(ending))
        except (Ending, TimeoutError):
            self._client.cut()
            return False
        return self._client.next()

    def _sentence(self, ending: Ending) -> str:
        what = f"{self._method} to {self._target.host}:{self._target.port}" if self._target else "The request"
        how = {Outcome.REFUSED: "was refused", Outcome.FAILED: "failed"}.get(ending.outcome, "was cut off")
        return f"{what} {how}: {ending.clause}.\n"

    def _record(self, outcome: Outcome, reason: str) -> None:
        if self._recorded:
            return
        self._recorded = True
        host, port = self._place
        self._account.record(
            Access(
                time=self._time,
                client=self._account.client,
                trace=self._trace,
                method=self._method,
                host=host,
                port=port,
                address=self._address,
                rule=self._rule,
                outcome=outcome,
                reason=reason,
                status=self._status,
                bytes_up=self._up,
                bytes_down=self._down,
                seconds=time.monotonic() - self._started,
            )
        )


def _onward(request: h11.Request, target: Target, length: int | None, *, upgrade: bool) -> h11.Request:
    """The request as its server gets it: with one Host, one length, and nothing about the client's connection."""
    headers: Headers = [(b"Host", target.authority.encode()), *end_to_end(request)]
    headers += _SWITCH if upgrade else [(b"Connection", b"close")]
    if length is None:
        headers.append((b"Transfer-Encoding", b"chunked"))
    elif length or value(request, b"content-length"):
        headers.append((b"Content-Length", str(length).encode()))
    return h11.Request(method=request.method, target=target.path, headers=headers)


def _length(response: h11.Response) -> Headers:
    length = value(response, b"content-length")
    return [(b"Content-Length", length)] if length and response.status_code != 204 else []


@asynccontextmanager
async def _together() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group that raises the first error itself, not a group of all."""
    try:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
