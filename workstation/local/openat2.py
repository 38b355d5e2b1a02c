"""Opening files beneath a directory so that the kernel, not we, refuses every way out.

openat2(2) with RESOLVE_BENEATH fails when `..`, an absolute path or a symbolic link, planted or swapped in at whatever
moment, would leave the directory that a descriptor stands for. Python has no binding, so the call goes through ctypes.
"""

import ctypes
import errno
import os
import platform

from workstation.errors import OpenAt2Missing, PathOutsideWorkspace
from workstation.paths import encode

# <linux/openat2.h>
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
# <linux/fs.h>
RENAME_NOREPLACE = 0x01

_OPENAT2 = 437  # the same number on every architecture
_RENAMEAT2 = {"x86_64": 316, "aarch64": 276, "riscv64": 276, "ppc64le": 357, "s390x": 347}
_ATTEMPTS = 64

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long


class _OpenHow(ctypes.Structure):
    """struct open_how of <linux/openat2.h>."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_HOW_SIZE = ctypes.c_size_t(ctypes.sizeof(_OpenHow))


def open_beneath(root: int, path: bytes, flags: int, mode: int = 0, *, links: bool = True) -> int:
    """Open `path` beneath the directory descriptor `root`; returns a descriptor that is closed on exec.

    `links=False` refuses symbolic links anywhere on the way. Raises `PathOutsideWorkspace`, `OpenAt2Missing`, or the
    kernel's OSError.
    """
    resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | (0 if links else RESOLVE_NO_SYMLINKS)
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    for _ in range(_ATTEMPTS):
        fd = int(_syscall(_OPENAT2, root, path, ctypes.byref(how), _HOW_SIZE))
        if fd >= 0:
            return fd
        failure = ctypes.get_errno()
        # EAGAIN: a directory was renamed while the kernel looked at `..`, so it cannot tell whether that led out
        if failure not in (errno.EINTR, errno.EAGAIN):
            break
    raise _translated(failure, path)


def rename_new(source_dir: int, source: bytes, target_dir: int, target: bytes) -> None:
    """Rename a name beneath one directory descriptor to a name beneath another; FileExistsError if that is taken."""
    number = _RENAMEAT2.get(platform.machine())
    if number is None:
        raise OpenAt2Missing(f"renameat2 is not known on {platform.machine()}")
    if _syscall(number, source_dir, source, target_dir, target, ctypes.c_uint(RENAME_NOREPLACE)) != 0:
        failure = ctypes.get_errno()
        raise OSError(failure, os.strerror(failure), encode(target))


def check_openat2(root: int) -> None:
    """Raise `OpenAt2Missing` unless paths can be kept beneath `root`."""
    try:
        os.close(open_beneath(root, b".", os.O_PATH | os.O_DIRECTORY))
    except PermissionError as error:  # seccomp filters older than the call answer EPERM
        raise OpenAt2Missing("a seccomp filter forbids openat2; allow it to use a workspace here") from error


def _translated(failure: int, path: bytes) -> Exception:
    if failure == errno.EXDEV:
        return PathOutsideWorkspace(f"leads out of the workspace: {encode(path)}", path=encode(path))
    if failure == errno.ENOSYS:
        return OpenAt2Missing("the kernel lacks openat2: Linux 5.6 or newer is needed")
    return OSError(failure, os.strerror(failure), encode(path))
