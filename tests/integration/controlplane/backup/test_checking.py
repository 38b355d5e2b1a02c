"""Archives that are cut off, changed, of a later version, or made by somebody who means harm."""

import asyncio
import gzip
import hashlib
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from controlplane.backup.checking import check
from controlplane.backup.errors import BackupError, Damaged, Newer, NoRoom, NothingThere, NotUpToDate, Unsafe
from controlplane.backup.manifest import Header, Manifest
from empla.store.embedded import EmbeddedPostgres
from empla.store.migrate import migrate
from tests.factories import add_employee, add_tenant
from tests.integration.controlplane.backup.conftest import Backups, fresh, manifest_of, members_of, settings_of, write
from tests.unit.controlplane.backup.test_trees import planted

type Change = Callable[[dict[str, bytes]], None]


@pytest.fixture(scope="module")
def whole(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A backup of an employee with a file."""
    return asyncio.run(_taken(postgres, tmp_path_factory.mktemp("whole")))


async def _taken(postgres: EmbeddedPostgres, directory: Path) -> bytes:
    async with fresh(postgres) as database:
        await migrate(database.dsn)
        async with database.connect() as pool:
            employee_id = await add_employee(pool, await add_tenant(pool))
        workspace = directory / "home" / "workspaces" / str(employee_id)
        workspace.mkdir(parents=True)
        (workspace / "notes.md").write_text("12k\n" * 1000)
        nowhere = settings_of(directory / "elsewhere", database.dsn)
        backups = Backups(database, directory / "home", nowhere, database.superuser_dsn, directory)
        return (await backups.take()).read_bytes()


@pytest.fixture
def backup(whole: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "empla.tar"
    path.write_bytes(whole)
    return path


def resealed(path: Path, change: Change) -> Path:
    """The archive with some of it changed, and every hash made anew: nothing in it contradicts itself."""
    members = members_of(path)
    change(members)
    manifest = manifest_of(members).model_dump(mode="json")
    for one in _members(manifest):
        content = members.get(one["name"], b"")
        one |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    raw = Manifest.model_validate(manifest).model_dump_json().encode()
    members["manifest.json"] = raw
    members["manifest.sha256"] = hashlib.sha256(raw).hexdigest().encode()
    return write(path.with_suffix(".changed"), members)


def _members(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return [manifest["header"], *(one["member"] for one in [*manifest["tables"], *manifest["trees"]])]


def tree_of(members: dict[str, bytes]) -> str:
    return next(name for name in members if name.startswith("workspaces/"))


def described(members: dict[str, bytes], name: str, **fields: Any) -> None:
    """Have the manifest say something else of a member."""
    manifest = manifest_of(members).model_dump(mode="json")
    for one in [*manifest["tables"], *manifest["trees"]]:
        if one["member"]["name"] == name:
            one["member"] |= {key: value for key, value in fields.items() if key == "unpacked"}
            one |= {key: value for key, value in fields.items() if key != "unpacked"}
    members["manifest.json"] = Manifest.model_validate(manifest).model_dump_json().encode()


def test_a_whole_one_is_confirmed(backup: Path):
    checked = check(backup)
    assert [tree.entries for tree in checked.manifest.trees] == [1]
    assert {table.name: table.rows for table in checked.manifest.tables}["employees"] == 1


def test_one_that_is_cut_off_anywhere_is_refused(backup: Path):
    whole = backup.read_bytes()
    end = whole.rindex(b"manifest.sha256") + 1024  # its two closing blocks are all that follows
    for length in [0, 1, 511, 512, *random.Random(1).sample(range(end), 40), end - 1]:
        backup.write_bytes(whole[:length])
        with pytest.raises(Damaged):
            check(backup)


def test_one_that_was_changed_anywhere_is_refused(backup: Path):
    whole = backup.read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 60)):
        changed = bytearray(whole)
        changed[place] ^= 0x20
        backup.write_bytes(changed)
        if _is_padding(whole, place):
            continue
        with pytest.raises((Damaged, Unsafe, Newer)):
            check(backup)


def _is_padding(whole: bytes, place: int) -> bool:
    """What fills blocks up, and fields of headers that nobody reads, may be anything."""
    return not whole[place - place % 512 : place + 1].strip(b"\0") or whole[place] == 0


def test_one_whose_rows_were_exchanged_is_refused(backup: Path):
    members = members_of(backup)
    rows = gzip.decompress(members["database/employees.copy.gz"])
    members["database/employees.copy.gz"] = gzip.compress(rows.replace(b"\tautonomous\t", b"\tsupervised\t"))
    with pytest.raises(Damaged, match=r"database/employees.copy.gz was changed"):
        check(write(backup, members))


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda m: m.update({"empla-backup.json": b'{"format": 2}'}), Newer, "format 2, this version reads 1"),
        (lambda m: m.update({"empla-backup.json": _schema(m, "0999_later")}), Newer, "a later one"),
        (lambda m: m.update({"empla-backup.json": _schema(m)}), Newer, "does not know"),
        (lambda m: m.update({"extra": b"x"}), Unsafe, "'extra' after its manifest"),
        (lambda m: slip_in(m, "extra"), Unsafe, "'extra', of which its manifest says nothing"),
        (lambda m: m.pop(tree_of(m)), Damaged, "is missing"),
        (lambda m: m.update({tree_of(m): b"no gzip"}), Damaged, "cannot be unpacked"),
        (lambda m: m.update({tree_of(m): gzip.compress(planted(("../out", "file", {"size": 1})).read())}),
         Unsafe, "leads out of its place|more than"),
        (lambda m: m.update({tree_of(m): gzip.compress(bytes(50 << 20))}), Unsafe, "more than the archive says"),
        (lambda m: described(m, tree_of(m), unpacked=1 << 60), Damaged, "less than the archive says"),
        (lambda m: described(m, tree_of(m), entries=9), Damaged, "holds 1 entries, and should hold 9"),
        (lambda m: described(m, "database/employees.copy.gz", rows=2), Damaged, "should hold 2"),
        (lambda m: m.update({"database/employees.copy.gz": gzip.compress(b"a\tb\n")}), Damaged, "employees"),
    ],
)  # fmt: skip
def test_one_that_contradicts_no_hash_is_refused_all_the_same(
    backup: Path, change: Change, error: type[BackupError], said: str
):
    with pytest.raises(error, match=said):
        check(resealed(backup, change))


def slip_in(members: dict[str, bytes], name: str) -> None:
    """Before the manifest."""
    last = {ending: members.pop(ending) for ending in ("manifest.json", "manifest.sha256")}
    members |= {name: b"x"} | last


def _schema(members: dict[str, bytes], *more: str) -> bytes:
    header = Header.model_validate_json(members["empla-backup.json"])
    known = [*header.schema_checksums, *((name, "x") for name in more)]
    known[0] = known[0] if more else (known[0][0], "another")
    return header.model_copy(update={"schema_checksums": known}).model_dump_json().encode()


@pytest.mark.parametrize("kind", [b"1", b"2", b"3", b"5", b"6"])
def test_members_that_are_no_files_are_refused(backup: Path, kind: bytes):
    with pytest.raises(Unsafe):
        check(write(backup, {"empla-backup.json": b""}, kind=kind))


@pytest.mark.parametrize("content", [b"", b"x", b"PGDMP" * 1000, bytes(2000), b"\x1f\x8b" + b"x" * 5000])
def test_what_is_no_backup_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(Damaged):
        check(tmp_path / "file")


async def test_nothing_bad_gets_as_far_as_the_disk(backup: Path, backups: Backups):
    def plant(members: dict[str, bytes]) -> None:
        tree = planted(("link", "link", {"linkname": "/tmp"}), ("link/out", "file", {"size": 1})).read()
        members[tree_of(members)] = gzip.compress(tree)
        described(members, tree_of(members), unpacked=len(tree), entries=2)

    with pytest.raises(Unsafe, match="no backup has it"):
        await backups.restored(resealed(backup, plant))
    there = await backups.connect()
    assert await there.fetchval("SELECT count(*) FROM tenants") == 0
    await there.close()


async def test_rows_that_the_database_refuses_are_no_backup(backup: Path, backups: Backups):
    def plant(members: dict[str, bytes]) -> None:
        rows = gzip.decompress(members["database/employees.copy.gz"])
        worse = rows.replace(b"\tsales-ae\t", b"\tSALES AE\t")
        members["database/employees.copy.gz"] = gzip.compress(worse)

    with pytest.raises(Damaged, match="refuses the rows of employees"):
        await backups.restored(resealed(backup, plant))


async def test_without_room_nothing_is_begun(backup: Path, backups: Backups, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(NoRoom, match="has room for 1000"):
        await backups.restored(backup)
    assert not backups.elsewhere.home.exists()


async def test_only_an_installation_of_this_version_is_taken(backups: Backups):
    async with backups.database.connect() as pool:
        last = await pool.fetchrow(
            "DELETE FROM schema_migrations WHERE version = (SELECT max(version) FROM schema_migrations) RETURNING version"
        )
        assert last is not None
        with pytest.raises(NotUpToDate, match="start this version of empla first"):
            await backups.take()
        for version, checksum in ((last["version"], "other"), (last["version"] + 1, "later")):
            await pool.execute("INSERT INTO schema_migrations VALUES ($1, 'x', $2)", version, checksum)
            with pytest.raises(Newer):
                await backups.take()
        await pool.execute("DROP TABLE schema_migrations")
        with pytest.raises(NothingThere):
            await backups.take()
