"""The process launcher: employees and sidecars forked from a warm parent (`empla.forkserver`), watched through pidfds."""

import array
import asyncio
import contextlib
import fcntl
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from controlplane.errors import LaunchFailed
from controlplane.launchers.interface import BROWSER, COMPUTE, EMPLOYEE, FILES, LaunchSpec

READY_SECONDS = 60.0
ANSWER_SECONDS = 10.0
PAUSE_SECONDS = 0.02
KEPT_ENVIRONMENT = frozenset(
    {"PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH"}
)
"""What the parent needs of our environment, besides PYTHON*. The rest holds secrets, and a process's first environment
stays in its memory and that of its children for good."""
MAX_ANSWER = 1024 * 1024
_INSIDE = "workstation.local.jail.jail:compile_inside"
_SDKS = {"anthropic": "agent.models.anthropic", "openai": "agent.models.openai"}


class ForkedProcess:
    """A child of the warm parent, held by its pidfd: a pid alone could come to mean another process."""

    def __init__(self, launcher: "ProcessLauncher", child: dict[str, Any], descriptor: int) -> None:
        self.pid: int = child["pid"]
        self._start_time: int = child["start_time"]
        self.kind: str = child["kind"]
        self.employee_id, self.epoch = UUID(child["employee_id"]), int(child["epoch"])
        self.sidecar_id = UUID(child["sidecar_id"]) if child["sidecar_id"] else None
        self._launcher = launcher
        self._descriptor: int | None = descriptor
        self._gone = asyncio.Event()
        asyncio.get_running_loop().add_reader(descriptor, self._on_exit)

    def identity(self) -> dict[str, Any]:
        """Pid and start time (clock ticks since boot): together they name one process."""
        return {"pid": self.pid, "start_time": self._start_time}

    async def wait(self) -> int | None:
        """Wait for the end; the exit code as the parent collected it."""
        await self._gone.wait()
        return await self._launcher.exit_code(self.pid)

    def kill(self, signal_number: int) -> None:
        """Signal the process itself, never another that got its pid."""
        if self._descriptor is None:
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, signal_number)

    def release(self) -> None:
        """Let go of a process that nobody is going to watch: its end is not noticed, and no signal reaches it."""
        if self._descriptor is not None:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None

    def _on_exit(self) -> None:
        self.release()
        self._gone.set()


@dataclass(frozen=True, slots=True)
class Parent:
    """What a warm parent is for: the function of each kind of child (`module:function`), and what it imports or calls."""

    name: str
    kinds: Mapping[str, str]
    preload: Sequence[str] = ()

    @property
    def arguments(self) -> list[str]:
        """As its command line has them."""
        return [*(f"{kind}={function}" for kind, function in self.kinds.items()), *self.preload]


def employees(providers: Sequence[str]) -> Parent:
    """The parent of employees that use the SDKs of these `providers`."""
    return Parent(
        "forkserver",
        {EMPLOYEE: "agent.__main__:launch"},
        (
            "importlib.metadata",
            "email.parser",  # what says which version is installed, reads it with this
            "grpc.aio",
            "asyncpg",
            "agent.models.offline",
            _INSIDE,
            *(_SDKS[provider] for provider in providers),
        ),
    )


SIDECARS = Parent(
    "sidecars",
    {
        COMPUTE: "sidecars.compute.__main__:launch",
        BROWSER: "sidecars.browser.__main__:launch",
        FILES: "sidecars.files:launch",
    },
    ("importlib.metadata", "grpc.aio", _INSIDE),
)
"""The parent of sidecars."""


class ProcessLauncher:
    """Launches on this machine, through a warm parent that listens in the directory `run` and logs to `log`.

    A parent that is there is used; one that is gone, with all its children, is started again. One that is left and cannot
    be reached makes every request fail with `LaunchFailed`, PARENT_UNREACHABLE.
    """

    name = "process"

    def __init__(self, run: Path, log: Path, kind: Parent) -> None:
        self._path, self._log, self._kind = run / f"{kind.name}.sock", log, kind
        self._parent: int | None = None
        self._starting = asyncio.Lock()
        self._stopped = False

    async def launch(self, spec: LaunchSpec) -> ForkedProcess:
        """Fork a process; raises `LaunchFailed`."""
        names = {
            "employee_id": str(spec.employee_id),
            "epoch": spec.epoch,
            "sidecar_id": str(spec.sidecar_id) if spec.sidecar_id else "",
        }
        request = {"op": "spawn", "kind": spec.kind, "names": names, "log": str(spec.log), "settings": spec.settings}
        (process,) = await self._opened(request)
        return process

    async def running(self, employee_id: UUID | None = None) -> Sequence[ForkedProcess]:
        """The parent's living children, those of one employee or all; raises `LaunchFailed`."""
        if await asyncio.to_thread(_nobody_left, self._path.with_suffix(".lock")):
            return []
        answer, _ = await self._ask({"op": "list"})
        named = [c["pid"] for c in answer["children"] if employee_id is None or c["employee_id"] == str(employee_id)]
        processes: list[ForkedProcess] = []
        try:
            for pid in named:
                processes += await self._opened({"op": "open", "pid": pid})
        except BaseException:
            for process in processes:
                process.release()
            raise
        return processes

    async def prepare(self) -> None:
        """Have the parent there before it is needed; raises `LaunchFailed`."""
        await self._ask({"op": "list"})

    async def exit_code(self, pid: int) -> int | None:
        """How a child ended; None when the parent is gone or does not know any more."""
        try:
            answer, _ = await asyncio.to_thread(_ask, self._path, {"op": "exit", "pid": pid})
        except (OSError, ValueError):
            return None
        code: int | None = answer.get("code")
        return code

    async def stop(self) -> None:
        """End the parent, and with it whatever it still has; none is started after."""
        self._stopped = True
        async with self._starting:  # one that is being started is there first
            with contextlib.suppress(OSError, ValueError):
                await asyncio.to_thread(_ask, self._path, {"op": "stop"})
            if self._parent is not None:
                await _ended(self._parent, ANSWER_SECONDS)
                self._parent = None

    async def _opened(self, request: dict[str, Any]) -> list[ForkedProcess]:
        answer, descriptors = await self._ask(request)
        children = answer.get("children", [])
        if len(children) != len(descriptors) or (request["op"] == "spawn" and not children):
            for descriptor in descriptors:
                os.close(descriptor)
            raise LaunchFailed(f"the parent process {self._path} gave no hold of a child")
        return [ForkedProcess(self, child, descriptor) for child, descriptor in zip(children, descriptors, strict=True)]

    async def _ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
        try:
            try:
                return await _asked(self._path, request)
            except (
                FileNotFoundError,
                ConnectionRefusedError,
            ):  # nobody listens: a new parent sees whether nobody is left
                async with self._starting:
                    return await self._start_and_ask(request)
        except (OSError, ValueError) as error:
            raise LaunchFailed(f"the parent process {self._path} does not answer: {error}") from error

    async def _start_and_ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):  # somebody else was faster
            return await _asked(self._path, request)
        if self._stopped:
            raise LaunchFailed("nothing is launched any more: the control plane ends")
        if self._parent is not None and _is_gone(self._parent):  # no zombie is left of it
            self._parent = None
        self._parent = await _start_parent(self._path, self._log, self._kind)
        return await _asked(self._path, request)


