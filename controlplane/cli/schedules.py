"""`empla schedules`: what employees are to do later, or again and again."""

import re
from datetime import UTC, datetime
from uuid import UUID

import click

from controlplane.cli.client import connected
from controlplane.cli.completing import EMPLOYEE
from controlplane.cli.document import as_document
from controlplane.cli.errors import InvalidInput, NotFound
from controlplane.cli.output import json_option, local_time, print_json, quoted
from controlplane.cli.pages import listed
from controlplane.cli.safe_text import printable
from controlplane.cli.watch import Listing, show_list, watch_option
from empla.schedules import CATCH_UP, At, ImpossibleSchedule, timing
from empla.v1 import control_pb2

_HEADER = ("SCHEDULE", "EMPLOYEE", "NAME", "STATE", "RUNS", "NEXT", "LAST", "FOR")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}


@click.group()
def schedules() -> None:
    """Have employees do things later, or again and again."""


@schedules.command()
@click.argument("employee", type=EMPLOYEE)
@click.argument("name")
@click.argument("instruction")
@click.option("--at", metavar="TIME", help="Once, such as 2027-03-31T15:00.")
@click.option("--every", metavar="INTERVAL", help="Again and again, such as 90s, 10m, 2h or 1d; at least 60s.")
@click.option("--cron", metavar="FIELDS", help="By five fields: minute, hour, day, month, weekday: '0 9 * * 1'.")
@click.option(
    "--time-zone", default="UTC", show_default=True, metavar="ZONE", help="Of --at and --cron: Europe/Berlin."
)
@click.option(
    "--catch-up",
    type=click.Choice(CATCH_UP),
    default=CATCH_UP[0],
    show_default=True,
    help="Which of the runs are done that were missed.",
)
@json_option
def create(
    employee: str,
    name: str,
    instruction: str,
    *,
    at: str | None,
    every: str | None,
    cron: str | None,
    time_zone: str,
    catch_up: str,
    as_json: bool,
) -> None:
    """Have EMPLOYEE do what INSTRUCTION says, as a schedule called NAME; say when by --at, --every or --cron."""
    if sum(given is not None for given in (at, every, cron)) != 1:
        raise InvalidInput("say when it runs by one of --at, --every and --cron")
    wanted = control_pb2.Schedule(
        employee=employee, name=name, instruction=instruction, time_zone=time_zone, catch_up=catch_up
    )
    if at is not None:
        wanted.at.FromDatetime(_moment(at, time_zone))
    elif every is not None:
        wanted.every_seconds = _seconds(every)
    else:
        wanted.cron = cron or ""
    with connected() as control_plane:
        made = control_plane.CreateSchedule(control_pb2.CreateScheduleRequest(schedule=wanted))
    if as_json:
        print_json(as_document(made))
    else:
        click.echo(
            f"{made.schedule_id}: {printable(made.name)} runs {_when(made)}, next {local_time(made.next_run_at)}"
        )


@schedules.command(name="list")
@click.option("--employee", type=EMPLOYEE, default="", metavar="NAME", help="Only this employee's.")
@click.option("--all", "include_ended", is_flag=True, help="Ended ones as well.")
@click.option("-n", "--limit", type=click.IntRange(1, 10_000), default=200, show_default=True, help="How many.")
@watch_option
@json_option
def list_(*, employee: str, include_ended: bool, limit: int, watch: bool, as_json: bool) -> None:
    """List the schedules."""

    def look() -> Listing:
        request = control_pb2.ListSchedulesRequest(employee=employee, include_ended=include_ended)
        with connected() as control_plane:
            found = listed(control_plane.ListSchedules, request, "schedules", limit)
        nothing = "no schedules; make one with `empla schedules create`"
        return Listing([as_document(item) for item in found], _HEADER, list(map(_row, found)), nothing)

    show_list(look, as_json=as_json, watch=watch)


def _row(item: control_pb2.Schedule) -> tuple[str, ...]:
    times = (local_time(item.next_run_at), local_time(item.last_run_at))
    return (item.schedule_id, item.employee, item.name, item.state, _when(item), *times, item.sender)


