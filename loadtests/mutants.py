"""`python -m loadtests.mutants`: breaks the pipeline in a copy of the tree, once for each safeguard, and sees a test fail.

A test of what must never happen is worth what it notices. Each mutant takes one safeguard away; the property test, and with
`--chaos` the two minutes of chaos as well, must fail with it and must pass without.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

ROOT = Path(__file__).parents[1]
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", ".hypothesis", "results")
PROPERTIES = "tests/integration/agent/test_any_sequence.py"
CHAOS = "tests/e2e/test_chaos.py"
PASSED, FAILED = 0, 1
"""How pytest ends: any other way says nothing about the mutant."""
LIMIT_SECONDS = 1_200.0
QUERIES, TURNS = "agent/pipeline/queries.sql", "agent/pipeline/turns.py"
COORDINATOR = "agent/pipeline/coordinator.py"


@dataclass(frozen=True)
class Mutant:
    """A safeguard that is taken away: texts of one file, and what stands there instead."""

    name: str
    file: str
    changes: tuple[tuple[str, str], ...]

    def apply(self, tree: Path) -> None:
        """Change the copy; raises `click.ClickException` when the code has moved on and the mutant is none any more."""
        text = (tree / self.file).read_text()
        for old, new in self.changes:
            if old not in text:
                raise click.ClickException(f"{self.name}: {self.file} holds no {old!r}; bring the mutant up to date")
            text = text.replace(old, new)
        (tree / self.file).write_text(text)


MUTANTS = (
    Mutant(
        "no fence",
        QUERIES,
        (
            ("employee_id = $2 AND epoch = $3 FOR KEY SHARE", "employee_id = $2 FOR KEY SHARE"),
            (" AND m.epoch = $3\n", "\n"),
            (" AND w.epoch = $3\n", "\n"),
        ),
    ),
    Mutant(
        "no compare-and-set",
        QUERIES,
        (
            ("    AND m.processing_state = i.from_state AND m.step = i.from_step AND m.attempt = i.from_attempt\n", ""),
            ("    AND w.state = i.from_state AND w.step = i.from_step AND w.attempt = i.from_attempt\n", ""),
        ),
    ),
    Mutant(
        "lost wake-up: of the next in a conversation",
        TURNS,
        (("        if turns:\n            turns[0].set()\n        else:", "        if not turns:"),),
    ),
    Mutant(
        "lost wake-up: of what was answered",
        COORDINATOR,
        (("        if not self._draining:\n            self._start(self._take_up(), None)", "        return"),),
    ),
)


@contextmanager
def copy_of_the_tree(mutant: Mutant | None) -> Iterator[Path]:
    """The tree as it lies here, elsewhere, with the mutant in it."""
    with tempfile.TemporaryDirectory(prefix="empla-mutant-") as place:
        tree = Path(place) / "tree"
        shutil.copytree(ROOT, tree, ignore=LEFT_OUT)
        tree.parent.chmod(0o755)
        if mutant is not None:
            mutant.apply(tree)
        yield tree


def outcome(tree: Path, test: str) -> int:
    """How pytest ends with `test` on this tree; what it says goes to standard error when it is neither pass nor failure."""
    command = [sys.executable, "-m", "pytest", test, "-q", "-x", "-p", "no:cacheprovider"]
    environment = os.environ | {"PYTHONPATH": f"{tree}:{tree / 'proto'}"}
    ended = subprocess.run(command, cwd=tree, env=environment, capture_output=True, timeout=LIMIT_SECONDS, check=False)
    if ended.returncode not in (PASSED, FAILED):
        sys.stderr.buffer.write(ended.stdout + ended.stderr)
    return ended.returncode


@click.command()
@click.option("--chaos", is_flag=True, help="Run the chaos test as well: minutes for each mutant.")
@click.option("--only", help="Only mutants with this in their name.", default="")
def mutants(chaos: bool, only: str) -> None:
    """Run the tests on the tree as it is, then on each mutant. Ends with 1 when a mutant is not noticed."""
    unnoticed = 0
    tests = (PROPERTIES, CHAOS) if chaos else (PROPERTIES,)
    for mutant in (None, *(one for one in MUTANTS if only in one.name)):
        with copy_of_the_tree(mutant) as tree:
            ends = [outcome(tree, test) for test in tests]
        right = all(end == (PASSED if mutant is None else FAILED) for end in ends)
        unnoticed += not right
        told = ", ".join(
            f"{Path(test).stem} {'passed' if not end else 'failed'}" for test, end in zip(tests, ends, strict=True)
        )
        click.echo(f"{'ok   ' if right else 'WRONG'} {mutant.name if mutant else 'as it is'}: {told}")
    sys.exit(bool(unnoticed))


if __name__ == "__main__":
    mutants()
