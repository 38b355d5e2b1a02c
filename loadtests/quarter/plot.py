"""What was measured day by day, drawn as an SVG picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from loadtests.picture import panel, write_picture
from loadtests.quarter.account import Day


def write_plots(days: Sequence[Day], path: Path) -> Path:
    """Draw how latency, memory, storage and the mind went; returns the file."""
    panels: Mapping[str, Mapping[str, Sequence[float]]] = {
        "message p50, and the machine's pace (ms)": {
            "message": [median(day.elapsed_ms) for day in days],
            "pace": [median(day.pace_ms) for day in days],
        },
        "memory of each employee, PSS (MB)": {
            name: [day.memory[name] / 1e6 for day in days] for name in days[0].memory
        },
        "database (MB), and messages (hundreds)": {
            "database": [day.stored / 1e6 for day in days],
            "messages": [day.messages / 100 for day in days],
        },
        "facts told and not forgotten, beliefs held": {
            "facts": [float(day.facts) for day in days],
            "beliefs": [float(day.beliefs) for day in days],
        },
    }
    ticks = {day - 1: f"day {day}" for day in sorted({1, *range(30, len(days) + 1, 30), len(days)})}
    return write_picture([panel(title, lines, ticks) for title, lines in panels.items()], path)
