"""A Python session in the jail: runs code where earlier variables live on, and tells what comes of it.

It runs as a child of the jail's PID 1, with nothing but the standard library: this file and `display` are
compiled outside and handed in. Frames both ways are a length (4 bytes, big-endian) and so many bytes of JSON:

    in    {"run": code, "name": what its lines are called in tracebacks}
    out   {"result": [[MIME type, base64], …]} and {"error": {"name", "message", "traceback"}} as they come,
          {"end": {"cpu": seconds}} last

What the code prints goes to descriptors 1 and 2, and is flushed before each frame. SIGINT raises `KeyboardInterrupt` in
the code of a run, and is ignored between runs. Whether one that was sent as a run ended came before the next frame cannot
be told: an empty run (`""`) in between takes it. Code may tamper with all it can reach: what the loop needs is held here,
and where that is not enough the process ends.
"""

from __future__ import annotations

# Cheap modules only, and parts of the usual ones that cost nothing: sessions that start cold wait for this.
import _ast
import _json
import _signal  # type: ignore[import-not-found] # signal itself imports enum
import _thread
import binascii
import builtins
import io
import linecache
import os
import resource
import select
import sys

from workstation.local.jail.display import OURS, PYPLOT, Pyplot, described, fitting, is_figure, represented

TYPE_CHECKING = False  # typing's own would take longer to import than all else here
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Task
    from collections.abc import Callable
    from types import CodeType, FrameType
    from typing import Any, BinaryIO, TextIO

globals()["__builtins__"] = dict(vars(builtins))  # functions below keep these, whatever code does to its builtins

_FAILED = 70
_CO_COROUTINE, _CO_FUTURE_ANNOTATIONS = 0x80, 0x1000000
_LAST = " last"  # no name that code can have
_STREAMS = ((1, "stdout"), (2, "stderr"))
_read, _write, _exit, _getpid = os.read, os.write, os._exit, os.getpid
_fstat, _dup2, _select, _getrusage = os.fstat, os.dup2, select.select, resource.getrusage
_encode = _json.make_encoder(None, str, _json.encode_basestring_ascii, None, ":", ",", False, False, False)


class _Decoding:
    """How JSON is read: what json.JSONDecoder is by default."""

    strict, object_hook, object_pairs_hook = True, None, None
    parse_float, parse_int, parse_constant = float, int, float


_decode = _json.make_scanner(_Decoding)  # type: ignore[arg-type] # json itself imports re


class _suppress:  # noqa: N801 - contextlib's, whose import takes longer than all else here
    """Swallow the named errors of a block."""

    def __init__(self, *errors: type[BaseException]) -> None:
        self._errors = errors

    def __enter__(self) -> None:
        """Nothing to set up."""

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        """Say whether the error is one of ours."""
        return kind is not None and issubclass(kind, self._errors)


class _Unbuffered(io.BufferedWriter):
    """Keeps nothing back, save what an interrupt cuts off: that comes with the next write."""

    def write(self, data: Any) -> int:
        count = super().write(data)
        self.flush()
        return count


class _Output:
    """The text streams on descriptors 1 and 2."""

    def __init__(self) -> None:
        self._pipes = {descriptor: os.dup(descriptor) for descriptor, _ in _STREAMS}
        self.texts: dict[int, TextIO] = {}
        for descriptor, name in _STREAMS:
            setattr(sys, name, self._open(descriptor))
            setattr(sys, f"__{name}__", self.texts[descriptor])

    def restore(self) -> None:
        """Put in order what code closed; what it put in the place of a stream stays."""
        for descriptor, name in _STREAMS:
            if _identity(descriptor) != _identity(self._pipes[descriptor]):
                _dup2(self._pipes[descriptor], descriptor)
            if _is_closed(self.texts[descriptor]):
                self._open(descriptor)
            if _is_closed(getattr(sys, name, None)):
                setattr(sys, name, self.texts[descriptor])

    def flush(self) -> None:
        """Have all that was printed in the pipes."""
        for descriptor, name in _STREAMS:
            for stream in (getattr(sys, name, None), self.texts[descriptor]):
                with _suppress(Exception):  # closed, none, or code's own that fails
                    stream.flush()  # type: ignore[union-attr]

    def say(self, text: str) -> None:
        """Tell the user something of our own."""
        with _suppress(OSError, ValueError):  # closed by the code: it does not want to hear
            self.texts[2].write(text + "\n")

    def _open(self, descriptor: int) -> TextIO:
        binary: BinaryIO = _Unbuffered(io.FileIO(descriptor, "w", closefd=False))
        self.texts[descriptor] = io.TextIOWrapper(binary, "utf-8", "backslashreplace", write_through=True)
        return self.texts[descriptor]


