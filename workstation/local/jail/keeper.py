"""PID 1 of a jail: starts the one program or session it is told to, reaps everything, and says how it ended.

It runs in the jail, with nothing but the interpreter: this file is compiled outside and handed in over the control
socket (fd 0, SOCK_SEQPACKET). What comes in are marshalled tuples from outside, which is trusted; what goes out are short
ASCII lines, which the outside does not trust:

    ready | listening | preloaded | started | failed ERRNO | misplaced ERRNO | terminal | interrupted | exited CODE |
    signaled NUMBER

`listening` comes with a socket that listens in the jail's network, `failed` is a program that could not be executed,
`misplaced` a working directory that could not be entered, `terminal` comes with the descriptor of the program's terminal,
`interrupted` says that the signal is on its way.

Nobody waits for this process: it never blocks save on its socket, and ends, with all that is in the jail, when that
closes.
"""

# Cheap modules only: this start-up is what a cold jail costs more than nsjail alone.
import _ctypes
import _signal as signal  # type: ignore[import-not-found] # signal itself imports enum
import _socket
import errno
import fcntl
import marshal
import os
import select
import sys
from typing import Any

_PACKET = 1 << 18
_BACKLOG = 128
_TIOCSWINSZ = 0x5414
_PR_SET_DUMPABLE = 4
_SOL_SOCKET, _SCM_RIGHTS = _socket.SOL_SOCKET, _socket.SCM_RIGHTS
_RESTORED = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
"""A program finds them untreated, whatever Python, the keeper or whoever started us (such as nohup) does with them."""
_PRELOADED: dict[str, Any] = {}


def _hide(hidden: bool) -> None:
    """Close what /proc shows of this process (its memory, its descriptors) to programs of the same account, or open it.

    Every program in the jail has our account. `ctypes` itself would take longer to import than all else here.
    """
    libc = _ctypes.dlopen(None, 0)  # type: ignore[arg-type] # None is this program with all its libraries
    _ctypes.call_function(_ctypes.dlsym(libc, "prctl"), (_PR_SET_DUMPABLE, 0 if hidden else 1, 0, 0, 0))


class suppress:  # noqa: N801 - contextlib's, whose import takes longer than all else here
    """Swallow the named errors of a block."""

    def __init__(self, *errors: type[BaseException]) -> None:
        self._errors = errors

    def __enter__(self) -> None:
        """Nothing to set up."""

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        """Say whether the error is one of ours."""
        return kind is not None and issubclass(kind, self._errors)


