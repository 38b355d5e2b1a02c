"""The interpreter of a session, as a plain process without a jail, driven over its frames."""

import base64
import json
import os
import random
import selectors
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from workstation.local.jail import interpreter

BOOT = """
import sys
directory, extra, channel, result_bytes = sys.argv[1:]
sys.path.insert(0, extra)
for name in ("display", "interpreter"):
    with open(f"{directory}/{name}.py") as file:
        code = compile(file.read(), f"{name}.py", "exec", dont_inherit=True, optimize=2)
    module = sys.modules[f"workstation.local.jail.{name}"] = type(sys)(name)
    exec(code, module.__dict__)
module.serve(int(channel), int(result_bytes))
"""
PNG = b"\x89PNG fake"


@dataclass
class Ran:
    results: list[dict[str, bytes]] = field(default_factory=list)
    errors: list[dict[str, str]] = field(default_factory=list)
    cpu: float = -1.0
    out: str = ""
    err: str = ""

    @property
    def error(self) -> dict[str, str]:
        (error,) = self.errors
        return error


class Driver:
    def __init__(self, process: subprocess.Popen[bytes], channel: socket.socket) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self.process, self.channel = process, channel
        self._outputs = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
        self._buffer = bytearray()
        self._runs = 0

    def start(self, code: str, name: str | None = None) -> None:
        self._runs += 1
        frame = json.dumps({"run": textwrap.dedent(code), "name": name or f"run-{self._runs}"}).encode()
        self.channel.sendall(len(frame).to_bytes(4, "big") + frame)

    def run(self, code: str, name: str | None = None) -> Ran:
        self.start(code, name)
        return self.finish()

    def finish(self) -> Ran:
        ran = Ran()
        while ran.cpu < 0:
            frame = self._frame()
            if "result" in frame:
                ran.results.append({kind: base64.b64decode(content) for kind, content in frame["result"]})
            elif "error" in frame:
                ran.errors.append(frame["error"])
            else:
                ran.cpu = frame["end"]["cpu"]
        ran.out, ran.err = (self.printed(index) for index in (0, 1))
        return ran

    def printed(self, index: int) -> str:
        """What is in a pipe by now, and was not taken yet."""
        descriptor, data = list(self._outputs.items())[index]
        while select_now(descriptor) and (piece := os.read(descriptor, 1 << 16)):
            data += piece
        text = data.decode()
        data.clear()
        return text

    def wait_for(self, text: str) -> None:
        """Until the code has printed so much."""
        seen = ""
        while text not in seen:
            (descriptor, *_) = self._outputs
            seen += os.read(descriptor, 1 << 16).decode()

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def _frame(self) -> Any:
        while len(self._buffer) < 4 or len(self._buffer) < 4 + int.from_bytes(self._buffer[:4], "big"):
            self._listen()
        end = 4 + int.from_bytes(self._buffer[:4], "big")
        frame = json.loads(self._buffer[4:end])
        del self._buffer[:end]
        return frame

    def _listen(self) -> None:
        with selectors.DefaultSelector() as selector:
            for source in (self.channel.fileno(), *self._outputs):
                selector.register(source, selectors.EVENT_READ)
            for key, _ in selector.select():
                data = os.read(key.fd, 1 << 16)
                if key.fd != self.channel.fileno():
                    self._outputs[key.fd] += data
                elif not data:
                    raise EOFError(self.process.wait(10))
                else:
                    self._buffer += data


def select_now(descriptor: int) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        return bool(selector.select(0))


@contextmanager
def opened(extra: Path, result_bytes: int = 1 << 20) -> Iterator[Driver]:
    with ExitStack() as stack:
        mine, theirs = socket.socketpair()
        stack.enter_context(mine)
        directory = str(Path(interpreter.__file__).parent)
        arguments = [directory, str(extra), str(theirs.fileno()), str(result_bytes)]
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", BOOT, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[theirs.fileno()],
            cwd=extra,
        )
        theirs.close()
        stack.enter_context(process)
        stack.callback(process.kill)
        yield Driver(process, mine)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Driver]:
    with opened(tmp_path) as driver:
        yield driver


def plain(ran: Ran) -> list[str]:
    return [result["text/plain"].decode() for result in ran.results]


