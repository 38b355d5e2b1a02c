"""Immortal objects, in an interpreter of their own: nothing makes them mortal again."""

import subprocess
import sys

import pytest

BEFORE = """
import gc, os, sys
from pathlib import Path
from empla.immortal import immortalize


class Held:
    def __init__(self, number):
        self.number, self.name = number, f"number {number}"


def private():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty:"))


many = [Held(number) for number in range(100_000)]
"""
IN_A_CHILD = """
gc.freeze()
if (pid := os.fork()) == 0:
    before = private()
    assert sum(len(held.name) + held.number % 2 for held in many) == 1_188_890 + 50_000
    print((private() - before) // 1024, flush=True)
    os._exit(0)
os.waitpid(pid, 0)
"""
NOT_COUNTED = """
made = immortalize()
also = [many[7]] * 1000
print(made > 300_000, {sys.getrefcount(one) for one in (many[7], Held, private.__code__, many[7].name, ...)})
new = Held(1)
print(sys.getrefcount(new))
del also, many[7:]
many.append(new)
del many
gc.collect()
print(Held(3).name)
"""
STANDS_FOR_ANOTHER = """
class Proxy:
    __class__ = property(lambda self: print("loads what it stands for"))


held = Proxy()
print(immortalize() > 0)
"""


def printed(program: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", BEFORE + program], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_what_there_is_is_not_counted_any_more_and_what_comes_is():
    found, count, name = printed(NOT_COUNTED)
    assert found == f"True {{{sys.getrefcount(...)}}}"  # which the interpreter made immortal itself
    assert int(count) < 10
    assert name == "number 3"


@pytest.mark.parametrize(("immortal", "shared"), [(True, True), (False, False)])
def test_a_child_that_uses_them_shares_their_memory(*, immortal: bool, shared: bool):
    (copied,) = printed(("immortalize()" if immortal else "") + IN_A_CHILD)  # in MiB; there are some 20
    assert (int(copied) < 3) is shared


def test_what_stands_for_another_object_is_not_asked_for_it():
    assert printed(STANDS_FOR_ANOTHER) == ["True"]
