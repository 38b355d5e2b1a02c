"""The programs of examples/, run as their first lines say."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.test_browser import Shop, serving
from tests.pictures import pdf_text

ROOT = Path(__file__).parents[2]


@pytest.fixture
def shop() -> Iterator[Shop]:
    with serving() as shop:
        yield shop


def browse(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "examples" / "browse.py", *arguments]
    return subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=100)


def test_a_page_reads_the_same_here_and_in_a_sidecar(shop: Shop, tmp_path: Path):
    said = []
    for place in ([], ["--sidecar"]):
        workspace = tmp_path / f"files{len(place)}"
        workspace.mkdir()
        run = browse(f"{shop.url}/pricing", workspace, "--private", *place)
        assert run.returncode == 0, run.stderr
        assert f"Offer {shop.low} (200) at {shop.url}/pricing" in run.stdout
        assert f"€{shop.cheap} / month" in run.stdout
        assert shop.low in pdf_text((workspace / "page.pdf").read_bytes())
        said.append(run.stdout.rpartition("page.pdf")[0])
    assert said[0] == said[1]


def test_what_may_not_be_is_said_in_a_line(shop: Shop, tmp_path: Path):
    for arguments, why in (
        ((shop.url, tmp_path), "say --private"),
        ((shop.url, tmp_path / "missing", "--private"), "No such file"),
        (("ftp://127.0.0.1/", tmp_path, "--private"), "http"),
    ):
        run = browse(*arguments)
        assert run.returncode == 2
        assert why in run.stderr.splitlines()[-1]
