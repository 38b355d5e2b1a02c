"""One control plane: builds its parts by hand and runs them in one TaskGroup."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from uuid import UUID

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from controlplane.alert_notices import Notices, Target
from controlplane.alerts import Alerts, Patience
from controlplane.attempts import PEER, Attempts
from controlplane.audit import Audit
from controlplane.auth import Operator, Tokens
from controlplane.budgets import Budgets
from controlplane.callbacks import Callbacks
from controlplane.calls.calls import Parts
from controlplane.certificates import Certificates
from controlplane.channels import Channels
from controlplane.clock import DatabaseClock
from controlplane.control import ControlPlane
from controlplane.disconnecting import Disconnecting
from controlplane.egress import Egress
from controlplane.embedding import embedding
from controlplane.employees import DEFAULT_TENANT, Employees
from controlplane.ending import Ending, lost_after
from controlplane.errors import LaunchFailed, to_status
from controlplane.files import Files
from controlplane.firing import Firing
from controlplane.followers import Followers
from controlplane.forwarding import Forwarding
from controlplane.gateway import EmployeeGateway, Streams, authenticate
from controlplane.goals import Goals
from controlplane.hints import Hints
from controlplane.home import home_id
from controlplane.http import serving_http
from controlplane.launchers import employee_container
from controlplane.launchers.browsers import BrowserProfiles
from controlplane.launchers.container import ContainerLauncher, images
from controlplane.launchers.containers import Containers
from controlplane.launchers.employee_container import EmployeeContainerLauncher, database_in_container, gateway_socket
from controlplane.launchers.inprocess import NOTICE, InProcessLauncher
from controlplane.launchers.inprocess import employees as in_process
from controlplane.launchers.interface import Launcher
from controlplane.launchers.process import SIDECARS, Parent, ProcessLauncher, employees
from controlplane.launchers.workspaces import Workspaces, open_workspaces
from controlplane.launching import LaunchSettings
from controlplane.lifecycle import Lifecycle
from controlplane.logs import Logs
from controlplane.memories import Memories
from controlplane.messages import Messages
from controlplane.metrics import Metrics
from controlplane.minds import Minds
from controlplane.packages import make_directory
from controlplane.pauses import Pauses
from controlplane.planes import Planes
from controlplane.presence import Presence
from controlplane.readiness import Readiness
from controlplane.receiver import Receiver
from controlplane.retention import Retention
from controlplane.reviews import Reviews
from controlplane.routing import Routing
from controlplane.schedules import Schedules
from controlplane.sender import Sender
from controlplane.settings import Settings
from controlplane.sidecars.keeper import Sidecars
from controlplane.sidecars.launching import SidecarPlan
from controlplane.sidecars.places import Places
from controlplane.sidecars.requests import Most, machine_memory
from controlplane.sidecars.room import Bounds, Room
from controlplane.sidecars.table import Table
from controlplane.stepping import Stepping
from controlplane.stopping import Stopping
from controlplane.strays import Strays
from controlplane.telling import Telling
from controlplane.tenants import Tenants
from controlplane.tokens import IssuedTokens
from controlplane.vitals import Vitals
from empla import rpc
from empla.store.connect import Pool, connect
from empla.store.ids import new_id
from empla.store.migrate import migrate
from empla.v1 import control_pb2_grpc, gateway_pb2_grpc

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 20
REACHED_SECONDS = 10.0
GATEWAY = "empla.v1.EmployeeGateway"
CONTROL = "empla.v1.ControlPlane"


@dataclass(frozen=True, slots=True)
class Running:
    """A control plane that serves: where, and what whoever started it may do with it."""

    grpc_address: str
    http_address: str
    employees: Employees
    lifecycle: Lifecycle
    planes: Planes
    embedding: str
    launcher: Launcher


@asynccontextmanager
async def control_plane(settings: Settings, dsn: str, token: str) -> AsyncIterator[Running]:
    """Serve for the length of the block; `token` is an operator's with every right.

    Leaving the block leaves employees running, for the next control plane to adopt: `Lifecycle.stop_all` ends them. Those
    in this process end with it. Raises `OSError` when an address is taken, `StoreError` when the database cannot be used,
    `LaunchFailed` when employees of an earlier start are left that cannot be reached; in a group, `AnotherHome` when a
    control plane with another home uses the database.
    """
    certificates = await asyncio.to_thread(_certificates, settings)
    await migrate(dsn)
    clock = DatabaseClock()
    await asyncio.to_thread(_make_directories, settings)
    async with (
        connect(dsn, application_name="empla control plane", max_size=MAX_CONNECTIONS) as pool,
        Callbacks(settings.callback_networks, clock=clock.time) as callbacks,
        _employee_launcher(settings, dsn) as launcher,
        _sidecar_launcher(settings) as sidecar_launcher,
        _files_launcher(settings, sidecar_launcher) as files_launcher,
        embedding(settings) as embeds,
    ):
        log.info("memories are found by meaning with: %s", embeds.said)
        workspaces = await open_workspaces(
            settings.workspaces, settings.volumes, settings.workspace_quota_bytes, settings.workspace_quota_entries
        )
        plan, places = _plan(settings, workspaces), Places(settings.sidecars.absolute())
        sidecars = _sidecars(settings, pool, sidecar_launcher, plan, places)
        instance = f"{os.uname().nodename}:{os.getpid()}:{new_id()}"
        attempts = Attempts(settings.wrong_tokens_per_minute)
        tokens = Tokens(pool, attempts)
        home = await asyncio.to_thread(home_id, settings.home)
        planes = Planes(dsn, instance, settings.dialled_address, home=home, clock=clock)
        followers = Followers(planes)
        sender = Sender(pool, callbacks, followers.changed, instance=instance)
        parts = _parts(
            settings,
            dsn,
            pool,
            launcher,
            tokens=tokens,
            planes=planes,
            sender=sender,
            followers=followers,
            workspaces=workspaces,
            sidecars=sidecars,
            files=partial(Files, pool, files_launcher, places, plan),
            embedding=embeds.said,
        )
        Hints(
            planes,
            employees=parts.employees,
            streams=parts.streams,
            followers=followers,
            lifecycle=parts.lifecycle,
            ending=Ending(pool, parts.streams, planes),
        )
        await tokens.ensure("local operator", token, "admin")
        await parts.employees.ensure_tenant(DEFAULT_TENANT)
        control = ControlPlane(parts)
        gateway = EmployeeGateway(
            pool=pool,
            employees=parts.employees,
            streams=parts.streams,
            followers=parts.followers,
            outbox=sender,
            embedding=embeds,
            sidecars=sidecars,
            memories=parts.memories,
            forwarding=parts.forwarding,
            most=Most(settings.sidecars_memory_bytes or machine_memory() // 2),
            heartbeat_ms=settings.heartbeat_ms,
        )
        services = {
            CONTROL: partial(control_pb2_grpc.add_ControlPlaneServicer_to_server, control),
            GATEWAY: partial(gateway_pb2_grpc.add_EmployeeGatewayServicer_to_server, gateway),
        }
        own_database = settings.database_url is None
        readiness = Readiness(pool, launcher, services, home=settings.home if own_database else None)
        notices = Notices(pool, callbacks, _alert_targets(settings))
        parts.alerts.on_change = notices.look
        async with (
            planes.present(),
            rpc.serving(
                settings.grpc_address,
                services,
                authenticate=_authenticate(pool, tokens, attempts),
                translate=to_status,
                while_valid=partial(_while_valid, tokens),
                credentials=certificates.for_grpc() if certificates else None,
                insecure=settings.insecure,
                status=readiness.status,
            ) as grpc_address,
            _serving_containers(settings, services[GATEWAY], _authenticate(pool, tokens, attempts)),
            serving_http(
                settings.http_address,
                readiness=readiness,
                receiver=parts.receiver,
                channels=parts.channels,
                employees=parts.employees,
                tokens=tokens,
                overview=control.overview,
                metrics=Metrics(pool, parts.messages, parts.vitals, parts.alerts, clock.now),
                max_body_bytes=settings.max_body_bytes,
                clock=clock,
                wrong_signatures_per_minute=settings.wrong_tokens_per_minute,
                tls=certificates.for_https() if certificates else None,
                insecure=settings.insecure,
            ) as http_address,
            _at_work(
                parts.streams,
                tokens.run(),
                *([certificates.run()] if certificates else []),
                sender.run(),
                gateway.sweep(),
                parts.reviews.sweep(),
                parts.pauses.run(),
                Firing(pool, parts.receiver).run(dsn),
                Stepping(pool, parts.receiver, parts.stopping, partial(parts.streams.wake, reason="step failed")).run(
                    dsn
                ),
                Presence(pool, parts.streams, planes, lost_after=lost_after(settings.heartbeat_ms)).run(),
                planes.leading(
                    Retention(pool, settings.retention_days).run,
                    Strays(pool).run,
                    sidecars.run,
                    *([partial(_prepared, sidecar_launcher, "sidecars")] if settings.sidecars_warm else []),
                    parts.lifecycle.run,
                    parts.alerts.run,
                ),
                notices.run(),
                readiness.run(),
                parts.logs.keep_small(),
            ),
        ):
            control.http_address, planes.address = http_address, settings.dialled(grpc_address)
            await _check_reachable(settings)
            yield Running(grpc_address, http_address, parts.employees, parts.lifecycle, planes, embeds.said, launcher)


@asynccontextmanager
async def _serving_containers(
    settings: Settings, gateway: rpc.Register, authenticate: rpc.Authenticate
) -> AsyncIterator[None]:
    """Serve employees in containers, which are in no network of this machine's, at a socket that is mounted there."""
    if settings.launcher != "container":
        yield
        return
    socket = settings.container_gateways.absolute() / gateway_socket(settings.dialled_address)
    async with rpc.serving(f"unix:{socket}", {GATEWAY: gateway}, authenticate=authenticate, translate=to_status):
        await asyncio.to_thread(socket.chmod, 0o666)  # each employee is another account, and shows a credential
        yield


