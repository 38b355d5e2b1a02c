"""Servers that misbehave, each in one way, towards whoever connects to them."""

import asyncio
import itertools
import socket
import struct
import zlib
from collections.abc import Awaitable, Callable, Iterable, Iterator

type Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_HTML = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n"
_BEGINNING = b"<!doctype html><title>Begun</title><p>The beginning is here.</p>"


def _saying(pieces: Callable[[], Iterable[bytes]], pause: float = 0) -> Handler:
    """Read a request, then say one piece after another."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces():
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)

    return handler


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take everything and say nothing."""
    del writer
    while await reader.read(1 << 16):
        pass


async def _reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _slow_head() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nX-Slow: "
    yield from itertools.repeat(b"a")


def _slow_body() -> Iterator[bytes]:
    yield _HTML + b"\r\n" + _BEGINNING
    yield from itertools.repeat(b"a")


def _endless_body() -> Iterator[bytes]:
    yield _HTML + b"\r\n" + _BEGINNING
    yield from itertools.repeat(b"<p>and on</p>" * 5_000)


def _endless_head() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\n"
    yield from itertools.repeat(b"X-More: " + b"a" * 8_000 + b"\r\n")


def _endless_redirect() -> Iterator[bytes]:
    yield b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def _bomb() -> Iterator[bytes]:
    """Eight gigabytes of spaces in eight megabytes of gzip."""
    yield _HTML + b"Content-Encoding: gzip\r\n\r\n"
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    yield packer.compress(_BEGINNING) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(b" " * (16 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    yield from itertools.repeat(block, 512)


MISBEHAVIOUR: dict[str, Handler] = {
    "silent": _silent,
    "slow head": _saying(_slow_head, 0.2),
    "slow body": _saying(_slow_body, 0.2),
    "endless head": _saying(_endless_head),
    "endless body": _saying(_endless_body),
    "endless redirect": _saying(_endless_redirect),
    "reset": _reset,
    "empty": _saying(lambda: ()),
    "garbage": _saying(lambda: (b"\x00\xff\x16\x03garbage\n\n" * 100,)),
    "cut short": _saying(lambda: (_HTML + b"Content-Length: 100000\r\n\r\n" + _BEGINNING,)),
    "bomb": _saying(_bomb),
}
