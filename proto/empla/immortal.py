"""Objects that are never counted again, so that forked processes go on sharing the memory they lie in.

To use an object is to write its reference count, and with the first write the child gets a copy of the whole page.
CPython has objects that are not counted, as `None` (PEP 683: by a count of which the lower half is negative), but lets no
program make one. So this writes the count itself, and only where a trial finds it to be where, and what, it is taken for.
"""

import ctypes
import gc
import sys
from types import CodeType, FrameType

_IMMORTAL = 0xFFFFFFFF if sys.version_info < (3, 14) else 3 << 30
"""What `None` has (`_Py_IMMORTAL_INITIAL_REFCNT`). Since 3.14 the interpreter itself goes on counting where it has learned
that an object is counted; from the greatest count it would come to 0, and free what is in use."""


def immortalize() -> int:
    """Make every object that there is immortal; returns how many, 0 where this interpreter counts in a way of its own.

    Nothing of it is ever freed. For a process with one thread, before its first fork.
    """
    if not _understood():
        return 0
    found: dict[int, object] = {}
    left = gc.get_objects()
    while left:
        one = left.pop()
        # What is held by a call that still runs, this one's own dict among it, goes on being counted. (`isinstance`
        # would ask the object itself for its class, and one that stands for another, as SDKs have them, would load that.)
        if id(one) in found or one is found or type(one) is FrameType:
            continue
        found[id(one)] = one
        left += gc.get_referents(one)
        if type(one) is CodeType:  # of which the collector is told nothing
            left += (one.co_consts, one.co_names, one.co_filename, one.co_name, one.co_qualname)
            left += (one.co_linetable, one.co_exceptiontable)
    for address in found:
        _count(address).value = _IMMORTAL
    return len(found)


def _understood() -> bool:
    """Try it on an object of our own."""
    one = object()
    count = _count(id(one))
    before = count.value
    if before not in (sys.getrefcount(one), sys.getrefcount(one) - 1):  # newer interpreters do not count the argument
        return False
    holders = [one]
    if count.value != before + 1:
        return False
    count.value = _IMMORTAL
    holders.append(one)
    return count.value == _IMMORTAL


def _count(address: int) -> ctypes.c_uint32:
    return ctypes.c_uint32.from_address(address)
