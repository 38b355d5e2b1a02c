"""A home with a backup of it, and an empty database and home to restore it to."""

import io
import tarfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from controlplane.backup.checking import Checked
from controlplane.backup.manifest import Manifest
from controlplane.backup.restoring import restore
from controlplane.backup.taking import take
from controlplane.settings import Settings
from empla.store.embedded import EmbeddedPostgres
from empla.store.ids import new_id
from tests.conftest import Database


def settings_of(home: Path, dsn: str) -> Settings:
    return Settings().model_copy(update={"home": home, "database_url": Settings(database_url=dsn).database_url})


@dataclass
class Backups:
    """Takes backups of one installation, and restores them to another one."""

    database: Database
    home: Path
    elsewhere: Settings
    superuser_dsn: str
    """Of the database that backups are restored to."""
    directory: Path

    async def take(self, *, browsers: bool = False, told: Callable[[str], None] = lambda _: None) -> Path:
        path = self.directory / f"{new_id()}.tar"
        settings = settings_of(self.home, self.database.dsn)
        with path.open("wb") as out:
            await take(settings, out, self.directory, browsers=browsers, told=told)
        return path

    async def restore(
        self, path: Path, *, start: bool = False, told: Callable[[str], None] = lambda _: None
    ) -> asyncpg.Connection:
        """Restore it; a connection to the database that it is in."""
        await self.restored(path, start=start, told=told)
        return await self.connect()

    async def restored(
        self, path: Path, *, start: bool = False, told: Callable[[str], None] = lambda _: None
    ) -> Checked:
        return await restore(self.elsewhere, path, start=start, told=told)

    async def connect(self) -> asyncpg.Connection:
        return await asyncpg.connect(self.dsn)

    @property
    def dsn(self) -> str:
        assert self.elsewhere.database_url is not None
        return self.elsewhere.database_url.get_secret_value()


@asynccontextmanager
async def fresh(postgres: EmbeddedPostgres, options: str = "") -> AsyncIterator[Database]:
    """A database that nobody else uses."""
    name = f"elsewhere_{new_id().hex}"
    administrator = await asyncpg.connect(_of(postgres.superuser_dsn, "postgres"))
    try:
        await administrator.execute(f"CREATE DATABASE {name} OWNER empla {options}")
        yield Database(_of(postgres.dsn, name), _of(postgres.superuser_dsn, name))
        await administrator.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await administrator.close()


def _of(dsn: str, database: str) -> str:
    return urlsplit(dsn)._replace(path=f"/{database}").geturl()


@pytest.fixture
async def backups(database: Database, postgres: EmbeddedPostgres, tmp_path: Path) -> AsyncIterator[Backups]:
    (tmp_path / "home").mkdir()
    async with fresh(postgres) as there:
        elsewhere = settings_of(tmp_path / "elsewhere", there.dsn)
        yield Backups(database, tmp_path / "home", elsewhere, there.superuser_dsn, tmp_path)


def members_of(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {one.name: archive.extractfile(one).read() for one in archive}  # type: ignore[union-attr]


def write(path: Path, members: dict[str, bytes], *, kind: bytes = tarfile.REGTYPE) -> Path:
    """An archive of these members, whatever they are."""
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.size, header.type = len(content), kind
            archive.addfile(header, io.BytesIO(content))
    return path


def manifest_of(members: dict[str, bytes]) -> Manifest:
    return Manifest.model_validate_json(members["manifest.json"])
