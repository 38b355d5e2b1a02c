"""The embedded server's directory: data, log, sockets, and the passwords beside it.

::

    <home>/secrets/postgres-*     passwords, ours alone
    <home>/postgres/data          the cluster, the server account's alone
    <home>/postgres/*.conf        the server's settings, ours, so that its account cannot change them
    <home>/postgres/log           what the server says
    <home>/postgres/run           the socket; elsewhere when this path is too long for one
"""

import os
import shutil
import stat
import tempfile
from importlib.resources import files
from pathlib import Path
from subprocess import CompletedProcess

from empla.store.errors import EmbeddedUnavailable
from empla.store.installation import MAJOR_VERSION, Installation, run_as
from empla.store.scram import new_password, verifier

SUPERUSER = "postgres"
OWNER = "empla"
PORT = 5432

_LONGEST_SOCKET = 107  # bytes: sockaddr_un.sun_path without its closing zero
_INITDB_TIMEOUT = 300.0


class Cluster:
    """The files of one embedded server below `home`; `prepare` makes them once."""

    def __init__(self, home: Path) -> None:
        self.home = home.absolute()
        self.directory = self.home / "postgres"
        self.data = self.directory / "data"
        self.log = self.directory / "log"
        self.startup_log = self.log / "startup.log"
        self.pid_file = self.data / "postmaster.pid"
        self.settings = self.directory / "postgresql.conf"
        self._secrets = self.home / "secrets"

    def make_directories(self) -> None:
        """Make the directories that are ours. Other accounts may pass through them only when root serves those."""
        try:
            self.home.mkdir(mode=_passable(), parents=True, exist_ok=True)
            _make_directory(self.directory, _passable())
            _make_directory(self._secrets, 0o700)
        except OSError as error:
            raise EmbeddedUnavailable(
                f"{self.home} cannot be used: {error}: set EMPLA_HOME to another place"
            ) from error

    def prepare(self, installation: Installation) -> None:
        """Create the cluster unless it exists; a creation that was interrupted starts over."""
        _give_directory(self.log, installation, 0o700)
        if self.data.exists():
            self._check()
            return
        partial = self.directory / "data.partial"
        shutil.rmtree(partial, ignore_errors=True)
        _give_directory(partial, installation, 0o700)
        _initialise(installation, partial, self._secret(SUPERUSER), self._secret(OWNER))
        partial.rename(self.data)
        _sync(self.directory)

    def password(self, role: str) -> str:
        """Return the generated password of `role`; raises `EmbeddedUnavailable` when its file is gone."""
        path = self._secret_path(role)
        try:
            return path.read_text().strip()
        except FileNotFoundError:
            raise EmbeddedUnavailable(
                f"{path} is missing, and the database does not open without it: restore it"
            ) from None

    def configure(self, sockets: Path) -> None:
        """Write the server's settings; it will listen in `sockets`."""
        settings = files(__package__).joinpath("embedded.conf").read_text(encoding="utf-8")
        permissions = "0777" if os.geteuid() == 0 else "0700"  # passwords guard it; employees are other accounts
        settings += f"""
unix_socket_directories = {_quoted(sockets)}
unix_socket_permissions = {permissions}
port = {PORT}
log_directory = {_quoted(self.log)}
"""
        self.settings.write_text(settings, encoding="utf-8")
        self.settings.chmod(0o644)

    def last_words(self, installation: Installation) -> str:
        """Return the end of the log file that was written last."""
        newest = max(self.log.iterdir(), key=lambda path: path.lstat().st_mtime, default=self.startup_log)
        return run_as(installation.account, ["tail", "-n", "5", str(newest)]).stdout.strip()

    def socket_directory(self, installation: Installation) -> Path:
        """Return the directory for the socket: short enough, and nobody else can put another socket there."""
        usual = self.directory / "run"
        if _fits(usual):
            _give_directory(usual, installation, _passable())
            return usual
        record = self.directory / "socket-directory"
        recorded = Path(record.read_text().strip()) if record.exists() else None
        if recorded is not None and _is_private(recorded, installation):
            return recorded
        made = _short_directory()
        installation.give(made)
        record.write_text(f"{made}\n")
        return made

    def _check(self) -> None:
        version = (self.data / "PG_VERSION").read_text().strip()
        if version != str(MAJOR_VERSION):
            raise EmbeddedUnavailable(
                f"{self.data} was written by PostgreSQL {version}, this program brings {MAJOR_VERSION}: "
                "dump it with the old version and restore it, or set EMPLA_DATABASE_URL"
            )

    def _secret(self, role: str) -> str:
        path = self._secret_path(role)
        if not path.exists():
            partial = path.with_suffix(".partial")
            partial.unlink(missing_ok=True)
            partial.touch(mode=0o600)
            partial.write_text(f"{new_password()}\n")
            _sync(partial)
            partial.rename(path)
            _sync(self._secrets)
        return self.password(role)

    def _secret_path(self, role: str) -> Path:
        return self._secrets / f"postgres-{role}"


