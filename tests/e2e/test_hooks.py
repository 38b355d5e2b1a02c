"""Hooks of an installed package, in employees that a control plane launches."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import one_system, temporary_directory
from tests.e2e.system import EMPLOYEE, System, until

MODULES = {
    "notes_hooks": """
import json
from pathlib import Path

from agent.hooks import Hooks
from agent.moments import EmployeeStarted, EmployeeStopped, MessageAnswered, Moment


def note(moment: Moment) -> None:
    said = {"moment": type(moment).__name__, "employee": moment.employee, "reply": getattr(moment, "reply", "")}
    with Path(__file__).with_name("told").open("a") as file:
        file.write(json.dumps(said) + "\\n")


def refuse(moment: Moment) -> None:
    raise PermissionError("not today")


hooks = Hooks().on((EmployeeStarted, MessageAnswered, EmployeeStopped), note).on(MessageAnswered, refuse)
""",
    "broken_hooks": "import a_module_that_nobody_has",
    "unnamed_hooks": "from pathlib import Path\nPath(__file__).with_name('imported').touch()\nhooks = None",
}
ENTRY_POINTS = "[empla.hooks]\n" + "".join(f"{name.removesuffix('_hooks')} = {name}:hooks\n" for name in MODULES)


@pytest.fixture
def package() -> Iterator[Path]:
    """A directory with a package as an installer leaves it."""
    with temporary_directory() as directory:
        for name, source in MODULES.items():
            (directory / f"{name}.py").write_text(source)
        described = directory / "notes_hooks-1.0.dist-info"
        described.mkdir()
        (described / "METADATA").write_text("Metadata-Version: 2.1\nName: notes-hooks\nVersion: 1.0\n")
        (described / "entry_points.txt").write_text(ENTRY_POINTS)
        yield directory


@pytest.fixture
def hooked(package: Path) -> Iterator[System]:
    path = os.pathsep.join(filter(None, (str(package), os.environ.get("PYTHONPATH", ""))))
    with one_system(PYTHONPATH=path, EMPLA_HOOKS='["notes", "broken", "absent"]') as system:
        system.start()
        yield system


def test_those_that_are_named_are_told_and_what_is_wrong_with_others_is_shown(hooked: System, package: Path):
    def told() -> list[dict[str, Any]]:
        place = package / "told"
        return [json.loads(line) for line in place.read_text().splitlines()] if place.exists() else []

    hooked.attached()
    [reply] = hooked.ended(hooked.send("What is 17 * 23?").message_id).replies
    until(lambda: len(told()) == 2, "start and answer are told")
    assert told() == [
        {"moment": "EmployeeStarted", "employee": EMPLOYEE, "reply": ""},
        {"moment": "MessageAnswered", "employee": EMPLOYEE, "reply": reply.text},
    ]

    def shown() -> str | None:
        said = hooked.run("employee", "show", EMPLOYEE).stdout
        return said if "told 2 times" in said else None

    said = until(shown, "the heartbeat reports it")
    assert "notes_hooks.refuse: told 1 times, 1 failed; last error: PermissionError: not today" in said
    assert "broken: not loaded: ModuleNotFoundError: No module named 'a_module_that_nobody_has'" in said
    assert "absent: not loaded: HooksNotLoaded: no packages have 'absent'" in said
    assert not (package / "imported").exists()

    hooked.json("employee", "stop", EMPLOYEE)
    assert told()[-1] == {"moment": "EmployeeStopped", "employee": EMPLOYEE, "reply": ""}
