"""`empla employee`: the employees of a control plane."""

from functools import cache
from importlib.metadata import version
from pathlib import Path

import click

from controlplane.cli.budgeting import budget_text
from controlplane.cli.client import DEADLINE, connected
from controlplane.cli.completing import EMPLOYEE
from controlplane.cli.document import as_document, enum_word
from controlplane.cli.employees_watch import watch_employees
from controlplane.cli.given import confirmed
from controlplane.cli.hooks import hook_lines
from controlplane.cli.logs import logs
from controlplane.cli.minds import beliefs, cycles
from controlplane.cli.output import age, counted, dim, json_option, local_time, milliseconds, print_json, table_lines
from controlplane.cli.pages import listed
from controlplane.cli.pausing import pause_text
from controlplane.cli.profile_file import is_file, read_profile
from controlplane.cli.progress import working
from controlplane.cli.rolling import DEFAULT_PARALLEL, MOST_PARALLEL, restart_all
from controlplane.cli.safe_text import printable
from controlplane.cli.watch import ended_by_hand, print_lines, watch_option
from empla.capabilities import MAX_IN_WORK, PER_MINUTE, PER_MINUTE_OF_SENDER, WHEN_BUSY
from empla.v1 import control_pb2

_DRAIN = click.option(
    "--drain",
    type=click.IntRange(0, 3600),
    default=0,
    metavar="SECONDS",
    help="Let messages in work finish for so long.  [default: 10]",
)
_WHEN_BUSY = click.option(
    "--when-busy",
    type=click.Choice(WHEN_BUSY),
    default=None,
    help="What a message means that comes while an earlier one of its conversation is in work.  [default: the profile's]",
)


@click.group()
def employee() -> None:
    """Create, start, stop and look after employees."""


employee.add_command(logs)
employee.add_command(cycles)
employee.add_command(beliefs)


@employee.command(name="list")
@watch_option
@json_option
def list_(watch: bool, as_json: bool) -> None:
    """List the employees and what each is doing."""
    if watch:
        ended_by_hand(watch_employees, _table, as_json=as_json)
        return
    with connected() as control_plane:
        employees = listed(control_plane.ListEmployees, control_pb2.ListEmployeesRequest(), "employees")
    if as_json:
        print_json([as_document(item) for item in employees])
    else:
        print_lines(_table(employees))


def _table(employees: list[control_pb2.Employee]) -> list[str]:
    header = ("NAME", "STATE", "HEALTH", "DOING", "AUTONOMY", "IN WORK", "EPOCH", "PID", "RESTARTS", "UP")
    nothing = "no employees; create one with `empla employee create NAME`"
    several = len({item.tenant for item in employees}) > 1
    names = [f"{item.tenant}/{item.name}" if several else item.name for item in employees]
    return table_lines(header, map(_row, names, employees), nothing=nothing)


def _row(name: str, item: control_pb2.Employee) -> tuple[str, ...]:
    health = item.health
    doing = "/".join(part for part in (health.state, health.stage) if part)
    up = age(item.launched_at) if item.pid else ""
    numbers = (str(health.in_flight), str(item.epoch), str(item.pid or ""), str(item.restarts))
    return (name, _state(item), _how(item), doing if item.pid else "", _autonomy(item), *numbers, up)


def _state(item: control_pb2.Employee) -> str:
    observed = enum_word(control_pb2.ObservedState.DESCRIPTOR, item.observed_state)
    notes = (["paused"] if item.paused else []) + ([f"build {item.health.build}"] if _is_of_another_build(item) else [])
    return f"{observed} ({', '.join(notes)})" if notes else observed


def _is_of_another_build(item: control_pb2.Employee) -> bool:
    """It may not do what this build's control plane tells it, until it is restarted."""
    return bool(item.pid and item.health.build) and item.health.build != _build()


@cache
def _build() -> str:
    return version("empla")


def _how(item: control_pb2.Employee) -> str:
    judged = item.health_state != control_pb2.HEALTH_STATE_UNSPECIFIED
    return enum_word(control_pb2.HealthState.DESCRIPTOR, item.health_state) if judged else ""


def _autonomy(item: control_pb2.Employee) -> str:
    return enum_word(control_pb2.Autonomy.DESCRIPTOR, item.autonomy)


@employee.command()
@click.argument("name", type=EMPLOYEE)
@json_option
def show(name: str, as_json: bool) -> None:
    """Show one employee with its profile and health."""
    with connected() as control_plane:
        found = control_plane.GetEmployee(control_pb2.GetEmployeeRequest(employee=name))
    if as_json:
        print_json(as_document(found))
    else:
        _print_employee(found)


