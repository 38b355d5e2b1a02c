"""One employee in one process: builds its parts by hand and lets it live.

Exit codes: 0 drained, 3 superseded by a newer launch, 4 refused by the control plane, 5 out of memory, 1 anything else.
"""

import asyncio
import logging
import os
import sys
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from pydantic import SecretStr

from agent.bounds import bound
from agent.employee import DigitalEmployee
from agent.errors import GatewayUnavailable, Superseded
from agent.gateway import GrpcGateway
from agent.hook_packages import installed
from agent.models.choose import ModelSettings, choose_model
from agent.settings import AgentSettings
from empla import telemetry

EXIT_SUPERSEDED = 3
EXIT_REFUSED = 4
EXIT_OUT_OF_MEMORY = 5
BEHIND = 5
"""How nice an employee and its programs are: one that uses every processor leaves most of them to what serves all."""

log = logging.getLogger("agent")


def launch(settings: dict[str, Any]) -> int:
    """Run an employee in a process that was forked for it; returns the exit code."""
    return run(AgentSettings(**settings))


def run(settings: AgentSettings) -> int:
    """Run the employee until it is drained; returns the exit code."""
    os.nice(BEHIND)
    employee = str(settings.employee_id)
    with telemetry.started("empla-agent", level=settings.log_level, collector=settings.collector, employee=employee):
        if settings.memory_bytes is not None and settings.bounds is not None:
            bound(settings.identity, settings.memory_bytes, settings.bounds)
        return asyncio.run(_lived(settings))


async def live_by(settings: dict[str, Any]) -> int:
    """Live as a task of another process, until drained; returns the exit code."""
    return await _lived(AgentSettings(**settings))


async def _lived(settings: AgentSettings) -> int:
    code = 0
    try:
        await _live(settings)
    except* Superseded as group:
        log.warning("superseded: %s", group.exceptions[0])
        code = EXIT_SUPERSEDED
    except* GatewayUnavailable as group:
        log.warning("refused: %s", group.exceptions[0])
        code = EXIT_REFUSED
    except* MemoryError:
        log.error("out of memory")  # noqa: TRY400 - where it ran out says nothing of who has it
        code = EXIT_OUT_OF_MEMORY
    return code


async def _live(settings: AgentSettings) -> None:
    models = ModelSettings(
        provider=settings.model_provider,
        name=settings.model_name or None,
        anthropic_api_key=_plain(settings.anthropic_api_key),
        openai_api_key=_plain(settings.openai_api_key),
        openai_base_url=settings.openai_base_url,
    )
    chosen = choose_model(models)
    mind = choose_model(replace(models, name=settings.model_mind)).model if settings.model_mind else chosen.model
    if chosen.notice:
        log.warning(chosen.notice)
    gateway = GrpcGateway(
        settings.gateway,
        settings.credential.get_secret_value(),
        settings.identity,
        build=await asyncio.to_thread(version, "empla"),
        pid=os.getpid(),
        transport=settings.transport,
    )
    employee = DigitalEmployee(
        settings.identity,
        settings.database_url.get_secret_value(),
        settings.workspace,
        gateway,
        chosen.model,
        quota_bytes=settings.quota_bytes,
        quota_entries=settings.quota_entries,
        compute_packages=settings.compute_packages,
        browser_profile=settings.browser_profile,
        model_prices=settings.model_prices,
        mind=mind,
        hooks=await installed(settings.hooks),
    )
    try:
        await employee.start()
    finally:
        await chosen.model.aclose()
        if mind is not chosen.model:
            await mind.aclose()


def _plain(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None


if __name__ == "__main__":
    sys.exit(run(AgentSettings()))