def _initialise(installation: Installation, data: Path, superuser_password: str, owner_password: str) -> None:
    # Where initdb expects the password it takes a verifier as well: the clear one stays with us.
    with tempfile.NamedTemporaryFile("w", dir=data.parent) as password:
        password.write(verifier(superuser_password))
        password.flush()
        installation.give(Path(password.name))
        created = installation.run(
            "initdb",
            *("--pgdata", data, "--username", SUPERUSER, "--auth", "scram-sha-256", "--pwfile", password.name),
            *("--encoding", "UTF8", "--locale-provider", "builtin", "--locale", "C.UTF-8"),
            timeout=_INITDB_TIMEOUT,
        )
    _expect_success(created, f"initdb failed in {data}")
    # In single-user mode, so that the cluster is complete before it listens for the first time.
    statements = files(__package__).joinpath("embedded.sql").read_text(encoding="utf-8")
    completed = installation.run(
        "postgres",
        *("--single", "-D", data, "-c", "exit_on_error=on", "template1"),
        stdin=statements.format(verifier=verifier(owner_password)),
        timeout=_INITDB_TIMEOUT,
    )
    _expect_success(completed, f"the database cannot be created in {data}")


def _expect_success(result: CompletedProcess[str], message: str) -> None:
    if result.returncode != 0:
        raise EmbeddedUnavailable(f"{message}: {result.stdout[-2000:].strip()}")


def _give_directory(path: Path, installation: Installation, mode: int) -> None:
    _make_directory(path, mode)
    installation.give(path)


def _make_directory(path: Path, mode: int) -> None:
    path.mkdir(exist_ok=True)
    path.chmod(mode)


def _passable() -> int:
    return 0o711 if os.geteuid() == 0 else 0o700


def _short_directory() -> Path:
    """Make a directory of an unguessable name in the first place whose path is short enough."""
    places = (
        Path("/run") if os.geteuid() == 0 else Path(f"/run/user/{os.getuid()}"),
        Path(tempfile.gettempdir()),
        Path("/tmp"),  # noqa: S108 - mkdtemp picks the name
    )
    for place in places:
        if place.is_dir() and os.access(place, os.W_OK) and _fits(place / "empla-12345678"):
            made = Path(tempfile.mkdtemp(prefix="empla-", dir=place))
            made.chmod(_passable())
            return made
    raise EmbeddedUnavailable(f"none of {', '.join(map(str, places))} can hold the database's socket")


def _fits(directory: Path) -> bool:
    return len(os.fsencode(directory / f".s.PGSQL.{PORT}")) <= _LONGEST_SOCKET


def _is_private(directory: Path, installation: Installation) -> bool:
    """Tell whether `directory` is a real directory in which only the server's account can make files."""
    try:
        status = directory.lstat()
    except FileNotFoundError:
        return False
    owner = installation.account.uid if installation.account else os.geteuid()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == owner and not status.st_mode & 0o022


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