class TestRunning:
    def test_variables_live_on_and_the_last_expression_is_shown(self, session: Driver) -> None:
        session.run("x = 20\ndef double(y):\n    return 2 * y")
        ran = session.run("x += 1\ndouble(x)")
        assert (plain(ran), ran.errors, ran.out) == (["42"], [], "")
        assert plain(session.run("_ + 1")) == ["43"]

    @pytest.mark.parametrize(
        "code", ["", "# only a comment", "x = 1", "None", "5;", "5 ; # said nothing", "(5\n) ;", "'é' ;", "if 1: 5"]
    )
    def test_nothing_is_shown(self, session: Driver, code: str) -> None:
        ran = session.run(code)
        assert (ran.results, ran.errors) == ([], [])

    def test_a_semicolon_in_a_comment_or_a_string_is_none(self, session: Driver) -> None:
        assert plain(session.run("5 # ;")) == ["5"]
        assert plain(session.run("';'")) == ["';'"]

    def test_main_is_a_module(self, session: Driver) -> None:
        code = """
            import dataclasses, inspect, multiprocessing, pickle, sys, threading
            @dataclasses.dataclass
            class Point:
                x: int
            def put(pipe):
                pipe.send(Point(2))
            assert pickle.loads(pickle.dumps(Point(1))) == Point(1)
            assert __name__ == "__main__" and sys.modules["__main__"].Point is Point
            assert "pipe.send" in inspect.getsource(put)
            mine, theirs = multiprocessing.Pipe()
            process = multiprocessing.get_context("fork").Process(target=put, args=(theirs,))
            process.start()
            process.join()
            mine.recv()
        """
        assert plain(session.run(code)) == ["Point(x=2)"]

    def test_future_statements_last(self, session: Driver) -> None:
        session.run("from __future__ import annotations")
        assert plain(session.run("def f(x: unknown): pass\nf.__annotations__")) == ["{'x': 'unknown'}"]

    def test_awaiting_at_the_top_keeps_one_loop(self, session: Driver) -> None:
        session.run("import asyncio\nqueue = asyncio.Queue()")
        assert session.run("task = asyncio.create_task(queue.get())\nawait asyncio.sleep(0)").errors == []
        assert plain(session.run("await queue.put(7)\nawait task")) == ["7"]
        assert plain(session.run("[x async for x in (await asyncio.sleep(0, y) for y in range(2))]")) == ["[0, 1]"]
        assert session.run("async def fail():\n    raise ValueError\nawait fail()").error["name"] == "ValueError"
        assert plain(session.run("asyncio.run(asyncio.sleep(0, 5))")) == ["5"]

    def test_processor_time_is_told_with_that_of_children(self, session: Driver) -> None:
        burn = "import time\nwhile time.process_time() < {}: pass"
        assert session.run(burn.format(0.3)).cpu > 0.1
        child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn.format(0.2)!r}])"
        assert session.run(child).cpu > 0.1
        assert session.run("1").cpu < 0.1

    def test_children_that_fall_out_of_a_run_do_not_answer(self, session: Driver) -> None:
        ran = session.run(
            "import os, sys\npid = os.fork()\nif pid == 0: sys.exit(3)\nos.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])"
        )
        assert (plain(ran), ran.errors) == (["3"], [])
        ran = session.run("pid = os.fork()\nif pid == 0: 1 / 0\nos.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])")
        assert (plain(ran), ran.errors) == (["1"], [])
        assert "ZeroDivisionError" in ran.err
        ran = session.run("pid = os.fork()\nif pid == 0: display(1)\nelse: os.waitpid(pid, 0)\nNone")
        assert (ran.results, ran.out) == ([], "1\n")

    def test_nothing_to_read_is_no_reason_to_wait(self, session: Driver) -> None:
        assert session.run("input('name? ')").error["name"] == "EOFError"
        assert "pow(base, exp" in session.run("help(pow)").out
        session.run("help()")
        session.run("breakpoint()")
        assert session.run("exit()").error["name"] == "SystemExit"
        assert plain(session.run("1")) == ["1"]

    def test_a_broken_pipe_is_an_error(self, session: Driver) -> None:
        ran = session.run("import os\nr, w = os.pipe()\nos.close(r)\nos.write(w, b'x')")
        assert ran.error["name"] == "BrokenPipeError"

    def test_it_ends_with_its_channel(self, session: Driver) -> None:
        session.run("1")
        session.channel.shutdown(socket.SHUT_WR)
        assert session.process.wait(10) == 0


