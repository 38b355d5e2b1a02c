"""The matrix that a run ends with: each module's cases by implementation, and every case that did not pass."""

import re
from collections import defaultdict
from pathlib import PurePath

import pytest

PROPERTY = "implementation"
_GROUP = re.compile(r"@[\w/ ]+$")
"""What pytest-xdist adds to a test's name."""

type Outcomes = dict[str, dict[str, str]]
"""Of one module: case → implementation → passed, failed, error or skipped."""


def write(reporter: pytest.TerminalReporter) -> None:
    """Write it below the run's other results; nothing when no case ran."""
    modules = _collect(reporter)
    if not modules:
        return
    columns = sorted({name for cases in modules.values() for outcomes in cases.values() for name in outcomes})
    reporter.section("conformance: cases passed by implementation")
    reporter.write_line(_row("", columns))
    for module, cases in sorted(modules.items()):
        passed = [sum(outcomes.get(name) == "passed" for outcomes in cases.values()) for name in columns]
        reporter.write_line(_row(module, [f"{count} of {len(cases)}" for count in passed]))
        for case, outcomes in cases.items():
            if any(outcomes.get(name) != "passed" for name in columns):
                reporter.write_line(_row(f"  {case}", [outcomes.get(name, "not run") for name in columns]))


def _collect(reporter: pytest.TerminalReporter) -> dict[str, Outcomes]:
    modules: dict[str, Outcomes] = defaultdict(lambda: defaultdict(dict))
    for outcome in ("passed", "skipped", "failed", "error"):  # a test that passed may yet fail when it is torn down
        for report in reporter.stats.get(outcome, ()):
            implementation = dict(getattr(report, "user_properties", ())).get(PROPERTY)
            if isinstance(implementation, str):
                file, _, case = _GROUP.sub("", report.nodeid).partition("::")
                name = PurePath(file).stem.removeprefix("test_")
                modules[name][_without(implementation, case)][implementation] = outcome
    return modules


def _without(implementation: str, case: str) -> str:
    """The case's name without the part of its parameters that names the implementation."""
    name = re.escape(implementation)
    return re.sub(rf"\[{name}\]|(?<=\[){name}-|-{name}(?=[-\]])", "", case)


def _row(title: str, cells: list[str]) -> str:
    return f"{title:<72}" + "".join(f"{cell:>12}" for cell in cells)
