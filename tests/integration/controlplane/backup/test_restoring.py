"""What a restored installation has, and what it does not do again that the old one may have done since."""

# ruff: noqa: F811 - fixtures that other modules have as well

import asyncio
import io
import shutil
import threading
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from controlplane.backup.checking import check
from controlplane.backup.errors import InUse
from controlplane.backup.restoring import refuse_unfinished
from controlplane.backup.tables import WITHOUT_ROWS
from controlplane.backup.taking import take
from controlplane.decisions import Decision
from controlplane.firing import Firing
from controlplane.gateway import Streams
from controlplane.receiver import Arrival, Receiver
from controlplane.stepping import Stepping
from controlplane.stopping import Stopping
from empla.store import connect as store
from empla.store.connect import connect
from empla.store.ids import new_id
from tests.factories import add_employee, add_intention, add_schedule, add_tenant
from tests.integration.controlplane.backup.conftest import Backups, settings_of
from tests.integration.controlplane.test_sender import Counter, Door, counter  # noqa: F401 - a fixture
from tests.integration.store.test_row_security import Neighbours, neighbours  # noqa: F401 - a fixture

CHANGED = {
    "employee_epochs": "epoch, credential_hash, process, ended_at, restored_at",
    "inbound_messages": "restored_at",
}
"""What restoring itself changes, by table."""


async def rows_of(connection: Any, table: str) -> list[str]:
    gone = CHANGED.get(table, "").replace(" ", "").split(",")
    rows = await connection.fetch(f"SELECT (to_jsonb(t) - $1::text[])::text AS row FROM {table} t", gone)
    return sorted(row["row"] for row in rows)


async def test_every_row_of_every_table_comes_back(neighbours: Neighbours, backups: Backups):
    await neighbours.owner.execute(
        "INSERT INTO operator_tokens VALUES ($1, NULL, 'x', $2, 'read')", new_id(), b"h" * 32
    )
    await neighbours.owner.execute("INSERT INTO audit_log (actor, action) VALUES ('ada', 'x')")
    await neighbours.owner.execute("UPDATE reviews SET state = 'expired' WHERE state = 'open'")
    for state in ("sending", "sent"):
        await neighbours.owner.execute("UPDATE outbox SET state = $1", state)
    there = await backups.restore(await backups.take())
    names = await there.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    )
    restored = {row["relname"] for row in names} - WITHOUT_ROWS - {"audit_log"}
    for table in restored:
        before = await rows_of(neighbours.owner, table)
        assert before, f"the test has no row in {table}"
        assert await rows_of(there, table) == before, table
    assert await there.fetchval("SELECT count(*) FROM audit_log WHERE action <> 'restore'") == 1
    assert await there.fetchval("SELECT count(*) FROM sidecars") == 0
    await there.execute("INSERT INTO audit_log (actor, action) VALUES ('ada', 'y')")  # numbered after those there were
    triggers = await there.fetchval("SELECT count(*) FROM pg_trigger WHERE tgenabled <> 'O'")
    assert triggers == 0
    await there.close()


async def test_files_logins_and_wanted_packages_come_back(backups: Backups):
    async with backups.database.connect() as pool:
        employee_id = await add_employee(pool, await add_tenant(pool))
    for kind, name in (("workspaces", "notes.md"), ("browsers", "state.json")):
        place = backups.home / kind / str(employee_id)
        place.mkdir(parents=True)
        (place / name).write_text("12k")
    (backups.home / "workspaces" / "not-an-employee").mkdir()
    (backups.home / "compute").mkdir()
    (backups.home / "compute" / "requirements.txt").write_text("pandas\n")
    bare = await backups.take()
    whole = await backups.take(browsers=True)
    checked = await backups.restored(whole)
    home = backups.elsewhere.home
    assert (home / "workspaces" / str(employee_id) / "notes.md").read_text() == "12k"
    assert (home / "browsers" / str(employee_id) / "state.json").read_text() == "12k"
    assert (home / "compute" / "requirements.txt").read_text() == "pandas\n"
    assert {path.name for path in (home / "workspaces").iterdir()} == {str(employee_id)}
    assert checked.manifest.employees == {employee_id: "sales-ae"}
    assert b"state.json" not in bare.read_bytes()
    assert "browsers/" not in bare.read_bytes().decode(errors="ignore")


async def test_what_others_write_meanwhile_is_not_there_in_part(counter: Counter, backups: Backups):
    await counter.reply()
    [channel] = await counter.pool.fetch("SELECT tenant_id, channel_id, employee_id FROM channels")

    async def store() -> None:
        async with backups.database.connect() as pool:
            arrival = Arrival(**channel, event_id=new_id().hex, sender="ada", text="how many?")
            await Receiver(pool, lambda *_: None).store(arrival)

    def told(text: str) -> None:
        if text == "the table message_bodies":  # those of the messages are in it by now
            storing = threading.Thread(target=asyncio.run, args=(store(),))
            storing.start()
            storing.join()

    there = await backups.restore(await backups.take(told=told))
    assert await counter.pool.fetchval("SELECT count(*) FROM message_bodies") == 2
    for table in ("inbound_messages", "message_bodies"):
        assert await there.fetchval(f"SELECT count(*) FROM {table}") == 1
    await there.close()