class TestOutput:
    def test_text_streams_while_the_code_runs(self, session: Driver) -> None:
        session.start("import os, time\nprint('begun', end='')\nwhile not os.path.exists('go'): time.sleep(0.001)")
        session.wait_for("begun")
        assert not select_now(session.channel.fileno())
        Path(f"/proc/{session.process.pid}/cwd/go").touch()
        assert session.finish().errors == []

    def test_what_was_printed_is_there_before_the_frame(self, session: Driver) -> None:
        code = (
            "import sys\nprint('a', end='')\nprint('\\ud800é', file=sys.stderr, end='')\nsys.stdout.buffer.write(b'b')"
        )
        ran = session.run(code)
        assert (ran.out, ran.err) == ("ab", "\\ud800é")
        ran = session.run("import io\nkept, sys.stdout = sys.stdout, io.TextIOWrapper(sys.stdout.buffer)\nprint('c')")
        assert ran.out == "c\n"

    def test_a_flood_loses_nothing(self, session: Driver) -> None:
        assert len(session.run("for _ in range(3000): print('x' * 999)").out) == 3_000_000

    def test_threads_print_and_show_between_runs(self, session: Driver) -> None:
        session.run("""
            import threading
            go, done = threading.Event(), threading.Event()
            def work():
                go.wait()
                while idle(): pass
                print("printed")
                display("shown")
                done.set()
            import os
            idle = lambda: not os.path.exists("now")
            threading.Thread(target=work, daemon=True).start()
            go.set()
        """)
        Path(f"/proc/{session.process.pid}/cwd/now").touch()
        session.wait_for("'shown'")
        assert plain(session.run("done.wait(10)")) == ["True"]


class TestErrors:
    def test_a_traceback_has_the_lines_of_code(self, session: Driver) -> None:
        session.run("def outer():\n    inner()\ndef inner():\n    raise ValueError('told')", "first")
        error = session.run("x = 1\nouter()", "second").error
        assert (error["name"], error["message"]) == ("ValueError", "told")
        assert error["traceback"].startswith(
            'Traceback (most recent call last):\n  File "<second>", line 2, in <module>\n    outer()'
        )
        assert 'File "<first>", line 4, in inner\n    raise ValueError(' in error["traceback"]
        assert "interpreter.py" not in error["traceback"]

    def test_odd_line_ends_do_not_move_lines(self, session: Driver) -> None:
        assert "1 / 0  # here" in session.run("x = '\x0c\u2028'\r\n\r1 / 0  # here\r\n").error["traceback"]

    def test_code_that_is_none(self, session: Driver) -> None:
        error = session.run("x = 1\ndef (", "odd").error
        assert error["name"] == "SyntaxError"
        assert error["traceback"].startswith('  File "<odd>", line 2\n    def (\n')
        assert session.run("x = '\0'").error["name"] == "SyntaxError"
        assert session.run("'\ud800'").error["name"] == "UnicodeEncodeError"
        assert session.run("return 1").error["name"] == "SyntaxError"

    def test_chains_groups_and_notes(self, session: Driver) -> None:
        error = session.run("""
            try:
                1 / 0
            except ZeroDivisionError as zero:
                group = ExceptionGroup("several", [KeyError("one"), OSError("two")])
                group.add_note("a note")
                raise group from zero
        """).error
        for piece in ("ZeroDivisionError", "direct cause", "several", "KeyError: 'one'", "OSError: two", "a note"):
            assert piece in error["traceback"]

    @pytest.mark.parametrize(
        ("code", "name"),
        [
            ("import sys; sys.exit(3)", "SystemExit"),
            ("raise KeyboardInterrupt", "KeyboardInterrupt"),
            ("raise BaseException", "BaseException"),
            ("def f(): f()\nf()", "RecursionError"),
            ("def f(): g()\ndef g(): f()\nf()", "RecursionError"),
            ("class E(Exception):\n    def __str__(self): raise ValueError\n    __repr__ = __str__\nraise E", "E"),
            ("class E(Exception):\n    def __str__(self): raise SystemExit\nraise E", "E"),
            ("raise Exception('x' * 10_000_000)", "Exception"),
            ("raise type('E' * 1000, (Exception,), {})('\\ud800')", "E" * 66),
            (
                "e = Exception()\nfor _ in range(5000):\n    f = Exception(); f.__cause__ = e; e = f\nraise e",
                "Exception",
            ),
        ],
    )
    def test_whatever_is_raised_is_told_and_bounded(self, session: Driver, code: str, name: str) -> None:
        ran = session.run(code)
        assert ran.error["name"].startswith(name)
        assert all(len(text.encode()) < 20_000 for text in ran.error.values())
        assert plain(session.run("1")) == ["1"]