@asynccontextmanager
async def _employee_launcher(settings: Settings, dsn: str) -> AsyncIterator[Launcher]:
    forking = ProcessLauncher(
        settings.home / "run",
        settings.log_directory / "forkserver.log",
        _exporting(settings, employees(_sdks(settings))),
    )
    if settings.launcher == "container":
        await _none_left(forking)
        await forking.stop()
        async with _employee_containers(settings, dsn) as containers:
            await _prepared(containers, "employees")
            yield containers
        return
    if settings.sidecars_engine is not None:
        await _no_containers_left(settings)
    if settings.launcher == "process":
        yield forking
        return
    log.warning("employees are %s", NOTICE)
    await _none_left(forking)
    await forking.stop()
    async with InProcessLauncher(await in_process(_sdks(settings))) as launcher:
        yield launcher


async def _none_left(launcher: Launcher) -> None:
    """End what a control plane left that launched in another way, and died."""
    for left in await launcher.running():
        left.kill(signal.SIGKILL)
        await left.wait()


async def _no_containers_left(settings: Settings) -> None:
    """End employees in containers that are left; one that cannot be ended now ends when it hears of its successor."""
    try:
        async with _containers_of(settings) as containers:
            await _none_left(containers)
    except LaunchFailed as error:
        log.warning("employees in containers may be left: %s", error)


