"""Adversaries: programs beside the tests that change a workspace as fast as they can, as jailed ones might."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

PROGRAM = """
import ctypes, os, sys
if os.geteuid() == 0:
    owner = os.stat(os.path.dirname(sys.argv[1]))
    os.setgroups([])
    os.setgid(owner.st_gid)
    os.setuid(owner.st_uid)
ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
"""
"""Is who jailed programs are, and dies with the tests."""

SWAP = """
renameat2 = ctypes.CDLL(None).renameat2
first, second = map(os.fsencode, sys.argv[1:])
print("begun", flush=True)
while True:
    renameat2(-100, first, -100, second, 2)  # RENAME_EXCHANGE
"""

GROW = """
print("begun", flush=True)
for number in range(20_000):
    try:
        os.makedirs(f"{sys.argv[1]}/below/{number}")
    except OSError:
        pass
"""

CREATE = """
import time
print("begun", flush=True)
while True:
    try:
        fd = os.open(sys.argv[1], os.O_CREAT | os.O_EXCL)
    except FileExistsError:
        continue
    time.sleep(0.0001)
    if not os.fstat(fd).st_nlink:
        os.mkdir(sys.argv[2])
        break
    os.close(fd)
    os.unlink(sys.argv[1])
    time.sleep(0.0003)
"""


@contextmanager
def adversary(script: str, *arguments: Path) -> Iterator[None]:
    command = [sys.executable, "-S", "-c", PROGRAM + script, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline() == b"begun\n"
            yield
        finally:
            running.kill()


def swapping(first: Path, second: Path) -> AbstractContextManager[None]:
    """Exchange two names all the time."""
    return adversary(SWAP, first, second)


def growing(path: Path) -> AbstractContextManager[None]:
    """Make many directories below a path, and the path itself, as fast as can be."""
    return adversary(GROW, path)


def creating(path: Path, sign: Path) -> AbstractContextManager[None]:
    """Create and remove a file all the time; make the second path once somebody replaced it in between."""
    return adversary(CREATE, path, sign)


def hand_over(workspace: Path) -> None:
    """Give all that was planted there to whom it would belong if a jailed program had planted it."""
    if os.geteuid() == 0:
        owner = workspace.stat()
        account = f"{owner.st_uid}:{owner.st_gid}"
        subprocess.run(["chown", "--recursive", "--no-dereference", account, workspace], check=True)


def plant_deep(root: Path, depth: int, name: str) -> None:
    """Make `depth` directories below each other, and a `file` in every hundredth."""
    fd = os.open(root, os.O_PATH)
    for level in range(depth):
        os.mkdir(name, dir_fd=fd)
        if level % 100 == 0:
            os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        below = os.open(name, os.O_PATH, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
