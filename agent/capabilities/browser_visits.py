"""Visits: which pages belong to which message, and which sites its employee was sent to.

Messages are worked on side by side, and each has pages of its own under the names that its model gives them. The sites that
a model opened before it had read any page are those that the message, a memory or a file named; where it was led from there
is decided about by the policy as soon as it gives data away.
"""

import re
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from urllib.parse import urlsplit
from uuid import UUID

from agent.capabilities.base import EffectKey
from workstation.interface import Snapshot

_KEPT = 500
_TAG = 8
_TAGGED = re.compile(rf"[0-9a-f]{{{_TAG}}}-.+")
_USUAL_PORTS = (None, 80, 443)
_REF = re.compile(r"\[ref=([^\]\s]+)\]")
_PASSWORD = re.compile(
    r"(filled|empty), hidden[\])]|\[password\]|pass(word|wort|phrase|code)|kennwort|mot de passe|contraseña|senha", re.I
)
_FIELD = re.compile(r"\s*(- )?'?textbox\b")
_FRAME = re.compile(r"\s*(- )?'?iframe\b")
_LEADING = re.compile(r"\s*(- )?'?(link|tab)\b")
_NAMED = re.compile(r'\s*(?:- )?([a-z0-9]+(?: "(?:[^"\\]|\\.)*")?)')
_MOST_NAME = 100


@dataclass(slots=True)
class _Visit:
    """The work on one message: `first` is the model response that first had to do with a page."""

    first: int
    hosts: set[str] = field(default_factory=set)


class Visits:
    """The latest visits; those before are forgotten, and what was trusted then no longer is."""

    def __init__(self) -> None:
        self._visits: OrderedDict[UUID, _Visit] = OrderedDict()

    def opened(self, key: EffectKey, url: str) -> None:
        """A page was opened at an address: trusted, unless a page was read before, by whoever it may be."""
        visit = self._visit(key)
        if not key.led and key.response_index <= visit.first and (host := host_of(url)):
            bare = host.removeprefix("www.")
            visit.hosts.add(bare if "." in bare else host)

    def read(self, key: EffectKey) -> None:
        """A page said something: where that leads was not said by whoever sent the employee."""
        self._visit(key)

    def trusts(self, key: EffectKey, url: str) -> bool:
        """Whether the address is of a site that the employee was sent to, or of a subdomain."""
        visit = self._visits.get(key.unit_id)
        return visit is not None and _is_one_of(host_of(url), visit.hosts)

    def trust_both(self, sender: str, receiver: str) -> bool:
        """Whether for one message the employee was sent to both of these hosts, at whatever ports."""
        for visit in self._visits.values():
            hosts = {urlsplit(f"//{host}").hostname or "" for host in visit.hosts}
            if _is_one_of(sender, hosts) and _is_one_of(receiver, hosts):
                return True
        return False

    def _visit(self, key: EffectKey) -> _Visit:
        visit = self._visits.setdefault(key.unit_id, _Visit(key.response_index))
        self._visits.move_to_end(key.unit_id)
        if len(self._visits) > _KEPT:
            self._visits.popitem(last=False)
        return visit


def _is_one_of(host: str, hosts: Iterable[str]) -> bool:
    return any(host == each or host.endswith(f".{each}") for each in hosts)


def host_of(url: str) -> str:
    """The host of an address, with its port if that is none of the usual: another site then; '' where it has none."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower().removesuffix("."), parts.port
    except ValueError:
        return ""
    host = f"[{host}]" if ":" in host else host
    return host if port in _USUAL_PORTS or not host else f"{host}:{port}"


def page_id_of(name: str, key: EffectKey) -> str:
    """The id of the page that a model calls `name`; one of another message is called by its whole id."""
    return name if _TAGGED.fullmatch(name) else f"{_tag(key)}-{name}"


def name_of(page_id: str, key: EffectKey) -> str:
    """What a page is called to the model of this call."""
    return page_id.removeprefix(f"{_tag(key)}-")


def _tag(key: EffectKey) -> str:
    return key.unit_id.hex[-_TAG:]


@dataclass(frozen=True, slots=True)
class _Seen:
    url: str = ""
    lines: dict[str, str] = field(default_factory=dict)
    framed: frozenset[str] = frozenset()


class SeenElements:
    """Where each page was when a model saw it last, and the lines of its elements by ref."""

    def __init__(self) -> None:
        self._pages: OrderedDict[str, _Seen] = OrderedDict()

    def see(self, snapshot: Snapshot) -> None:
        """Take note of a snapshot, or of what changed since the one before."""
        page_id = snapshot.page.page_id
        lines = {ref: line for line in snapshot.text.splitlines() for ref in _REF.findall(line)}
        before = self._pages.get(page_id, _Seen())
        kept = before.lines if snapshot.changes else {}
        # A snapshot of a part does not show what it stands in.
        framed = before.framed if before.url == snapshot.page.url else frozenset()
        self._pages[page_id] = _Seen(snapshot.page.url, kept | lines, framed | _framed(snapshot.text))
        self._pages.move_to_end(page_id)
        if len(self._pages) > _KEPT:
            self._pages.popitem(last=False)

    def url(self, page_id: str) -> str | None:
        """Where the page was; refs hold only as long as it stays there."""
        return seen.url if (seen := self._pages.get(page_id)) is not None else None

    def is_framed(self, page_id: str, ref: str) -> bool:
        """Whether the element stands in a frame, which may be of another site than the page."""
        return ref in self._pages.get(page_id, _Seen()).framed

    def is_password(self, page_id: str, ref: str) -> bool:
        """Whether the element looks like a field for a password."""
        line = self._line(page_id, ref)
        return bool(_FIELD.match(line) and _PASSWORD.search(line))

    def only_leads(self, page_id: str, ref: str) -> bool:
        """Whether the element only leads elsewhere, as links do; one that was not seen may do anything."""
        return bool(_LEADING.match(self._line(page_id, ref)))

    def has_frames(self, page_id: str) -> bool:
        """Whether frames were seen in the page."""
        return bool(self._pages.get(page_id, _Seen()).framed)

    def name(self, page_id: str, ref: str) -> str:
        """What the element is called, such as `button "Send"`; '' for one that was not seen."""
        found = _NAMED.match(self._line(page_id, ref))
        return "" if found is None else found[1][:_MOST_NAME]

    def _line(self, page_id: str, ref: str) -> str:
        return self._pages.get(page_id, _Seen()).lines.get(ref, "")


class LastUses:
    """When each page was last used, the latest first to be remembered."""

    def __init__(self) -> None:
        self._times: OrderedDict[str, float] = OrderedDict()

    def use(self, page_id: str) -> None:
        """It is used now."""
        self._times[page_id] = time.monotonic()
        self._times.move_to_end(page_id)
        if len(self._times) > _KEPT:
            self._times.popitem(last=False)

    def unused(self, page_ids: Iterable[str], seconds: float) -> str | None:
        """The one of these that was not used for longest, if that is so long ago."""
        since = {page_id: self._times.get(page_id, -inf) for page_id in page_ids}
        longest = min(since, key=lambda page_id: since[page_id], default=None)
        return longest if longest is not None and time.monotonic() - since[longest] >= seconds else None


def _framed(text: str) -> frozenset[str]:
    """The refs that stand below a frame."""
    found: set[str] = set()
    outside = -1  # how far the frame that we are in is indented
    for line in text.splitlines():
        depth = len(line) - len(line.lstrip(" "))
        if outside >= 0 and depth > outside:
            found.update(_REF.findall(line)[-1:])
        else:
            outside = depth if _FRAME.match(line) else -1
    return frozenset(found)
