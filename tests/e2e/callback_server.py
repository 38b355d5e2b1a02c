"""A customer's server on loopback, to which replies are posted."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from tests.e2e.system import signature, until


class Posted(NamedTuple):
    headers: Message
    body: bytes

    @property
    def reply(self) -> Any:
        return json.loads(self.body)

    def is_signed(self, secret: str) -> bool:
        return self.headers["X-Empla-Signature"] == signature(secret, self.headers["X-Empla-Timestamp"], self.body)


class CallbackServer:
    """Takes everything, and keeps it."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/replies"
        self.posted: list[Posted] = []

    def about(self, message_id: str) -> list[Posted]:
        """Everything that was posted about a message."""
        return [posted for posted in self.posted if posted.reply["message_id"] == message_id]

    def first_about(self, message_id: str) -> Posted:
        return until(lambda: self.about(message_id), f"message {message_id} is answered at the callback")[0]


@contextmanager
def callback_server() -> Iterator[CallbackServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            server.posted.append(Posted(self.headers, body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server = CallbackServer(http.server_port)
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
