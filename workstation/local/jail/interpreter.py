"""A Python session in the jail: runs code where earlier variables live on, and tells what comes of it.

It runs as a child of the jail's PID 1, with nothing but the standard library: this file is compiled outside and handed
in. Frames both ways are a length (4 bytes, big-endian) and so many bytes of JSON:

    in    {"run": code, "name": what its lines are called in tracebacks}
    out   {"result": [[MIME type, base64], …]} and {"error": {"name", "message", "traceback"}} as they come,
          {"end": true} last

What the code prints goes to descriptors 1 and 2, and is flushed before each frame.
"""

import ast
import base64
import builtins
import contextlib
import io
import json
import linecache
import os
import signal
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from typing import Any

MAX_TEXT = 64 << 10
MAX_TRACEBACK = 32 << 10
_PYPLOT = "matplotlib.pyplot"
_REPRESENTATIONS = (
    ("image/png", "_repr_png_"),
    ("image/jpeg", "_repr_jpeg_"),
    ("image/svg+xml", "_repr_svg_"),
    ("text/html", "_repr_html_"),
    ("text/markdown", "_repr_markdown_"),
    ("text/latex", "_repr_latex_"),
    ("application/json", "_repr_json_"),
)
"""The display methods that libraries define for notebooks, the richest first; see IPython's documentation of `display`."""

# Code in a session may replace anything it can reach: what the loop needs is held here.
_dumps, _loads, _read, _write, _exit = json.dumps, json.loads, os.read, os.write, os._exit


class Channel:
    """The frames to and from outside, on one descriptor."""

    def __init__(self, descriptor: int, streams: tuple[io.TextIOWrapper, ...]) -> None:
        self._descriptor, self._streams = descriptor, streams

    def receive(self) -> dict[str, Any]:
        """The next frame; ends the process when there is none to come."""
        frame: dict[str, Any] = _loads(self._exactly(int.from_bytes(self._exactly(4), "big")))
        return frame

    def send(self, frame: dict[str, Any]) -> None:
        """Send a frame, after all that was printed."""
        for stream in self._streams:
            with contextlib.suppress(ValueError, OSError):  # closed by the code
                stream.flush()
        data = _dumps(frame).encode()
        rest = memoryview(len(data).to_bytes(4, "big") + data)
        while rest:
            rest = rest[_write(self._descriptor, rest) :]

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = _read(self._descriptor, min(count - len(data), 1 << 20))
            if not piece:
                _exit(0)
            data += piece
        return data


class Interpreter:
    """One namespace, and the loop that runs code in it."""

    def __init__(self, channel: Channel, result_bytes: int) -> None:
        self._channel, self._most = channel, result_bytes
        self._interruptible = False
        self._main = types.ModuleType("__main__")
        self._space = self._main.__dict__
        self._space["__builtins__"] = builtins
        self._loop: Any = None

    def run(self) -> None:
        """Serve runs until the outside is gone."""
        sys.modules["__main__"] = self._main
        builtins.display = self.display  # type: ignore[attr-defined] # where notebooks have it
        signal.signal(signal.SIGINT, self._interrupt)
        sys.meta_path.insert(0, _Pyplot(self.show_figures))
        while True:
            frame = self._channel.receive()
            self._serve(frame["run"], f"<{frame['name']}>")

    def display(self, *values: object) -> None:
        """Show values as results."""
        for value in values:
            self._send_result(_figure(value) or _represent(value))

    def show_figures(self) -> None:
        """Show matplotlib's open figures as results, and close them."""
        pyplot = sys.modules.get(_PYPLOT)
        if pyplot is not None:
            for number in pyplot.get_fignums():
                self.display(pyplot.figure(number))

    def _serve(self, code: str, name: str) -> None:
        try:
            self._interruptible = True
            self._execute(code, name)
            self.show_figures()
        except BaseException as error:  # noqa: BLE001 - whatever code raises is its result, SystemExit too
            self._interruptible = False
            self._channel.send({"error": _described(error)})
        self._interruptible = False
        self._channel.send({"end": True})

    def _interrupt(self, *_: object) -> None:
        if self._interruptible:
            self._interruptible = False
            raise KeyboardInterrupt

    def _execute(self, code: str, name: str) -> None:
        linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
        tree = ast.parse(code, name)
        last = tree.body[-1] if tree.body else None
        if isinstance(last, ast.Expr):
            self._evaluate(ast.Module(tree.body[:-1], tree.type_ignores), name, "exec")
            value = self._evaluate(ast.Expression(last.value), name, "eval")
            if value is not None and not code.rstrip().endswith(";"):
                self._space["_"] = value
                self.display(value)
        else:
            self._evaluate(tree, name, "exec")

    def _evaluate(self, tree: ast.Module | ast.Expression, name: str, mode: str) -> object:
        compiled = compile(tree, name, mode, ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        value = eval(compiled, self._space)  # noqa: S307 - this is what a session is for
        return self._await(value) if compiled.co_flags & 0x80 else value  # CO_COROUTINE: it awaits something

    def _await(self, coroutine: Any) -> object:
        import asyncio  # noqa: PLC0415 - it takes longer to import than all else here, and few sessions need it

        if self._loop is None or self._loop.is_closed():
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        task = self._loop.create_task(coroutine)
        try:
            return self._loop.run_until_complete(task)
        except BaseException:
            task.cancel()
            raise

    def _send_result(self, data: list[tuple[str, bytes]]) -> None:
        """Send what fits, and say what did not: the largest goes first."""
        left_out = []
        while data and sum(len(content) for _, content in data) > self._most:
            largest = max(data, key=lambda item: len(item[1]))
            data.remove(largest)
            left_out.append(f"{largest[0]} of {len(largest[1])} bytes")
        if left_out:
            print(f"left out of a result, too large: {', '.join(left_out)}", file=sys.__stderr__)
        if data:
            self._channel.send({"result": [[kind, base64.b64encode(content).decode()] for kind, content in data]})


class _Pyplot:
    """Has `pyplot.show()` show figures here, from the moment pyplot is imported."""

    def __init__(self, show: Callable[[], None]) -> None:
        self._show = show

    def find_spec(self, name: str, *place: Any) -> Any:
        """Pyplot's own spec with `show` replaced after loading; nothing else is ours."""
        if name != _PYPLOT:
            return None
        others = [finder for finder in sys.meta_path if finder is not self]
        spec = next(filter(None, (finder.find_spec(name, *place) for finder in others)), None)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_and_patch(module: types.ModuleType) -> None:
                load(module)
                module.show = lambda *_, **__: self._show()  # type: ignore[attr-defined] # pyplot sets its attributes

            spec.loader.exec_module = load_and_patch  # type: ignore[method-assign]
        return spec


def _figure(value: object) -> list[tuple[str, bytes]]:
    """A matplotlib figure as a picture; it is closed, so that it is not shown again. Empty for anything else."""
    pyplot, figures = sys.modules.get(_PYPLOT), sys.modules.get("matplotlib.figure")
    if pyplot is None or figures is None or not isinstance(value, figures.Figure):
        return []
    picture = io.BytesIO()
    value.savefig(picture, format="png", bbox_inches="tight")
    pyplot.close(value)
    return [("image/png", picture.getvalue()), ("text/plain", _text(value))]


def _represent(value: object) -> list[tuple[str, bytes]]:
    """A value in the ways it can be shown, plain text last."""
    found = dict(_bundle(value))
    for kind, method in _REPRESENTATIONS:
        if kind not in found and (shown := _call(value, method)) is not None:
            found[kind] = _encoded(shown)
    order = [kind for kind, _ in _REPRESENTATIONS]
    plain = found.pop("text/plain", None) or _text(value)
    rich = sorted(found.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order))
    return [*rich, ("text/plain", plain)]