class Keeper:
    """The loop of PID 1; see the module."""

    def __init__(self, control: _socket.socket) -> None:
        self._control = control
        self._main = 0
        self._wake, wake = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def run(self) -> None:
        """Serve until the outside closes the socket."""
        poll = select.poll()
        poll.register(self._control.fileno(), select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        self._say("ready")
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == self._wake:
                    self._reap()
                elif not self._obey():
                    return

    def _say(self, line: str) -> None:
        self._control.send(line.encode())

    def _obey(self) -> bool:
        packet, ancillary, _, _ = self._control.recvmsg(_PACKET, 256, _socket.MSG_CMSG_CLOEXEC)
        if not packet:
            return False
        given = [
            fd for level, kind, data in ancillary if (level, kind) == (_SOL_SOCKET, _SCM_RIGHTS) for fd in _ints(data)
        ]
        command, *arguments = marshal.loads(packet)  # noqa: S302 - from outside, which built this jail
        getattr(self, "_" + command)(given, *arguments)
        for descriptor in given:
            os.close(descriptor)
        return True

    def _listen(self, _: list[int], port: int) -> None:
        """Listen on a port of the jail's loopback, for the outside: it alone can accept who comes.

        Nothing else runs yet, so nobody was there before us; and while the outside listens nobody else can.
        """
        listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
        listener.bind(("127.0.0.1", port))
        listener.listen(_BACKLOG)
        self._hand_out(b"listening", listener.fileno())
        listener.close()

    def _hand_out(self, word: bytes, descriptor: int) -> None:
        self._control.sendmsg([word], [(_SOL_SOCKET, _SCM_RIGHTS, descriptor.to_bytes(4, sys.byteorder))])

    def _preload(self, _: list[int], name: str, code: Any) -> None:
        module = sys.modules[name] = type(sys)(name)
        exec(code, module.__dict__)  # noqa: S102 - our own code, compiled outside
        _PRELOADED.update(module.__dict__)
        self._say("preloaded")

    def _exec(self, given: list[int], argv: list[bytes], cwd: bytes, env: dict[bytes, bytes], size: Any) -> None:
        """Run a program on the `given` descriptors, or on a terminal of `size` (columns, rows)."""
        if self._enter(cwd):
            actions: list[Any] = [(os.POSIX_SPAWN_DUP2, source, target) for target, source in enumerate(given)]
            if size is not None:
                # Opened first by a process without a terminal, it becomes the terminal that controls it.
                terminal = (os.POSIX_SPAWN_OPEN, 0, self._terminal(size), os.O_RDWR, 0)
                actions = [terminal, (os.POSIX_SPAWN_DUP2, 0, 1), (os.POSIX_SPAWN_DUP2, 0, 2)]
            try:
                self._main = _spawn(argv, env, actions)
                self._say("started")
            except OSError as error:
                self._say(f"failed {error.errno}")

    def _terminal(self, size: tuple[int, int]) -> str:
        """Open a terminal, give one end to the outside, and return the path of the other."""
        master, slave = os.openpty()
        fcntl.ioctl(slave, _TIOCSWINSZ, b"".join(n.to_bytes(2, sys.byteorder) for n in (size[1], size[0], 0, 0)))
        self._hand_out(b"terminal", master)
        os.close(master)
        self._held = slave  # as long as we hold it, the outside can read, whatever the program does to its own
        return os.ttyname(slave)

    def _session(self, given: list[int], cwd: bytes, env: dict[str, str], limit: int) -> None:
        """Go on, in a child, as an interpreter that is spoken to over the first of the `given` descriptors."""
        channel, *outputs = given
        if not self._enter(cwd):
            return
        self._main = os.fork()
        if self._main == 0:
            try:
                _stand_alone([os.open("/dev/null", os.O_RDONLY), *outputs], channel)
                os.environ.clear()
                os.environ.update(env)
                sys.path[:0] = ["", *(p for p in env.get("PYTHONPATH", "").split(":") if p)]
                _PRELOADED["serve"](channel, limit)
            finally:
                os._exit(1)
        self._say("started")

    def _enter(self, directory: bytes) -> bool:
        """Go where the program is to start; there is only one in a jail."""
        try:
            os.chdir(directory)
        except OSError as error:
            self._say(f"misplaced {error.errno}")
            return False
        if not (os.getcwdb() + b"/").startswith(b"/workspace/"):  # by a link that leads out of it
            self._say(f"misplaced {errno.EXDEV}")
            return False
        return True

    def _signal(self, _: list[int], number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(-1, number)

    def _interrupt(self, _: list[int]) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._main, signal.SIGINT)
        self._say("interrupted")

    def _reap(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._wake, 4096)
        pid = -1
        while pid:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid and pid == self._main:
                _end_all()
                self._say(
                    f"exited {os.WEXITSTATUS(status)}" if os.WIFEXITED(status) else f"signaled {os.WTERMSIG(status)}"
                )
                return


def _spawn(argv: list[bytes], env: dict[bytes, bytes], actions: list[Any]) -> int:
    """Start a program, looked for in PATH as a shell does; raises OSError.

    Not by fork and exec: copying this process's page tables takes longer than all else of a start.
    """
    places = [argv[0]]
    if b"/" not in argv[0]:
        directories = env.get(b"PATH", b"/usr/bin:/bin").split(b":")
        places = [place for place in ((d or b".") + b"/" + argv[0] for d in directories) if _exists(place)]
    failure = OSError(errno.ENOENT, "not found")
    for place in places:
        try:
            return os.posix_spawn(place, argv, env, file_actions=actions, setsid=True, setsigdef=_RESTORED)
        except OSError as error:
            failure = error
    raise failure


def _exists(path: bytes) -> bool:
    try:
        os.stat(path)
    except OSError:
        return False
    return True


def _stand_alone(outputs: list[int], channel: int) -> None:
    """In a child that executes nothing: a session of its own, its descriptors and no others, signals as usual."""
    os.setsid()
    _hide(False)
    signal.set_wakeup_fd(-1)
    for number in _RESTORED:
        signal.signal(number, signal.SIG_DFL)
    for target, source in enumerate(outputs):
        os.dup2(source, target)
    os.closerange(3, channel)  # nothing closes by itself where nothing is executed
    os.closerange(channel + 1, 1024)


def _end_all() -> None:
    """Kill and reap all that the program left running, so that every pipe it held is closed."""
    while True:
        with suppress(ProcessLookupError):  # none but us; its children may still be there to be reaped
            os.kill(-1, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _ints(data: bytes) -> list[int]:
    return [int.from_bytes(data[i : i + 4], sys.byteorder) for i in range(0, len(data) - 3, 4)]


def main(descriptor: int) -> None:
    """Serve the control socket that came as `descriptor`."""
    control = _socket.socket(fileno=os.dup(descriptor))  # a duplicate that programs do not inherit
    devnull = os.open("/dev/null", os.O_RDWR)
    for target in (0, 1, 2):
        os.dup2(devnull, target)
    os.close(devnull)
    _hide(True)
    Keeper(control).run()