def _employee_containers(settings: Settings, dsn: str) -> EmployeeContainerLauncher:
    database_in_container(dsn)
    log.info("employees are %s", employee_container.NOTICE)
    if settings.collector is not None:
        log.warning("employees that are containers export no traces: they are in no network of this machine's")
    return _containers_of(settings)


def _containers_of(settings: Settings) -> EmployeeContainerLauncher:
    return EmployeeContainerLauncher(
        str(settings.sidecars_engine),
        str(settings.home.absolute()),
        employee_container.images(settings.employees_network),
        gateways=settings.container_gateways.absolute(),
        sidecars=settings.sidecars.absolute(),
    )


@asynccontextmanager
async def _sidecar_launcher(settings: Settings) -> AsyncIterator[ProcessLauncher | ContainerLauncher]:
    if settings.sidecars_engine is None:
        yield _sidecar_processes(settings)
        return
    installation, network = str(settings.home.absolute()), settings.sidecars_network
    async with ContainerLauncher(settings.sidecars_engine, installation, images(network)) as launcher:
        yield launcher


def _sidecar_processes(settings: Settings) -> ProcessLauncher:
    return ProcessLauncher(
        settings.home / "run", settings.log_directory / "sidecars.log", _exporting(settings, SIDECARS)
    )


@asynccontextmanager
async def _files_launcher(
    settings: Settings, sidecars: ProcessLauncher | ContainerLauncher
) -> AsyncIterator[ProcessLauncher]:
    """Files are served by processes of this machine, also where sidecars are containers: they run no programs."""
    if isinstance(sidecars, ProcessLauncher):
        yield sidecars
        return
    launcher = _sidecar_processes(settings)
    try:
        yield launcher
    finally:
        await launcher.stop()