class _Channel:
    """The frames to and from outside, on one descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        os.set_inheritable(descriptor, False)

    def wait(self) -> None:
        """Wait for a frame, without taking it."""
        _select([self._descriptor], [], [])

    def has_frame(self) -> bool:
        """Whether one waits to be received."""
        return bool(_select([self._descriptor], [], [], 0)[0])

    def receive(self) -> dict[str, str]:
        """The next frame; ends the process when there is none to come."""
        text = self._exactly(int.from_bytes(self._exactly(4), "big")).decode()
        frame: dict[str, str] = _decode(text, 0)[0]
        return frame

    def send(self, frame: dict[str, Any]) -> None:
        data = "".join(_encode(frame, 0)).encode()
        rest = memoryview(len(data).to_bytes(4, "big") + data)
        while rest:
            rest = rest[_write(self._descriptor, rest) :]

    def _exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            piece = _read(self._descriptor, min(count - len(data), 1 << 20))
            if not piece:
                _exit(0)
            data += piece
        return bytes(data)


class _Interrupts:
    """SIGINT as `KeyboardInterrupt` in the code of a run and nowhere else; as a context, holds it back for a block.

    What comes while it is held back is raised when code goes on. One that comes between runs is for the run whose frame
    is there already, or else for one that is over.
    """

    def __init__(self, is_run_waiting: Callable[[], bool]) -> None:
        self._is_run_waiting = is_run_waiting
        self._process, self._thread = _getpid(), _thread.get_ident()
        self._open = self._was_open = self._pending = False
        self._idle = True
        self.cancel: Callable[[], None] | None = None
        """Ends what is awaited: an exception inside of the event loop's own code could lose a wake-up."""

    def begin(self) -> None:
        """A run is there: from now on they are for it."""
        _signal.signal(_signal.SIGINT, self._handle)
        self._idle = False

    def rest(self) -> None:
        """No run is there any more; to be called before the outside learns of it."""
        self._pending, self._idle = False, True

    def admit(self) -> None:
        """Let them through, and first the one that came before."""
        self._open = True
        if self._pending:
            self._pending = False
            raise KeyboardInterrupt

    def hold(self) -> None:
        """Hold them back."""
        self._open = False

    def __enter__(self) -> None:
        """Hold them back, if this is the thread they come to."""
        if _thread.get_ident() == self._thread:
            self._was_open, self._open = self._open, False

    def __exit__(self, *_: object) -> None:
        """As it was before; raises the one that came meanwhile."""
        if _thread.get_ident() == self._thread and self._was_open:
            self.admit()

    def _handle(self, _: int, frame: FrameType | None) -> None:
        if _getpid() != self._process:
            raise KeyboardInterrupt
        if not self._open:
            self._pending = self._pending or not self._idle or self._is_run_waiting()
        elif self.cancel is not None and _is_event_loop(frame):
            self.cancel()
        else:
            raise KeyboardInterrupt


