"""A terminal with a command at it."""

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Terminal:
    """A person's terminal: what is typed and what is shown."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.shown = ""

    def type(self, keys: str) -> None:
        os.write(self._descriptor, keys.encode())

    def wait_for(self, text: str) -> str:
        """What was shown up to `text`, which is awaited for at most 20 s."""
        deadline = time.monotonic() + 20
        while text not in self.shown:
            readable, _, _ = select.select([self._descriptor], [], [], max(0, deadline - time.monotonic()))
            assert readable, f"{text!r} was not shown, but {self.shown!r}"
            self.shown += os.read(self._descriptor, 65536).decode(errors="replace")
        before, _, self.shown = self.shown.partition(text)
        return before


@contextmanager
def at_terminal(*arguments: str) -> Iterator[tuple[Terminal, subprocess.Popen[bytes]]]:
    """`empla` with these arguments, as a person's shell would run it."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", "from controlplane.cli import main; main()", *arguments]
    # A session of its own with this terminal, so that Ctrl-C reaches it as it would a person's shell.
    process = subprocess.Popen(
        [sys.executable, "-c", "import pty, os, sys, fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
         "os.execv(sys.argv[1], sys.argv[1:])", *command],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, env=os.environ | {"TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    try:
        yield Terminal(ours), process
    finally:
        process.kill()
        process.wait()
        os.close(ours)
