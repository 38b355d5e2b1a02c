"""Memory that is freed is not asked of the kernel again at once."""

import subprocess
import sys

PROGRAM = """
import resource, sys
from workstation.remote.memory import keep_freed_memory
if sys.argv[1] == "keep" and not keep_freed_memory():
    print(0)
    sys.exit()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before = faults()
for _ in range(100):
    pieces = [b"x" * (1 << 20) for _ in range(3)]
    del pieces
print(faults() - before)
"""


def faults(how: str) -> int:
    return int(subprocess.run([sys.executable, "-c", PROGRAM, how], check=True, capture_output=True).stdout)


def test_pages_are_kept() -> None:
    assert faults("keep") < 10_000 < faults("as usual")