def _print_employee(item: control_pb2.Employee) -> None:
    click.echo(f"{item.tenant}/{item.name}  {_state(item)}  {dim(item.employee_id)}")
    rows = {
        "role": item.profile.role,
        "autonomy": _autonomy(item),
        "paused": pause_text(item.name, item.pause) if item.paused else "",
        "desired": enum_word(control_pb2.DesiredState.DESCRIPTOR, item.desired_state),
        "build": f"{item.health.build}; `empla employee restart {item.name}` brings another"
        if _is_of_another_build(item)
        else "",
        "process": f"pid {item.pid}, epoch {item.epoch}, {counted(item.restarts, 'restart')}" if item.pid else "",
        "launched": local_time(item.launched_at),
        "last end": _last_end(item.last_end) if item.HasField("last_end") else "",
        "health": "; ".join((_how(item), *item.health_reasons)),
        "heartbeat": _heartbeat(item.health) if item.HasField("health") else "",
        "measured": _figures(item.figures),
        "bounds": _bound(item.bound) if item.HasField("bound") else "",
        "model": item.health.model,
        "in work": f"at most {counted(item.profile.max_in_work or MAX_IN_WORK, 'message')} at once",
        "rate caps": _rate_caps(item.profile.rate_caps),
        "budget": budget_text(item.profile.budget),
        "capabilities": ", ".join(item.profile.capabilities) or "all",
        "goals": "; ".join(item.profile.goals),
        "when busy": item.profile.when_busy or WHEN_BUSY[0],
        "created": local_time(item.created_at),
    }
    for label, value in rows.items():
        if value:
            click.echo(f"  {label:<13}{printable(value)}")
    for number, line in enumerate(hook_lines(item.health)):
        click.echo(f"  {'' if number else 'hooks':<13}{line}")
    for number, line in enumerate(item.last_end.log):
        click.echo(f"  {'' if number else 'log':<13}{dim(printable(line))}")
    if item.observed_state == control_pb2.OBSERVED_STATE_CRASH_LOOPING:
        click.echo(
            f"It ends again and again, so it is started rarely. `empla employee start {item.name}` starts it now."
        )


def _last_end(end: control_pb2.LastEnd) -> str:
    following = f"; started again at {local_time(end.next_start)}" if end.HasField("next_start") else ""
    return f"{end.reason}, {age(end.at)} ago{following}"


def _bound(bound: control_pb2.Bound) -> str:
    by = "its control group" if bound.kind == "cgroup" else "its process's own limit"
    return f"{bound.memory_bytes / 2**20:.0f} MiB of memory, by {by}"


def _rate_caps(caps: control_pb2.RateCaps) -> str:
    of_sender, of_all = caps.sender_per_minute or PER_MINUTE_OF_SENDER, caps.employee_per_minute or PER_MINUTE
    return f"{of_all} messages a minute, {of_sender} of one sender"


def _figures(figures: control_pb2.EmployeeFigures) -> str:
    measured = {
        f"started in {milliseconds(figures.start_ms)}": figures.start_ms,
        f"{figures.idle_memory_bytes / 2**20:.0f} MiB when idle": figures.idle_memory_bytes,
        f"about ${figures.month_cost_micros / 1e6:.2f} a month, ${figures.month_idle_cost_micros / 1e6:.2f} of it"
        " for what nobody asked": figures.month_cost_micros,
    }
    return ", ".join(said for said, value in measured.items() if value)


def _heartbeat(health: control_pb2.EmployeeHealth) -> str:
    memory = f"{health.memory_bytes / 2**20:.0f} MiB"
    doing = f"{health.state}/{health.stage}, {health.in_flight} in work"
    return f"{doing}, {memory}, loop lag {health.loop_lag_ms:.1f} ms, heard {age(health.heartbeat_at)} ago"


@employee.command()
@click.argument("name")
@click.option(
    "--profile",
    default="sales-ae",
    metavar="NAME_OR_FILE",
    show_default=True,
    help="One of `empla profile list`, or a file.",
)
@_WHEN_BUSY
@click.option("--start/--no-start", default=True, show_default=True, help="Start it as well.")
@json_option
def create(name: str, profile: str, when_busy: str | None, start: bool, as_json: bool) -> None:
    """Create the employee NAME from a shipped profile, or from a .toml or .json file."""
    request = control_pb2.CreateEmployeeRequest(name=name, start=start)
    if is_file(profile):
        request.profile.CopyFrom(read_profile(Path(profile)))
    else:
        request.profile_name = profile
    request.when_busy = when_busy or ""
    with connected() as control_plane:
        created = control_plane.CreateEmployee(request)
    _done(created, "created and starting" if start else "created, not started", as_json=as_json)


