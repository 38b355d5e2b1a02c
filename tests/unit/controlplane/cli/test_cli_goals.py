"""`empla goals` against a control plane on loopback."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest

from empla.v1 import control_pb2

Fixture = Callable[..., Any]
ID = "01f3c0de-0000-7000-8000-000000000001"


@pytest.fixture
def goal(peer: Any) -> control_pb2.Goal:
    """The one that there is."""
    item = control_pb2.Goal(
        goal_id=ID, employee="ada", text="Win ten deals\x1b[31m", kind="achieve", priority=8, origin="grace",
        state="active", progress=0.35, reason="4 of 10", steps_done=3, steps_open=1,
        measure=control_pb2.GoalMeasure(subject="Pipeline", predicate="deals won", start=0, target=10),
    )  # fmt: skip
    for stamp in (item.deadline, item.created_at, item.assessed_at):
        stamp.FromDatetime(datetime(2027, 5, 3, 12, tzinfo=UTC))
    item.changes.add(state="active", progress=0.35, reason="4 of 10")
    plan = item.intentions.add(title="Call the open ones", why="they wait", state="running")
    plan.steps.add(
        step=1, name="List", state="done", message_id="m-1", outcome="Acme, Brandt", instruction="List them."
    )
    plan.steps.add(step=2, name="Call", state="running", message_id="m-2", instruction="Call them.", after=[1])
    for method in ("SetGoal", "GetGoal", "AbandonGoal"):
        peer.answers[method] = item
    peer.answers["ListGoals"] = control_pb2.ListGoalsResponse(goals=[item])
    return item


@pytest.mark.parametrize("arguments", [("ada",), ("list", "ada")])
def test_the_goals_of_an_employee_are_listed_by_its_name(
    goal: control_pb2.Goal, peer: Any, empla: Fixture, arguments: tuple[str, ...]
) -> None:
    ended = control_pb2.Goal(goal_id="e", text="Old", priority=10, state="abandoned")
    minor = control_pb2.Goal(goal_id="m", text="Minor", priority=1, state="active")
    peer.answers["ListGoals"] = control_pb2.ListGoalsResponse(goals=[ended, minor, goal])
    result = empla("goals", *arguments, "--all")
    assert result.exit_code == 0, result.stderr
    first, *rest = result.stdout.splitlines()[1:]
    assert first.split()[:5] == [ID, "active", "8", "###-------", "35%"]
    assert "3 done, 1 open" in first
    assert "\x1b" not in first
    assert [line.split()[0] for line in rest] == ["m", "e"]
    assert "%" not in "".join(rest)  # nobody has assessed them
    assert (peer.last.request.employee, peer.last.request.include_ended) == ("ada", True)
    shown = json.loads(empla("goals", *arguments, "--json").stdout)
    assert [one["goal_id"] for one in shown] == [ID, "m", "e"]
    assert shown[0]["measure"]["predicate"] == "deals won"


def test_it_is_said_that_there_are_none(peer: Any, empla: Fixture) -> None:
    peer.answers["ListGoals"] = control_pb2.ListGoalsResponse()
    assert "ada has no goals; `empla goals add ada TEXT`" in empla("goals", "ada").stdout


def test_one_is_set(goal: control_pb2.Goal, peer: Any, empla: Fixture) -> None:
    options = ("--maintain", "--priority", "8", "--measure", "Pipeline/deals won/lost", "--from", "-1.5", "--to", "10")
    result = empla("goals", "add", "ada", "Win ten deals", "--by", "2027-05-03T12:00+00:00", *options)
    assert result.exit_code == 0, result.stderr
    wanted = peer.last.request.goal
    assert (wanted.employee, wanted.text, wanted.kind, wanted.priority) == ("ada", "Win ten deals", "maintain", 8)
    assert wanted.deadline.ToDatetime(tzinfo=UTC) == datetime(2027, 5, 3, 12, tzinfo=UTC)
    measure = wanted.measure
    assert (measure.subject, measure.predicate, measure.start, measure.target) == (
        "Pipeline", "deals won/lost", -1.5, 10,
    )  # fmt: skip
    assert result.stdout.startswith(f"{ID}: active, priority 8")
    empla("goals", "add", "ada", "Win ten deals")
    plain = peer.last.request.goal
    assert (plain.kind, plain.priority, plain.HasField("deadline"), plain.HasField("measure")) == (
        "achieve", 5, False, False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("by", "moment"),
    [
        ("2027-05-03", datetime(2027, 5, 4)),  # noqa: DTZ001 - by the clock of this machine
        ("2027-05-03T17:30", datetime(2027, 5, 3, 17, 30)),  # noqa: DTZ001
    ],
)
def test_a_deadline_is_by_the_clock_of_this_machine_and_a_day_lasts_to_its_end(
    goal: control_pb2.Goal, peer: Any, empla: Fixture, by: str, moment: datetime
) -> None:
    assert empla("goals", "add", "ada", "Win", "--by", by).exit_code == 0
    assert peer.last.request.goal.deadline.ToDatetime(tzinfo=UTC) == moment.astimezone()


@pytest.mark.parametrize(("by", "span"), [("12h", timedelta(hours=12)), ("6w", timedelta(weeks=6))])
def test_a_deadline_may_be_a_while_from_now(
    goal: control_pb2.Goal, peer: Any, empla: Fixture, by: str, span: timedelta
) -> None:
    before = datetime.now(UTC)
    assert empla("goals", "add", "ada", "Win", "--by", by).exit_code == 0
    assert before + span <= peer.last.request.goal.deadline.ToDatetime(tzinfo=UTC) <= datetime.now(UTC) + span


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--by", "soon"), "'soon' is no deadline"),
        (("--by", "2027-13-01"), "is no deadline"),
        (("--by", "999999w"), "is no deadline"),
        (("--measure", "Pipeline/deals"), "--measure SUBJECT/PREDICATE --from NUMBER --to NUMBER"),
        (("--measure", "deals", "--from", "0", "--to", "1"), "--measure SUBJECT/PREDICATE"),
        (("--from", "0"), "--measure SUBJECT/PREDICATE"),
        (("--priority", "11"), "11"),
    ],
)
def test_what_says_no_deadline_or_measure_is_refused(
    peer: Any, empla: Fixture, options: tuple[str, ...], why: str
) -> None:
    result = empla("goals", "add", "ada", "Win", *options)
    assert result.exit_code == 2
    assert why in result.stderr
    assert peer.calls == []


def test_what_the_control_plane_refuses_is_told(peer: Any, empla: Fixture) -> None:
    why = "an employee has 32 active goals at most"
    peer.refuse("SetGoal", grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_GOALS", why)
    result = empla("goals", "add", "ada", "Win")
    assert result.exit_code != 0
    assert why in result.stderr


def test_show_tells_of_one_its_changes_and_its_plans(goal: control_pb2.Goal, empla: Fixture) -> None:
    shown = empla("goals", "show", ID).stdout
    for part in (
        f"{ID}  active  ###-------  35%",
        "deals won of Pipeline, from 0 to 10",
        "grace, 2027-05-03",
        "active 35%: 4 of 10",
        "Call the open ones  running",
        "1. List  done  m-1",
        "     | Acme, Brandt",
        "2. Call after 1  running  m-2",
        "     | Call them.",
    ):
        assert part in shown
    assert "\x1b" not in shown
    assert json.loads(empla("goals", "show", ID, "--json").stdout)["intentions"][0]["steps"][1]["after"] == [1]


def test_one_is_dropped(goal: control_pb2.Goal, peer: Any, empla: Fixture) -> None:
    goal.state = "abandoned"
    assert empla("goals", "drop", ID, "--reason", "no more deals").stdout == f"{ID}: abandoned\n"
    assert (peer.last.request.goal_id, peer.last.request.reason) == (ID, "no more deals")


@pytest.mark.parametrize("verb", ["show", "drop"])
def test_what_is_no_id_is_unknown(peer: Any, empla: Fixture, verb: str) -> None:
    result = empla("goals", verb, "win")
    assert result.exit_code == 4
    assert "there is no goal win" in result.stderr
    assert peer.calls == []
