"""Options of a list: which are meant by what a caller names."""

from collections.abc import Callable
from typing import Any

from workstation.errors import ActionFailed

OPTIONS = """element => {
  const list = element.localName === 'select' ? element : element.control;
  return [...list.options].map((o) => [o.value, o.label.trim().replace(/\\s+/g, ' '), o.disabled || o.matches(':disabled')]);
}"""
"""Asks a list for its options: value, label, and whether each is disabled."""
_MOST_SHOWN, _MOST_NAME, _MOST_NAMES = 30, 50, 600


class Options:
    """The options that a page `said` its list has; a page can make anything of what it is asked."""

    def __init__(self, said: Any, page_id: str, mask: Callable[[str], str]) -> None:
        self._page_id, self._mask = page_id, mask
        rows = said if isinstance(said, list) else []
        self._options = [
            (str(row[0]), str(row[1]), bool(row[2])) for row in rows if isinstance(row, list) and len(row) == 3
        ]
        self._values: dict[str, int] = {}
        self._labels: dict[str, int] = {}
        for place, (value, label, _) in enumerate(self._options):
            self._values.setdefault(value, place)
            self._labels.setdefault(label, place)

    def place(self, wanted: str) -> int:
        """Where the option is, by value or label. Raises `ActionFailed` that names those that there are."""
        place = self._values.get(wanted, self._labels.get(" ".join(wanted.split())))
        if place is None:
            said = f"there is no option {wanted[:_MOST_NAME]!r}; there are: {self._names()}"
            raise ActionFailed(self._mask(said), page_id=self._page_id)
        if self._options[place][2]:
            raise ActionFailed(f"the option {wanted[:_MOST_NAME]!r} is disabled", page_id=self._page_id)
        return place

    def _names(self) -> str:
        names = [label or value for value, label, disabled in self._options if not disabled]
        shown = ", ".join(name[:_MOST_NAME] for name in names[:_MOST_SHOWN])[:_MOST_NAMES]
        return f"{shown} and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else shown
