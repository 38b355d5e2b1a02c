"""The state diagrams of docs/states.md, drawn from the table `state_edges` that guards the rows themselves.

`python -m empla.store.diagrams` writes the page to standard output, from a database that it makes for it.
"""

import asyncio
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from empla.store.connect import Connection, connect_once
from empla.store.embedded import EmbeddedPostgres
from empla.store.migrate import migrate

_EDGES = """
SELECT machine, from_state, from_step, to_state, to_step, mover FROM state_edges
ORDER BY machine, from_state, from_step, to_state, to_step, mover
"""
_TITLES = {
    "message": "A message",
    "worker": "A worker: one intent of a message",
    "outbox": "A row of the outbox",
    "review": "A review",
    "schedule": "A schedule",
    "goal": "A goal",
    "intention": "An intention: a plan for a goal",
    "intention_step": "A step of an intention",
}
_HEAD = """# States

Every legal move of every row that has a state, drawn from the table `state_edges` by `make states`. The database refuses any
other move, and a move of the wrong side: what the control plane alone may do says so. Another attempt at the same step is
always legal and not drawn.
"""


async def page(connection: Connection) -> str:
    """The page, as Markdown with Mermaid diagrams."""
    rows = [tuple(row.values()) for row in await connection.fetch(_EDGES)]
    parts = [_HEAD]
    for machine, title in _TITLES.items():
        parts += [f"\n## {title}\n\n```mermaid\nstateDiagram-v2\n"]
        parts += [f"  {line}\n" for line in _lines([row[1:] for row in rows if row[0] == machine])]
        parts += ["```\n"]
    return "".join(parts)


def _lines(edges: list[tuple[str, ...]]) -> Iterator[str]:
    places = dict.fromkeys(place for edge in edges for place in (edge[:2], edge[2:4]))
    for state, step in places:
        yield f"{_name(state, step)}: {f'{state}, {step}' if step else state}"
    for from_state, from_step, to_state, to_step, mover in edges:
        by = " : control plane" if mover == "controlplane" else ""
        yield f"{_name(from_state, from_step)} --> {_name(to_state, to_step)}{by}"
    for place in _ends(edges, places):
        yield f"{_name(*place)} --> [*]"


def _ends(edges: Iterable[tuple[str, ...]], places: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    left = {edge[:2] for edge in edges}
    return [place for place in places if place not in left]


def _name(state: str, step: str) -> str:
    return re.sub(r"\W", "_", f"{state}_{step}" if step else state)


async def _drawn(dsn: str) -> str:
    await migrate(dsn)
    async with connect_once(dsn, application_name="empla diagrams") as connection:
        return await page(connection)


def main() -> None:
    """Write the page to standard output."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o711)
        with EmbeddedPostgres(Path(directory) / "home") as server:
            print(asyncio.run(_drawn(server.dsn)), end="")


if __name__ == "__main__":
    main()
