"""What is risky about an action on a page.

Text that is typed into a page is its own from the first letter on: its scripts may send it at once, without any form being
submitted. So it is typing, choosing and pressing what is no link that is decided about, on pages of sites that the employee
was not sent to; and in frames, whose address nobody tells. Following links is no risk that a rule could tell from reading.
"""

from typing import Any

from agent.capabilities.base import EffectKey
from agent.capabilities.browser_visits import SeenElements, Visits, host_of
from agent.capabilities.policy import Risk, Risky

_GIVING = frozenset(("fill", "type_password", "select", "upload_files", "drag"))
_ACTING = _GIVING | {"click", "press", "answer_dialog"}
_MOVES = frozenset((
    "tab", "escape", "arrowup", "arrowdown", "arrowleft", "arrowright", "pageup", "pagedown", "home", "end",
    "shift", "control", "alt", "meta",
))  # fmt: skip
"""Keys that only move about; each other one may type something or press a button."""


class Risks:
    """Knows what is risky from where a page is and what was seen of it."""

    def __init__(self, visits: Visits, seen: SeenElements) -> None:
        self._visits, self._seen = visits, seen

    def concern(self, action: str) -> bool:
        """Whether such an action can be risky at all."""
        return action in _ACTING

    def of(self, action: str, arguments: Any, key: EffectKey, *, page_id: str, url: str) -> tuple[Risky, ...]:
        """Why this action on a page, which is at `url`, is risky."""
        found = []
        if action == "upload_files":
            found.append(Risky(Risk.UPLOAD, f"upload {', '.join(arguments.paths)[:200]} to {_shown(url)}"))
        in_frame = self._in_frame(action, arguments, page_id)
        if self._gives(action, arguments, page_id) and (in_frame or not self._visits.trusts(key, url)):
            whom = f"a frame in {_shown(url)}" if in_frame else f"{_shown(url)}, which it was not sent to"
            by = self._seen.name(page_id, getattr(arguments, "ref", None) or "")
            found.append(Risky(Risk.SUBMIT, f"give data to {whom}{f', by {by}' if by else ''}"))
        return tuple(found)

    def _gives(self, action: str, arguments: Any, page_id: str) -> bool:
        """Whether the action gives the page something, or has it send something."""
        match action:
            case "click":
                return not self._seen.only_leads(page_id, arguments.ref)
            case "press":
                return arguments.key.rpartition("+")[2].lower() not in _MOVES
            case "answer_dialog":
                return arguments.accept or arguments.text is not None
        return action in _GIVING

    def _in_frame(self, action: str, arguments: Any, page_id: str) -> bool:
        """Whether the action is, or may be, on something in a frame."""
        if action == "press" and arguments.ref is None:
            return self._seen.has_frames(page_id)  # one of them may have the focus
        refs = (getattr(arguments, name, None) for name in ("ref", "to_ref"))
        return any(self._seen.is_framed(page_id, ref) for ref in refs if ref)


def _shown(url: str) -> str:
    return host_of(url)[:200] or "a page without an address"
