"""`empla employee` against a control plane on loopback."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from empla.v1 import control_pb2
from tests.unit.controlplane.cli.terminal import at_terminal

Fixture = Callable[..., Any]

TOML = """
role = "Clerk"
autonomy = "supervised"
goals = ["answer"]
[loop]
cycle_seconds = 60
"""


def _employee(**fields: Any) -> control_pb2.Employee:
    employee = control_pb2.Employee(
        employee_id="e-1", tenant="default", name="sales-ae", autonomy=control_pb2.AUTONOMY_AUTONOMOUS, epoch=3, pid=42,
        observed_state=control_pb2.OBSERVED_STATE_ATTACHED, desired_state=control_pb2.DESIRED_STATE_RUNNING,
        profile=control_pb2.Profile(role="Account executive", goals=["sell"]),
        health=control_pb2.EmployeeHealth(state="idle", stage="sleep", in_flight=1, memory_bytes=20 * 2**20),
    )  # fmt: skip
    employee.created_at.GetCurrentTime()
    employee.launched_at.GetCurrentTime()
    for name, value in fields.items():
        setattr(employee, name, value)
    return employee


def test_list_is_an_aligned_table(peer: Any, empla: Fixture) -> None:
    pages = {
        "": control_pb2.ListEmployeesResponse(employees=[_employee()], next_page_token="more"),
        "more": control_pb2.ListEmployeesResponse(employees=[_employee(name="a-much-longer-name", paused=True)]),
    }
    peer.answers["ListEmployees"] = lambda request: pages[request.page_token]
    header, first, second = empla("employee", "list").stdout.splitlines()
    assert header.index("STATE") == first.index("attached") == second.index("attached (paused)")
    assert "idle/sleep" in first
    assert "\x1b" not in first


def test_who_runs_another_build_is_shown(peer: Any, empla: Fixture) -> None:
    """It may not know what this one's control plane tells it, until it is restarted."""
    old, same = _employee(paused=True), _employee(name="new")
    old.health.build, same.health.build = "0.0.1", version("empla")
    peer.answers["ListEmployees"] = control_pb2.ListEmployeesResponse(employees=[old, same])
    _, first, second = empla("employee", "list").stdout.splitlines()
    assert "attached (paused, build 0.0.1)" in first
    assert "build" not in second
    peer.answers["GetEmployee"] = old
    assert "0.0.1; `empla employee restart sales-ae` brings another" in empla("employee", "show", "sales-ae").stdout


