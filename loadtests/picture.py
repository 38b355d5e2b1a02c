"""Lines drawn as an SVG picture: panels side by side, each with the names of its lines at their ends."""

from collections.abc import Mapping, Sequence
from html import escape
from itertools import batched
from pathlib import Path

WIDTH, HEIGHT = 460, 260
LEFT, RIGHT, TOP, BOTTOM = 56, 110, 34, 34
COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd")
COLUMNS = 2


def write_picture(panels: Sequence[str], path: Path) -> Path:
    """Place the panels in two columns; returns the file."""
    placed = [
        f'<g transform="translate({column * WIDTH} {row * HEIGHT})">{panel}</g>'
        for row, panels_of_row in enumerate(batched(panels, COLUMNS, strict=False))
        for column, panel in enumerate(panels_of_row)
    ]
    size = f'width="{COLUMNS * WIDTH}" height="{-(-len(panels) // COLUMNS) * HEIGHT}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">'
    path.write_text("\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *placed, "</svg>\n"]))
    return path


def panel(title: str, lines: Mapping[str, Sequence[float]], ticks: Mapping[int, str]) -> str:
    """Lines from 0 up, each with its name at its end; `ticks` are words below some of the points, by their index."""
    top = max(max(values) for values in lines.values()) * 1.1 or 1.0
    points = max(len(values) for values in lines.values())
    parts = [f'<text x="{LEFT}" y="18" font-size="13">{escape(title)}</text>']
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = _y(share)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{top * share:,.4g}</text>')
    parts += [
        f'<text x="{_x(place, points):.1f}" y="{HEIGHT - 14}" text-anchor="middle">{escape(word)}</text>'
        for place, word in ticks.items()
    ]
    for values, colour in zip(lines.values(), COLOURS, strict=False):
        drawn = " ".join(f"{_x(place, points):.1f},{_y(value / top):.1f}" for place, value in enumerate(values))
        parts.append(f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    return "\n".join([*parts, *_names(lines, top)])


def _names(lines: Mapping[str, Sequence[float]], top: float) -> list[str]:
    """Beside the ends of the lines, from above, none on another."""
    parts, lowest = [], 0.0
    ends = zip(lines, (values[-1] for values in lines.values()), COLOURS, strict=False)
    for name, end, colour in sorted(ends, key=lambda one: -one[1]):
        lowest = max(lowest + 13, _y(end / top) + 4)
        parts.append(f'<text x="{WIDTH - RIGHT + 6}" y="{lowest:.1f}" fill="{colour}">{escape(name)}</text>')
    return parts


def _x(place: int, points: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * place / max(1, points - 1)


def _y(share: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share
