"""`empla up`: database, control plane and employees on this machine, in the foreground."""

import asyncio
import fcntl
import logging
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TextIO

import click

from controlplane.auth import new_secret
from controlplane.backup.errors import InUse
from controlplane.backup.restoring import refuse_unfinished
from controlplane.cli.client import load_settings
from controlplane.cli.errors import Failure
from controlplane.employees import DEFAULT_TENANT
from controlplane.errors import AlreadyThere, ControlError
from controlplane.home import write_once
from controlplane.launchers import employee_container, inprocess
from controlplane.profiles import shipped_profile
from controlplane.server import Running, control_plane
from controlplane.settings import OFFLINE, Settings
from empla import telemetry
from empla.rpc import CannotListen
from empla.store.embedded import EmbeddedPostgres
from empla.store.errors import StoreError, StoreUnavailable
from empla.store.outage import Outage
from empla.v1 import control_pb2

log = logging.getLogger(__name__)

FIRST_EMPLOYEE = "sales-ae"
_NOTICES = {"inprocess": inprocess.NOTICE, "container": employee_container.NOTICE}
"""What it means for employees that a launcher is not the usual one."""
ATTACH_SECONDS = 30.0
CHAT_END_SECONDS = 3.0
ADOPT_SECONDS = 10.0
RETRY_SECONDS = 0.5
MOST_DESCRIPTORS = 65_536
MIN_TOKEN = 32
"""Characters: a shorter token was cut off, or is one that can be guessed."""


@click.command()
@click.option("--chat/--no-chat", default=None, help="Offer a chat; by default on a terminal.")
def up(chat: bool | None) -> None:
    """Start everything on this machine and stay until Ctrl-C.

    The first start creates an employee, sales-ae. All state stays in EMPLA_HOME for the next start.
    """
    settings = load_settings()
    try:
        _open_many()
        refuse_unfinished(settings.home)
        _make_home(settings.home)
        offer = sys.stdin.isatty() and sys.stdout.isatty() if chat is None else chat
        log_path = settings.home / "logs" / "controlplane.log"
        with _log_file(log_path) as stream, _home_of(settings):
            kept = telemetry.started(
                "empla-controlplane", level=settings.log_level, stream=stream, collector=settings.collector
            )
            with kept, _reported(log_path):
                asyncio.run(_up(settings, offer_chat=offer))
    except (OSError, InUse) as error:
        raise Failure(str(error)) from error
    inprocess.end_despite_threads()


@contextmanager
def _reported(log_path: Path) -> Iterator[None]:
    """The boundary of the program: an error is one line for whoever reads the terminal, all of it is in the log."""
    try:
        yield
    except click.ClickException:
        raise
    except Exception as error:
        log.exception("empla up ends with an error")
        cause = _first(error)
        if isinstance(cause, click.ClickException):
            raise cause from error
        if isinstance(cause, OSError | StoreError | ControlError):
            raise Failure(f"{cause}{_way_out(cause)} (details in {log_path})") from error
        raise Failure(f"{type(cause).__name__}: {cause} (details in {log_path})") from error


def _way_out(cause: Exception) -> str:
    """What to do about `cause`, where its message, which is not for the command line alone, does not say it."""
    if isinstance(cause, CannotListen):
        return "; stop that process, or set EMPLA_GRPC_ADDRESS and EMPLA_HTTP_ADDRESS to other addresses"
    if isinstance(cause, StoreUnavailable):
        return "; if EMPLA_DATABASE_URL is set, look at it and at that server"
    return ""


