"""`python -m loadtests.traffic serve|fetch`: both ends of the egress proxy, each in a process that shares nothing with it.

Blocking sockets and no event loop: the ends shall cost as little as they can.
"""

import json
import sys
import threading
import time
from contextlib import closing
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from loadtests.children import answer_lines

HOST = "127.0.0.1"
_SECONDS = 60.0
_PIECE = bytes(1 << 20)


class Upstream(BaseHTTPRequestHandler):
    """Answers `GET /N` with N bytes."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave together

    def do_GET(self) -> None:
        size = int(self.path[1:])
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        for start in range(0, size, len(_PIECE)):
            self.wfile.write(_PIECE[: size - start])

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Client:
    """Fetches, over connections that are kept, or over a new one each time, and says how long each answer took."""

    def __init__(self) -> None:
        self._kept: dict[str, HTTPConnection] = {}

    def answer(self, order: dict[str, Any]) -> dict[str, Any]:
        """`route` is direct, proxy or tunnel, `upstream` and `proxy` are ports; gives the seconds of `count` fetches."""
        return {"seconds": [self._timed(order) for _ in range(order["count"])]}

    def _timed(self, order: dict[str, Any]) -> float:
        before = time.perf_counter()
        if not order["fresh"]:
            _fetch(self._kept_connection(order), order)
            return time.perf_counter() - before
        with closing(_connection(order)) as connection:
            _fetch(connection, order)
            return time.perf_counter() - before

    def _kept_connection(self, order: dict[str, Any]) -> HTTPConnection:
        route: str = order["route"]
        if route not in self._kept:
            self._kept[route] = _connection(order)
        return self._kept[route]


def _connection(order: dict[str, Any]) -> HTTPConnection:
    """One that connects when it is first used."""
    direct = order["route"] == "direct"
    connection = HTTPConnection(HOST, order["upstream" if direct else "proxy"], timeout=_SECONDS)
    if order["route"] == "tunnel":
        connection.set_tunnel(HOST, order["upstream"])
    return connection


def _fetch(connection: HTTPConnection, order: dict[str, Any]) -> None:
    origin = f"http://{HOST}:{order['upstream']}" if order["route"] == "proxy" else ""
    connection.request("GET", f"{origin}/{order['bytes']}")
    answer = connection.getresponse()
    room, size = bytearray(len(_PIECE)), 0
    while count := answer.readinto(room):
        size += count
    if answer.status != 200 or size != order["bytes"]:
        raise RuntimeError(f"{order['route']}: {answer.status}, {size} bytes")


def serve() -> None:
    """Serve until the standard input ends; the first line of the output is the port."""
    server = ThreadingHTTPServer((HOST, 0), Upstream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"port": server.server_port}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        answer_lines(Client().answer)
