"""The launchers that the settings choose, of employees, sidecars and what serves files."""

import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from controlplane.errors import LaunchFailed
from controlplane.launchers import employee_container
from controlplane.launchers.container import ContainerLauncher, images
from controlplane.launchers.containers import Containers
from controlplane.launchers.employee_container import EmployeeContainerLauncher, database_in_container
from controlplane.launchers.inprocess import NOTICE, InProcessLauncher
from controlplane.launchers.inprocess import employees as in_process
from controlplane.launchers.interface import Launcher
from controlplane.launchers.process import SIDECARS, Parent, ProcessLauncher, employees
from controlplane.settings import Settings

log = logging.getLogger(__name__)


@asynccontextmanager
async def employee_launcher(settings: Settings, dsn: str) -> AsyncIterator[Launcher]:
    """Of employees, whose database is at `dsn`; raises `LaunchFailed` when those of another launcher are left."""
    forking = ProcessLauncher(
        settings.home / "run",
        settings.log_directory / "forkserver.log",
        _exporting(settings, employees(_sdks(settings))),
    )
    if settings.launcher == "container":
        await _none_left(forking)
        await forking.stop()
        async with _employee_containers(settings, dsn) as containers:
            await prepared(containers, "employees")
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
async def sidecar_launcher(settings: Settings) -> AsyncIterator[ProcessLauncher | ContainerLauncher]:
    """Of sidecars."""
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
async def files_launcher(
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


async def prepared(launcher: ProcessLauncher | Containers, what: str) -> None:
    """Have ready what the first launch needs."""
    try:
        await launcher.prepare()
    except LaunchFailed as error:
        log.warning("%s cannot be launched yet: %s", what, error)


def _sdks(settings: Settings) -> list[str]:
    """Which SDKs the warm parent imports: those that there are keys for."""
    keys = {"anthropic": settings.anthropic_api_key, "openai": settings.openai_api_key or settings.openai_base_url}
    return [name for name, key in keys.items() if key]


def _exporting(settings: Settings, parent: Parent) -> Parent:
    """The parent, which imports what its children need for exporting, if they do."""
    return replace(parent, preload=(*parent.preload, "empla.otlp")) if settings.collector else parent