class TestInterrupting:
    @pytest.mark.parametrize(
        "code",
        [
            "print('begun')\nwhile True: pass",
            "import time\nprint('begun')\ntime.sleep(1000)",
            "import asyncio\nprint('begun')\nawait asyncio.sleep(1000)",
            "import asyncio\nawait asyncio.sleep(0)\nprint('begun')\nwhile True: pass",
            "import asyncio\nprint('begun')\nwhile True: await asyncio.sleep(0)",
            "import asyncio\nprint('begun')\nasyncio.run(asyncio.sleep(1000))",
            "import threading\nprint('begun')\nthreading.Event().wait()",
            "class R:\n    def __repr__(self):\n        print('begun')\n        while True: pass\nR()",
            "print('begun')\nwhile True: display(1)",
        ],
    )
    def test_it_ends_the_run_and_only_the_run(self, session: Driver, code: str) -> None:
        session.run("x = 1")
        session.start(code, "busy")
        session.wait_for("begun")
        session.interrupt()
        error = session.finish().error
        assert error["name"] == "KeyboardInterrupt"
        assert 'File "<busy>"' in error["traceback"]
        assert "interpreter.py" not in error["traceback"]
        assert plain(session.run("import asyncio\nawait asyncio.sleep(0, x)")) == ["1"]

    def test_another_task_that_is_interrupted(self, session: Driver) -> None:
        session.start("""
            import asyncio
            async def spin():
                print("begun")
                while True: pass
            task = asyncio.create_task(spin())
            await asyncio.sleep(1000)
        """)
        session.wait_for("begun")
        session.interrupt()
        assert session.finish().error["name"] == "KeyboardInterrupt"
        assert plain(session.run("await asyncio.sleep(0, 1)")) == ["1"]

    def test_code_may_catch_it_and_be_interrupted_again(self, session: Driver) -> None:
        session.start("""
            import time
            try:
                print("begun")
                time.sleep(1000)
            except KeyboardInterrupt:
                print("caught")
            time.sleep(1000)
        """)
        session.wait_for("begun")
        session.interrupt()
        session.wait_for("caught")
        session.interrupt()
        assert session.finish().error["name"] == "KeyboardInterrupt"

    def test_between_runs_it_is_nothing(self, session: Driver) -> None:
        for _ in range(20):
            assert session.run("1").errors == []
            session.interrupt()
            session.run("")  # takes one that was late

    def test_handlers_of_code_last_one_run(self, session: Driver) -> None:
        session.run("import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)")
        session.start("print('begun')\nwhile True: pass")
        session.wait_for("begun")
        session.interrupt()
        assert session.finish().error["name"] == "KeyboardInterrupt"

    @pytest.mark.parametrize("code", ["x = sum(range(2000))\ndisplay(x)\nx", "await asyncio.sleep(0)\n1 / 0"])
    def test_at_any_time_it_neither_kills_nor_loses_the_end(self, session: Driver, code: str) -> None:
        chance = random.Random(0)
        session.run("import asyncio")
        for _ in range(200):
            session.start(code)
            time.sleep(chance.random() * 0.0008)
            session.interrupt()
            assert session.finish().cpu >= 0
            session.run("")  # takes one that was late
            again = session.run("'fine'")
            assert (plain(again), again.errors) == (["'fine'"], [])

    def test_one_that_comes_with_the_run_is_not_lost(self, session: Driver) -> None:
        session.run("import time")
        for _ in range(50):
            # CPython sees a signal no sooner than a call of the system ends that it was about to make.
            session.start("while True: time.sleep(0.01)")
            session.interrupt()
            assert session.finish().error["name"] == "KeyboardInterrupt"