async def test_whoever_takes_the_archive_may_be_slow(
    counter: Counter, backups: Backups, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    class Slow(io.BytesIO):
        def write(self, data: Any) -> int:
            if not self.tell():
                time.sleep(0.5)
            return super().write(data)

    await counter.reply()
    monkeypatch.setattr(store, "_SESSION", "SET idle_in_transaction_session_timeout = '50ms'")
    settings = settings_of(backups.home, backups.database.dsn)
    manifest = await take(settings, Slow(), tmp_path, browsers=False, told=lambda _: None)
    assert {table.name: table.rows for table in manifest.tables}["inbound_messages"] == 1


async def test_logins_that_are_removed_meanwhile_are_left_out(counter: Counter, backups: Backups):
    await counter.reply()
    [employee_id] = await counter.pool.fetch("SELECT employee_id FROM employees")
    logins = backups.home / "browsers" / str(employee_id["employee_id"])
    logins.mkdir(parents=True)

    def told(text: str) -> None:
        if text.startswith("the browser of"):
            removing = threading.Thread(target=logins.rmdir)
            removing.start()
            removing.join()

    path = await backups.take(browsers=True, told=told)
    checked = await asyncio.to_thread(check, path)
    assert not [tree for tree in checked.manifest.trees if tree.kind == "browsers"]


async def test_nobody_runs_and_no_process_of_the_old_installation_is_known(counter: Counter, backups: Backups):
    await counter.reply()
    await counter.pool.execute(
        "UPDATE employee_epochs SET epoch = 4, credential_hash = $1, process = '{\"pid\": 1}'", b"h" * 32
    )
    await counter.pool.execute("UPDATE employees SET desired_state = 'running'")
    path = await backups.take()
    there = await backups.restore(path)
    [launch] = await there.fetch("SELECT epoch, credential_hash, process FROM employee_epochs")
    assert tuple(launch) == (5, None, None)
    assert await there.fetchval("SELECT desired_state FROM employees") == "stopped"
    await there.close()


async def test_those_that_ran_run_again_if_that_is_wanted(counter: Counter, backups: Backups):
    await counter.reply()
    await counter.pool.execute("UPDATE employees SET desired_state = 'running'")
    there = await backups.restore(await backups.take(), start=True)
    assert await there.fetchval("SELECT desired_state FROM employees") == "running"
    await there.close()


async def until(counter: Counter, question: str, *arguments: Any) -> None:
    async with asyncio.timeout(20):
        while not await counter.pool.fetchval(question, *arguments):
            await asyncio.sleep(0.02)


@pytest.fixture
async def restored(backups: Backups) -> AsyncIterator[Counter]:
    """What is in the other database, once something was restored."""
    async with connect(backups.superuser_dsn, application_name="tests", max_size=10) as pool:
        yield Counter(pool)


async def test_what_may_have_been_sent_since_a_person_decides_about(
    counter: Counter, restored: Counter, backups: Backups
):
    queued, sending = await counter.reply(), await counter.reply()
    api = await counter.reply(kind="api", callback_url=None, secret=None)
    await counter.pool.execute(
        "UPDATE outbox SET state = 'sending', attempt = 1, started_at = now() WHERE message_id = $1", sending
    )
    await backups.restored(await backups.take())
    door = Door()
    async with restored.sender(door):
        for message_id in (queued, sending):
            row = await restored.ends(message_id)
            assert (row["state"], row["processing_state"]) == ("unknown_after_send", "waiting")
            assert "it may have been sent since" in row["reason"]
            assert await restored.reviews(message_id) == ["unknown_after_send"]
        assert (await restored.ends(api))["state"] == "sent"  # whoever asked reads it here, and nowhere else
        assert door.posted == []
        await restored.decide(queued, Decision("approve"))
        assert (await restored.ends(queued))["state"] == "sent"
    assert [posted["message_id"] for posted in door.posted] == [str(queued)]


async def test_a_reply_to_what_was_in_work_waits_for_a_person(counter: Counter, restored: Counter, backups: Backups):
    in_work = await counter.reply()
    await counter.pool.execute("DELETE FROM outbox")  # as it was before the employee had answered
    await backups.restored(await backups.take())
    newer = await restored.reply()
    for kind in ("reply", "progress"):
        await restored.pool.execute(
            "INSERT INTO outbox (outbox_id, tenant_id, employee_id, message_id, kind, body, epoch) "
            "SELECT $1, tenant_id, employee_id, message_id, $3, 'two', 1 FROM inbound_messages WHERE message_id = $2",
            new_id(), in_work, kind,
        )  # fmt: skip
    door = Door()
    async with restored.sender(door):
        assert (await restored.ends(newer))["state"] == "sent"
        await until(restored, "SELECT count(*) = 0 FROM outbox WHERE state IN ('queued', 'sending')")
        states = await restored.pool.fetch("SELECT kind, state, reason FROM outbox WHERE message_id = $1", in_work)
        assert {row["kind"]: row["state"] for row in states} == {"reply": "held", "progress": "withheld"}
        assert {"restored from a backup: it may have been answered before"} < {row["reason"] for row in states}
        await restored.decide(in_work, Decision("approve"))
        await until(
            restored, "SELECT processing_state = 'answered' FROM inbound_messages WHERE message_id = $1", in_work
        )
    assert [posted["message_id"] for posted in door.posted] == [str(newer), str(in_work)]


async def test_a_draft_that_waits_says_that_it_may_have_been_decided(
    counter: Counter, restored: Counter, backups: Backups
):
    draft = await counter.reply(autonomy="supervised")
    async with counter.sender(Door()):
        assert (await counter.ends(draft))["state"] == "held"
    await backups.restored(await backups.take())
    reason = await restored.pool.fetchval("SELECT reason FROM reviews WHERE message_id = $1", draft)
    assert reason.startswith("a person approves this reply; restored from a backup of ")
    door = Door()
    async with restored.sender(door):
        await restored.decide(draft, Decision("approve"))
        assert (await restored.ends(draft, lambda row: row["state"] == "sent"))["state"] == "sent"
    assert len(door.posted) == 1


async def test_what_was_due_before_is_marked_and_what_is_due_later_is_not(
    counter: Counter, restored: Counter, backups: Backups
):
    await counter.reply()
    [ids] = await counter.pool.fetch("SELECT tenant_id, employee_id, channel_id FROM channels")
    now = datetime.now(UTC)
    due, later = [
        await add_schedule(counter.pool, *ids, next_at=next_at, kind="at", expression=next_at.isoformat())
        for next_at in (now - timedelta(minutes=1), now + timedelta(minutes=30))
    ]
    await add_intention(counter.pool, *tuple(ids)[:2], "Look around.")
    await backups.restored(await backups.take())
    receiver = Receiver(restored.pool, lambda *_: None)
    await Firing(restored.pool, receiver).fire_due()
    await Firing(restored.pool, receiver, lambda: now + timedelta(hours=1)).fire_due()
    stopping = Stopping(restored.pool, Streams(), lambda _: None, lambda: None)
    await Stepping(restored.pool, receiver, stopping, lambda _: None).begin_ready()
    marked = {
        row["event_id"].split(":")[1]: row["restored_at"] is not None
        for row in await restored.pool.fetch(
            "SELECT event_id, restored_at FROM inbound_messages WHERE event_id ~ '^(schedule|intention):'"
        )
    }
    intention_id = await restored.pool.fetchval("SELECT intention_id FROM intentions")
    assert marked == {str(due): True, str(later): False, str(intention_id): True}


async def test_a_restore_that_is_cut_off_leaves_nothing_that_starts(
    counter: Counter, restored: Counter, backups: Backups
):
    await counter.reply()
    employee_id = await counter.pool.fetchval("SELECT employee_id FROM employees")
    (backups.home / "workspaces" / str(employee_id)).mkdir(parents=True)

    def told(text: str) -> None:
        if text.startswith("the files"):
            raise asyncio.CancelledError

    path = await backups.take()
    with pytest.raises(asyncio.CancelledError):
        await backups.restored(path, told=told)
    assert await restored.pool.fetchval("SELECT count(*) FROM tenants") == 0
    with pytest.raises(InUse, match=r"was cut off.*remove what is in there"):
        await asyncio.to_thread(refuse_unfinished, backups.elsewhere.home)
    with pytest.raises(InUse, match="was cut off"):
        await backups.restored(path)
    shutil.rmtree(backups.elsewhere.home)
    await backups.restored(path)
    await asyncio.to_thread(refuse_unfinished, backups.elsewhere.home)
    assert await restored.pool.fetchval("SELECT count(*) FROM tenants") == 1


async def test_nothing_is_restored_over_anything(counter: Counter, restored: Counter, backups: Backups):
    await counter.reply()
    path = await backups.take()
    backups.elsewhere.home.mkdir()
    (backups.elsewhere.home / "notes").touch()
    with pytest.raises(InUse, match="holds notes already"):
        await backups.restored(path)
    (backups.elsewhere.home / "notes").unlink()
    await restored.pool.execute("CREATE TABLE somebody_elses (n int)")
    with pytest.raises(InUse, match="the database is in use"):
        await backups.restored(path)
    await restored.pool.execute("DROP TABLE somebody_elses")
    shutil.rmtree(backups.elsewhere.home)
    await backups.restored(path)
    shutil.rmtree(backups.elsewhere.home)
    with pytest.raises(InUse, match="the database is in use"):
        await backups.restored(path)
    assert await restored.pool.fetchval("SELECT count(*) FROM tenants") == 1