def test_list_names_employees_of_several_tenants_so_that_each_can_be_asked_for(peer: Any, empla: Fixture) -> None:
    employees = [_employee(), _employee(tenant="acme")]
    peer.answers["ListEmployees"] = control_pb2.ListEmployeesResponse(employees=employees)
    _, *lines = empla("employee", "list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["default/sales-ae", "acme/sales-ae"]
    peer.answers["ListEmployees"] = control_pb2.ListEmployeesResponse(employees=employees[1:])
    assert empla("employee", "list").stdout.splitlines()[1].startswith("sales-ae ")


@pytest.mark.parametrize("named", [(), ("sales-ae", "--all")])
def test_restart_is_of_one_or_of_all(peer: Any, empla: Fixture, named: tuple[str, ...]) -> None:
    refused = empla("employee", "restart", *named)
    assert (refused.exit_code, "and not both" in refused.stderr, peer.calls) == (2, True, [])


def test_list_says_what_to_do_when_there_is_none(peer: Any, empla: Fixture) -> None:
    peer.answers["ListEmployees"] = control_pb2.ListEmployeesResponse()
    assert "empla employee create" in empla("employee", "list").stdout


def test_show_says_how_it_ended_and_what_to_do_about_a_crash_loop(peer: Any, empla: Fixture) -> None:
    ended = control_pb2.LastEnd(reason="exit code 1", log=["Traceback", "\x1b[2Jno such key"])
    ended.at.GetCurrentTime()
    ended.next_start.GetCurrentTime()
    looping = _employee(pid=0, observed_state=control_pb2.OBSERVED_STATE_CRASH_LOOPING)
    looping.last_end.CopyFrom(ended)
    peer.answers["GetEmployee"] = looping
    shown = empla("employee", "show", "sales-ae").stdout
    assert "crash_looping" in shown
    assert re.search(r"exit code 1, \d+s ago; started again at ", shown)
    assert "Traceback" in shown
    assert "\x1b[2J" not in shown
    assert "`empla employee start sales-ae` starts it now" in shown


@pytest.mark.parametrize(("kind", "by"), [("cgroup", "its control group"), ("process", "its process's own limit")])
def test_show_says_what_bounds_it(peer: Any, empla: Fixture, kind: str, by: str) -> None:
    employee = _employee()
    employee.bound.CopyFrom(control_pb2.Bound(kind=kind, memory_bytes=512 << 20))
    peer.answers["GetEmployee"] = employee
    assert f"512 MiB of memory, by {by}" in empla("employee", "show", "sales-ae").stdout


def test_json_has_numbers_and_words(peer: Any, empla: Fixture) -> None:
    peer.answers["ListEmployees"] = control_pb2.ListEmployeesResponse(employees=[_employee()])
    (document,) = json.loads(empla("employee", "list", "--json").stdout)
    assert (document["epoch"], document["observed_state"], document["autonomy"]) == (3, "attached", "autonomous")
    assert document["health"]["memory_bytes"] == 20 * 2**20
    assert document["health"]["reported"] is None
    assert document["created_at"].endswith("Z")


def test_show(peer: Any, empla: Fixture) -> None:
    peer.answers["GetEmployee"] = _employee()
    shown = empla("employee", "show", "sales-ae").stdout
    for part in (
        "default/sales-ae",
        "attached",
        "Account executive",
        "pid 42, epoch 3",
        "20 MiB",
        "when busy    enqueue",
    ):
        assert part in shown
    assert json.loads(empla("employee", "show", "sales-ae", "--json").stdout)["name"] == "sales-ae"


def test_how_it_fares_is_told_with_why_and_what_was_measured(peer: Any, empla: Fixture) -> None:
    employee = _employee(health_state=control_pb2.HEALTH_STATE_UNHEALTHY)
    employee.health_reasons.extend(["1 step has not moved", "the model cannot be used: \x1b"])
    figures = employee.figures
    figures.start_ms, figures.idle_memory_bytes = 420, 18 * 2**20
    figures.month_cost_micros, figures.month_idle_cost_micros = 12_500_000, 2_000_000
    peer.answers["GetEmployee"] = employee
    peer.answers["ListEmployees"] = control_pb2.ListEmployeesResponse(employees=[employee, _employee(name="other")])
    shown = empla("employee", "show", "sales-ae").stdout
    assert "  health       unhealthy; 1 step has not moved; the model cannot be used: \ufffd\n" in shown
    measured = "started in 420 ms, 18 MiB when idle, about $12.50 a month, $2.00 of it for what nobody asked"
    assert f"  measured     {measured}\n" in shown
    header, first, second = empla("employee", "list").stdout.splitlines()
    assert first[header.index("HEALTH") :].startswith("unhealthy")
    assert second[header.index("HEALTH") :].startswith(" ")
    peer.answers["GetEmployee"] = _employee()
    shown = empla("employee", "show", "sales-ae").stdout
    assert "  health " not in shown
    assert "measured" not in shown


def test_show_tells_how_hooks_fare(peer: Any, empla: Fixture) -> None:
    counts: Any = {
        "calls": 12,
        "failed": 3,
        "timed_out": 1,
        "dropped": 0,
        "waiting": 2,
        "last_error": "ValueError: \x1b[31m",
    }
    employee = _employee()
    employee.health.reported.update({"hooks": {"notes.answered": counts, "crm": {"missing": "no module"}, "odd": 7}})
    peer.answers["GetEmployee"] = employee
    *_, first, second = empla("employee", "show", "sales-ae").stdout.splitlines()
    assert first == "  hooks        crm: not loaded: no module"
    said = "notes.answered: told 12 times, 3 failed, 1 of them too late, 2 waiting; last error: ValueError: �[31m"
    assert second.split("  ")[-1].strip() == said
    shown = json.loads(empla("employee", "show", "sales-ae", "--json").stdout)
    assert shown["health"]["reported"]["hooks"]["notes.answered"]["failed"] == 3
    employee.health.reported.update({"hooks": "none"})
    assert "hooks" not in empla("employee", "show", "sales-ae").stdout


def test_create_from_a_shipped_profile(peer: Any, empla: Fixture) -> None:
    peer.answers["CreateEmployee"] = _employee()
    result = empla("employee", "create", "sales-ae", "--no-start")
    assert (result.exit_code, result.stdout) == (0, "sales-ae: created, not started\n")
    sent = peer.last.request
    assert (sent.name, sent.profile_name, sent.start) == ("sales-ae", "sales-ae", False)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("clerk.toml", TOML),
        (
            "clerk.json",
            '{"role": "Clerk", "autonomy": "supervised", "goals": ["answer"], "loop": {"cycle_seconds": 60}}',
        ),
    ],
)
def test_create_from_a_file(peer: Any, empla: Fixture, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    peer.answers["CreateEmployee"] = _employee()
    assert empla("employee", "create", "clerk", "--profile", str(tmp_path / name)).exit_code == 0
    profile = peer.last.request.profile
    assert (profile.role, profile.goals, profile.loop.cycle_seconds) == ("Clerk", ["answer"], 60)
    assert profile.autonomy == control_pb2.AUTONOMY_SUPERVISED
    assert peer.last.request.start


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("p.toml", "rol = 'x'", "1:1: there is no field 'rol'; there are: role, "),
        (
            "p.toml",
            "role = 'x'\n[loop]\n  cicle = 1",
            "3:3: there is no field 'loop.cicle'; there are: loop.cycle_seconds",
        ),
        ("p.toml", "role = 'x'\nloop.cicle = 1", "2:6: there is no field 'loop.cicle'"),
        ("p.toml", "role = 'x'\n[lop]\ncycle_seconds = 1", "2:2: there is no field 'lop'"),
        ("p.toml", "role = 'x'\n[loop]\ncycle_seconds = -1", "3:17: loop.cycle_seconds is a whole number from 0"),
        (
            "p.toml",
            "role = 'x'\n[loop]\nactive_hours = 'Mon-Fry 08:00-18:00'",
            "3:16: loop.active_hours: 'Fry' is no day",
        ),
        ("p.toml", "role = 'x'\n[loop]\ntime_zone = 'Berlin'", "3:13: loop.time_zone: 'Berlin' is no time zone"),
        (
            "p.toml",
            "autonomy = 'sometimes'",
            "1:12: autonomy is one of shadow, supervised, autonomous, and not 'sometimes'",
        ),
        (
            "p.json",
            '{"role": "x", "autonomy": 7}',
            "1:27: autonomy is one of shadow, supervised, autonomous, and not 7",
        ),
        ("p.toml", "role = 2026-01-01", "1:8: role is a text in quotes, and not 2026-01-01"),
        ("p.toml", "goals = ['one']\n", "1:1: role is what the employee is"),
        ("p.toml", "role = ''\n", "1:8: role is what the employee is"),
        (
            "p.toml",
            'role = "x"\nwhen_busy =   "later" # or sooner',
            "2:15: when_busy is one of enqueue, collect, steer",
        ),
        (
            "p.toml",
            "role = 'x'\ncapabilities = [\n  'memory', # it\n  'magic',\n]",
            "4:3: capabilities: there is no 'magic'",
        ),
        ("p.toml", "role = 'x'\n[policy]\nclick = 'ask'", "3:1: policy: there is no risk 'click'; there are: submit"),
        ("p.toml", "role = 'x'\n[policy]\nsubmit = 'maybe'", "3:10: policy.submit is one of allow, ask, deny"),
        (
            "p.toml",
            "role = 'x'\n[[egress]]\ndomain = 'a.example'\n\n[[egress]]\ndomain = 'b.example'\nports = [443, 99999]",
            "7:15: egress[1].ports[1]: 99999 is no port: write a number from 1 to 65535",
        ),
        (
            "p.toml",
            "role = 'x'\negress = [{domain = 'a.example'}, {ports = [1]}]",
            "2:35: egress[1].domain: '' is no domain",
        ),
        (
            "p.toml",
            "role = 'x'\n[[egress]]\ndomain = '127.0.0.1'",
            "3:10: egress[0].domain: 127.0.0.1 is a private address",
        ),
        (
            "p.toml",
            "role = 'x'\n[[schedules]]\nname = 'a'\ninstruction = 'Go'\ncron = '0 9 * * 8'",
            "5:8: schedules[0].cron: '0 9 * * 8' is no cron expression",
        ),
        (
            "p.toml",
            "role = 'x'\n[[schedules]]\nname = 'a'\ninstruction = 'Go'",
            "2:3: schedules[0]: exactly one of at, every_seconds and cron says when it runs",
        ),
        (
            "p.json",
            '{"role": "x",\n "egress": [{"domain": "a", "port": 1}]}',
            "2:29: there is no field 'egress[0].port'",
        ),
        ("p.json", '{"role": "x",\n "loop": {}, "role": "y"}', "2:14: role stands here for the second time"),
        ("p.toml", "role = 'é'\r\ngoals = 1", "2:9: goals is a list, and not 1"),
        ("p.toml", "role = 'é'\r\n\r\ngoals = one\r\n", "3:9: not valid TOML: Invalid value"),
        ("p.toml", "role = 'é'\r\ngoals = '\udcff'", "2:10: not valid TOML: this is not UTF-8"),
        ("p.toml", "role = 'x'\n'max in work' = 1", "2:1: there is no field 'max in work'"),
        ("p.toml", "role =", "1:7: not valid TOML: Invalid value; the text ends here"),
        ("p.toml", "role = 'x'\nautonomy = shadow", "2:12: not valid TOML: Invalid value; text stands in quotes"),
        ("p.toml", "role = 'x'\ngoals = [\n  'one',\n", "3:9: not valid TOML: Invalid value; the text ends here"),
        (
            "p.toml",
            "role = 'x'\ngoals = []\ngoals = [\n 'one'\n]",
            "3:1: not valid TOML: Cannot overwrite a value; each key is written once",
        ),
        ("p.json", "{", "1:2: not valid JSON"),
        ("p.json", '{"role": "x",\n}', "not valid JSON"),
        ("p.json", "[" * 100_000, "not valid JSON"),
        ("p.json", '{"role": "x", "goals": ' + "[" * 3000 + "]" * 3000 + "}", "not valid JSON"),
        ("p.json", "\n []", "2:2: this is not a profile: it holds no fields"),
        ("p.yaml", "role: x", ".toml or a .json"),
        ("p.json", "\udcff", "1:1: not valid JSON: this is not UTF-8"),
        ("p.toml", "role = 'x'\nrole = '\udcff'", "2:9: not valid TOML: this is not UTF-8"),
    ],
)
def test_a_wrong_profile_names_file_and_place_and_what_would_be_right(
    peer: Any, empla: Fixture, tmp_path: Path, name: str, text: str, said: str
) -> None:
    path = tmp_path / name
    path.write_text(text, errors="surrogateescape", newline="")
    result = empla("employee", "create", "clerk", "--profile", str(path))
    assert result.exit_code == 2
    assert str(path) in result.stderr
    assert (f"{path}:{said}" if said[0].isdigit() else said) in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not peer.calls


