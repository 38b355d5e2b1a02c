"""What of a page is not as it was: whole parts of its tree, in the places where they stand."""

from collections import defaultdict, deque
from collections.abc import Iterator

from workstation.local.browser.outline import Node
from workstation.local.browser.rendering import Line, line_text, lines_of

NOTHING = "(nothing changed)"
_MOST_GONE = 5


def changed_lines(before: list[Node], now: list[Node], origin: str) -> list[Line]:
    """The lines of `now` that differ from `before`, below the lines that they stand under, and what is gone."""
    comparison = _Comparison(origin)
    return list(comparison.of(before, now, 0)) or [Line(0, NOTHING)]


class _Comparison:
    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._said: dict[int, str] = {}

    def of(self, before: list[Node], now: list[Node], depth: int) -> Iterator[Line]:
        """Compare the children of what is the same element, then and now."""
        matches = self._matches(before, now)
        last = -1
        for node, place in zip(now, matches, strict=True):
            if place is None or place < last:  # new, or moved up
                yield from lines_of([node], self._origin, depth=depth)
            elif self._whole(before[place]) != self._whole(node):
                yield from self._inside(before[place], node, depth)
            last = max(last, -1 if place is None else place)
        left = set(range(len(before))) - set(matches)
        yield from self._gone([before[place] for place in sorted(left)], depth)

    def _matches(self, before: list[Node], now: list[Node]) -> list[int | None]:
        """For each node its place among those before: of the same that is quite as it was, else of one of its kind."""
        matches: list[int | None] = [None] * len(now)
        free = set(range(len(before)))
        for same in (self._whole, _key):
            earlier: defaultdict[str, deque[int]] = defaultdict(deque)
            for place in sorted(free):
                earlier[same(before[place])].append(place)
            for number, node in enumerate(now):
                if matches[number] is None and (found := earlier.get(same(node))):
                    matches[number] = found.popleft()
            free -= set(matches)  # None is in no set of places
        return matches

    def _inside(self, before: Node, now: Node, depth: int) -> Iterator[Line]:
        yield Line(depth, line_text(now, self._origin), now.ref)
        yield from self.of(before.children, now.children, depth + 1)

    def _gone(self, nodes: list[Node], depth: int) -> Iterator[Line]:
        for node in nodes[:_MOST_GONE]:
            shown = line_text(node, self._origin).replace(f" [ref={node.ref}]", "")
            yield Line(depth, f"gone: {shown if len(shown) <= 100 else shown[:100] + '…'}")
        if len(nodes) > _MOST_GONE:
            yield Line(depth, f"gone: {len(nodes) - _MOST_GONE} more")

    def _whole(self, node: Node) -> str:
        """All that a node and what is in it says; the nodes live as long as the comparison."""
        if id(node) not in self._said:
            inner = ("\n".join(map(self._whole, node.children)),)
            self._said[id(node)] = str(hash((line_text(node, self._origin), inner)))
        return self._said[id(node)]


def _key(node: Node) -> str:
    """What tells a node from its neighbours: its ref as long as it has one, else what it is."""
    if node.ref:
        return node.ref
    return node.role if node.children else f"{node.role} {node.name}"