def _plan(settings: Settings, workspaces: Workspaces) -> SidecarPlan:
    collector = settings.collector
    if collector is not None and settings.sidecars_engine is not None:
        log.warning("sidecars that are containers export no traces: those for compute have no network")
        collector = None
    return SidecarPlan(
        common={
            "quota_bytes": settings.workspace_quota_bytes,
            "quota_entries": settings.workspace_quota_entries,
            "compute_packages": str(settings.compute_packages.absolute()),
            "log_level": settings.log_level,
            "collector": collector.model_dump() if collector else None,
        },
        workspace=workspaces.place,
        browser_profile=BrowserProfiles(settings.browsers.absolute()).place,
        logs=settings.log_directory,
    )


def _sidecars(settings: Settings, pool: Pool, launcher: Launcher, plan: SidecarPlan, places: Places) -> Sidecars:
    bounds = Bounds(settings.sidecars_per_employee, settings.sidecars_per_tenant, settings.sidecars_per_host)
    return Sidecars(
        table=Table(pool, launcher.name),
        launcher=launcher,
        places=places,
        room=Room(bounds, bounds, settings.sidecars_queue_seconds),
        plan=plan,
        warm=settings.sidecars_warm,
    )


async def _prepared(launcher: ProcessLauncher | Containers, what: str) -> None:
    """Have ready what the first launch needs."""
    try:
        await launcher.prepare()
    except LaunchFailed as error:
        log.warning("%s cannot be launched yet: %s", what, error)


def _parts(
    settings: Settings,
    dsn: str,
    pool: Pool,
    launcher: Launcher,
    *,
    tokens: Tokens,
    planes: Planes,
    sender: Sender,
    followers: Followers,
    workspaces: Workspaces,
    sidecars: Sidecars,
    files: Callable[[Callable[[UUID], Awaitable[None]]], Files],
    embedding: str,
) -> Parts:
    employees, streams, messages = Employees(pool), Streams(planes, planes.clock), Messages(pool)
    stopping = Stopping(pool, streams, followers.changed, sender.look)
    lifecycle = Lifecycle(
        pool=pool,
        employees=employees,
        streams=streams,
        launcher=launcher,
        workspaces=workspaces,
        sidecars=sidecars,
        settings=_launch_settings(settings, dsn),
        planes=planes,
    )
    vitals = Vitals(
        pool=pool,
        lifecycle=lifecycle,
        streams=streams,
        sidecars_failed=sidecars.failed.count,
        heartbeat_ms=settings.heartbeat_ms,
    )
    return Parts(
        employees=employees,
        channels=Channels(pool, Egress(settings.callback_networks)),
        disconnecting=Disconnecting(pool, stopping),
        routing=Routing(pool),
        receiver=Receiver(pool, on_stored=streams.look, on_stopped=stopping.tell),
        messages=messages,
        minds=Minds(pool),
        memories=Memories(pool),
        followers=followers,
        streams=streams,
        forwarding=Forwarding(planes, settings.transport),
        lifecycle=lifecycle,
        logs=Logs(settings.log_directory),
        files=files(lifecycle.ready_workspace),
        sidecars=sidecars,
        stopping=stopping,
        schedules=Schedules(pool),
        goals=Goals(pool),
        pauses=Pauses(pool, streams),
        budgets=Budgets(pool),
        reviews=Reviews(pool, followers.changed, sender.look, streams),
        telling=Telling(messages, followers),
        tenants=Tenants(pool),
        tokens=tokens,
        issued_tokens=IssuedTokens(pool),
        audit=Audit(pool),
        vitals=vitals,
        alerts=Alerts(
            pool=pool,
            vitals=vitals,
            home=settings.home,
            patience=Patience(settings.alert_after_seconds, settings.alert_clear_seconds),
            targets=_alert_targets(settings),
        ),
        model=settings.model,
        embedding=embedding,
    )


def _alert_targets(settings: Settings) -> dict[str, Target]:
    """Who is told of alerts."""
    targets, secret = {}, settings.alert_webhook_secret
    if settings.alert_webhook:
        signed = secret.get_secret_value().encode() if secret else None
        targets["webhook"] = Target(settings.alert_webhook.get_secret_value(), signed)
    if settings.alert_slack:
        targets["slack"] = Target(settings.alert_slack.get_secret_value())
    return targets


