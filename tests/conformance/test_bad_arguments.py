"""Arguments that make no sense, are hostile or too large end in typed errors, and the workstation works on."""

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conformance.conftest import OpenCompute, OpenFiles
from tests.conformance.declared import needs_sessions, needs_terminal
from tests.conformance.filework import searched, streamed
from tests.conformance.programs import fresh_id, interpreter, run, start
from workstation.errors import (
    ExecConflict,
    FileSystemError,
    InvalidArgument,
    LimitExceeded,
    WorkstationError,
    WorkstationUnavailable,
)
from workstation.interface import (
    Compute,
    ComputeCapabilities,
    EndReason,
    ExecLimits,
    ExecSignal,
    ExecSpec,
    FileSystem,
    SearchQuery,
    SessionSpec,
    Terminal,
)

TRUE = ExecSpec(argv=("true",))
NO_NUMBERS = (-1, -math.inf, math.nan)
many = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

text = st.text(st.characters(exclude_categories=()), max_size=30)
"""Any text, lone surrogates and NUL too."""


async def refused(call: Awaitable[object], *errors: type[WorkstationError]) -> WorkstationError:
    """The error of a call that must fail with one of these; its message can be shown and sent."""
    with pytest.raises(errors) as caught:
        await call
    assert len(str(caught.value).encode()) < 10_000
    return caught.value


def limit(name: str, value: float) -> ExecLimits:
    return replace(ExecLimits(), **{name: value})  # type: ignore[arg-type]


def impossible(word: str) -> bool:
    """Whether no program can be given this word: the kernel ends it at a NUL, and there are no bytes for a surrogate."""
    return "\0" in word or any("\ud800" <= character <= "\udfff" for character in word)