def test_all_mistakes_of_a_profile_are_told_in_their_order(peer: Any, empla: Fixture, tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text('autonomy = "often"\nrole = 1\n[model]\nprovder = "openai"\n')
    result = empla("employee", "create", "clerk", "--profile", str(path), "--json")
    error = json.loads(result.stderr)["error"]
    assert [said.split(": ")[0] for said in error["message"].split("; /")] == [
        f"{path}:1:12",
        f"{path}:2:8".removeprefix("/"),
        f"{path}:4:1".removeprefix("/"),
    ]
    assert set(error["fields"]) == {"autonomy", "role", "model.provder"}
    assert error["reason"] == "PROFILE_INVALID"
    assert not peer.calls


def test_a_missing_profile_file(peer: Any, empla: Fixture) -> None:
    result = empla("employee", "create", "clerk", "--profile", "/nowhere/p.toml")
    assert (result.exit_code, "/nowhere/p.toml" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "method", "said", "seconds"),
    [
        (("start",), "StartEmployee", "sales-ae: running\n", 30),
        (("stop", "--drain", "100"), "StopEmployee", "sales-ae: stopped\n", 130),
        (("restart",), "RestartEmployee", "sales-ae: restarted, attached\n", 70),
    ],
)
def test_lifecycle(
    peer: Any, empla: Fixture, arguments: tuple[str, ...], method: str, said: str, seconds: float
) -> None:
    peer.answers[method] = _employee()
    result = empla("employee", *arguments, "sales-ae")
    assert (result.exit_code, result.stdout, peer.last.request.employee) == (0, said, "sales-ae")
    assert peer.last.seconds_left == pytest.approx(seconds, abs=10)


