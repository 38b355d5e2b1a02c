"""A model on loopback that speaks OpenAI's streaming chat completions, and can be held, slow, or deadly.

Asked to note a word it calls `append_file` and then says that it has; asked to read a path it calls `read_file` and then
says what came of it, asked to copy one `copy_file`, asked to run a program `run_python`, and asked for a question
`ask_sender`; to anything else it says good day. What a riddle is about it never knows.
"""

import json
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.e2e.system import PATIENCE, until
from tests.unit.agent.models.provider_server import openai_call, openai_end, openai_text

NOTES = "notes.txt"
COPY = "copy.md"
_TASK = re.compile(r"note (w[0-9a-f]+)|read (\S+)|run `(.+)`|ask `(.+)`|copy `(.+)`")


_NOTHING = {"Proposal": '{"beliefs": []}', "PlanProposal": '{"progress": [], "give_up": [], "plans": []}'}


class ModelServer:
    """The model; while it is held, it calls tools but gives no answer."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/v1"
        self._free = threading.Event()
        self._free.set()
        self._held = 0
        self._pause = 0.0
        self._on_poison: Callable[[], object] | None = None
        self.asked: deque[tuple[str, str]] = deque(maxlen=1000)
        """Which model was asked, and in which schema it was to answer, '' for none."""

    @contextmanager
    def deadly(self, on_poison: Callable[[], object], *, pause: float) -> Iterator[None]:
        """For the block, `on_poison` is called when it is to answer to poison, and any answer takes `pause` seconds."""
        self._on_poison, self._pause, self._held = on_poison, pause, 0
        try:
            yield
        finally:
            self._on_poison, self._pause = None, 0.0

    def hold(self) -> None:
        self._held = 0
        self._free.clear()

    def release(self) -> None:
        self._free.set()

    def until_held(self, times: int = 1) -> None:
        """Until somebody has asked and waits, for the n-th time."""
        until(lambda: self._held >= times, "the model is asked")

    def respond(self, request: dict[str, Any]) -> list[str]:
        """The events of one response."""
        last = request["messages"][-1]
        schema = request["response_format"]["json_schema"]["name"] if "response_format" in request else ""
        self.asked.append((request["model"], schema))
        if schema in _NOTHING:
            return [*openai_text(_NOTHING[schema]), *openai_end()]
        if "response_format" in request and "riddle" in last["content"]:
            return [*openai_text("Who knows?"), *openai_end()]
        if "response_format" in request:
            return [*openai_text(_classified()), *openai_end()]
        if self._on_poison and "poison" in last["content"]:
            self._on_poison()
        if last["role"] == "tool":
            return self._answer("I did that: ", last["content"])
        # What memory holds on the message stands before it.
        if not (tasks := _TASK.findall(last["content"].rpartition('<data kind="message"')[2])):
            return self._answer("Good ", "day.")
        name, arguments = _called(*tasks[-1])
        return [*openai_call(0, "call-1", name, json.dumps(arguments)), *openai_end("tool_calls")]

    def _answer(self, *pieces: str) -> list[str]:
        self._held += 1
        time.sleep(self._pause)
        assert self._free.wait(PATIENCE)
        return [*openai_text(*pieces), *openai_end()]


def _called(word: str, path: str, program: str, question: str, copied: str) -> tuple[str, dict[str, str]]:
    """The tool for a task, of which one part is there."""
    if word:
        return "append_file", {"path": NOTES, "content": f"{word}\n"}
    if question:
        return "ask_sender", {"question": question}
    if copied:
        return "copy_file", {"path": copied, "to": COPY}
    return ("read_file", {"path": path}) if path else ("run_python", {"code": program})


def _classified() -> str:
    intent = {"summary": "Do what is asked", "category": "request", "start": 0, "end": 1}
    sorted_as = {"category": "request", "priority": "normal", "sentiment": "neutral", "language": "en"}
    return json.dumps({**sorted_as, "confidence": 0.9, "intents": [intent]})


@contextmanager
def model_server() -> Iterator[ModelServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            events = server.respond(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            with suppress(ConnectionError):  # whoever asked was killed
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                self.wfile.write("".join(events).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server = ModelServer(http.server_port)
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.release()
            http.shutdown()
            thread.join()
