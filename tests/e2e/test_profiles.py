"""Every profile that is shipped, given to an employee by its name: the employee answers by it."""

import random
import re
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from controlplane.profiles import shipped_names, shipped_profile
from empla.v1 import control_pb2 as pb
from tests.e2e.system import System, until
from tests.e2e.test_first_message import notes


@pytest.fixture(params=shipped_names())
def profile(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def name(system: System, profile: str) -> Iterator[str]:
    """An employee with the profile."""
    name = f"{profile}-{uuid4().hex[:8]}"
    system.json("employee", "create", name, "--profile", profile)
    system.attached(name)
    yield name
    assert system.run("employee", "delete", name, "--yes", "--force").returncode == 0


def test_an_employee_of_each_profile_answers_from_its_files(system: System, profile: str, name: str):
    said, known = system.employee(name).profile, shipped_profile(profile)
    assert (said.role, said.instructions, said.policy) == (known.role, known.instructions, known.policy)
    count = random.randint(3, 6)
    (system.workspace(name) / "notes.md").write_text(notes(count, closed_deals=2))

    question = "Summarise notes.md and tell me how many open deals it lists"
    message_id = system.send(question, employee=name, wait=False).message_id
    if known.autonomy == pb.AUTONOMY_SUPERVISED:
        approve(system, message_id)
    message = system.ended(message_id)

    assert message.state == "answered", message
    [reply] = message.replies
    assert re.search(rf"\b{count}\b", reply.text), reply.text
    assert [effect.action for effect in message.effects] == ["read_file"]


def test_only_the_one_that_writes_to_strangers_asks_before_it_answers():
    asks = [name for name in shipped_names() if shipped_profile(name).autonomy == pb.AUTONOMY_SUPERVISED]
    assert asks == ["sdr"]


def test_one_that_is_copied_and_changed_is_a_profile(system: System, tmp_path: Path):
    mine, name = tmp_path / "mine.toml", f"mine-{uuid4().hex[:8]}"
    shown = system.run("profile", "show", "support").stdout
    mine.write_text(shown.replace('role = "Customer support agent"', 'role = "Librarian"'))
    system.json("employee", "create", name, "--profile", str(mine), "--no-start")
    assert system.employee(name).profile.role == "Librarian"
    mine.write_text(shown.replace('submit = "deny"', 'submit = "never"'))
    refused = system.run("employee", "update", name, "--profile", str(mine))
    line = 1 + shown[: shown.index("submit =")].count("\n")
    assert (refused.returncode, f"{mine}:{line}:10: policy.submit is one of allow, ask, deny" in refused.stderr) == (
        2,
        True,
    )
    assert system.run("employee", "delete", name, "--yes").returncode == 0


def approve(system: System, message_id: str) -> None:
    """As a person, once the reply waits for one; nothing has left by then."""

    def waiting() -> str | None:
        message = system.message(message_id)
        return next((review.review_id for review in message.reviews if review.state == "open"), None)

    review_id = until(waiting, f"the reply to {message_id} waits for a person")
    assert [reply.state for reply in system.message(message_id).replies] == ["held"]
    system.json("reviews", "approve", review_id)