def _first(error: Exception) -> Exception:
    """The error itself, or the first one of a group."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


async def _up(settings: Settings, *, offer_chat: bool) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    _say("empla: starting …")
    token = await asyncio.to_thread(_token, settings.token_file)
    async with _database(settings) as dsn, control_plane(settings, dsn, token) as running, _employees_end(running):
        await _first_employee(running, stop)
        if await _until_attached(running, stop):
            _greet(settings, running, token)
            await _stay(stop, offer_chat=offer_chat)
    _say("empla: stopped; everything is kept for the next start")


@asynccontextmanager
async def _employees_end(running: Running) -> AsyncIterator[None]:
    """However the block ends, no employee outlives it, unless other control planes go on with them."""
    try:
        yield
    finally:
        if await running.planes.is_last():
            _say("empla: shutting down, which gives what is in work some seconds …")
            await _end_employees(running)
        else:
            _say("empla: shutting down; other control planes go on with the employees")


async def _end_employees(running: Running) -> None:
    await running.lifecycle.until_adopted(ADOPT_SECONDS)
    try:
        await running.lifecycle.stop_all()
    finally:
        await running.launcher.stop()


def _say(text: str, *, err: bool = False) -> None:
    """Print, unless the terminal was closed: that is no reason to end otherwise than in order."""
    try:
        click.echo(text, err=err)
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2 if err else 1)  # or what is buffered fails once more when Python ends
        os.close(nowhere)


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


async def _first_employee(running: Running, stop: asyncio.Event) -> None:
    """On the first start there is nobody yet; waits for a database that is away."""
    outage = Outage(log, "the first employee")
    while not stop.is_set():
        try:
            await _ensure_first_employee(running)
        except StoreUnavailable as error:
            outage.lasts(error)
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return


async def _ensure_first_employee(running: Running) -> None:
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
                if await _all_attached(running):
                    break
                await asyncio.sleep(0.05)
    except TimeoutError:
        _say("empla: not every employee is attached yet; `empla employee list` shows which", err=True)
    return not stop.is_set()


async def _all_attached(running: Running) -> bool:
    try:
        records = await running.employees.list_of(None)
    except StoreUnavailable:
        return False
    states = [running.lifecycle.observed(record) for record in records if record.desired_state == "running"]
    return all(state == control_pb2.OBSERVED_STATE_ATTACHED for state in states)


def _greet(settings: Settings, running: Running, token: str) -> None:
    # A terminal is its owner's; a file that output goes to may be anybody's.
    way_in = f"?token={token}" if sys.stdout.isatty() else f"?token=$(cat {settings.token_file})"
    status_page = settings.dialled(running.http_address)  # no browser finds 0.0.0.0 everywhere
    lines = [
        "",
        f"  model         {_model(settings)}",
        f"  embedding     {running.embedding}",
        *(f"  employees     {notice}" for launcher, notice in _NOTICES.items() if launcher == settings.launcher),
        f"  status page   {settings.http_scheme}://{status_page}/{way_in}",
        f"  gRPC API      {running.grpc_address}   (token in {settings.token_file})",
        f"  webhooks      {settings.http_scheme}://{running.http_address}/v1/channels/…   (empla channel create)",
        f"  workspaces    {settings.workspaces}",
        f"  logs          {settings.log_directory}",
        "",
        f'  talk to it    empla send {FIRST_EMPLOYEE} "What files do you have?"    or: empla chat {FIRST_EMPLOYEE}',
        "  stop          Ctrl-C",
        "",
    ]
    _say("\n".join(lines))


def _model(settings: Settings) -> str:
    if settings.lacks_key:
        return f"{settings.model}, but it has no key: set {settings.provider.upper()}_API_KEY"
    if settings.model != OFFLINE:
        return settings.model
    why = "as EMPLA_MODEL_PROVIDER says" if settings.model_provider == "offline" else "for no key is set"
    return f"{OFFLINE}, {why}: ANTHROPIC_API_KEY or OPENAI_API_KEY gives a real one"


async def _stay(stop: asyncio.Event, *, offer_chat: bool) -> None:
    if not offer_chat:
        await stop.wait()
        return
    chat = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "controlplane.cli", "--context", "local", "chat", FIRST_EMPLOYEE
    )
    try:
        async with asyncio.TaskGroup() as group:
            left = group.create_task(_chat_left(chat))
            await stop.wait()
            left.cancel()
    finally:
        if chat.returncode is None:
            chat.terminate()
        try:
            await asyncio.wait_for(chat.wait(), CHAT_END_SECONDS)
        except TimeoutError:
            chat.kill()
            await chat.wait()


async def _chat_left(chat: asyncio.subprocess.Process) -> None:
    """Say that the chat alone has ended, for nothing else on the terminal would."""
    await chat.wait()
    _say(
        f"empla: everything goes on; `empla chat {FIRST_EMPLOYEE}` in another terminal talks to it, Ctrl-C stops it all"
    )


def _open_many() -> None:
    """An employee takes a descriptor for its process and one for its stream: some hundreds use up the usual 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, MOST_DESCRIPTORS)), hard))


def _make_home(home: Path) -> None:
    for directory in (home, home / "logs", home / "run"):
        try:
            directory.mkdir(mode=0o711 if directory == home else 0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise Failure(
                f"{directory} cannot be made: {error.strerror}; set EMPLA_HOME to a directory that can be written to"
            ) from error


def _token(path: Path) -> str:
    """The operator token of this machine, made on the first start, readable by the owner only."""
    try:
        token = path.read_text().strip()
    except FileNotFoundError:
        write_once(path, new_secret())
        token = path.read_text().strip()
    if len(token) < MIN_TOKEN:
        raise Failure(
            f"the token in {path} has fewer than {MIN_TOKEN} characters; remove the file and the next start makes a new one"
        )
    return token


@contextmanager
def _log_file(path: Path) -> Iterator[TextIO]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "a", buffering=1) as file:
        yield file


@contextmanager
def _home_of(settings: Settings) -> Iterator[None]:
    """Hold the home's lock, with others if they may share it; raises OSError when another `empla up` has it."""
    shared = settings.database_url is not None and settings.launcher != "inprocess"
    with (settings.home / "run" / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OSError(
                f"another `empla up` runs with {settings.home}; several may, each at addresses of its own "
                "(EMPLA_GRPC_ADDRESS, EMPLA_HTTP_ADDRESS), if all of them use one database server (EMPLA_DATABASE_URL) and "
                "no inprocess launcher"
            ) from error
        yield
