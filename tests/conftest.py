"""Fixtures of the whole suite: a real database per test, and an alarm for code that blocks the event loop."""

import asyncio
import gc
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
from blockbuster import BlockBuster
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import workstation.local
from empla import telemetry
from empla.store.connect import Pool, connect
from empla.store.embedded import EmbeddedPostgres
from empla.store.ids import new_id
from empla.store.migrate import migrate
from tests.cable import LOOPBACK, Cable


def pytest_configure() -> None:
    """Take notice of Ctrl-C: what a shell begins in the background ignores it, and so would all that the tests start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name long values by their argument: megabytes are no name, and what is drawn anew differs between processes."""
    return argname if isinstance(val, str | bytes) and len(val) > 60 else None


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say which tests one process runs, one after the other, when several share the suite (`--dist loadgroup`)."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for garbage among what the tests leave, not again and again among the tests themselves, which stay."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Let reports cross to the process that prints them: what failed may have been about half a character."""
    return _encodable((yield))


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {_encodable(name): _encodable(each) for name, each in value.items()}
    return type(value)(map(_encodable, value)) if isinstance(value, list | tuple) else value


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse to run tests that share a machine without their groups."""
    if getattr(session.config.option, "loadgroup", False) and not all("@" in item.nodeid for item in session.items):
        raise pytest.UsageError("pytest-xdist took no notice of the groups: its version does not fit pytest's")


def _group(item: pytest.Item) -> str:
    call = getattr(item, "callspec", None)
    implementation = "" if call is None else str(call.params.get("implementation_name", ""))
    place = item.path.relative_to(Path(__file__).parent).with_suffix("")
    if implementation == "container" or "containers" in place.parts:
        return "engine"  # one test restarts it
    if place.parts[0] == "e2e":
        return "e2e"  # whole systems: what one needs of the machine the next may not have
    return f"{place} {implementation}".strip()


@dataclass(frozen=True)
class Database:
    """A migrated, empty database of one test's own."""

    dsn: str
    """For the owner of the tables, as the control plane connects."""
    superuser_dsn: str

    @property
    def socket(self) -> str:
        """Where the server listens."""
        return f"{parse_qs(urlsplit(self.dsn).query)['host'][0]}/.s.PGSQL.5432"

    def over(self, cable: Cable) -> str:
        """Where the owner gets to it by a cable that begins at a port."""
        url = urlsplit(self.dsn)
        there = f"{url.netloc.rpartition('@')[0]}@{LOOPBACK}:{cable.place}"
        return url._replace(
            netloc=there, query="sslmode=disable"
        ).geturl()  # else the driver looks for keys on the disk

    def connect(self, *, max_size: int = 10) -> AbstractAsyncContextManager[Pool]:
        """Open a pool as the owner of the tables."""
        return connect(self.dsn, application_name="tests", max_size=max_size)


@pytest.fixture
def short_directory() -> Iterator[Path]:
    """A temporary directory whose path leaves room for sockets and which other accounts can pass through."""
    yield from _short_directory()


@pytest.fixture
def jailable_workspace(short_directory: Path) -> Path:
    """An empty workspace that programs may run in: as root, it belongs to an account of its own."""
    place = short_directory / "workspace"
    place.mkdir(mode=0o700)
    if os.geteuid() == 0:
        account = 1_900_000_000 + os.getpid() % 10_000
        os.chown(place, account, account)
    return place


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """The suite's one server, with the settings of production; its database `empla` is migrated and stays empty."""
    for directory in _short_directory():
        with EmbeddedPostgres(directory / "home") as server:
            asyncio.run(migrate(server.dsn))
            yield server


@pytest.fixture
async def database(postgres: EmbeddedPostgres) -> AsyncIterator[Database]:
    name = f"test_{new_id().hex}"
    administrator = await asyncpg.connect(_of(postgres.superuser_dsn, "postgres"))
    try:
        # The rights on a database are not copied with it.
        await administrator.execute(f"CREATE DATABASE {name} TEMPLATE empla OWNER empla")
        await administrator.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
        await administrator.execute(f"GRANT CONNECT ON DATABASE {name} TO empla_employee")
        yield Database(_of(postgres.dsn, name), _of(postgres.superuser_dsn, name))
        await administrator.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await administrator.close()


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """The spans that end."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(telemetry, "tracer", provider.get_tracer("tests"))
    return exporter


@pytest.fixture(scope="session")
def blocking_calls() -> BlockBuster:
    """Knows which calls of ours block the event loop; made once, for that takes longer than most tests."""
    detector = BlockBuster(["agent", "workstation", "sidecars", "controlplane", "empla"])
    for name in [name for name in detector.functions if name.startswith("threading.Lock.")]:
        # Waiting for another thread's few instructions is how loggers and clients share memory with their threads.
        del detector.functions[name]
    # A line of a log goes to a file as it goes to standard error: by the kernel's memory.
    detector.functions["io.TextIOWrapper.write"].can_block_in("empla/telemetry.py", {"emit"})
    local = Path(workstation.local.__path__[0])
    modules = tuple(f"workstation/local/{module.relative_to(local)}" for module in local.rglob("*.py"))
    for function in detector.functions.values():
        # A system call on a small local file takes less time than handing it to a thread. All modules are one entry, as
        # `str.endswith` takes several: each such call compares every entry with every frame above it.
        function.can_block_in(modules, _EveryFunction())  # type: ignore[arg-type]
    return detector


@pytest.fixture(autouse=True)
def blocking_calls_fail(blocking_calls: BlockBuster) -> Iterator[None]:
    """Code of ours that blocks the event loop raises `BlockingError`."""
    blocking_calls.activate()
    try:
        yield
    finally:
        blocking_calls.deactivate()


class _EveryFunction(frozenset[str]):
    def __contains__(self, name: object) -> bool:
        return True


def _memory() -> Path | None:
    """Where files live in memory, so that the server's durable settings cost no test its time; None without room there."""
    place = Path("/dev/shm")
    if not os.access(place, os.W_OK) or os.statvfs(place).f_flag & os.ST_NOEXEC:
        return None
    return place if shutil.disk_usage(place).free > 2 * 1024**3 else None


def _short_directory() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="empla-", dir=_memory() or "/tmp"))
    if os.geteuid() == 0:
        directory.chmod(0o711)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def _of(dsn: str, database: str) -> str:
    return urlsplit(dsn)._replace(path=f"/{database}").geturl()