@employee.command()
@click.argument("name", type=EMPLOYEE)
@click.option("--profile", default=None, metavar="FILE", help="What it is from now on: a .toml or .json file.")
@click.option("--autonomy", type=click.Choice(["shadow", "supervised", "autonomous"]), help="What may leave unseen.")
@_WHEN_BUSY
@json_option
def update(name: str, profile: str | None, autonomy: str | None, when_busy: str | None, as_json: bool) -> None:
    """Change what is given of an employee; it goes on by it from its next step on."""
    request = control_pb2.UpdateEmployeeRequest(employee=name, when_busy=when_busy or "")
    if profile is not None:
        request.profile.CopyFrom(read_profile(Path(profile)))
    if autonomy is not None:
        request.autonomy = control_pb2.Autonomy.Value(f"AUTONOMY_{autonomy.upper()}")
    if not (profile or autonomy or when_busy):
        raise click.UsageError("Say what to change: --profile, --autonomy or --when-busy.")
    with connected() as control_plane:
        updated = control_plane.UpdateEmployee(request)
    _done(updated, "updated", as_json=as_json)


@employee.command()
@click.argument("name", type=EMPLOYEE)
@json_option
def start(name: str, as_json: bool) -> None:
    """Start an employee; it attaches a moment later."""
    with connected() as control_plane:
        started = control_plane.StartEmployee(control_pb2.StartEmployeeRequest(employee=name))
    attached = started.observed_state == control_pb2.OBSERVED_STATE_ATTACHED
    _done(started, "running" if attached else "starting", as_json=as_json)


@employee.command()
@click.argument("name", type=EMPLOYEE)
@_DRAIN
@json_option
def stop(name: str, drain: int, as_json: bool) -> None:
    """Stop an employee: messages in work finish, later ones are stored until it starts again."""
    request = control_pb2.StopEmployeeRequest(employee=name, drain_seconds=drain)
    with working(f"{name} finishes what is in work"), connected() as control_plane:
        stopped = control_plane.StopEmployee(request, timeout=DEADLINE + (drain or 10))
    _done(stopped, "stopped", as_json=as_json)


@employee.command()
@click.argument("name", default="", type=EMPLOYEE)
@click.option(
    "--all", "everybody", is_flag=True, help="All that should run, a few at once; the others answer meanwhile."
)
@click.option("--tenant", default="", metavar="NAME", help="With --all: those of one tenant.")
@click.option(
    "--parallel",
    type=click.IntRange(1, MOST_PARALLEL),
    default=DEFAULT_PARALLEL,
    show_default=True,
    help="With --all: how many at once.",
)
@_DRAIN
@json_option
def restart(*, name: str, everybody: bool, tenant: str, parallel: int, drain: int, as_json: bool) -> None:
    """Stop an employee, or with --all everybody, and start it again in a new process.

    With --all the first that does not come up again ends it: the rest runs as before.
    """
    if everybody == bool(name):
        raise click.UsageError("Name an employee or give --all, and not both.")
    if everybody:
        restart_all(tenant, parallel=parallel, drain=drain, as_json=as_json)
        return
    request = control_pb2.RestartEmployeeRequest(employee=name, drain_seconds=drain)
    with working(f"{name} starts again"), connected() as control_plane:
        restarted = control_plane.RestartEmployee(request, timeout=2 * DEADLINE + (drain or 10))
    _done(restarted, f"restarted, {_state(restarted)}", as_json=as_json)


@employee.command()
@click.argument("name", type=EMPLOYEE)
@click.option("--force", is_flag=True, help="Also while messages are in work.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def delete(*, name: str, force: bool, yes: bool, as_json: bool) -> None:
    """Stop an employee and make its name free.

    What it remembers and the logins of its browser are lost; its files stay, and its messages can be read as before.
    """
    with connected() as control_plane:
        if not yes:
            found = control_plane.GetEmployee(control_pb2.GetEmployeeRequest(employee=name))
            confirmed(_what_is_lost(found, force=force))
        request = control_pb2.DeleteEmployeeRequest(employee=name, force=force)
        with working(f"{name} is deleted"):
            control_plane.DeleteEmployee(request, timeout=2 * DEADLINE)
    if as_json:
        print_json({"employee": name, "deleted": True})
    else:
        click.echo(f"{name}: deleted")


def _what_is_lost(item: control_pb2.Employee, *, force: bool) -> str:
    in_work = item.health.in_flight
    work = f", with {counted(in_work, 'message')} in work" if in_work else ""
    unended = "\nIts messages that have not ended fail, and one review names them." if force else ""
    return printable(
        f"{item.tenant}/{item.name} is {_state(item)}{work}.\n"
        "What it remembers and the logins of its browser are lost for good; its files stay in workspaces/"
        f"{item.employee_id}, its messages can be read as before.{unended}\nDelete {item.name}?"
    )


def _done(item: control_pb2.Employee, what: str, *, as_json: bool) -> None:
    if as_json:
        print_json(as_document(item))
    else:
        click.echo(f"{item.name}: {what}")
