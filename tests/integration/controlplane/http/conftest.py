"""The port that each test here starts from."""

from collections.abc import AsyncIterator

import pytest

from tests.conftest import Database
from tests.integration.controlplane.http.site import Site, serving


@pytest.fixture
async def site(database: Database) -> AsyncIterator[Site]:
    async with database.connect() as pool, serving(pool) as site:
        yield site