class Interpreter:
    """One namespace, and the loop that runs code in it."""

    def __init__(self, channel: _Channel, output: _Output, result_bytes: int) -> None:
        self._channel, self._output, self._most = channel, output, result_bytes
        self._interrupts = _Interrupts(channel.has_frame)
        self._lock, self._process = _thread.RLock(), _getpid()
        self._running = False
        self._names: set[str] = set()
        self._shown: list[object] = []
        self._flags = _ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        self._loop: AbstractEventLoop | None = None
        self._main = type(sys)("__main__")
        self._main.__dict__["__builtins__"] = builtins

    def run(self) -> None:
        """Serve runs until the outside is gone."""
        sys.modules["__main__"] = self._main
        vars(builtins).update(display=self.display, help=_help, exit=sys.exit, quit=sys.exit)  # site has the others
        sys.meta_path.insert(0, Pyplot(self.show_figures))
        self._interrupts.begin()
        self._interrupts.rest()
        while True:
            self._channel.wait()
            self._interrupts.begin()
            frame = self._channel.receive()
            self._serve(frame["run"], f"<{frame['name']}>")

    def display(self, *values: object) -> None:
        """Show values as results."""
        for value in values:
            data = fitting(represented(value, self._output.say), self._most, self._output.say)
            shown = [[kind, binascii.b2a_base64(content, newline=False).decode()] for kind, content in data]
            if not self._emit({"result": shown}):
                print(data[-1][1].decode())
            if is_figure(value):
                self._shown.append(value)

    def show_figures(self) -> None:
        """Show matplotlib's open figures as results, and close them."""
        self._shown.clear()
        self._show_rest()

    def _serve(self, code: str, name: str) -> None:
        begun = _cpu_seconds()
        self._output.restore()
        self._running = True
        error = self._guarded(self._execute, code, name)
        error = self._guarded(self._show_rest) or error
        if _getpid() != self._process:  # a child that code forked off came here: it is not the one to answer
            _leave(error, self._names, self._output)
        if error is not None:
            self._emit({"error": described(error, self._names)})
        self._interrupts.rest()
        self._emit({"end": {"cpu": _cpu_seconds() - begun}}, last=True)

    def _emit(self, frame: dict[str, Any], *, last: bool = False) -> bool:
        """Send a frame after all that was printed; False where nobody expects one: between runs and in children."""
        if _getpid() != self._process:
            return False
        with self._interrupts, self._lock:
            if not self._running:
                return False
            self._running = not last
            self._output.flush()
            self._channel.send(frame)
        return True

    def _guarded(self, action: Callable[..., None], *arguments: str) -> BaseException | None:
        """What an action raised; interrupts are let through from its beginning to its end."""
        try:
            try:
                self._interrupts.admit()
                action(*arguments)
            finally:
                self._interrupts.hold()
        except BaseException as error:  # noqa: BLE001 - whatever code raises is its result, SystemExit too
            self._interrupts.hold()  # the first may have been interrupted itself
            return error
        return None

    def _execute(self, code: str, name: str) -> None:
        lines = code.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        linecache.cache[name] = (len(code), None, [line + "\n" for line in lines], name)
        self._names.add(name)
        tree: Any = compile(code, name, "exec", self._flags | _ast.PyCF_ONLY_AST, dont_inherit=True)
        last = tree.body[-1] if tree.body and isinstance(tree.body[-1], _ast.Expr) else None
        if last is not None:
            tree.body[-1] = _assignment(last)
        self._evaluate(tree, name)
        value = self._main.__dict__.pop(_LAST, None)
        if last is not None and value is not None and not _is_silenced(last, lines):
            self._main.__dict__["_"] = value
            self.display(value)

    def _evaluate(self, tree: Any, name: str) -> None:
        compiled: CodeType = compile(tree, name, "exec", self._flags, dont_inherit=True)
        self._flags |= compiled.co_flags & _CO_FUTURE_ANNOTATIONS
        value = eval(compiled, self._main.__dict__)  # noqa: S307 - this is what a session is for
        if compiled.co_flags & _CO_COROUTINE:
            self._await(value)

    def _await(self, coroutine: Any) -> None:
        import asyncio  # noqa: PLC0415 - it takes longer to import than all else here, and few sessions need it

        self._interrupts.hold()
        if self._loop is None or self._loop.is_closed():
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        awaited = _Awaited(self._loop, self._loop.create_task(coroutine))
        self._interrupts.cancel = awaited.cancel
        try:
            self._interrupts.admit()
            awaited.result()
        except asyncio.CancelledError as error:
            if not awaited.cancelled:
                raise
            raise KeyboardInterrupt().with_traceback(error.__traceback__) from None
        except KeyboardInterrupt:
            awaited.finish()
            raise
        finally:
            self._interrupts.cancel = None

    def _show_rest(self) -> None:
        """Show the open figures that the run did not show itself, and close all."""
        pyplot: Any = sys.modules.get(PYPLOT)
        try:
            for number in pyplot.get_fignums() if pyplot is not None else ():
                figure = pyplot.figure(number)
                if not any(figure is shown for shown in self._shown):
                    self.display(figure)
                pyplot.close(figure)
        finally:
            self._shown.clear()


