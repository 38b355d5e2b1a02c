"""The warm parent: a process that has imported what its children need, and forks one for each launch.

It outlives the control plane, so that what runs survives the control plane's restart, and its children die with
it, so that none is ever left without a keeper. There is one for each socket: it holds the lock beside the socket, and so
does each child, so that no other begins while any of them is left. It is single-threaded and creates nothing of gRPC
itself, which is what makes forking safe. One request per connection, on a unix socket of the owner's: a JSON object of at
most 256 KiB, answered by a JSON object.

    {"op": "spawn", "kind": kind, "names": {...}, "log": path, "settings": {...}}
                                                      → {"children": [child]} and its pidfd
    {"op": "open", "pid": pid}                        → the same for a child that is there, or no child
    {"op": "list"}                                    → {"children": [...]}
    {"op": "exit", "pid": pid}                        → {"code": how it ended, null when nobody knows}
    {"op": "stop"}                                    → {} and it ends, with every child

A kind is a function that was named when this process was started; a child calls it with the settings, and what it returns
is the exit code. A child is {"kind", "pid", "start_time"} and the names; start time (clock ticks since boot) and pid name
one process.
"""

import array
import ctypes
import fcntl
import gc
import importlib
import json
import os
import resource
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from empla.immortal import immortalize

MAX_REQUEST = 256 * 1024
MAX_EXITS = 1000
PAUSE_SECONDS = 0.01
"""After a failure, so that one that lasts (no descriptors left) does not take a whole processor."""
LOCK_SECONDS = 2.0
"""For the children of a parent that has just ended to be dead too."""
KEPT_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4

Launch = Callable[[dict[str, Any]], int]
"""What a child does, with its settings; returns the exit code."""


class ForkServer:
    """Serves one unix socket; `kinds` are the functions that children become. See the module."""

    def __init__(self, path: str, kinds: dict[str, Launch]) -> None:
        self._kinds = kinds
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(path)
        self._listener.listen(64)
        self._children: dict[int, dict[str, Any]] = {}
        self._exits: dict[int, int] = {}
        self._stopping = False

    def serve(self) -> None:
        """Answer until told to stop."""
        while not self._stopping:
            try:
                connection, _ = self._listener.accept()
                with connection:
                    self._serve(connection)
            except Exception as error:  # noqa: BLE001 - whatever a client sends costs it its connection, never us our children
                with suppress(OSError):  # the log's disk is full, which must not end us either
                    print(f"a request failed: {error!r}", file=sys.stderr, flush=True)
                time.sleep(PAUSE_SECONDS)

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(5)
        request = json.loads(connection.recv(MAX_REQUEST))
        self._reap()
        answer, named = self._answer(request, connection)
        self._reply(connection, answer, named)

    def _answer(self, request: dict[str, Any], connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
        match request["op"]:
            case "spawn":
                pid = self._spawn(request, connection)
                return {"children": [self._children[pid]]}, [pid]
            case "open":
                named = [pid for pid in self._children if pid == request["pid"]]
                return {"children": [self._children[pid] for pid in named]}, named
            case "list":
                return {"children": list(self._children.values())}, []
            case "exit":
                return {"code": self._exits.get(request["pid"])}, []
            case "stop":
                self._stopping = True
                return {}, []
            case _:
                return {}, []

    def _spawn(self, request: dict[str, Any], connection: socket.socket) -> int:
        # Read before the fork: a request without them must not leave a child that nobody knows.
        launch, log, settings = self._kinds[request["kind"]], Path(request["log"]), dict(request["settings"])
        child = {**request["names"], "kind": request["kind"]}
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            connection.close()
            self._listener.close()
            _become(launch, settings, log, parent)
        self._children[pid] = {**child, "pid": pid, "start_time": _start_time(pid)}
        return pid

    def _reply(self, connection: socket.socket, answer: dict[str, Any], named: list[int]) -> None:
        descriptors = [os.pidfd_open(pid) for pid in named]
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        try:
            connection.sendmsg([json.dumps(answer).encode()], rights)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _reap(self) -> None:
        """Collect the dead. Until then they stay zombies, so no pid of ours can come to mean another process."""
        for pid in list(self._children):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                del self._children[pid]
                self._exits[pid] = os.waitstatus_to_exitcode(status)
        while len(self._exits) > MAX_EXITS:
            del self._exits[next(iter(self._exits))]


def _start_time(pid: int) -> int:
    """Field 22 of /proc/PID/stat."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def _become(launch: Launch, settings: dict[str, Any], log: Path, parent: int) -> None:
    code = 1
    try:
        _leave_parent(log, parent)
        code = launch(settings)
    except BaseException:  # noqa: BLE001 - the boundary of a process: whatever it is goes to the log
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:  # also with the log's disk full: a child that came back from here would serve as a second parent
            os._exit(code)


def _leave_parent(log: Path, parent: int) -> None:
    """Become a process of one's own: dies with `parent`, writes to its own log, has no secrets and no core dump."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # the parent died before the line above
    libc.prctl(_PR_SET_DUMPABLE, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.setsid()
    os.umask(0o077)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    kept = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
    os.environ.clear()
    os.environ.update(kept)


def _hold(path: Path) -> str | None:
    """Take the lock for as long as this process and its children live; None, or who has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    end = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # flock: children do inherit it
        except BlockingIOError:
            if time.monotonic() > end:
                return os.pread(descriptor, 20, 0).decode()
            time.sleep(PAUSE_SECONDS)
        else:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            return None


def _kind(argument: str) -> tuple[str, Launch]:
    name, _, function = argument.partition("=")
    return name, _found(function)


def _found(name: str) -> Any:
    """A module, or with `module:function` a function in it."""
    module, _, function = name.partition(":")
    found = importlib.import_module(module)
    return getattr(found, function) if function else found


def main() -> None:
    """`python -m empla.forkserver SOCKET KIND=MODULE:FUNCTION … [MODULE | MODULE:FUNCTION …]`: import, call, then serve.

    Prints `ready` when it does; `held PID` when it must not, for that process or a child of it is left.
    """
    path, arguments = sys.argv[1], sys.argv[2:]
    os.umask(0o077)
    if (holder := _hold(Path(path).with_suffix(".lock"))) is not None:
        print("held", holder, flush=True)
        sys.exit(1)
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0)  # another process of this account must not read our memory
    # Ctrl-C in the terminal is for the control plane, which then ends what runs in its own way.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    kinds = dict(map(_kind, (argument for argument in arguments if "=" in argument)))
    for found in map(_found, (argument for argument in arguments if "=" not in argument)):
        if callable(found):
            found()
    gc.collect()
    if not immortalize():
        print("this interpreter's objects stay counted: each child takes some 8 MB more", file=sys.stderr, flush=True)
    gc.freeze()
    Path(path).unlink(missing_ok=True)  # whoever made it is gone, or we would not have the lock
    server = ForkServer(path, kinds)
    print("ready", flush=True)
    devnull = os.open(os.devnull, os.O_RDWR)
    os.dup2(devnull, 0)
    os.dup2(devnull, 1)
    server.serve()


if __name__ == "__main__":
    main()
