"""A wall clock that all processes of a system go by, and that can be set forward; monotonic clocks go on as ever.

`clock.c` is preloaded into whatever the interpreter `python` runs. It is an interpreter of its own because the product gives
what it starts, the database above all, an environment with nothing of ours in it, but starts it by `sys.executable`.
libfaketime would not do: it looks into the environment again and again, and an employee has emptied its own.
"""

import mmap
import os
import shutil
import struct
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

_SOURCE = Path(__file__).with_suffix(".c")
_COMPILER_SECONDS = 60.0
_STARTER = """#!/bin/bash
LD_PRELOAD={library} EMPLA_CLOCK={shared} exec -a "$0" {python} "$@"
"""


class Clock:
    """The clock, and below `directory`, which every account must be able to enter, the interpreter that goes by it.

    Raises RuntimeError when it cannot be made: it takes Linux, a C compiler, and root for the embedded database to follow.
    """

    def __init__(self, directory: Path, start: datetime) -> None:
        if sys.platform != "linux" or os.geteuid():
            raise RuntimeError("the clock can be set forward on Linux and as root only")
        directory.mkdir(mode=0o755)
        self.python = directory / "bin" / "python"
        shared, library = directory / "ahead", directory / "clock.so"
        shared.write_bytes(bytes(8))
        _compile(library)
        _make_interpreter(
            directory, _STARTER.format(library=library, shared=shared, python=Path(sys.executable).resolve())
        )
        with shared.open("r+b") as file:
            self._ahead = mmap.mmap(file.fileno(), 8)
        self.set(start)

    @property
    def now(self) -> datetime:
        """What the clock shows."""
        (ahead,) = struct.unpack("=q", self._ahead[:])
        return datetime.fromtimestamp((time.time_ns() + ahead) / 1e9, UTC)

    def set(self, moment: datetime) -> None:
        """Show this moment from now on, everywhere at once."""
        self._ahead[:] = struct.pack("=q", round(moment.timestamp() * 1e9) - time.time_ns())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ahead.close()


def _compile(library: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        raise RuntimeError("there is no C compiler: apt-get install gcc libc6-dev")
    command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(_SOURCE), "-ldl", "-lpthread"]
    made = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_COMPILER_SECONDS)
    if made.returncode:
        raise RuntimeError(f"{_SOURCE.name} cannot be compiled: {made.stderr[-2000:]}")


def _make_interpreter(directory: Path, starter: str) -> None:
    """A virtual environment with the packages of ours, whose program is a script that starts ours."""
    ours = Path(sys.prefix)
    shutil.copy(ours / "pyvenv.cfg", directory)
    (directory / "lib").symlink_to(ours / "lib")
    (directory / "bin").mkdir()
    program = directory / "bin" / "python"
    program.write_text(starter)
    program.chmod(0o755)
