"""What an employee process is given opens what is its own and nothing else."""

import itertools
from typing import Any
from urllib.parse import unquote, urlsplit

import asyncpg
import pytest

from controlplane.launchers.interface import LaunchSpec
from empla.store.cluster import OWNER, SUPERUSER
from tests.integration.controlplane.conftest import Plane

REFUSED = (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError)
PRESUMPTUOUS = (
    f"SET ROLE {SUPERUSER}",
    f"SET ROLE {OWNER}",
    f"SET SESSION AUTHORIZATION {SUPERUSER}",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "ALTER ROLE CURRENT_USER BYPASSRLS",
    f"ALTER ROLE {SUPERUSER} PASSWORD 'mine'",
    f"GRANT {OWNER} TO CURRENT_USER",
    "COPY (SELECT 1) TO PROGRAM 'cat'",
    "SELECT pg_read_file('pg_hba.conf')",
)


@pytest.fixture
async def given(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The settings that a launched employee got through its fork."""
    specs: list[LaunchSpec] = []
    launch = plane.running.launcher.launch

    async def seen(spec: LaunchSpec) -> Any:
        specs.append(spec)
        return await launch(spec)

    monkeypatch.setattr(plane.running.launcher, "launch", seen)
    await plane.attached()
    return specs[-1].settings


def passwords(given: dict[str, Any]) -> list[str]:
    """Every secret that it has, and those that somebody would try."""
    own = unquote(urlsplit(given["database_url"]).password or "")
    assert own
    return [own, given["credential"], given["credential"].rpartition(":")[2], "", "postgres", "empla"]


@pytest.mark.parametrize("role", [SUPERUSER, OWNER])
async def test_it_does_not_get_in_as_another(given: dict[str, Any], role: str):
    own = urlsplit(given["database_url"]).path.removeprefix("/")
    for name, password in itertools.product((own, "postgres", "template1"), passwords(given)):
        with pytest.raises(REFUSED):
            await asyncpg.connect(given["database_url"], user=role, password=password, database=name)


async def test_it_does_not_become_another(given: dict[str, Any]):
    connection = await asyncpg.connect(given["database_url"])
    try:
        for statement in PRESUMPTUOUS:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    finally:
        await connection.close()


async def test_nothing_that_it_is_given_names_the_owner_or_the_superuser(plane: Plane, given: dict[str, Any]):
    owners = urlsplit(plane.dsn).password
    assert owners
    assert not [name for name, value in given.items() if owners in str(value) or plane.token in str(value)]
