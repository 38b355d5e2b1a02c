"""A PostgreSQL server of our own: started with us, found again after we were killed, stopped with us."""

import asyncio
import fcntl
import logging
import os
import shlex
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from empla.store.cluster import OWNER, PORT, SUPERUSER, Cluster
from empla.store.errors import EmbeddedUnavailable
from empla.store.heavy import HeavyRoles
from empla.store.installation import Installation, find_installation
from empla.store.roles import PREFIX

DATABASE = "empla"

_POLL = 0.05
_WATCH = 1.0
_IMMEDIATE_STOP = 10.0
_log = logging.getLogger(__name__)


class EmbeddedPostgres:
    """The server of the data below `home`, with the database `empla` owned by the role `empla`.

    Use it as a context manager, with `async with` or, where there is no loop, `with`. Every login needs a password
    (SCRAM); there is a socket and no port. A server that outlived its last owner is adopted; a second owner at the same
    time is refused. Entering raises `EmbeddedUnavailable`. Times are in seconds.
    """

    def __init__(self, home: Path, *, start_timeout: float = 60.0, stop_timeout: float = 20.0) -> None:
        self._cluster = Cluster(home)
        self._start_timeout = start_timeout
        self._stop_timeout = stop_timeout
        self._turn = threading.Lock()
        self._owner_lock: int | None = None
        self._installation: Installation | None = None
        self._sockets: Path | None = None
        self._passwords: dict[str, str] = {}
        self._heavy = HeavyRoles(PREFIX)

    @property
    def dsn(self) -> str:
        """Where and how the owner of the tables, the role `empla`, connects."""
        return self._dsn(OWNER, DATABASE)

    @property
    def superuser_dsn(self) -> str:
        """Where and how the superuser connects: for backups and tests, never for serving."""
        return self._dsn(SUPERUSER, DATABASE)

    def start(self) -> None:
        """Start the server or adopt the one that runs; blocks until it answers."""
        with self._turn:
            self._cluster.make_directories()
            self._owner_lock = _own(self._cluster.directory / "owner.lock")
            try:
                self._prepare_and_run()
            except BaseException:
                self._disown()
                raise

    def stop(self) -> None:
        """Stop the server, first letting it roll back and checkpoint; blocks until it is gone."""
        with self._turn:
            if self._owner_lock is None:
                return
            try:
                self._shut_down()
            finally:
                self._disown()

    async def keep_running(self) -> None:
        """Start the server again whenever it dies, and let no employee's sessions hold up the others', until cancelled."""
        while True:
            await asyncio.sleep(_WATCH)
            try:
                await asyncio.to_thread(self._look_after)
            except (EmbeddedUnavailable, OSError):
                _log.exception("the database is down and does not start")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        try:
            await _to_its_end(self.start)
        except asyncio.CancelledError:
            await _to_its_end(self.stop)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await _to_its_end(self.stop)

    def _dsn(self, role: str, database: str) -> str:
        if self._sockets is None:
            raise EmbeddedUnavailable("the embedded database is not started")
        return _dsn(self._sockets, role, self._passwords[role], database)

    def _prepare_and_run(self) -> None:
        try:
            self._installation = find_installation(self._cluster.directory)
            self._cluster.prepare(self._installation)
            self._passwords = {role: self._cluster.password(role) for role in (OWNER, SUPERUSER)}
            self._run()
        except OSError as error:
            raise EmbeddedUnavailable(f"the embedded database cannot be set up: {error}") from error

    def _look_after(self) -> None:
        self._revive()
        with suppress(OSError, ValueError):  # it is just starting, or the kernel shows nobody its children
            self._heavy.look(int(self._cluster.pid_file.read_text().partition("\n")[0]))

    def _revive(self) -> None:
        with self._turn:
            if self._owner_lock is not None and not self._is_alive():
                _log.error("the database died: starting it again")
                self._run()

    def _run(self) -> None:
        deadline = time.monotonic() + self._start_timeout
        while not self._launch():
            if self._answers():
                _log.info("adopted the database server that was running")
                return
            if time.monotonic() > deadline:
                _log.warning("the database server that runs does not answer: stopping it")
                self._shut_down()
            time.sleep(_POLL)

    def _launch(self) -> bool:
        """Start the server; return False when one, or what is left of one, still has the data open."""
        lock = _lock_of_the_server(self._lock_file)
        if lock is None:
            return False
        try:
            self._sockets = self._cluster.socket_directory(self._server)
            self._cluster.configure(self._sockets)
            self._remove_traces(self._sockets)
            self._start_server(lock)
        finally:
            os.close(lock)
        return True

    def _start_server(self, lock: int) -> None:
        """Run pg_ctl, which waits until the server answers; the server inherits `lock` and holds it while it lives."""
        settings = shlex.quote(f"config_file={self._cluster.settings}")
        result = self._server.run(
            "pg_ctl",
            *("start", "-D", self._cluster.data, "-l", self._cluster.startup_log, "-o", f"-c {settings}"),
            *("-w", "-t", f"{self._start_timeout:.0f}"),
            timeout=self._start_timeout + 10,
            fds=(lock,),
        )
        if result.returncode != 0:
            said = self._cluster.last_words(self._server) or result.stdout.strip()
            raise EmbeddedUnavailable(f"the database server does not start: {said}")

    def _remove_traces(self, sockets: Path) -> None:
        # We hold the server's lock, so these are left from a server that was killed. Its process number may be another
        # process's by now, and PostgreSQL would take that one for itself and refuse to start.
        for trace in (self._cluster.pid_file, sockets / f".s.PGSQL.{PORT}.lock", self._cluster.startup_log):
            trace.unlink(missing_ok=True)

    def _answers(self) -> bool:
        """Tell whether the server that has the data open takes connections, and learn where its socket is."""
        try:
            sockets = self._cluster.pid_file.read_text().splitlines()[4]
        except (FileNotFoundError, IndexError):
            return False  # not that far yet
        self._sockets = Path(sockets)
        return self._server.run("pg_isready", "-h", sockets, "-p", str(PORT), "-t", "3").returncode == 0

    def _shut_down(self) -> None:
        for mode, timeout in (("fast", self._stop_timeout), ("immediate", _IMMEDIATE_STOP)):
            if not self._is_alive():
                return
            arguments = ("stop", "-D", self._cluster.data, "-m", mode, "-w", "-t", f"{timeout:.0f}")
            stopped = self._server.run("pg_ctl", *arguments, timeout=timeout + 10).returncode == 0
            if self._is_gone_within(5 if stopped else 0):  # the log's process ends a little later
                return
        raise EmbeddedUnavailable(f"the database server of {self._cluster.data} does not stop")

    def _is_gone_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self._is_alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL)
        return True

    def _is_alive(self) -> bool:
        """Tell whether any process of the server lives: each holds the lock that the first one inherited."""
        return _is_locked(self._lock_file)

    @property
    def _lock_file(self) -> Path:
        return self._cluster.directory / "server.lock"

    @property
    def _server(self) -> Installation:
        assert self._installation is not None
        return self._installation

    def _disown(self) -> None:
        if self._owner_lock is not None:
            os.close(self._owner_lock)
            self._owner_lock = None


