"""Why an employee is paused, and what ends that, in words."""

from controlplane.cli.output import local_time
from empla.v1 import control_pb2


def pause_text(name: str, pause: control_pb2.PauseState) -> str:
    """`ada is paused since 2026-11-27 09:30:00 by operator: too many replies; it goes on with `empla resume ada``."""
    of_budget = pause.cause.endswith("budget")
    by = "" if of_budget else f" by {pause.by}"
    why = f": {pause.reason}" if pause.reason else ""
    with_tenant = " with its tenant" if pause.tenant else ""
    again = f"`empla resume {f'--tenant {pause.tenant}' if pause.tenant else name}`"
    until = f"at 00:00 UTC, or with {again}" if of_budget else f"with {again}"
    return f"{name} is paused{with_tenant} since {local_time(pause.since)}{by}{why}; it goes on {until}"
