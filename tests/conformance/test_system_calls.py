"""The kernel's dangerous calls are refused before they are looked at, on every way into the kernel.

Where an unprivileged program could make a call, each case passes arguments with which it would succeed, or fail in
another way, were it let through. The numbers are those of x86-64.
"""

from textwrap import dedent

import pytest

from tests.conformance.programs import run_python
from workstation.interface import Compute, EndReason

CALL = """
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
room = ctypes.create_string_buffer(4096)
me, here = os.getpid(), ctypes.addressof(room)

texts = []

def text(value):
    texts.append(ctypes.create_string_buffer(value))
    return ctypes.addressof(texts[-1])

def call(number, *arguments):
    result = libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
    if result == 0 and number == 56:
        os._exit(0)  # the child that a clone made
    print("done" if result >= 0 else errno.errorcode[ctypes.get_errno()])
"""
REFUSED = {"EPERM", "ENOSYS", "EACCES"}
SIGSYS = 31

NEW_USER, NEW_NS, NEW_NET, NEW_PID, NEW_IPC, NEW_UTS, NEW_CGROUP, NEW_TIME, SIGCHLD = (
    *(0x10000000, 0x20000, 0x40000000, 0x20000000, 0x8000000, 0x4000000, 0x2000000, 0x80, 17),
)

CALLS = {
    # others' memory and descriptors
    "ptrace": "101, 0, 0, 0, 0",
    "process_vm_readv": "310, me, here, 1, here, 1, 0",
    "process_vm_writev": "311, me, here, 1, here, 1, 0",
    "pidfd_getfd": "438, os.pidfd_open(me), 1, 0",
    "kcmp": "312, me, me, 0, 1, 1",
    # the view of the file system
    "mount": "165, text(b'none'), here, here, 0, 0",
    "umount2": "166, text(b'/tmp'), 2",
    "pivot_root": "155, here, here",
    "chroot": "161, text(b'/tmp')",
    "open_tree": "428, -100, text(b'/tmp'), 1",
    "move_mount": "429, -100, here, -100, here, 0",
    "fsopen": "430, text(b'tmpfs'), 0",
    "fsconfig": "431, 0, 0, 0, 0, 0",
    "fsmount": "432, 0, 0, 0",
    "fspick": "433, -100, text(b'/tmp'), 0",
    "mount_setattr": "442, -100, here, 0, here, 32",
    "open_by_handle_at": "304, -100, here, 0",
    "quotactl": "179, 0x800007 << 8, here, 0, here",
    "swapon": "167, here, 0",
    "swapoff": "168, here",
    "acct": "163, 0",
    # namespaces
    "unshare user": f"272, {NEW_USER}",
    "unshare mount": f"272, {NEW_NS}",
    "unshare net": f"272, {NEW_USER | NEW_NET}",
    "setns": "308, os.open('/proc/self/ns/user', 0), 0",
    **{
        f"clone new {name}": f"56, {flag | SIGCHLD}, 0, 0, 0, 0"
        for name, flag in {
            "user": NEW_USER,
            "mount": NEW_USER | NEW_NS,
            "net": NEW_USER | NEW_NET,
            "pid": NEW_USER | NEW_PID,
            "ipc": NEW_USER | NEW_IPC,
            "uts": NEW_USER | NEW_UTS,
            "cgroup": NEW_USER | NEW_CGROUP,
        }.items()
    },
    "clone3": "435, here, 88",
    # large or rarely used parts of the kernel
    "bpf": "321, 0, here, 48",
    "add_key": "248, text(b'user'), text(b'k'), here, 1, -2",
    "request_key": "249, text(b'user'), here, 0, 0",
    "keyctl": "250, 0, -3, 1",
    "userfaultfd": "323, 1",
    "perf_event_open": "298, here, 0, -1, -1, 0",
    "io_uring_setup": "425, 1, here",
    "io_uring_enter": "426, 0, 0, 0, 0, 0",
    "io_uring_register": "427, 0, 0, 0, 0",
    "memfd_secret": "447, 0",
    "personality": "135, 0x0400000",
    "modify_ldt": "154, 0, here, 16",
    "iopl": "172, 0",
    "ioperm": "173, 0, 1, 1",
    "fanotify_init": "300, 0, 0",
    "name_to_handle_at": "303, -100, text(b'/tmp'), here, here, 0",
    # the machine itself
    "kexec_load": "246, 0, 0, 0, 0",
    "kexec_file_load": "320, -1, -1, 0, 0, 0",
    "init_module": "175, here, 1, here",
    "finit_module": "313, 0, here, 0",
    "delete_module": "176, here, 0",
    "reboot": "169, 0xfee1dead, 672274793, 0, 0",
    "settimeofday": "164, 0, 0",
    "clock_settime": "227, 0, here",
    "syslog": "103, 10, 0, 0",
    "sethostname": "170, here, 1",
}

