"""`empla goals`: what employees work for by themselves, and how far they are."""

import re
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import click

from controlplane.cli.client import connected
from controlplane.cli.completing import EMPLOYEE
from controlplane.cli.document import as_document
from controlplane.cli.errors import InvalidInput, NotFound
from controlplane.cli.output import json_option, local_time, print_json, quoted
from controlplane.cli.pages import listed
from controlplane.cli.safe_text import one_line, printable
from controlplane.cli.watch import Listing, show_list, watch_option
from empla.goals import USUAL_PRIORITY
from empla.v1 import control_pb2

_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_BAR = 10
_HEADER = ("GOAL", "STATE", "PRIORITY", "PROGRESS", "BY", "STEPS", "TEXT")


class _ListedByName(click.Group):
    """Takes a name that is no command for that of an employee whose goals are to be listed."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = args[0] in self.commands or args[0].startswith("-")
        return super().resolve_command(ctx, args if known else ["list", *args])


@click.group(cls=_ListedByName)
def goals() -> None:
    """See what employees work for by themselves: `empla goals NAME`; and set them goals."""


@goals.command(name="list")
@click.argument("name", type=EMPLOYEE)
@click.option("--all", "include_ended", is_flag=True, help="Ended ones as well.")
@click.option("-n", "--limit", type=click.IntRange(1, 10_000), default=200, show_default=True, help="At most so many.")
@watch_option
@json_option
def list_(*, name: str, include_ended: bool, limit: int, watch: bool, as_json: bool) -> None:
    """List the goals of the employee NAME, the most important first."""

    def look() -> Listing:
        request = control_pb2.ListGoalsRequest(employee=name, include_ended=include_ended)
        with connected() as control_plane:
            found = listed(control_plane.ListGoals, request, "goals", limit)
        found.sort(key=lambda goal: (goal.state != "active", -goal.priority))
        nothing = f"{name} has no goals; `empla goals add {name} TEXT` sets one"
        return Listing([as_document(goal) for goal in found], _HEADER, list(map(_row, found)), nothing)

    show_list(look, as_json=as_json, watch=watch)


def _row(goal: control_pb2.Goal) -> tuple[str, ...]:
    steps = f"{goal.steps_done} done" + (f", {goal.steps_open} open" if goal.steps_open else "")
    measures = (goal.state, str(goal.priority), _progress(goal), local_time(goal.deadline), steps)
    return (goal.goal_id, *measures, goal.text)


def _progress(goal: control_pb2.Goal) -> str:
    """`#######---  70%`; of a goal that nobody has assessed yet, nothing."""
    if not goal.HasField("assessed_at"):
        return ""
    filled = int(goal.progress * _BAR)
    return f"{'#' * filled}{'-' * (_BAR - filled)} {goal.progress:4.0%}"


@goals.command()
@click.argument("name", type=EMPLOYEE)
@click.argument("text")
@click.option("--maintain", is_flag=True, help="It is to be kept, and does not end once it is reached.")
@click.option(
    "--priority", type=click.IntRange(1, 10), default=USUAL_PRIORITY, show_default=True, help="10 comes first."
)
@click.option("--by", metavar="TIME", help="Its deadline: 2026-12-31, 2026-12-31T17:00, or from now on 12h, 10d, 6w.")
@click.option("--measure", metavar="SUBJECT/PREDICATE", help="The number that tells how far it is, as it is believed.")
@click.option("--from", "start", type=float, help="That number at the start.")
@click.option("--to", "target", type=float, help="That number when the goal is reached.")
@json_option
def add(
    name: str,
    text: str,
    *,
    maintain: bool,
    priority: int,
    by: str | None,
    measure: str | None,
    start: float | None,
    target: float | None,
    as_json: bool,
) -> None:
    """Set the employee NAME the goal TEXT."""
    wanted = control_pb2.Goal(employee=name, text=text, kind="maintain" if maintain else "achieve", priority=priority)
    if by is not None:
        wanted.deadline.FromDatetime(_deadline(by))
    if (measured := _measure(measure, start, target)) is not None:
        wanted.measure.CopyFrom(measured)
    with connected() as control_plane:
        goal = control_plane.SetGoal(control_pb2.SetGoalRequest(goal=wanted))
    if as_json:
        print_json(as_document(goal))
    else:
        click.echo(f"{goal.goal_id}: {goal.state}, priority {goal.priority}: {printable(one_line(goal.text))}")


def _measure(measure: str | None, start: float | None, target: float | None) -> control_pb2.GoalMeasure | None:
    if measure is None and start is None and target is None:
        return None
    subject, slash, predicate = (measure or "").partition("/")
    if start is None or target is None or not slash:
        raise InvalidInput("a measure is written --measure SUBJECT/PREDICATE --from NUMBER --to NUMBER")
    return control_pb2.GoalMeasure(subject=subject, predicate=predicate, start=start, target=target)


def _deadline(text: str) -> datetime:
    """A moment by the clock of this machine; a day means its end."""
    try:
        if span := re.fullmatch(r"([0-9]{1,5})([hdw])", text):
            return datetime.now().astimezone() + int(span[1]) * _UNITS[span[2]]
        moment = datetime.fromisoformat(text)
        return (moment + timedelta(days=1) if len(text) <= len("2026-12-31") else moment).astimezone()
    except (ValueError, OverflowError) as error:
        raise InvalidInput(
            f"{text!r} is no deadline; one is written 2026-12-31, 2026-12-31T17:00, 12h, 10d or 6w"
        ) from error


@goals.command()
@click.argument("goal_id", metavar="GOAL")
@json_option
def show(goal_id: str, as_json: bool) -> None:
    """Show a goal, how it came along, and the plans for it with their steps."""
    with connected() as control_plane:
        goal = control_plane.GetGoal(control_pb2.GetGoalRequest(goal_id=_checked(goal_id)))
    if as_json:
        print_json(as_document(goal))
    else:
        _print(goal)


def _print(goal: control_pb2.Goal) -> None:
    click.echo(f"{goal.goal_id}  {goal.state}  {_progress(goal)}".rstrip())
    for line in quoted(goal.text):
        click.echo(line)
    _fields(
        {
            "employee": goal.employee,
            "kind": f"{goal.kind}, priority {goal.priority}",
            "by": local_time(goal.deadline),
            "measure": _in_words(goal),
            "set by": f"{goal.origin}, {local_time(goal.created_at)}",
            "ended": local_time(goal.ended_at),
            "reason": goal.reason,
        }
    )
    for change in goal.changes:
        what = f"{change.state} {change.progress:.0%}: {change.reason}"
        click.echo(f"  {local_time(change.occurred_at)}  {printable(one_line(what))}")
    for intention in goal.intentions:
        _print_plan(intention)


def _print_plan(intention: control_pb2.Intention) -> None:
    click.echo(f"\n{printable(one_line(intention.title))}  {intention.state}  {local_time(intention.created_at)}")
    _fields({"why": intention.why, "reason": intention.reason})
    for step in intention.steps:
        after = f" after {', '.join(map(str, step.after))}" if step.after else ""
        click.echo(f"  {step.step}. {printable(one_line(step.name))}{after}  {step.state}  {step.message_id}".rstrip())
        for line in quoted(step.outcome or step.instruction, margin="     | "):
            click.echo(line)


def _in_words(goal: control_pb2.Goal) -> str:
    measure = goal.measure
    if not goal.HasField("measure"):
        return ""
    return f"{measure.predicate} of {measure.subject}, from {measure.start:g} to {measure.target:g}"


def _fields(rows: dict[str, Any]) -> None:
    for label, value in rows.items():
        if value:
            click.echo(f"  {label:<10}{printable(value)}")


@goals.command()
@click.argument("goal_id", metavar="GOAL")
@click.option("--reason", default="", metavar="TEXT", help="Why, for whoever looks at it later.")
@json_option
def drop(goal_id: str, reason: str, as_json: bool) -> None:
    """Have a goal given up: its plans end, and what is in work for it stops."""
    request = control_pb2.AbandonGoalRequest(goal_id=_checked(goal_id), reason=reason)
    with connected() as control_plane:
        goal = control_plane.AbandonGoal(request)
    if as_json:
        print_json(as_document(goal))
    else:
        click.echo(f"{goal.goal_id}: {goal.state}")


def _checked(goal_id: str) -> str:
    try:
        return str(UUID(goal_id))
    except ValueError as error:
        raise NotFound(
            f"there is no goal {goal_id}; `empla goals NAME` shows their ids", reason="GOAL_UNKNOWN"
        ) from error