async def _asked(path: Path, request: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
    """The parent's answer. It comes although whoever asks is cancelled: then a child that was forked for them is ended."""
    asking = asyncio.ensure_future(asyncio.to_thread(_ask, path, request))
    try:
        return await asyncio.shield(asking)
    except asyncio.CancelledError:
        asking.add_done_callback(partial(_let_go, kill=request["op"] == "spawn"))
        raise


def _let_go(asking: asyncio.Future[tuple[dict[str, Any], list[int]]], *, kill: bool) -> None:
    if asking.cancelled() or asking.exception() is not None:
        return
    for descriptor in asking.result()[1]:
        if kill:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        os.close(descriptor)


def _ask(path: Path, request: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
    descriptors = array.array("i")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.settimeout(ANSWER_SECONDS)
        connection.connect(str(path))
        connection.send(json.dumps(request).encode())
        space = socket.CMSG_SPACE(descriptors.itemsize)
        data, rights, _, _ = connection.recvmsg(MAX_ANSWER, space)
    for level, kind, payload in rights:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(payload[: len(payload) - len(payload) % descriptors.itemsize])
    if not data:
        raise OSError("it closed the connection")
    return json.loads(data), list(descriptors)


def _nobody_left(lock: Path) -> bool:
    """Whether neither a parent nor a child of one is there: they all hold the lock."""
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # for a moment: a parent that starts now waits for it
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _until_left(lock: Path) -> None:
    end = time.monotonic() + ANSWER_SECONDS
    while not _nobody_left(lock) and time.monotonic() < end:
        time.sleep(PAUSE_SECONDS)


async def _start_parent(path: Path, log: Path, kind: Parent) -> int:
    parent, said = await asyncio.to_thread(_spawned, path, log, kind)
    try:
        await _until_ready(said, log)
    except BaseException:
        await _ended(parent, 0.0)
        raise
    return parent


def _spawned(path: Path, log: Path, kind: Parent) -> tuple[int, int]:
    """Its pid, and where it says that it is ready. Not by asyncio, whose children end with its loop: it outlives us."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    said, says = os.pipe()
    try:
        parent = os.posix_spawn(
            sys.executable,
            [sys.executable, "-m", "empla.forkserver", str(path), *kind.arguments],
            {name: value for name, value in os.environ.items() if _is_kept(name)},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, says, 1),
                (os.POSIX_SPAWN_DUP2, output, 2),
            ],
            setsid=True,
        )
    except BaseException:
        os.close(said)
        raise
    finally:
        os.close(output)
        os.close(says)
    return parent, said


async def _ended(parent: int, seconds: float) -> None:
    """Wait for the end of a parent that we started, which is killed after a time."""
    end = time.monotonic() + seconds
    while not _is_gone(parent):
        if time.monotonic() > end:
            os.kill(parent, signal.SIGKILL)
        await asyncio.sleep(PAUSE_SECONDS)


def _is_gone(parent: int) -> bool:
    try:
        return os.waitpid(parent, os.WNOHANG) != (0, 0)
    except ChildProcessError:  # it was found gone before
        return True


async def _until_ready(said: int, log: Path) -> None:
    loop, lines = asyncio.get_running_loop(), asyncio.StreamReader()
    pipe = os.fdopen(said, "rb", buffering=0)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), pipe)
    try:
        async with asyncio.timeout(READY_SECONDS):
            line = await lines.readline()
    except TimeoutError as error:
        raise LaunchFailed(f"the parent process did not start within {READY_SECONDS:g} s; see {log}") from error
    finally:
        transport.close()
    word, _, holder = line.decode(errors="replace").strip().partition(" ")
    if word == "held":
        raise LaunchFailed(
            f"process {holder} or a child of it is left from an earlier start and cannot be reached; "
            "nothing is started beside it, so end it first",
            reason="PARENT_UNREACHABLE",
        )
    if word != "ready":
        raise LaunchFailed(f"the parent process did not start; see {log}")


def _is_kept(name: str) -> bool:
    return name in KEPT_ENVIRONMENT or name.startswith("PYTHON")