def test_update_changes_what_is_given(peer: Any, empla: Fixture) -> None:
    peer.answers["UpdateEmployee"] = _employee()
    assert empla("employee", "update", "sales-ae", "--when-busy", "steer").stdout == "sales-ae: updated\n"
    sent = peer.last.request
    assert (sent.when_busy, sent.autonomy, sent.HasField("profile")) == ("steer", 0, False)
    assert empla("employee", "update", "sales-ae", "--autonomy", "shadow").exit_code == 0
    assert peer.last.request.autonomy == control_pb2.AUTONOMY_SHADOW
    for wrong in ((), ("--when-busy", "later")):
        assert empla("employee", "update", "sales-ae", *wrong).exit_code == 2


def test_delete_asks_first(peer: Any, empla: Fixture) -> None:
    peer.answers["DeleteEmployee"] = control_pb2.DeleteEmployeeResponse()
    health = control_pb2.EmployeeHealth(in_flight=2)
    peer.answers["GetEmployee"] = control_pb2.Employee(
        tenant="default", name="sales-ae", employee_id="e-1", health=health
    )
    for options, fails in ((), False), (("--force",), True):
        refused = empla("employee", "delete", "sales-ae", *options, stdin="n\n")
        assert (refused.exit_code != 0, refused.stdout) == (True, "")
        assert "default/sales-ae is" in refused.stderr
        assert "2 messages in work" in refused.stderr
        assert "workspaces/e-1" in refused.stderr
        assert ("that have not ended fail" in refused.stderr) is fails
    assert {call.method for call in peer.calls} == {"GetEmployee"}
    assert empla("employee", "delete", "sales-ae", "--force", "--yes").exit_code == 0
    assert peer.last.request.force


