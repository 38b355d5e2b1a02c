"""Whether the workspace is a volume of its own, whose size then holds for everybody who writes there."""

import os
import re
from pathlib import Path

_FIXED_SIZE = {"ext2", "ext3", "ext4", "xfs", "f2fs", "tmpfs"}
"""File systems that share their space with no other; a pool (btrfs, zfs) or a server (nfs) may."""


def is_own_volume(root: int) -> bool:
    """Whether the directory `root` is where a whole file system of a fixed size is mounted.

    A bind mount of some directory does not count: others may use up what that file system has.
    """
    above = os.open(b"..", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root)
    try:
        mount = _mount_id(root)
        if mount == _mount_id(above):
            return False
    finally:
        os.close(above)
    top, kind = _mounted(mount)
    return top == "/" and kind in _FIXED_SIZE and os.fstatvfs(root).f_blocks > 0  # tmpfs without a size has none


def _mount_id(fd: int) -> str:
    found = re.search(r"^mnt_id:\s*(\d+)$", Path(f"/proc/self/fdinfo/{fd}").read_text(), re.MULTILINE)
    return found[1] if found else ""


def _mounted(mount: str) -> tuple[str, str]:
    """Which directory of its file system a mount shows, and the file system's type; see proc_pid_mountinfo(5)."""
    for line in Path("/proc/self/mountinfo").read_text(errors="replace").splitlines():
        fields = line.split(" ")
        if fields[0] == mount:
            return fields[3], fields[fields.index("-") + 1]
    return "", ""
