"""What a sidecar's container may do: no more than its sandbox, nsjail, and Chromium's need.

The image's first program has the capabilities for as long as it takes to hand over the control groups; the sidecar
itself and all that it starts run as the workspace's owner without any. docs/containers.md says what each is for.
"""

import json
from pathlib import Path
from typing import Any

CAPABILITIES = ("CHOWN", "SETGID", "SETPCAP", "SETUID", "SYS_ADMIN")
_EPERM, _ENOSYS, _EAFNOSUPPORT = 1, 38, 97
_NEWER_MOUNT_CALLS = (
    *("fsconfig", "fsmount", "fsopen", "fspick", "mount_setattr", "move_mount", "open_tree", "open_tree_attr"),
    *("listmount", "statmount"),
)
"""Without these, programs use mount(2), which is needed anyway."""
_UNNEEDED = (
    # other processes' memory and descriptors
    *("kcmp", "pidfd_getfd", "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace"),
    # files by other ways than by name
    *("fanotify_init", "name_to_handle_at", "open_by_handle_at", "quotactl", "quotactl_fd"),
    # parts of the kernel that are large, old, or where many faults were found
    *("add_key", "bpf", "io_uring_enter", "io_uring_register", "io_uring_setup", "keyctl", "lookup_dcookie"),
    *("memfd_secret", "migrate_pages", "modify_ldt", "move_pages", "nfsservctl", "perf_event_open", "personality"),
    *("request_key", "setns", "sysfs", "uselib", "userfaultfd", "ustat", "vhangup"),
    # the machine itself
    *("acct", "adjtimex", "clock_adjtime", "clock_settime", "create_module", "delete_module", "finit_module"),
    *("init_module", "ioperm", "iopl", "kexec_file_load", "kexec_load", "reboot", "setdomainname", "settimeofday"),
    *("swapoff", "swapon", "syslog"),
)
_UNNEEDED_SOCKETS = (3, 17, 21, 29, 30, 31, 38, 40, 44)
"""AX25, PACKET, RDS, CAN, TIPC, BLUETOOTH, ALG, VSOCK and XDP of linux/socket.h."""


def host_configuration(podman_profile: Path | None = None) -> dict[str, Any]:
    """The part of the engine's `HostConfig` that says what a container may do.

    Podman differs from Docker: it reads `system_calls` from a file, `podman_profile`, and uncovers /proc in its own way.
    """
    own = [f"seccomp={podman_profile}", "unmask=ALL"] if podman_profile else [f"seccomp={system_calls()}"]
    return {
        "Privileged": False,
        "CapDrop": ["ALL"],
        "CapAdd": list(CAPABILITIES),
        "SecurityOpt": ["no-new-privileges", "apparmor=unconfined", *own],
        "MaskedPaths": [],
        "ReadonlyPaths": [],
        "ReadonlyRootfs": True,
    }


def system_calls() -> str:
    """The profile of seccomp, in the engine's own form.

    The engine's own default will not do: it refuses what sandboxes are built of (mount, umount2, pivot_root, chroot, unshare
    and clone with new namespaces). Programs in a sandbox are refused more, by the sandbox.
    """
    sockets = [{"index": 0, "value": family, "op": "SCMP_CMP_EQ"} for family in _UNNEEDED_SOCKETS]
    refused = [
        _refusal(_UNNEEDED, _EPERM),
        _refusal(_NEWER_MOUNT_CALLS, _ENOSYS),
        *(_refusal(("socket",), _EAFNOSUPPORT, args=[socket]) for socket in sockets),
    ]
    return json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": refused}, separators=(",", ":"))


def _refusal(names: tuple[str, ...], number: int, **conditions: Any) -> dict[str, Any]:
    return {"names": list(names), "action": "SCMP_ACT_ERRNO", "errnoRet": number, **conditions}
