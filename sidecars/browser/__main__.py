"""The browser sidecar: pages of one employee, whose files come from and go to its workspace, served to that employee."""

import asyncio
import logging
import os
import sys
from dataclasses import replace
from typing import Any, cast

from empla.egress import EgressRule
from empla.v1 import control_pb2
from empla.v1 import sidecar_pb2 as pb
from sidecars import serving
from sidecars.settings import EnvironmentSettings, SidecarSettings
from workstation.egress import EgressPolicy, EgressProxy
from workstation.errors import WorkstationError
from workstation.forwarding import Forwarding
from workstation.interface import Browser
from workstation.local.browser.browser import LocalBrowser
from workstation.local.browser.engine import Engine, default_limits
from workstation.local.files import LocalFileSystem
from workstation.local.jail.cgroups import GroupLimits
from workstation.opening import OpenedOnUse

log = logging.getLogger(__name__)


def limits_of(settings: SidecarSettings) -> GroupLimits:
    """What Chromium may use: the usual, but for what this sidecar has more or less of."""
    usual = default_limits()
    return replace(
        usual,
        memory_bytes=settings.memory_bytes or usual.memory_bytes,
        cpus=min(settings.cpus or float("inf"), float(os.cpu_count() or 1)),
    )


async def live(settings: SidecarSettings) -> None:
    """Serve until the tenure is over."""
    told = pb.SidecarConfiguration()
    async with EgressProxy() as egress, Engine(egress, limits=limits_of(settings), shared=False) as engine:

        def configure(rules: tuple[EgressRule, ...], configuration: pb.SidecarConfiguration) -> None:
            egress.policy = EgressPolicy(rules)
            told.CopyFrom(configuration)

        def open_browser() -> LocalBrowser:
            return LocalBrowser(
                files,
                egress=egress,
                profile=settings.browser_profile,
                engine=engine,
                refuse_download=lambda: told.download_refusal,
                refuse_submission=lambda sender, receiver: told.submission_refusal,
            )

        async with (
            LocalFileSystem(
                settings.workspace, quota_bytes=settings.quota_bytes, quota_entries=settings.quota_entries
            ) as files,
            OpenedOnUse(open_browser) as late,
            asyncio.TaskGroup() as tasks,
        ):
            starting = tasks.create_task(_start(engine))  # while the employee is on its way here
            try:
                # Only one Browser at a time may have a profile: a sidecar that waits for its employee must not hold it.
                browser = cast("Browser", Forwarding(Browser, late.get))
                await serving.serve(settings, control_pb2.SIDECAR_KIND_BROWSER, configure, browser=browser)
            finally:
                starting.cancel()


async def _start(engine: Engine) -> None:
    try:
        await engine.chromium()
    except WorkstationError as error:
        log.warning("Chromium does not start: %s", error)  # as each call will be told


def launch(settings: dict[str, Any]) -> int:
    """Be a sidecar, in a process that was forked for it; returns the exit code."""
    return serving.run(SidecarSettings(**settings), live)


if __name__ == "__main__":
    sys.exit(serving.run(EnvironmentSettings(), live))
