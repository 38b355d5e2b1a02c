"""Options of a list: which are meant by what a caller names."""

from collections.abc import Callable, Sequence

from workstation.errors import ActionFailed

_MOST_SHOWN, _MOST_NAME, _MOST_NAMES = 30, 50, 600


class Options:
    """The options of a list: value, label, and whether each is disabled."""

    def __init__(self, options: Sequence[tuple[str, str, bool]], page_id: str, mask: Callable[[str], str]) -> None:
        self._options, self._page_id, self._mask = options, page_id, mask
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