class _Awaited:
    """The task that a run's top level waits for."""

    def __init__(self, loop: AbstractEventLoop, task: Task[object]) -> None:
        self._loop, self._task = loop, task
        self.cancelled = False

    def result(self) -> object:
        return self._loop.run_until_complete(self._task)

    def cancel(self) -> None:
        """Have it end, and the loop notice."""
        self.cancelled = True
        self._task.cancel()
        self._loop.call_soon_threadsafe(lambda: None)

    def finish(self) -> None:
        """After an exception that left the loop: end the task if it was another's, and have the loop forget it."""
        with _suppress(BaseException):  # the interrupt is what is told
            if not self._task.done():
                self._task.cancel()
                self.result()
        self._loop.call_soon(self._loop.stop)
        self._loop.run_forever()


def _assignment(last: Any) -> _ast.Assign:
    """The last expression as an assignment, so that all of a run is one piece, with one `await` or more in it."""
    place = {key: getattr(last, key) for key in ("lineno", "col_offset", "end_lineno", "end_col_offset")}
    return _ast.Assign([_ast.Name(_LAST, _ast.Store(), **place)], last.value, **place)


def _is_silenced(last: Any, lines: list[str]) -> bool:
    """Whether a semicolon follows the last expression."""
    rest: bytes = lines[last.end_lineno - 1].encode()[last.end_col_offset :]
    return rest.lstrip().startswith(b";")


def _is_event_loop(frame: FrameType | None) -> bool:
    module = "" if frame is None else str(frame.f_globals.get("__name__"))
    return module == "selectors" or module.startswith("asyncio.")


def _is_closed(stream: Any) -> bool:
    try:
        return stream is None or bool(stream.closed)
    except ValueError:  # detached
        return True
    except Exception:  # noqa: BLE001 - code's own object, which has no such thing
        return False


def _identity(descriptor: int) -> tuple[int, int] | None:
    try:
        status = _fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _cpu_seconds() -> float:
    usages = [_getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _leave(error: BaseException | None, names: set[str], output: _Output) -> None:
    """End a child as a program of its own would end."""
    code = getattr(error, "code", 1) if isinstance(error, SystemExit) else int(error is not None)
    if error is not None and not isinstance(error, SystemExit):
        output.say(described(error, names)["traceback"])
    output.flush()
    _exit(code if isinstance(code, int) else int(code is not None))


def _help(*topics: object) -> None:
    import pydoc  # noqa: PLC0415 - few ask

    pydoc.help(*topics)


def serve(channel: int, result_bytes: int) -> None:
    """Serve a session over the descriptor `channel`; never returns."""
    OURS.update(function.__code__.co_filename for function in (serve, described))
    for number in (_signal.SIGPIPE, _signal.SIGXFSZ):  # as Python starts: an OSError tells
        _signal.signal(number, _signal.SIG_IGN)
    output = _Output()
    sys.stdin = sys.__stdin__ = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), "utf-8")  # type: ignore[misc]
    sys.argv = [""]
    try:
        Interpreter(_Channel(channel), output, result_bytes).run()
    except BaseException as error:  # noqa: BLE001 - code has broken what is needed here
        output.say(f"the session is broken: {type(error).__name__}")
    finally:
        _exit(_FAILED)