@asynccontextmanager
async def _at_work(streams: Streams, *work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """What the control plane does by itself, for the length of the block; an error of one part ends them all."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one) for one in work]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            for stream in streams.all():  # the employees find the next control plane by themselves
                stream.closed.set()


def _certificates(settings: Settings) -> Certificates | None:
    if settings.tls_certificate is not None and settings.tls_key is not None:
        return Certificates(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)
    for name in ("grpc_address", "http_address"):
        if not (settings.insecure or rpc.is_local(getattr(settings, name))):
            raise OSError(
                f"EMPLA_{name.upper()} lets other machines in, and nothing would be encrypted: set EMPLA_TLS_CERTIFICATE "
                "and EMPLA_TLS_KEY; or EMPLA_INSECURE=true, where something else encrypts or everybody may listen"
            )
    return None


async def _check_reachable(settings: Settings) -> None:
    """With TLS, employees reach this control plane; else each would try for ever."""
    if not settings.transport.tls:
        return
    address = settings.dialled_address
    async with rpc.dialing(address, "", transport=settings.transport) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            await stub.Check(health_pb2.HealthCheckRequest(), timeout=REACHED_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise LaunchFailed(
                f"no employee would reach {address} with TLS ({error.details()}): EMPLA_TLS_CA must vouch for "
                "EMPLA_TLS_CERTIFICATE, which must name that host or what EMPLA_TLS_SERVER_NAME says; where "
                "EMPLA_TLS_CLIENT_CA is set, it must vouch for EMPLA_TLS_CLIENT_CERTIFICATE"
            ) from error


def _authenticate(pool: Pool, tokens: Tokens, attempts: Attempts) -> rpc.Authenticate:
    async def caller(method: str, metadata: Any) -> object:
        PEER.set(rpc.peer())
        if method.startswith(f"/{GATEWAY}/"):
            return await authenticate(pool, metadata, attempts)
        return await tokens.authenticate_call(method, metadata)

    return caller


def _while_valid(tokens: Tokens, caller: object) -> AbstractAsyncContextManager[object]:
    """An operator's call ends with its token; an employee's stream with its successor."""
    return tokens.while_valid(caller) if isinstance(caller, Operator) else nullcontext()


def _make_directories(settings: Settings) -> None:
    for directory in (
        settings.home / "run",
        settings.bounds,
        settings.sidecars,
        settings.log_directory,
        settings.workspaces,
        settings.browsers,
    ):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings.container_gateways.mkdir(exist_ok=True)
    for mounted in (settings.container_gateways, settings.sidecars):
        mounted.chmod(0o711)  # in containers, for accounts other than ours; out here only this one comes as far as that
    # Sandboxes mount it by its path: what comes into it later is there for the next program.
    make_directory(settings.compute_packages)


def _sdks(settings: Settings) -> list[str]:
    """Which SDKs the warm parent imports: those that there are keys for."""
    keys = {"anthropic": settings.anthropic_api_key, "openai": settings.openai_api_key or settings.openai_base_url}
    return [name for name, key in keys.items() if key]


def _exporting(settings: Settings, parent: Parent) -> Parent:
    """The parent, which imports what its children need for exporting, if they do."""
    return replace(parent, preload=(*parent.preload, "empla.otlp")) if settings.collector else parent


def _launch_settings(settings: Settings, dsn: str) -> LaunchSettings:
    model: dict[str, Any] = {
        "model_provider": settings.model_provider,
        "model_name": settings.model_name,
        "model_mind": settings.model_mind,
        "openai_base_url": settings.openai_base_url,
        "model_prices": {name: price.model_dump() for name, price in settings.model_prices.items()},
    }
    for name in ("anthropic_api_key", "openai_api_key"):
        secret = getattr(settings, name)
        model[name] = secret.get_secret_value() if secret else None
    return LaunchSettings(
        gateway=settings.gateways or settings.dialled_address,
        database_url=dsn,
        logs=settings.log_directory,
        drain_seconds=settings.drain_seconds,
        heartbeat_ms=settings.heartbeat_ms,
        model=model,
        quota_bytes=settings.workspace_quota_bytes,
        quota_entries=settings.workspace_quota_entries,
        compute_packages=settings.compute_packages.absolute(),
        browsers=settings.browsers.absolute(),
        collector=settings.collector,
        hooks=settings.hooks,
        transport=settings.transport,
        memory_bytes=settings.employee_memory_bytes,
        bounds=settings.bounds.absolute() if settings.launcher == "process" else None,
    )