TABLE = """
class Table:
    def __init__(self, **ways):
        self.__dict__.update(ways)
    def __repr__(self):
        return "a table"
def raises(*_, **__):
    raise ValueError("no")
def gives(value):
    return lambda **_: value
"""


class TestResults:
    def test_all_ways_the_richest_first_and_plain_text_last(self, session: Driver) -> None:
        session.run(TABLE)
        ran = session.run("""
            Table(_repr_html_=gives("<b>"), _repr_png_=gives(b"png"), _repr_jpeg_=gives(b"jpeg"), _repr_svg_=gives("<svg>"),
                  _repr_markdown_=gives("**"), _repr_latex_=gives("$$"), _repr_json_=gives({"a": [1]}))
        """)
        assert list(ran.results[0].items()) == [
            ("image/png", b"png"),
            ("image/svg+xml", b"<svg>"),
            ("text/html", b"<b>"),
            ("text/markdown", b"**"),
            ("text/latex", b"$$"),
            ("application/json", b'{"a": [1]}'),
            ("text/plain", b"a table"),
        ]

    def test_bundles_and_metadata(self, session: Driver) -> None:
        session.run(TABLE)
        bundle = {"text/plain": "mine", "application/x+json": {"a": 1}, "image/png": base64.b64encode(PNG).decode()}
        for way in (f"gives({bundle!r})", f"gives(({bundle!r}, {{}}))"):
            (result,) = session.run(f"Table(_repr_mimebundle_={way}, _repr_html_=gives(('<b>', {{}})))").results
            assert result == {
                "image/png": PNG,
                "text/html": b"<b>",
                "application/x+json": b'{"a": 1}',
                "text/plain": b"mine",
            }
            assert list(result)[-1] == "text/plain"

    def test_ways_that_fail_are_said_and_others_taken(self, session: Driver) -> None:
        session.run(TABLE)
        ran = session.run(
            "Table(_repr_html_=raises, _repr_mimebundle_=raises, _repr_json_=gives([{(): 1}]), _repr_svg_=gives('s'))"
        )
        assert ran.results == [{"image/svg+xml": b"s", "text/plain": b"a table"}]
        assert "_repr_html_ failed: ValueError: no" in ran.err
        ran = session.run("import unittest.mock\nunittest.mock.MagicMock()")
        assert list(ran.results[0]) == ["text/plain"]
        assert session.run("Table").results == [{"text/plain": b"<class '__main__.Table'>"}]
        ran = session.run("class Bad:\n    def __repr__(self): raise ValueError\nBad()")
        assert plain(ran) == ["<Bad: repr failed: ValueError>"]

    def test_display_shows_several(self, session: Driver) -> None:
        assert plain(session.run("display(1, 'two')\n3")) == ["1", "'two'", "3"]

    def test_plain_text_is_bounded(self, session: Driver) -> None:
        (text,) = plain(session.run("'x' * 1_000_000"))
        assert "934466 characters left out" in text
        assert len(text) < 66_000

    def test_what_is_too_large_is_left_out_largest_first(self, tmp_path: Path) -> None:
        with opened(tmp_path, result_bytes=1000) as session:
            session.run(TABLE)
            ran = session.run(
                "Table(_repr_png_=gives(b'x' * 5000), _repr_svg_=gives('s' * 900), _repr_html_=gives('<b>'))"
            )
            (result,) = ran.results
            assert list(result) == ["image/svg+xml", "text/html", "text/plain"]
            assert b"image/png of 5000 bytes" in result["text/plain"]
            assert "image/png of 5000 bytes" in ran.err
            ran = session.run("'y' * 5000")
            assert "text/plain of 5002 bytes" in plain(ran)[0]
        with opened(tmp_path, result_bytes=10) as session:
            (result,) = session.run("'y' * 5000").results
            assert sum(map(len, result.values())) <= 10


FIGURE = f"""
class Figure:
    def savefig(self, fname, *, format, bbox_inches):
        if getattr(self, "broken", False):
            raise ValueError("cannot be drawn")
        fname.write({PNG!r} + str(self.number).encode())
"""
PYPLOT = """
import matplotlib.figure
_open, _next = {}, 1
def figure(number=None):
    global _next
    if isinstance(number, int):
        return _open[number]
    made = matplotlib.figure.Figure()
    made.number, _next = _next, _next + 1
    _open[made.number] = made
    return made
def get_fignums():
    return sorted(_open)
def close(which):
    _open.pop(which.number, None)
def show():
    raise AssertionError("its own show")
"""


