"""One control plane: builds its parts by hand and runs them in one TaskGroup."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from controlplane.alert_notices import Notices, targets_of
from controlplane.alerts import Alerts, Patience
from controlplane.attempts import PEER, Attempts
from controlplane.audit import Audit
from controlplane.auth import Operator, Tokens
from controlplane.budgets import Budgets
from controlplane.callbacks import Callbacks
from controlplane.calls.calls import Parts
from controlplane.certificates import certificates_of, check_reachable
from controlplane.channels import Channels
from controlplane.clock import DatabaseClock
from controlplane.control import ControlPlane
from controlplane.disconnecting import Disconnecting
from controlplane.egress import Egress
from controlplane.embedding import embedding
from controlplane.employees import DEFAULT_TENANT, Employees
from controlplane.ending import Ending, lost_after
from controlplane.errors import to_status
from controlplane.files import Files
from controlplane.firing import Firing
from controlplane.followers import Followers
from controlplane.forwarding import Forwarding
from controlplane.gateway import EmployeeGateway, Streams, authenticate
from controlplane.goals import Goals
from controlplane.hints import Hints
from controlplane.home import place_id
from controlplane.http import serving_http
from controlplane.launchers.browsers import BrowserProfiles
from controlplane.launchers.choice import employee_launcher, files_launcher, prepared, sidecar_launcher
from controlplane.launchers.employee_container import gateway_socket
from controlplane.launchers.interface import Launcher
from controlplane.launchers.workspaces import Workspaces, open_workspaces
from controlplane.launching import launch_settings
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
    certificates = await asyncio.to_thread(certificates_of, settings)
    await migrate(dsn)
    clock = DatabaseClock()
    await asyncio.to_thread(_make_directories, settings)
    async with (
        connect(dsn, application_name="empla control plane", max_size=MAX_CONNECTIONS) as pool,
        Callbacks(settings.callback_networks, clock=clock.time) as callbacks,
        employee_launcher(settings, dsn) as launcher,
        sidecar_launcher(settings) as of_sidecars,
        files_launcher(settings, of_sidecars) as of_files,
        embedding(settings) as embeds,
        AsyncExitStack() as presence,
    ):
        log.info("memories are found by meaning with: %s", embeds.said)
        workspaces = await open_workspaces(
            settings.workspaces, settings.volumes, settings.workspace_quota_bytes, settings.workspace_quota_entries
        )
        plan, places = _plan(settings, workspaces), Places(settings.sidecars.absolute())
        instance = f"{os.uname().nodename}:{os.getpid()}:{new_id()}"
        attempts = Attempts(settings.wrong_tokens_per_minute)
        tokens = Tokens(pool, attempts)
        home = await asyncio.to_thread(place_id, settings.home)
        planes = Planes(dsn, instance, settings.dialled_address, home=home, clock=clock)
        sidecars = _sidecars(settings, pool, of_sidecars, plan, places, planes=planes)
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
            files=partial(Files, pool, of_files, places, plan),
            embedding=embeds.said,
        )
        Hints(
            planes,
            employees=parts.employees,
            streams=parts.streams,
            followers=followers,
            lifecycle=parts.lifecycle,
            ending=Ending(pool, parts.streams, planes),
            sidecars=sidecars,
        )
        await presence.enter_async_context(planes.present())  # one that is refused changes nothing of the others'
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
        notices = Notices(pool, callbacks, targets_of(settings))
        parts.alerts.on_change = notices.look
        async with (
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
                metrics=Metrics(
                    pool, parts.messages, parts.vitals, parts.alerts, leads=lambda: planes.leads, now=clock.now
                ),
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
                parts.vitals.run(),
                Presence(pool, parts.streams, planes, lost_after=lost_after(settings.heartbeat_ms)).run(),
                planes.leading(
                    Retention(pool, settings.retention_days).run,
                    Strays(pool).run,
                    sidecars.run,
                    *([partial(prepared, of_sidecars, "sidecars")] if settings.sidecars_warm else []),
                    parts.lifecycle.run,
                    parts.alerts.run,
                ),
                notices.run(),
                readiness.run(),
                parts.logs.keep_small(),
            ),
        ):
            control.http_address, planes.address = http_address, settings.dialled(grpc_address)
            await check_reachable(settings)
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


def _sidecars(
    settings: Settings, pool: Pool, launcher: Launcher, plan: SidecarPlan, places: Places, *, planes: Planes
) -> Sidecars:
    bounds = Bounds(settings.sidecars_per_employee, settings.sidecars_per_tenant, settings.sidecars_per_host)
    return Sidecars(
        table=Table(pool, launcher.name),
        launcher=launcher,
        places=places,
        room=Room(bounds, bounds, settings.sidecars_queue_seconds),
        plan=plan,
        others=planes,
        warm=settings.sidecars_warm,
    )


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
        settings=launch_settings(settings, dsn),
        planes=planes,
    )
    vitals = Vitals(
        pool=pool,
        employees=employees,
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
            targets=targets_of(settings),
        ),
        model=settings.model,
        embedding=embedding,
    )


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
