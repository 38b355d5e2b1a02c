"""Jailed Python with the packages that an operator added: the real matplotlib, pandas and Pillow."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from controlplane.packages import Packages, make_directory
from empla.store.ids import new_id
from workstation.interface import RichResult, RunEnd, SessionError, SessionEvent, SessionSpec, SessionText
from workstation.local.compute import LocalCompute

PNG = b"\x89PNG\r\n\x1a\n"
pytestmark = pytest.mark.timeout(300)  # the packages are downloaded


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `empla compute packages add matplotlib pandas` makes."""
    place = tmp_path_factory.mktemp("compute") / "packages"
    make_directory(place)
    for directory in place.parents[:3]:
        directory.chmod(0o755)
    added = Packages(place).add(["matplotlib", "pandas"])
    assert {package.name for package in added if package.asked} >= {"matplotlib", "pandas"}
    return place


@pytest.fixture
async def compute(short_directory: Path, packages: Path) -> AsyncIterator[LocalCompute]:
    workspace = short_directory / "workspace"
    workspace.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(workspace, 1_900_000_000, 1_900_000_000)
    async with LocalCompute(workspace, packages=packages) as opened:
        await opened.open_session("session", SessionSpec())
        yield opened


async def events(compute: LocalCompute, code: str) -> list[SessionEvent]:
    async with asyncio.timeout(120), aclosing(compute.run_in_session("session", new_id().hex, code)) as stream:
        return [event async for event in stream]


async def results(compute: LocalCompute, code: str) -> list[dict[str, bytes]]:
    came = await events(compute, code)
    assert not [event for event in came if isinstance(event, SessionError)]
    assert isinstance(came[-1], RunEnd)
    return [dict(event.data) for event in came if isinstance(event, RichResult)]


async def test_a_data_frame_is_a_table(compute: LocalCompute):
    (table,) = await results(
        compute, "import pandas\npandas.DataFrame({'deal': ['Acme', 'Brandt'], 'amount': [12, 5]})"
    )
    assert b"<table" in table["text/html"]
    assert b"Brandt" in table["text/plain"]


async def test_figures_are_pictures_whether_shown_left_open_or_given(compute: LocalCompute):
    await results(compute, "import matplotlib.pyplot as plt")
    for code in ("plt.plot([1, 2])\nplt.show()", "plt.bar(['a'], [1]);", "figure, _ = plt.subplots()\nfigure"):
        (picture,) = await results(compute, code)
        assert picture["image/png"].startswith(PNG)
    assert await results(compute, "plt.get_fignums() or None") == []


async def test_showing_says_nothing_and_the_code_goes_on(compute: LocalCompute):
    came = await events(compute, "import matplotlib.pyplot as plt\nplt.plot([1])\nplt.show()\nprint('after')")
    assert "".join(event.text for event in came if isinstance(event, SessionText)) == "after\n"


async def test_a_picture_shows_itself(compute: LocalCompute):
    (picture,) = await results(compute, "from PIL import Image\nImage.new('RGB', (8, 8))")
    assert picture["image/png"].startswith(PNG)


async def test_packages_cannot_be_written(compute: LocalCompute):
    came = await events(compute, "open('/opt/packages/planted.py', 'w')")
    assert [event.name for event in came if isinstance(event, SessionError)] == ["OSError"]