@pytest.fixture
def drawing(tmp_path: Path) -> Iterator[Driver]:
    """A session with as much of matplotlib as matters."""
    package = tmp_path / "matplotlib"
    package.mkdir()
    for name, text in (("__init__", ""), ("figure", FIGURE), ("pyplot", PYPLOT)):
        (package / f"{name}.py").write_text(text)
    with opened(tmp_path) as driver:
        driver.run("import matplotlib.pyplot as plt")
        yield driver


def pictures(ran: Ran) -> list[str]:
    return [result["image/png"].removeprefix(PNG).decode() for result in ran.results]


class TestFigures:
    def test_show_shows_and_closes_them(self, drawing: Driver) -> None:
        ran = drawing.run("plt.figure(); plt.figure(); plt.show()\nprint(plt.get_fignums())")
        assert (pictures(ran), ran.out, ran.errors) == (["1", "2"], "[]\n", [])

    def test_what_is_left_open_is_shown_at_the_end(self, drawing: Driver) -> None:
        ran = drawing.run("f = plt.figure()\n1 / 0")
        assert (pictures(ran), ran.error["name"]) == (["1"], "ZeroDivisionError")
        assert plain(drawing.run("plt.get_fignums()")) == ["[]"]

    def test_none_is_shown_twice(self, drawing: Driver) -> None:
        assert pictures(drawing.run("plt.figure()")) == ["1"]
        assert pictures(drawing.run("f = plt.figure()\ndisplay(f)\nplt.get_fignums() == [2] or 1 / 0\nNone")) == ["2"]
        assert pictures(drawing.run("f")) == ["2"]

    def test_one_that_cannot_be_drawn_is_said(self, drawing: Driver) -> None:
        ran = drawing.run("plt.figure().broken = True\nplt.figure()")
        assert [list(result) for result in ran.results] == [["image/png", "text/plain"], ["text/plain"]]
        assert "cannot be drawn" in ran.err
        assert plain(drawing.run("plt.get_fignums()")) == ["[]"]


class TestTampering:
    @pytest.mark.parametrize(
        "code",
        [
            "import sys\nsys.stdout = sys.stderr = None",
            "import sys\ndel sys.stdout, sys.stderr",
            "import sys\nsys.stdout.close(); sys.stderr.close()",
            "import sys\nsys.__stdout__.detach()",
            "import os\nos.close(1); os.close(2)",
            "import os\nos.dup2(os.open('/dev/null', os.O_WRONLY), 1)",
            "import sys\nsys.excepthook = sys.displayhook = None",
            "import builtins as b\nb.len = b.isinstance = b.getattr = b.str = b.repr = b.print = b.eval = b.compile = None",
            "__builtins__ = None",
            "import json, base64\njson.dumps = json.loads = base64.b64encode = None",
            "import os\nos.read = os.write = os._exit = os.getpid = os.fstat = None",
            "import sys\nfor name in list(sys.modules): del sys.modules[name]",
            "import sys\nsys.meta_path.clear(); sys.path.clear()",
            "import traceback, linecache\ntraceback.TracebackException = linecache.getlines = None\nlinecache.cache.clear()",
            "globals().clear()",
        ],
    )
    def test_it_answers_still(self, session: Driver, code: str) -> None:
        session.run(code)
        assert plain(session.run("1")) == ["1"]
        assert session.run("1 / 0").error["name"] == "ZeroDivisionError"

    @pytest.mark.parametrize("code", ["sys.stdout = None", "sys.stdout.close()", "os.close(1)", "del sys.stdout"])
    def test_the_next_run_can_print(self, session: Driver, code: str) -> None:
        session.run(f"import os, sys\n{code}")
        assert session.run("print('back')").out == "back\n"

    @pytest.mark.parametrize(
        "code", ["import os; os.closerange(3, 100)", "import os; os._exit(3)", "import os; os.abort()"]
    )
    def test_it_ends_where_it_cannot_answer(self, session: Driver, code: str) -> None:
        with pytest.raises(EOFError):
            session.run(code)
