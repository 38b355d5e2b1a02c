"""The program that draws a chart of a CSV file; it runs in the sandbox, with nothing but Python itself.

`charts` sends its text there with what is asked for; matplotlib draws where the operator has added it, else a plain SVG
is written.
"""

import csv
import importlib
import importlib.util
import os
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation
from html import escape
from statistics import median
from typing import Any

MAX_BARS = 40
MAX_NAME = 80
BAR, GAP, LEFT, WIDTH, RIGHT, TOP = 22, 8, 200, 480, 120, 48
SCALES = {"k": 3, "m": 6, "b": 9}
CURRENCY = r"(?:(?:USD|EUR|GBP|CHF|JPY|INR|AUD|CAD|euros?|dollars?|pounds?)\s*)?"
NUMBER = re.compile(
    rf"(?P<before>[-−(\s$€£¥₹]*{CURRENCY}[-−(\s$€£¥₹]*)(?P<digits>\.\d+|\d[\d.,' \u00a0\u202f]*)"
    rf"(?P<scale>[kKmMbB]?)[)\s$€£¥₹%]*{CURRENCY}[)\s%]*",
    re.IGNORECASE,
)


def chart(ask: dict[str, Any]) -> dict[str, Any]:
    """Work out one number for each group of rows, draw them into `ask["chart"]`, and say both."""
    groups: dict[str, list[Decimal]] = {}
    rows = skipped = 0
    for name, value in cells(ask):
        rows += 1
        if value is None:
            skipped += 1
        else:
            groups.setdefault(name[:MAX_NAME], []).append(value)
    found = {name: combined(ask["operation"], values) for name, values in groups.items()}
    worked_out = ordered(topmost(found, ask.get("most", 0), least=ask.get("least", False)))
    bars = worked_out[:MAX_BARS]
    return {
        "groups": [[name, str(value)] for name, value in bars],
        "more": len(worked_out) - len(bars),
        "rows": rows,
        "skipped": skipped,
        "chart": draw(ask["chart"], ask["title"], bars) if bars else "",
    }


def cells(ask: dict[str, Any]) -> Iterator[tuple[str, Decimal | None]]:
    """Group and number of each row; the number is None where there is none to be read."""
    group, measure = ask["group"], ask["measure"]
    with open(ask["path"], encoding="utf-8-sig", errors="replace", newline="") as file:
        head = next((line for line in file if line.strip()), "")
        delimiter = next((d for d in ",;\t|" if len(next(csv.reader([head], delimiter=d), [])) == ask["columns"]), ",")
        for row in csv.reader(file, delimiter=delimiter):
            if any(cell.strip() for cell in row) and kept(row, ask.get("keep", ())):
                name = row[group].strip() if group < len(row) else ""
                given = row[measure] if measure is not None and measure < len(row) else ""
                yield name or "(none)", Decimal(1) if measure is None else number(given)


def kept(row: list[str], limits: Iterable[dict[str, Any]]) -> bool:
    """Whether the row has the values that the chart is limited to."""
    for limit in limits:
        cell = row[limit["column"]] if limit["column"] < len(row) else ""
        if (plain(cell) in map(plain, limit["values"])) == limit["negated"]:
            return False
    return True


def plain(cell: str) -> str:
    """A cell without the marks, spaces and capitals that people write it with."""
    return re.sub(r"\*\*|__|`|~~", "", cell).strip().casefold()


def number(text: str) -> Decimal | None:
    """The number in a cell: 1,200.50 and 1.200,50 alike, with a currency, a scale such as k, or brackets for a minus."""
    try:
        plain = Decimal(text.strip())
    except InvalidOperation:
        return written(text.strip())
    return plain if plain.is_finite() else None


def written(text: str) -> Decimal | None:
    """A number as people write it."""
    found = NUMBER.fullmatch(text)
    if found is None:
        return None
    digits = re.sub(r"[^\d.,]", "", found["digits"])
    last = max(digits.rfind(","), digits.rfind("."))
    money = re.search(r"[$€£¥₹A-Z]", re.sub(r"\d.*\d", "", text), re.IGNORECASE) and not found["scale"]
    if (money and re.fullmatch(r"\d{1,3}\.\d{3}", digits)) or re.fullmatch(
        r"\d{1,3}(?:,\d{3})+|\d{1,3}(?:\.\d{3}){2,}", digits
    ):
        digits = re.sub(r"[.,]", "", digits)
    elif last >= 0 and digits.count(digits[last]) == 1:
        digits = re.sub(r"[.,]", "", digits[:last]) + "." + digits[last + 1 :]
    try:
        value = Decimal(digits).scaleb(SCALES.get(found["scale"].lower(), 0))
    except InvalidOperation:
        return None
    return -value if re.search(r"[-−(]", found["before"]) else value