def dsn_of_running(home: Path) -> str | None:
    """How the owner of the tables connects to the server that another process runs below `home`; None: none runs.

    Raises `EmbeddedUnavailable` when one runs and cannot be connected to.
    """
    cluster = Cluster(home)
    if not cluster.data.exists() or not _is_locked(cluster.directory / "server.lock"):
        return None
    try:
        sockets = Path(cluster.pid_file.read_text().splitlines()[4])
    except (OSError, IndexError) as error:
        raise EmbeddedUnavailable(f"the database below {home} starts or stops at this moment: try again") from error
    return _dsn(sockets, OWNER, cluster.password(OWNER), DATABASE)


def has_data(home: Path) -> bool:
    """Tell whether there is an embedded database below `home`, running or not."""
    return Cluster(home).data.exists()


def _dsn(sockets: Path, role: str, password: str, database: str) -> str:
    return f"postgresql://{role}:{password}@/{database}?host={quote(str(sockets))}&port={PORT}"


def _own(path: Path) -> int:
    """Take the lock of the one process that starts and stops the server; it ends with that process."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # lockf: a forked child does not keep it
    except OSError as error:
        os.close(descriptor)
        raise EmbeddedUnavailable(
            f"another empla process uses {path.parent}: stop it, or set EMPLA_HOME to another directory"
        ) from error
    return descriptor


def _lock_of_the_server(path: Path) -> int | None:
    """Take the lock that a running server holds; None when one does."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # flock: children do inherit it
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _is_locked(path: Path) -> bool:
    lock = _lock_of_the_server(path)
    if lock is not None:
        os.close(lock)
    return lock is None


async def _to_its_end(work: Callable[[], None]) -> None:
    """Run `work` in a thread, and when cancelled wait for it before passing that on: a thread cannot be stopped."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise
