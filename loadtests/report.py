"""Figures: what was measured, beside its target and what a user could pick instead; as a table and as JSON."""

import json
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Figure:
    """One row. `better` says on which side of the target the value should lie; without a target it is for reading only.

    `value` is None when it could not be measured; the name then says why.
    `peer` names what the value is compared with, `peer_value` what that came to in the same run.
    """

    name: str
    value: float | None
    unit: str
    target: float | None = None
    better: Literal["low", "high"] = "low"
    peer: str = ""
    peer_value: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none, or nothing was measured."""
        if self.target is None or self.value is None:
            return None
        return self.value <= self.target if self.better == "low" else self.value >= self.target

    @property
    def ratio(self) -> float | None:
        """How often the value fits into the peer's: over 1 is better than the peer where low is better."""
        if not self.peer_value or not self.value:
            return None
        return self.peer_value / self.value if self.better == "low" else self.value / self.peer_value

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"met": self.met, "ratio": self.ratio}


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of `values` that `percent` of them do not exceed; raises ValueError when there are none."""
    if not values:
        raise ValueError("nothing was measured")
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)  # nearest rank, rounded up
    return ordered[max(0, int(rank) - 1)]


def table(figures: Iterable[Figure]) -> str:
    """The figures as lines of text."""
    head = ("what", "value", "target", "", "peer in this run", "ratio")
    rows = [head, *(_cells(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def write(figures: Sequence[Figure], facts: dict[str, Any], directory: Path = RESULTS, name: str = "bench") -> Path:
    """Keep a run as JSON, with what must be known to read it; returns the file, whose name begins with `name`."""
    directory.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC)
    content = {"at": now.isoformat(timespec="seconds"), **facts, "figures": [figure.as_json() for figure in figures]}
    path = directory / f"{name}-{now:%Y%m%dT%H%M%S}.json"
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return path


def machine() -> dict[str, Any]:
    """What the figures depend on. The load says whether others were using the machine."""
    return {"cores": os.cpu_count(), "python": platform.python_version(), "load_average": os.getloadavg()}


def _cells(figure: Figure) -> tuple[str, ...]:
    sign = "≤" if figure.better == "low" else "≥"
    met = {True: "met", False: "MISSED", None: ""}[figure.met]
    return (
        figure.name,
        "not measured" if figure.value is None else f"{_number(figure.value)} {figure.unit}",
        "" if figure.target is None else f"{sign} {_number(figure.target)} {figure.unit}",
        met,
        "" if figure.peer_value is None else f"{figure.peer}: {_number(figure.peer_value)} {figure.unit}",
        "" if figure.ratio is None else f"{figure.ratio:.1f}x",
    )


def _number(value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}"  # a count
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.4f}"
