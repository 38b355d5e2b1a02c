"""Messages that make an employee compute: in the sandbox, over the files of its workspace."""

import csv
import json
import random
import re
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from uuid import uuid4
from xml.etree import ElementTree

import pytest

from tests.e2e.system import System
from tests.wheels import make_wheel, only_index


def word() -> str:
    return random.choice("bdfgklmnprst") + "".join(random.choices("aeiou", k=2)) + uuid4().hex[:4]


def write_table(path: Path, group: str, measure: str) -> dict[str, Decimal]:
    """A table with random rows; the totals by group."""
    totals: dict[str, Decimal] = defaultdict(Decimal)
    names = [word() for _ in range(random.randint(3, 6))]
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["number", group, "note", measure])
        for number in range(random.randint(30, 200)):
            name, value = random.choice(names), Decimal(random.randrange(-2000, 100_000)).scaleb(-2)
            totals[name] += value
            rows.writerow([number, name, f"a note, {number}", value])
    return totals


def numbers(reply: str) -> dict[str, Decimal]:
    """The lines of a reply that give a number to a name."""
    lines = re.findall(r"^\W*(\w+): (-?[\d,]+(?:\.\d+)?)$", reply, re.MULTILINE)
    return {name: Decimal(value.replace(",", "")) for name, value in lines}


@pytest.mark.parametrize(
    "ask",
    [
        "Compute the total of {measure} in {file} per {group} and draw a bar chart of it into {chart}",
        "Please total the {measure} by {group} in {file}. Then plot that and save the chart as {chart}.",
    ],
)
def test_a_table_of_the_workspace_is_computed_and_drawn_into_it(system: System, ask: str):
    group, measure, stem = word(), word(), word()
    totals = write_table(system.workspace() / f"{stem}.csv", group, measure)
    text = ask.format(measure=measure, group=group, file=f"{stem}.csv", chart=f"{stem}.svg")
    message = system.json("send", "sales-ae", text)
    assert message["state"] == "answered"
    assert numbers(message["reply"]) == dict(totals), message["reply"]
    assert f"{stem}.svg" in message["reply"]

    chart = system.workspace() / f"{stem}.svg"
    drawn = "".join(ElementTree.fromstring(chart.read_text()).itertext())
    assert all(name in drawn for name in totals)
    assert chart.stat().st_uid == system.workspace().stat().st_uid
    assert [effect["action"] for effect in message["effects"]] == ["read_file", "run_python"]
    assert [effect["state"] for effect in message["effects"]] == ["succeeded"] * 2


def test_without_the_capability_nothing_is_run(system: System, tmp_path: Path):
    profile, name = tmp_path / "clerk.json", f"temp-{uuid4().hex[:8]}"
    profile.write_text(json.dumps({"role": "Clerk", "capabilities": ["workspace", "memory"], "autonomy": "autonomous"}))
    system.json("employee", "create", name, "--profile", str(profile))
    system.attached(name)
    write_table(system.workspace(name) / "sales.csv", "region", "amount")
    message = system.json("send", name, "Draw a bar chart of amount per region in sales.csv into chart.svg")
    assert message["state"] == "answered"
    assert "compute" in message["reply"]
    assert "run_python" not in [effect["action"] for effect in message["effects"]]
    assert not (system.workspace(name) / "chart.svg").exists()
    system.run("employee", "delete", name, "--yes", "--force")


def test_a_model_runs_python_and_uses_what_came_of_it(system_with_model: System):
    one, other = random.randrange(10**6), random.randrange(10**6)
    (system_with_model.workspace() / "factor.txt").write_text(str(other))
    message = system_with_model.send(f"Please run `print({one} * int(open('factor.txt').read()))`")
    assert message.state == "answered"
    assert str(one * other) in message.replies[0].text
    once = 18 * 2 + 12 * 0.5 + 7 * 10  # 30 tokens in, 12 of them cached, and 7 out
    paid = {attempt.step: attempt.cost_micros for attempt in message.attempts}
    assert (paid["classification"], paid["action_planning"], paid["merge"]) == (once, 2 * once, 0)


def test_what_a_program_does_stays_in_its_sandbox(system_with_model: System):
    secret = system_with_model.home / "token"
    message = system_with_model.send(f"Please run `print(open({str(secret)!r}).read())`")
    assert "FileNotFoundError" in message.replies[0].text
    message = system_with_model.send("Please run `import os; print(os.getuid(), len(os.listdir('/proc/self/task')))`")
    assert re.search(r"1000 1\b", message.replies[0].text)


def test_packages_that_the_operator_adds_are_there_for_the_next_program(system_with_model: System, tmp_path: Path):
    name, version = f"p{uuid4().hex[:8]}", f"{random.randint(1, 9)}.{random.randint(1, 9)}"
    make_wheel(tmp_path, name, version)
    ask = f"Please run `import {name}; print('has', {name}.VERSION)`"
    assert "ModuleNotFoundError" in system_with_model.send(ask).replies[0].text
    added = system_with_model.run("compute", "packages", "add", name, **only_index(tmp_path))
    assert added.returncode == 0, added
    assert f"has {version}" in system_with_model.send(ask).replies[0].text
    assert system_with_model.run("compute", "packages", "remove", name).returncode == 0
