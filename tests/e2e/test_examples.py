"""The programs of examples/, run as their first lines say."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.system import PATIENCE, System, until
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


class TwoEmployees:
    """The program while it runs, as a terminal sees it."""

    def __init__(self, home: Path, output: Path, *questions: str) -> None:
        self._output = output
        with output.open("wb") as said:
            self._process = subprocess.Popen(
                [sys.executable, ROOT / "examples" / "two_employees.py", home, *questions],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def said(self) -> list[str]:
        return self._output.read_text().splitlines()

    def says(self, *lines: str) -> None:
        """Wait until it has said all of that."""
        until(lambda: self._process.poll() is not None or set(lines) <= set(self.said), f"{lines} is said")
        assert set(lines) <= set(self.said), self.said

    def interrupt(self) -> int:
        """Ctrl-C; the exit code."""
        os.killpg(self._process.pid, signal.SIGINT)
        return self._process.wait(PATIENCE)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(PATIENCE)


@pytest.fixture
def home(short_directory: Path) -> Iterator[System]:
    """A directory in which nothing runs any more at the end."""
    system = System(short_directory)
    yield system
    left = system.processes()
    system.kill_everything()
    assert left == {}


@contextmanager
def two_employees(home: System, *questions: str) -> Iterator[TwoEmployees]:
    """The program; at the end of the block Ctrl-C must end it in order."""
    running = TwoEmployees(home.home, home.home.with_name("said"), *questions)
    try:
        yield running
        assert running.interrupt() == 0, running.said
        assert "Traceback" not in "\n".join(running.said)
    finally:
        running.kill()


def test_two_employees_live_in_one_process_and_answer(home: System):
    one, other, deal = random.randrange(10**4), random.randrange(10**4), f"Deal{random.randrange(10**6)}"
    with two_employees(home, f"What is {one} * {other}?", f"Append '- {deal}: open' to deals.md") as running:
        running.says("ada and bob are there; Ctrl-C ends this")
        answer = f"{one} * {other} = {one * other:,}"
        until(lambda: sum(answer in line for line in running.said) == 2, f"both say {answer}: {running.said}")
        until(lambda: sum("deals.md" in line for line in running.said) == 2, "both have written")
        files = [path for path in home.home.glob("workspaces/*/deals.md") if deal in path.read_text()]
        assert len(files) == 2
        python = [command for command in home.processes().values() if "postgres" not in command]
        assert len(python) == 1

    with two_employees(home, "How many open deals does deals.md list?") as again:
        until(lambda: sum(deal in line for line in again.said) == 2, f"both find it again: {again.said}")
        assert {line.split(": ")[0] for line in again.said if deal in line} == {"ada", "bob"}


def test_it_ends_in_order_whenever_it_is_interrupted(home: System):
    with two_employees(home) as running:
        until(lambda: home.home.exists() or running.said, "it begins")
    with two_employees(home, "What is 1 + 1?") as running:
        running.says("ada and bob are there; Ctrl-C ends this")


def test_a_home_that_is_in_use_is_refused_in_a_line(home: System):
    with two_employees(home) as running:
        running.says("ada and bob are there; Ctrl-C ends this")
        command = [sys.executable, str(ROOT / "examples" / "two_employees.py"), str(home.home)]
        second = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
        assert second.returncode == 2
        assert str(home.home) in second.stderr.splitlines()[-1]


def test_the_hooks_write_down_each_answer(home: System, tmp_path: Path):
    answers = tmp_path / "answers.csv"
    command: list[str | Path] = [sys.executable, ROOT / "examples" / "hooks.py", home.home, answers]
    for product in (2, 3):
        questions = [f"What is {product} * 7?", "Write 'Acme: open' to deals.md"]
        run = subprocess.run(
            [*command, *questions], check=False, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE
        )
        assert (run.returncode, run.stderr) == (0, "")
        assert f"ada: {product} * 7 = {product * 7}" in run.stdout.splitlines()
        assert "ada uses write_file: succeeded" in run.stdout
        lines = [line.split(",") for line in answers.read_text().splitlines()]
        assert len(lines) == 2 * (product - 1)
        assert {(employee, sender) for _, employee, sender, _ in lines} == {("ada", "developer")}
        assert all(int(milliseconds) > 0 for *_, milliseconds in lines)