MACHINE_CODE = """
import ctypes, mmap
memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
def enter(code):
    memory.seek(0), memory.write(code)
    function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))
    return function()
"""


@pytest.mark.parametrize("name", CALLS)
async def test_is_refused(compute: Compute, name: str) -> None:
    ran = await run_python(compute, CALL + f"call({CALLS[name]})")
    if ran.end.reason is EndReason.SIGNALED:
        assert ran.end.signal == SIGSYS
    else:
        assert ran.text.strip() in REFUSED, ran.stderr


async def test_ordinary_calls_are_not(compute: Compute) -> None:
    ran = await run_python(compute, CALL + "call(39); call(56, 17, 0, 0, 0, 0); call(186)")
    assert ran.text.split() == ["done"] * 3, ran.stderr


@pytest.mark.parametrize("name", ["getpid", "ptrace", "unshare"])
async def test_the_32_bit_way_in_is_closed(compute: Compute, name: str) -> None:
    """Through `int 0x80` numbers and arguments mean something else: getpid 20, ptrace 26, unshare 310 (a new user)."""
    number, argument = {"getpid": (20, 0), "ptrace": (26, 0), "unshare": (310, NEW_USER)}[name]
    code = b"\x53\xb8" + number.to_bytes(4, "little") + b"\xbb" + argument.to_bytes(4, "little") + b"\xcd\x80\x5b\xc3"
    ran = await run_python(compute, MACHINE_CODE + f"print(enter({code!r}))")
    assert ran.end.reason is EndReason.SIGNALED or int(ran.text) < 0, ran.text


@pytest.mark.parametrize(
    ("number", "arguments"),
    [(39, ""), (521, ", 0, 0, 0, 0"), (272, f", {NEW_USER}")],
    ids=["getpid", "ptrace", "unshare"],
)
async def test_the_x32_way_in_is_closed(compute: Compute, number: int, arguments: str) -> None:
    ran = await run_python(compute, CALL + f"call({0x40000000 | number}{arguments})")
    assert ran.end.reason is EndReason.SIGNALED or ran.text.strip() in REFUSED


async def test_machine_code_itself_runs(compute: Compute) -> None:
    """So that the refusals above are those of the calls: `mov eax, 42; ret`."""
    ran = await run_python(compute, MACHINE_CODE + r"print(enter(b'\xb8\x2a\0\0\0\xc3'))")
    assert ran.text == "42\n", ran.stderr


async def test_threads_and_children_are_filtered_too(compute: Compute) -> None:
    source = dedent(CALL) + dedent(f"""
        import threading
        thread = threading.Thread(target=call, args=(272, {NEW_USER}))
        thread.start(), thread.join()
        sys.stdout.flush()
        if os.fork() == 0:
            call(272, {NEW_USER})
            sys.stdout.flush()
            code = "import os\\ntry: os.unshare({NEW_USER})\\nexcept OSError: print('EPERM')"
            os.execvp("python3", ["python3", "-c", code])
        os.wait()
    """)
    assert (await run_python(compute, source)).text == "EPERM\n" * 3
