"""Backups of a system in use, restored to another one: all that mattered is there, and nobody is answered twice."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from empla.v1 import control_pb2 as pb
from tests.e2e.callback_server import CallbackServer
from tests.e2e.conftest import Inbox, connected, one_system
from tests.e2e.system import System, until

pytestmark = pytest.mark.timeout(400)

SECOND = "support"
BEFORE, MEANWHILE = 4, 8


@pytest.fixture(scope="module")
def old() -> Iterator[System]:
    with one_system() as system:
        system.start()
        yield system


def employee(system: System, name: str) -> None:
    created = system.run("employee", "create", name, "--profile", "support", "--start")
    assert created.returncode == 0, created
    system.attached(name)


def test_a_system_in_use_is_restored_and_answers_nobody_twice(old: System, callbacks: CallbackServer, tmp_path: Path):
    employee(old, SECOND)
    for name in ("sales-ae", SECOND):
        assert old.run("employee", "update", name, "--autonomy", "autonomous").returncode == 0
    inboxes = [connected(old, callbacks, name) for name in ("sales-ae", SECOND)]
    old.send("Append '- Acme: open, 12k' to notes.md")
    old.send("Remember that our discount limit is 15 %.")
    before = [inbox.accept(f"What is 17 * {n}?") for n in range(BEFORE) for inbox in inboxes]
    for message_id in before:
        callbacks.first_about(message_id)
    archive = tmp_path / "empla.tar"
    meanwhile = under_load(old, inboxes, archive)
    for message_id in meanwhile:
        old.ended(message_id)  # the old installation goes on after the backup, as it would
    assert archive.stat().st_mode & 0o777 == 0o600
    posted = len(callbacks.posted)

    checked = json.loads(old.run("restore", str(archive), "--check", "--json").stdout)
    assert checked["employees"] == ["sales-ae", SECOND]
    assert checked["workspaces"] == 2
    again = old.run("backup", str(archive))
    assert again.returncode == 1
    assert "is there already" in again.stderr

    with one_system() as new:
        refused = old.run("restore", str(archive))
        assert refused.returncode == 1
        assert "empty home" in refused.stderr
        restored = new.run("restore", str(archive))
        assert restored.returncode == 0, restored
        assert "employees are stopped" in restored.stdout
        new.start()
        for name in ("sales-ae", SECOND):
            assert new.employee(name).observed_state == pb.OBSERVED_STATE_STOPPED
            assert new.run("employee", "start", name).returncode == 0
            new.attached(name)
        assert (new.workspace() / "notes.md").read_text() == (old.workspace() / "notes.md").read_text()
        assert "15" in new.send("What is our discount limit?").replies[0].text
        assert [new.message(message_id).state for message_id in before] == ["answered"] * len(before)
        settled(new)
        assert len(callbacks.posted) == posted, "the new installation answered what the old one had answered"
        about = [callback.reply["message_id"] for callback in callbacks.posted]
        assert len(about) == len(set(about))

        fresh = Inbox(new, inboxes[0].path, inboxes[0].secret, callbacks).accept("What is 17 * 23?")
        assert "391" in callbacks.first_about(fresh).reply["text"]


def under_load(system: System, inboxes: list[Inbox], archive: Path) -> list[str]:
    """Take a backup while messages come in and are answered."""
    accepted: list[str] = []

    def deliver() -> None:
        for n in range(MEANWHILE):
            accepted.extend(inbox.accept(f"What is 19 * {n}?") for inbox in inboxes)

    sender = threading.Thread(target=deliver)
    sender.start()
    taken = system.run("backup", str(archive))
    sender.join()
    assert taken.returncode == 0, taken
    assert "2 employees" in taken.stdout
    return accepted


def settled(system: System) -> None:
    """Everything that came along has ended, or waits for a person who is told why."""

    def done() -> bool:
        messages = system.json("message", "list", "--limit", "200")
        return all(one["state"] in ("answered", "waiting", "withheld", "collected", "failed") for one in messages)

    until(done, "everything has ended or waits for a person")
    for review in system.json("reviews", "list"):
        assert "restored from a backup" in review["reason"]


def test_a_pipe_takes_a_backup_too_and_a_stopped_system_gives_one(old: System, tmp_path: Path):
    assert old.interrupt() == 0
    assert old.written_to(tmp_path / "piped.tar", "backup", "-") == 0
    checked = old.run("restore", str(tmp_path / "piped.tar"), "--check")
    assert checked.returncode == 0, checked
    (tmp_path / "cut.tar").write_bytes((tmp_path / "piped.tar").read_bytes()[:-20_000])
    refused = old.run("restore", str(tmp_path / "cut.tar"), "--check", "--json")
    assert refused.returncode == 1
    assert json.loads(refused.stderr)["error"]["reason"] == "DAMAGED"


def test_a_home_whose_restore_was_cut_off_does_not_start(short_directory: Path):
    system = System(short_directory)
    system.home.mkdir(mode=0o711)
    (system.home / "restoring").touch()
    refused = system.run("up", "--no-chat")
    assert refused.returncode == 1
    assert "remove what is in there and restore again" in refused.stderr
    nothing = system.run("backup", str(short_directory / "file"))
    assert nothing.returncode == 1
    assert "there is no database" in nothing.stderr