class TestSpecs:
    @pytest.mark.parametrize(
        "change",
        [
            {"argv": ()},
            {"argv": ("a\0b",)},
            {"argv": ("true", "\0")},
            {"argv": ("true", "\ud800")},
            {"env": {"": "1"}},
            {"env": {"A=B": "1"}},
            {"env": {"A\0": "1"}},
            {"env": {"A": "\0"}},
            {"env": {"\udcff": "1"}},
            {"env": {"A": "\ud800"}},
        ],
        ids=repr,
    )
    async def test_what_no_program_can_get_is_refused(self, compute: Compute, change: dict[str, Any]) -> None:
        before = await compute.list()
        await refused(compute.start(fresh_id(), replace(TRUE, **change)), InvalidArgument)
        assert await compute.list() == before

    async def test_an_empty_name_is_no_program(self, compute: Compute) -> None:
        try:
            end = (await run(compute, "")).end
        except InvalidArgument:
            return
        assert (end.reason, end.exit_code) == (EndReason.EXITED, 127)

    async def test_too_much_is_refused(self, compute: Compute, capabilities: ComputeCapabilities) -> None:
        most = capabilities.limits.argument_bytes
        for spec in (
            ExecSpec(argv=("true", "x" * most)),
            ExecSpec(argv=("true", *["xxxx"] * (most // 4))),
            ExecSpec(argv=("true",), env={"A": "x" * most}),
            ExecSpec(argv=("true", "é" * (most // 2 + 1))),
        ):
            error = await refused(compute.start(fresh_id(), spec), LimitExceeded)
            assert isinstance(error, LimitExceeded)
            assert (error.limit, error.allowed) == ("argument_bytes", most)

    async def test_as_much_as_allowed_is_taken(self, compute: Compute, capabilities: ComputeCapabilities) -> None:
        half = capabilities.limits.argument_bytes // 2 - 1000
        ran = await run(compute, "sh", "-c", "echo ${#1} ${#A}", "sh", "x" * half, env={"A": "y" * half})
        assert ran.text == f"{half} {half}\n"

    @pytest.mark.parametrize("name", [field.name for field in fields(ExecLimits)])
    async def test_limits_are_positive_and_no_more_than_allowed(
        self, compute: Compute, capabilities: ComputeCapabilities, name: str
    ) -> None:
        most = getattr(capabilities.limits.exec, name)
        for value in NO_NUMBERS if isinstance(most, float) else (-1, -(1 << 70)):
            limits = limit(name, value)
            await refused(compute.start(fresh_id(), replace(TRUE, limits=limits)), InvalidArgument)
        if most is not None:
            for value in (most + 1, most * 1_000_000):
                limits = limit(name, value)
                error = await refused(compute.start(fresh_id(), replace(TRUE, limits=limits)), LimitExceeded)
                assert isinstance(error, LimitExceeded)
                assert (error.limit.rpartition(".")[2], error.allowed) == (name, most)
            exec_id = await start(compute, "true", limits=limit(name, most))
            assert (await compute.wait(exec_id)).end is not None

    @pytest.mark.parametrize("name", ["memory_bytes", "processes", "cpus", "wall_seconds"])
    async def test_next_to_nothing_is_refused_or_ends_typed(self, compute: Compute, name: str) -> None:
        tiny = 0.001 if name in ("cpus", "wall_seconds") else 1
        for value in (0, tiny):
            exec_id = fresh_id()
            try:
                await compute.start(exec_id, replace(TRUE, limits=limit(name, value)))
            except (InvalidArgument, LimitExceeded):
                continue
            assert (await compute.wait(exec_id)).end is not None
        assert (await run(compute, "true")).end.exit_code == 0

    @many
    @given(arguments=st.lists(text, max_size=5), env=st.dictionaries(text, text, max_size=3))
    async def test_any_text_arrives_or_is_refused(
        self, compute: Compute, arguments: list[str], env: dict[str, str]
    ) -> None:
        script = "import os, sys; print(ascii((sys.argv[1:], os.environ.copy())))"
        exec_id = fresh_id()
        spec = ExecSpec(argv=("python3", "-I", "-S", "-c", script, *arguments), env=env)
        try:
            await compute.start(exec_id, spec)
        except InvalidArgument as error:
            assert any(map(impossible, (*arguments, *env, *env.values()))) or any(
                "=" in name or not name for name in env
            )
            str(error).encode()
            return
        output = b""
        async for event in compute.follow(exec_id):
            output += getattr(event, "data", b"")
        seen_arguments, seen_env = eval(output)
        assert seen_arguments == arguments
        assert {name: seen_env[name] for name in env} == env


@needs_terminal
class TestTerminals:
    @pytest.mark.parametrize("size", [(0, 10), (10, 0), (-1, 10), (10, 1 << 16), (1 << 40, 1)])
    async def test_sizes_that_are_none_are_refused(self, compute: Compute, size: tuple[int, int]) -> None:
        terminal = Terminal(columns=size[0], rows=size[1])
        await refused(compute.start(fresh_id(), replace(TRUE, terminal=terminal)), InvalidArgument)


class TestExecutions:
    async def test_offsets_and_times_are_numbers_from_zero_on(self, compute: Compute) -> None:
        exec_id = await start(compute, "cat", stdin=True)
        await refused(compute.write_stdin(exec_id, b"x", offset=-1), InvalidArgument)
        await refused(anext(compute.follow(exec_id, stdout_offset=-1)), InvalidArgument)
        await refused(anext(compute.follow(exec_id, stderr_offset=-1)), InvalidArgument)
        for timeout in (-1.0, math.nan):
            await refused(compute.wait(exec_id, timeout=timeout), InvalidArgument)
        assert (await compute.wait(exec_id, timeout=0)).end is None

    async def test_offsets_beyond_what_is_there(self, compute: Compute) -> None:
        exec_id = await start(compute, "echo", "short")
        status = await compute.wait(exec_id)
        for offset in (7, 1 << 62):
            try:
                events = [event async for event in compute.follow(exec_id, stdout_offset=offset)]
            except InvalidArgument:
                continue
            assert events == [status]

    async def test_input_beyond_the_limit_is_refused(self, compute: Compute, capabilities: ComputeCapabilities) -> None:
        exec_id = await start(compute, "cat", stdin=True)
        most = capabilities.limits.stdin_bytes
        error = await refused(compute.write_stdin(exec_id, b"x" * (most + 1), offset=0), LimitExceeded)
        assert isinstance(error, LimitExceeded)
        assert (error.limit, error.allowed) == ("stdin_bytes", most)
        assert (await compute.wait(exec_id, timeout=0)).stdin_bytes == 0

    @many
    @given(exec_id=text)
    async def test_any_id_is_a_name_or_refused(self, compute: Compute, exec_id: str) -> None:
        try:
            await compute.start(exec_id, TRUE)
        except (InvalidArgument, ExecConflict) as error:
            str(error).encode()
        else:
            assert (await compute.wait(exec_id)).exec_id == exec_id


@needs_sessions
class TestSessions:
    @pytest.mark.parametrize("session_id", ["", "a\0b", "\ud800", "x" * 100_000])
    async def test_what_can_be_no_id_is_refused(self, compute: Compute, session_id: str) -> None:
        await refused(compute.open_session(session_id, SessionSpec()), InvalidArgument)
        await refused(anext(compute.run_in_session(session_id, "run", "1")), WorkstationError)

    @pytest.mark.parametrize("cwd", ["..", "/", "missing", "", "\0"])
    async def test_working_directories_that_are_none_are_refused(self, compute: Compute, cwd: str) -> None:
        session_id = fresh_id()
        await refused(compute.open_session(session_id, SessionSpec(cwd=cwd)), FileSystemError, InvalidArgument)
        session = await compute.open_session(session_id, SessionSpec())
        assert session.session_id == session_id
        await compute.close_session(session_id)

    async def test_times_and_limits_that_are_none_are_refused(
        self, compute: Compute, capabilities: ComputeCapabilities
    ) -> None:
        for seconds in (0, *NO_NUMBERS):
            await refused(compute.open_session(fresh_id(), SessionSpec(idle_seconds=seconds)), InvalidArgument)
        memory = (capabilities.limits.exec.memory_bytes or 0) + 1
        spec = SessionSpec(limits=ExecLimits(memory_bytes=memory))
        await refused(compute.open_session(fresh_id(), spec), LimitExceeded)

    async def test_code_and_times_of_a_run(self, compute: Compute, capabilities: ComputeCapabilities) -> None:
        async with interpreter(compute) as python:
            most = capabilities.limits.code_bytes
            error = await refused(python.run("#" * (most + 1)), LimitExceeded)
            assert isinstance(error, LimitExceeded)
            assert (error.limit, error.allowed) == ("code_bytes", most)
            for seconds in NO_NUMBERS:
                await refused(python.run("1", timeout=seconds), InvalidArgument)
            for run_id in ("", "\0", "x" * 100_000):
                stream = compute.run_in_session(python.session_id, run_id, "1")
                await refused(anext(stream), InvalidArgument)
            for code in ("\0", "'\ud800'", "(" * 10_000, "\ufeff1", "#" * most, ""):
                with suppress(InvalidArgument):
                    assert (await python.run(code)).end.session_alive
            assert (await python.run("print(1)")).text == "1\n"


FILE_CALLS: dict[str, Callable[[FileSystem, str], Awaitable[object]]] = {
    "stat": lambda files, path: files.stat(path),
    "list": lambda files, path: files.list(path),
    "list after": lambda files, path: files.list(after=path),
    "read_file": lambda files, path: files.read_file(path),
    "read": streamed,
    "write": lambda files, path: files.write(path, b"x", durable=False),
    "append": lambda files, path: files.append(path, b"x", durable=False),
    "make_directory": lambda files, path: files.make_directory(path),
    "move": lambda files, path: files.move("here", path),
    "copy": lambda files, path: files.copy("here", path),
    "remove": lambda files, path: files.remove(path),
    "search path": lambda files, path: searched(files, SearchQuery(name="*", path=path)),
    "search text": lambda files, path: searched(files, SearchQuery(text=path)),
    "search name": lambda files, path: searched(files, SearchQuery(name=path)),
    "read version": lambda files, path: files.read_file("here", expected_version=path),
}


class TestFiles:
    @pytest.mark.parametrize("call", FILE_CALLS.values(), ids=FILE_CALLS)
    @many
    @given(path=text)
    async def test_any_text_is_done_or_refused(
        self, files: FileSystem, outside: object, call: Callable[[FileSystem, str], Awaitable[object]], path: str
    ) -> None:
        await files.write("here", b"", durable=False)
        try:
            await call(files, path)
        except WorkstationError as error:
            str(error).encode()

    async def test_numbers_that_are_none(self, files: FileSystem) -> None:
        await files.write("file", b"x")
        for number in (-1, -(1 << 70)):
            await refused(files.read_file("file", offset=number), InvalidArgument)
            await refused(files.read_file("file", length=number), InvalidArgument)
            await refused(anext(files.read("file", offset=number)), InvalidArgument)
            await refused(files.list(limit=number), InvalidArgument)
            await refused(searched(files, SearchQuery(text="x", limit=number)), InvalidArgument)
        for number in (1 << 63, 1 << 70):
            try:
                assert (await files.read_file("file", offset=number)).data == b""
            except InvalidArgument:
                continue


class TestClosed:
    async def test_a_closed_compute_refuses_everything(self, open_compute: OpenCompute) -> None:
        async with open_compute() as compute:
            exec_id = await start(compute, "sleep", "1000")
        calls: tuple[Callable[[], Awaitable[object]], ...] = (
            lambda: compute.start(fresh_id(), TRUE),
            lambda: compute.wait(exec_id),
            lambda: compute.cancel(exec_id),
            lambda: compute.signal(exec_id, ExecSignal.KILL),
            lambda: compute.write_stdin(exec_id, b"", offset=0),
            lambda: anext(compute.follow(exec_id)),
            compute.list,
            lambda: compute.open_session(fresh_id(), SessionSpec()),
            lambda: anext(compute.run_in_session(fresh_id(), fresh_id(), "1")),
            lambda: compute.close_session("any"),
        )
        for call in calls:
            await refused(call(), WorkstationUnavailable)

    async def test_a_closed_filesystem_refuses_everything(self, open_files: OpenFiles) -> None:
        async with open_files() as files:
            pass
        for name, call in FILE_CALLS.items():
            if name != "search text":
                await refused(call(files, "here"), WorkstationUnavailable)
        await refused(files.usage(), WorkstationUnavailable)