def combined(operation: str, values: list[Decimal]) -> Decimal:
    """One number of many."""
    if operation == "average":
        return round(sum(values, Decimal(0)) / len(values), 6)
    if operation == "median":
        return median(values)
    if operation in ("maximum", "minimum"):
        return max(values) if operation == "maximum" else min(values)
    return sum(values, Decimal(0))


def topmost(worked_out: dict[str, Decimal], most: int, *, least: bool) -> dict[str, Decimal]:
    """The `most` largest or smallest of them, all where `most` is 0."""
    ranked = sorted(worked_out.items(), key=lambda one: ((one[1] if least else -one[1]), one[0]))
    return dict(ranked[:most]) if most else worked_out


def ordered(worked_out: dict[str, Decimal]) -> list[tuple[str, Decimal]]:
    """Years, months and days in their order, all else the largest first."""
    if all(re.match(r"\d{4}(?:\D|$)", name) for name in worked_out):
        return sorted(worked_out.items())
    return sorted(worked_out.items(), key=lambda one: (-one[1], one[0]))


def draw(path: str, title: str, bars: list[tuple[str, Decimal]]) -> str:
    """Draw the bars into `path` or, where only an SVG can be drawn, beside it; returns where, "" if nothing came of it."""
    if os.path.isabs(path) or os.path.normpath(path).split(os.sep)[0] == "..":
        raise ValueError(f"{path} lies outside the workspace")
    able = importlib.util.find_spec("matplotlib") is not None
    stem, ending = os.path.splitext(path)
    path = stem + (ending or ".png" if able else ".svg")
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    if able:
        draw_figure(path, title, bars)
    else:
        with open(path, "w", encoding="utf-8") as file:
            file.write(as_svg(title, bars))
    return path if os.path.isfile(path) else ""


def draw_figure(path: str, title: str, bars: list[tuple[str, Decimal]]) -> None:
    """Bars by matplotlib, without the state that pyplot keeps."""
    figure = importlib.import_module("matplotlib.figure").Figure(
        figsize=(8, 1.2 + 0.35 * len(bars)), layout="constrained"
    )
    axes = figure.subplots()
    axes.barh([name for name, _ in bars], [float(value) for _, value in bars])
    axes.invert_yaxis()
    axes.set_title(title)
    figure.savefig(path)


def shown(value: Decimal) -> str:
    """The number for people: thousands apart, no zeros at the end."""
    return f"{value.normalize():,f}"


def as_svg(title: str, bars: list[tuple[str, Decimal]]) -> str:
    """Horizontal bars with their names and numbers; what is below zero goes to the left of the line."""
    least, most = min(Decimal(0), *(v for _, v in bars)), max(Decimal(0), *(v for _, v in bars))
    scale = WIDTH / float(most - least or 1)
    zero = LEFT - float(least) * scale
    parts = [f'<text x="{LEFT}" y="28" font-size="16" font-weight="bold">{escape(title)}</text>']
    for position, (name, value) in enumerate(bars):
        y = TOP + position * (BAR + GAP)
        size = abs(float(value)) * scale
        x = zero if value >= 0 else zero - size
        text = y + BAR - 6
        parts += [
            f'<text x="{LEFT - 8}" y="{text}" text-anchor="end">{escape(name[:30])}</text>',
            f'<rect x="{x:.1f}" y="{y}" width="{max(size, 1):.1f}" height="{BAR}" fill="#4477aa"><title>'
            f"{escape(name)}: {shown(value)}</title></rect>",
            f'<text x="{x + size + 6:.1f}" y="{text}">{shown(value)}</text>',
        ]
    height = TOP + len(bars) * (BAR + GAP) + GAP
    parts.append(f'<line x1="{zero:.1f}" y1="{TOP - 4}" x2="{zero:.1f}" y2="{height - GAP}" stroke="#333"/>')
    extent = f'width="{LEFT + WIDTH + RIGHT}" height="{height}"'
    white = '<rect width="100%" height="100%" fill="white"/>'
    body = "\n".join([white, *parts])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {extent} font-family="sans-serif" font-size="13">\n{body}\n</svg>\n'
    )
