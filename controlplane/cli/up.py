"""`empla up`: database, control plane and employees on this machine, in the foreground."""

import asyncio
import fcntl
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TextIO

import click

from controlplane.auth import new_secret
from controlplane.employees import DEFAULT_TENANT
from controlplane.errors import AlreadyThere
from controlplane.profiles import shipped_profile
from controlplane.server import Running, control_plane
from controlplane.settings import Settings
from empla import telemetry
from empla.store.embedded import EmbeddedPostgres
from empla.store.errors import StoreError
from empla.v1 import control_pb2

FIRST_EMPLOYEE = "sales-ae"
ATTACH_SECONDS = 30.0
CHAT_END_SECONDS = 3.0


@click.command()
@click.option("--chat/--no-chat", default=None, help="Offer a chat; by default on a terminal.")
def up(chat: bool | None) -> None:
    """Start everything on this machine and stay until Ctrl-C.

    The first start creates an employee, sales-ae. All state stays in EMPLA_HOME for the next start.
    """
    settings = Settings()
    try:
        _make_home(settings.home)
        offer = sys.stdin.isatty() and sys.stdout.isatty() if chat is None else chat
        with _log_file(settings.home / "logs" / "controlplane.log") as log, _only_one(settings.home):
            telemetry.start("empla-controlplane", level=settings.log_level, stream=log)
            asyncio.run(_up(settings, offer_chat=offer))
    except (OSError, StoreError) as error:
        raise click.ClickException(str(error)) from error


async def _up(settings: Settings, *, offer_chat: bool) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    click.echo("empla: starting …")
    async with _database(settings) as dsn:
        token = await asyncio.to_thread(_token, settings.token_file)
        async with control_plane(settings, dsn, token) as running:
            await _first_employee(running)
            if await _until_attached(running, stop):
                _greet(settings, running, token)
                await _stay(stop, offer_chat=offer_chat)
            click.echo("empla: shutting down …")
            await running.lifecycle.stop_all()
            await running.launcher.stop()
    click.echo("empla: stopped; everything is kept for the next start")


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[str]:
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(EmbeddedPostgres(settings.home))
        keeper = asyncio.create_task(server.keep_running(), name="embedded PostgreSQL")
        stack.push_async_callback(_end, keeper)
        yield server.dsn


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _first_employee(running: Running) -> None:
    """On the first start there is nobody yet."""
    tenant_id = await running.employees.ensure_tenant(DEFAULT_TENANT)
    if not await running.employees.list_of(tenant_id, limit=1):
        try:
            profile = await asyncio.to_thread(shipped_profile, FIRST_EMPLOYEE)
            await running.employees.create(tenant_id, FIRST_EMPLOYEE, profile, running=True)
        except AlreadyThere:
            return  # another start was faster
        running.lifecycle.look()


async def _until_attached(running: Running, stop: asyncio.Event) -> bool:
    """Wait until every employee that should run is attached, for at most 30 s; False when told to stop meanwhile."""
    try:
        async with asyncio.timeout(ATTACH_SECONDS):
            while not stop.is_set():
                wanted = [e for e in await running.employees.list_of(None) if e.desired_state == "running"]
                if all(running.lifecycle.observed(e) == control_pb2.OBSERVED_STATE_ATTACHED for e in wanted):
                    break
                await asyncio.sleep(0.05)
    except TimeoutError:
        click.echo("empla: not every employee is attached yet; `empla employee list` shows which", err=True)
    return not stop.is_set()


def _greet(settings: Settings, running: Running, token: str) -> None:
    offline = not (settings.anthropic_api_key or settings.openai_api_key or settings.openai_base_url)
    # A terminal is its owner's; a file that output goes to may be anybody's.
    way_in = f"?token={token}" if sys.stdout.isatty() else f"?token=$(cat {settings.token_file})"
    lines = [
        "",
        f"  status page   http://{running.http_address}/{way_in}",
        f"  gRPC API      {running.grpc_address}   (token in {settings.token_file})",
        f"  webhooks      http://{running.http_address}/v1/channels/…   (empla channel create)",
        f"  workspaces    {settings.workspaces}",
        f"  logs          {settings.log_directory}",
        "",
        f'  talk to it    empla send {FIRST_EMPLOYEE} "What files do you have?"    or: empla chat {FIRST_EMPLOYEE}',
        "  stop          Ctrl-C",
        "",
    ]
    if offline:
        lines.insert(
            1, "  model         offline rules, for no key is set: ANTHROPIC_API_KEY or OPENAI_API_KEY gives a real one"
        )
    click.echo("\n".join(lines))


async def _stay(stop: asyncio.Event, *, offer_chat: bool) -> None:
    if not offer_chat:
        await stop.wait()
        return
    chat = await asyncio.create_subprocess_exec(sys.executable, "-m", "controlplane.cli", "chat", FIRST_EMPLOYEE)
    try:
        await stop.wait()
    finally:
        if chat.returncode is None:
            chat.terminate()
        try:
            await asyncio.wait_for(chat.wait(), CHAT_END_SECONDS)
        except TimeoutError:
            chat.kill()
            await chat.wait()


def _make_home(home: Path) -> None:
    for directory in (home, home / "logs", home / "run"):
        directory.mkdir(mode=0o711 if directory == home else 0o700, parents=True, exist_ok=True)


def _token(path: Path) -> str:
    """The operator token of this machine, made on the first start, readable by the owner only."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        token = new_secret()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(token + "\n")
        return token


@contextmanager
def _log_file(path: Path) -> Iterator[TextIO]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "a", buffering=1) as file:
        yield file


@contextmanager
def _only_one(home: Path) -> Iterator[None]:
    """Hold the home's lock; raises OSError when another `empla up` has it."""
    with (home / "run" / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OSError(f"another `empla up` runs with {home}") from error
        yield
