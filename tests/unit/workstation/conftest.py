"""Adversaries: programs beside the tests that change a workspace as fast as they can, as jailed ones might."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

type Swapping = Callable[[Path, Path], AbstractContextManager[None]]
type Growing = Callable[[Path], AbstractContextManager[None]]

DIE_WITH_THE_TESTS = """
import ctypes, itertools, os, sys
ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
"""

SWAP = """
renameat2 = ctypes.CDLL(None).renameat2
first, second = map(os.fsencode, sys.argv[1:])
print("begun", flush=True)
while True:
    renameat2(-100, first, -100, second, 2)  # RENAME_EXCHANGE
"""

GROW = """
print("begun", flush=True)
for number in itertools.count():
    try:
        os.makedirs(f"{sys.argv[1]}/below/{number}")
    except OSError:
        pass
"""


@contextmanager
def adversary(script: str, *arguments: Path) -> Iterator[None]:
    command = [sys.executable, "-S", "-c", DIE_WITH_THE_TESTS + script, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline() == b"begun\n"
            yield
        finally:
            running.kill()


@pytest.fixture
def swapping() -> Swapping:
    """Exchange two names all the time."""
    return lambda first, second: adversary(SWAP, first, second)


@pytest.fixture
def growing() -> Growing:
    """Make directories below a path, and the path itself, all the time."""
    return lambda path: adversary(GROW, path)