@schedules.command()
@click.argument("schedule_id", metavar="ID")
@json_option
def show(schedule_id: str, as_json: bool) -> None:
    """Show the schedule ID and its last runs."""
    with connected() as control_plane:
        item = control_plane.GetSchedule(control_pb2.GetScheduleRequest(schedule_id=_checked(schedule_id)))
    if as_json:
        print_json(as_document(item))
    else:
        _print(item)


def _print(item: control_pb2.Schedule) -> None:
    click.echo(f"{item.schedule_id}  {printable(item.name)}  {item.state}")
    rows = {
        "employee": item.employee,
        "runs": _when(item),
        "next": local_time(item.next_run_at) or item.reason or "not while it is paused",
        "missed": {"latest": "the last one is done", "all": "are done, the last 100", "none": "are left out"}.get(
            item.catch_up, item.catch_up
        ),
        "for": f"{item.sender}, in {item.channel}/{item.conversation}",
        "asked in": item.asked_in,
        "made": local_time(item.created_at),
    }
    for label, value in rows.items():
        if value:
            click.echo(f"  {label:<10}{printable(value)}")
    for line in quoted(item.instruction):
        click.echo(line)
    for run in item.runs:
        what = run.message_id or f"missed: {run.reason}"
        click.echo(f"  {local_time(run.due_at)}  {printable(what)}")


@schedules.command()
@click.argument("schedule_id", metavar="ID")
@json_option
def pause(schedule_id: str, as_json: bool) -> None:
    """Let the schedule ID rest until it is resumed."""
    _update(schedule_id, paused=True, as_json=as_json)


@schedules.command()
@click.argument("schedule_id", metavar="ID")
@json_option
def resume(schedule_id: str, as_json: bool) -> None:
    """Let the schedule ID go on; what it would have done meanwhile is left out."""
    _update(schedule_id, paused=False, as_json=as_json)


def _update(schedule_id: str, *, paused: bool, as_json: bool) -> None:
    request = control_pb2.UpdateScheduleRequest(schedule_id=_checked(schedule_id), paused=paused)
    with connected() as control_plane:
        item = control_plane.UpdateSchedule(request)
    if as_json:
        print_json(as_document(item))
    else:
        following = f", next {local_time(item.next_run_at)}" if item.HasField("next_run_at") else ""
        click.echo(f"{schedule_id}: {item.state}{following}")


@schedules.command()
@click.argument("schedule_id", metavar="ID")
@json_option
def delete(schedule_id: str, as_json: bool) -> None:
    """End the schedule ID; what has begun goes on."""
    with connected() as control_plane:
        control_plane.DeleteSchedule(control_pb2.DeleteScheduleRequest(schedule_id=_checked(schedule_id)))
    if as_json:
        print_json({"schedule_id": schedule_id, "deleted": True})
    else:
        click.echo(f"{schedule_id}: deleted")


def _checked(schedule_id: str) -> str:
    try:
        return str(UUID(schedule_id))
    except ValueError as error:
        raise NotFound(
            f"there is no schedule {schedule_id}; `empla schedules list` shows their ids", reason="SCHEDULE_UNKNOWN"
        ) from error


def _moment(text: str, time_zone: str) -> datetime:
    try:
        when = timing("at", text, time_zone, anchor=datetime.now(UTC))
    except ImpossibleSchedule as error:
        raise InvalidInput(str(error), reason="IMPOSSIBLE_SCHEDULE", fields={error.field: str(error)}) from error
    assert isinstance(when, At)
    return when.moment


def _seconds(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,8})([smhd]?)", text)
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < seconds < 1 << 32:
        raise InvalidInput(f"{text!r} is no interval; one is written 90s, 10m, 2h or 1d")
    return seconds


def _when(item: control_pb2.Schedule) -> str:
    match item.WhichOneof("when"):
        case "at":
            return f"at {local_time(item.at)}"
        case "every_seconds":
            return f"every {_interval(item.every_seconds)}"
        case "cron":
            return f"{item.cron} ({item.time_zone})"
    return ""


def _interval(seconds: int) -> str:
    unit, size = next((unit, size) for unit, size in reversed(_UNITS.items()) if seconds % size == 0)
    return f"{seconds // size}{unit or 's'}"