def test_delete_with_nobody_to_ask_says_what_to_add(peer: Any, empla: Fixture) -> None:
    peer.answers["GetEmployee"] = control_pb2.Employee(name="sales-ae")
    result = empla("employee", "delete", "sales-ae", "--json", stdin="")
    said = result.stderr.splitlines()[-1]
    assert (result.exit_code, "add --yes" in said, "NOT_CONFIRMED" in said) == (2, True, True)


def test_a_person_sees_that_something_takes_long(peer: Any) -> None:
    def slowly(_: object) -> control_pb2.Employee:
        time.sleep(1.5)
        return control_pb2.Employee(name="sales-ae")

    peer.answers["StopEmployee"] = slowly
    with at_terminal("employee", "stop", "sales-ae") as (terminal, process):
        terminal.wait_for("sales-ae finishes what is in work")
        assert terminal.wait_for("sales-ae: stopped").endswith("\x1b[K")  # the line is gone
        assert process.wait(10) == 0


def test_logs_are_readable(peer: Any, empla: Fixture) -> None:
    record = {"time": "2026-01-02T03:04:05.678+00:00", "level": "info", "logger": "agent", "message": "hi", "n": 1}
    lines = [json.dumps(record), "plain \x1b[31m", '{"no": "record"}']
    peer.answers["TailLogs"] = lambda _: [control_pb2.LogLine(text=line) for line in lines]
    first, second, third = empla("employee", "logs", "sales-ae", "-n", "3").stdout.splitlines()
    assert first == "2026-01-02 03:04:05.678 info    agent: hi  n=1"
    assert (second, third) == ("plain �[31m", '{"no": "record"}')
    assert (peer.last.request.lines, peer.last.request.follow) == (3, False)
    assert empla("employee", "logs", "sales-ae", "--json").stdout.splitlines()[0] == lines[0]


def test_following_logs_ends_quietly_with_ctrl_c(peer: Any) -> None:
    peer.answers["TailLogs"] = lambda _: [control_pb2.LogLine(text="one"), 60.0, control_pb2.LogLine(text="two")]
    command = [sys.executable, "-c", "from controlplane.cli import main; main()", "employee", "logs", "-f", "sales-ae"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "one\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=10) == ("", "")
        assert process.returncode == 0
    assert peer.last.seconds_left > 3600