def _bundle(value: object) -> Iterator[tuple[str, bytes]]:
    bundle = _call(value, "_repr_mimebundle_")
    if isinstance(bundle, dict):
        for kind, content in bundle.items():
            yield str(kind), _encoded(content)


def _call(value: object, method: str) -> object:
    """What a display method gives, None without one; a method may also give metadata beside, which nobody needs."""
    if isinstance(value, type) or not callable(show := getattr(value, method, None)):
        return None
    try:
        shown = show()
    except Exception as error:  # noqa: BLE001 - one way to show it fails, others may not
        print(f"{method} failed: {type(error).__name__}: {error}", file=sys.stderr)
        return None
    return shown[0] if isinstance(shown, tuple) and shown else shown


def _encoded(content: object) -> bytes:
    if isinstance(content, bytes):
        return content
    text = content if isinstance(content, str) else _dumps(content, default=str)
    return text.encode("utf-8", "backslashreplace")


def _text(value: object) -> bytes:
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001 - a value that cannot say what it is
        text = f"<{type(value).__name__} whose repr failed: {type(error).__name__}>"
    if len(text) > MAX_TEXT:
        text = f"{text[:MAX_TEXT]}… and {len(text) - MAX_TEXT} characters more"
    return text.encode("utf-8", "backslashreplace")


def _described(error: BaseException) -> dict[str, str]:
    """An exception as data; the frames above the code's own are left out."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename not in linecache.cache:
        trace = trace.tb_next
    try:
        lines = "".join(traceback.format_exception(type(error), error.with_traceback(trace), trace))
    except Exception as broken:  # noqa: BLE001 - an exception that cannot be shown
        lines = f"{type(error).__name__}, whose traceback cannot be shown: {type(broken).__name__}"
    if len(lines) > MAX_TRACEBACK:
        half = MAX_TRACEBACK // 2
        lines = f"{lines[:half]}\n… {len(lines) - 2 * half} characters left out …\n{lines[-half:]}"
    try:
        message = str(error)
    except Exception as broken:  # noqa: BLE001
        message = f"<its message failed: {type(broken).__name__}>"
    described = {"name": type(error).__name__, "message": message[:MAX_TRACEBACK], "traceback": lines}
    return {key: text.encode("utf-8", "backslashreplace").decode() for key, text in described.items()}


def serve(channel: int, result_bytes: int) -> None:
    """Serve a session over the descriptor `channel`; never returns."""
    streams = tuple(
        io.TextIOWrapper(io.FileIO(descriptor, "w", closefd=False), "utf-8", "backslashreplace", write_through=True)
        for descriptor in (1, 2)
    )
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__ = streams  # type: ignore[misc]
    sys.stdin = sys.__stdin__ = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), "utf-8")  # type: ignore[misc]
    sys.argv = [""]
    Interpreter(Channel(channel, streams), result_bytes).run()
