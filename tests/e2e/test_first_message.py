"""From nothing to an answer, as the README promises it."""

import random
import re

from tests.e2e.system import EMPLOYEE, System

STAGES = ["receive", "analyze", "work", "merge", "send"]


def notes(open_deals: int, closed_deals: int) -> str:
    names = iter(random.sample(["Acme", "Brandt", "Corte", "Dufour", "Eklund", "Ferro", "Gallo", "Haas", "Ito"], 9))
    lines = [f"- {next(names)}: open" for _ in range(open_deals)]
    lines += [f"- {next(names)}: closed" for _ in range(closed_deals)]
    random.shuffle(lines)
    return "# Deals\n\n" + "\n".join(lines) + "\n"


def test_the_first_start_says_where_everything_is_and_how_to_talk_to_it(first_start: tuple[System, str]):
    system, printed = first_start
    assert f"http://{system.http_address}/" in printed
    assert system.token not in printed  # into a file, which others may read
    assert system.grpc_address in printed
    assert str(system.home / "workspaces") in printed
    assert f"empla send {EMPLOYEE}" in printed
    assert "offline" in printed


def test_an_employee_answers_from_a_file_of_its_workspace(system: System):
    [employee] = system.json("employee", "list")
    assert (employee["name"], employee["observed_state"]) == (EMPLOYEE, "attached")
    count = random.randint(3, 6)
    (system.workspace() / "notes.md").write_text(notes(count, closed_deals=2))
    message = system.json("send", EMPLOYEE, "Summarise notes.md and tell me how many open deals it lists")
    assert message["state"] == "answered"
    assert re.search(rf"\b{count}\b", message["reply"]), message["reply"]
    assert [stage["stage"] for stage in message["steps"]] == STAGES
    for stage in message["steps"]:
        assert stage["duration_ms"] > 0, stage
        assert [step["outcome"] for step in stage["steps"]] == ["succeeded"] * len(stage["steps"]), stage
        assert stage["steps"], stage
    assert message["effects"][0]["action"] == "read_file"
    assert system.json("message", "show", message["message_id"])["reply"] == message["reply"]


def test_every_secret_of_the_home_is_its_owners_alone(system: System):
    assert system.home.joinpath("token").stat().st_mode & 0o077 == 0
    for private in ("secrets", "logs", "run", "workspaces"):
        assert system.home.joinpath(private).stat().st_mode & 0o077 == 0, private
    assert system.workspace().stat().st_mode & 0o077 == 0
