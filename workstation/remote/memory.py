"""What keeps large messages from costing more than their bytes."""

import ctypes

KEPT_BYTES = 8 << 20
"""Some pieces of a file: what is on its way at a time."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h


def keep_freed_memory() -> bool:
    """Have this process keep some memory that it frees, for what it needs next; whether its C library can.

    Else glibc gives each piece of a file back to the kernel, which clears the same pages for the next one: of a transfer
    that was measured so, half of the time of the process that served it.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, KEPT_BYTES) and mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES))
