"""How Chromium comes to run in the jail, though Playwright's driver believes that it starts it itself.

What the driver starts is a small program of ours: it hands over its arguments and its descriptors, among them the two over
which the driver speaks to Chromium, and stays for as long as Chromium runs. So each learns of the other's end: when the
jail ends, so does the program, and when the driver kills the program, or dies itself, the jail is ended.
"""

import asyncio
import contextlib
import marshal
import os
import shlex
import signal
import socket
import struct
from pathlib import Path

from workstation.errors import SandboxUnavailable
from workstation.local.browser.plan import BrowserPlan
from workstation.local.jail.configuration import WORKSPACE, python_inside
from workstation.local.jail.jail import Jail, Report

_DESCRIPTORS = 5
"""Input, output, errors, and the driver's commands and Chromium's answers."""
_PACKET = 1 << 17
_KILLED = 128 + signal.SIGKILL
_PROFILE = "--user-data-dir="

# Only built-in modules: the start of this program is a part of every start of Chromium.
_PROGRAM = """\
import _socket as s,marshal,os,sys
os.chdir(sys.argv[1])
c=s.socket(s.AF_UNIX,s.SOCK_SEQPACKET)
c.connect("socket")
c.sendmsg([marshal.dumps([os.fsencode(a) for a in sys.argv[2:]])],
    [(s.SOL_SOCKET,s.SCM_RIGHTS,b"".join(i.to_bytes(4,sys.byteorder) for i in range(5)))])
for i in range(5):
    os.close(i)
os._exit((c.recv(1) or b"\\x89")[0])
"""


class Stand:
    """The program that stands in for Chromium, in a `directory` of its own that nobody else may enter."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._opened = contextlib.ExitStack()
        self._caller: socket.socket | None = None
        self.driver = -1
        """A pidfd of Playwright's driver, once it has called."""
        self.program = directory / "chromium"

    def open(self) -> None:
        """Make the program and listen for it."""
        self._directory.mkdir(mode=0o700)
        python = [python_inside(), "-I", "-S", "-c", _PROGRAM, str(self._directory)]
        self.program.write_text(f'#!/bin/sh\nexec {shlex.join(python)} "$@"\n')
        self.program.chmod(0o700)
        self._listener = self._opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        place = os.open(self._directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._listener.bind(f"/proc/self/fd/{place}/socket")  # however long the directory's own path is
        finally:
            os.close(place)
        self._listener.listen(1)
        self._listener.setblocking(False)

    def close(self) -> None:
        """Let go of the program, which ends it."""
        self._tell(_KILLED)
        self._opened.close()

    async def hand_over(self, jail: Jail, plan: BrowserPlan) -> None:
        """Wait for the program to be started and start Chromium in its place. Raises `SandboxUnavailable`."""
        loop = asyncio.get_running_loop()
        await _readable(self._listener)
        caller, _ = self._listener.accept()  # at once: what a cancelled `sock_accept` has accepted stays open
        self._opened.enter_context(caller)
        argv, descriptors = await self._hear(caller)
        try:
            self.driver = os.pidfd_open(_parent_of(caller))
            self._opened.callback(os.close, self.driver)
            await _start(jail, plan, argv, descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        self._caller = caller
        jail.ended.add_done_callback(self._tell_end)
        loop.add_reader(caller, jail.kill)  # it says nothing more: it was killed

    async def _hear(self, caller: socket.socket) -> tuple[list[bytes], list[int]]:
        caller.setblocking(False)
        await _readable(caller)
        packet, descriptors, _, _ = socket.recv_fds(caller, _PACKET, _DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
        if len(descriptors) < _DESCRIPTORS:
            for descriptor in descriptors:
                os.close(descriptor)
            raise SandboxUnavailable("Playwright's driver gave up before Chromium could be started")
        return marshal.loads(packet), descriptors  # noqa: S302 - our own program's; nobody else can enter the directory

    def _tell_end(self, ended: "asyncio.Future[Report | None]") -> None:
        report = None if ended.cancelled() else ended.result()
        self._tell(_KILLED if report is None or report.exit_code is None else report.exit_code)

    def _tell(self, exit_code: int) -> None:
        """Have the program exit, if it is still there."""
        caller, self._caller = self._caller, None
        if caller is not None:
            asyncio.get_running_loop().remove_reader(caller)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                caller.send(bytes([exit_code]))
            caller.close()


async def _start(jail: Jail, plan: BrowserPlan, argv: list[bytes], descriptors: list[int]) -> None:
    profile = _PROFILE.encode()
    inside = [profile + b"/tmp/profile" if argument.startswith(profile) else argument for argument in argv]
    environment = {name.encode(): value.encode() for name, value in plan.environment().items()}
    executable = os.fsencode(plan.executable)
    begun = await jail.start([executable, *inside], WORKSPACE.encode(), environment, descriptors, None)
    if begun.errno:
        raise SandboxUnavailable(f"{plan.executable} cannot be executed in the sandbox: {os.strerror(begun.errno)}")


def _parent_of(caller: socket.socket) -> int:
    """The process that started the one at the other end: Playwright's driver."""
    pid, _, _ = struct.unpack("3i", caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])


async def _readable(reading: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(reading, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(reading)
