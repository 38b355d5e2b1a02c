"""What a snapshot costs a model, beside playwright-mcp's of the same pages, and whether anything got lost on the way."""

from dataclasses import dataclass

from agent.models.estimate import estimate_text
from loadtests.browser_bench import PAGE, Bench
from loadtests.browser_mcp import PlaywrightMcp, count_tokens
from loadtests.browser_refs import actionable_refs, missing_words, ref_named
from loadtests.children import PeerFailed
from loadtests.pages.counter import BUTTON
from loadtests.pages.site import COUNTER, SHOWN
from loadtests.report import Figure
from workstation.interface import Click, Snapshot
from workstation.local.browser.browser import LocalBrowser

_PEER = "playwright-mcp"
_CHANGED = "what a click changed"


@dataclass(frozen=True, slots=True)
class Shot:
    """One page as each side shows it; on it are so many `actionable` elements, None where nobody counted, and `words`."""

    name: str
    own: str
    theirs: str
    actionable: int | None = None
    words: tuple[str, ...] = ()


async def measure(bench: Bench) -> list[Figure]:
    """The figures. Raises `SandboxUnavailable`; without the peer there are only ours, and a row says why."""
    async with bench.browser() as browser:
        if bench.peers is None:
            return [_missing(bench.missing), *_figures(await _shots(browser, bench, None), None)]
        async with bench.mcp() as mcp:
            shots = await _shots(browser, bench, mcp)
    try:
        counts = await count_tokens(bench.peers, [text for shot in shots for text in (shot.own, shot.theirs)])
    except PeerFailed as error:
        return [_missing(str(error)), *_figures(shots, None)]
    return _figures(shots, counts)


async def _shots(browser: LocalBrowser, bench: Bench, mcp: PlaywrightMcp | None) -> list[Shot]:
    await browser.open_page(PAGE)
    shots = [await _shot(name, bench.url(path), browser, bench, mcp) for name, path in SHOWN.items()]
    await bench.ask_plain("stop")
    return [*shots, await _changes(bench.url(COUNTER), browser, mcp)]


async def _shot(name: str, url: str, browser: LocalBrowser, bench: Bench, mcp: PlaywrightMcp | None) -> Shot:
    await browser.navigate(PAGE, url)
    snapshot = await _whole(browser)
    own, name = _as_told(snapshot), f"{name}, cut off" if snapshot.truncated else name
    theirs = "" if mcp is None else await _theirs(mcp, url)
    contents = await bench.ask_plain("contents", url=url)
    return Shot(name, own, theirs, contents["actionable"], tuple(contents["words"]))


async def _changes(url: str, browser: LocalBrowser, mcp: PlaywrightMcp | None) -> Shot:
    """After a click on a page that is known already."""
    await browser.navigate(PAGE, url)
    ref = ref_named((await _whole(browser)).text, BUTTON)
    await browser.act(PAGE, Click(ref=ref))
    own = _as_told(await browser.snapshot(PAGE, changes=True))
    if mcp is None:
        return Shot(_CHANGED, own, "")
    ref = ref_named(await _theirs(mcp, url), BUTTON)
    await mcp.call("browser_click", element=BUTTON, target=ref)
    return Shot(_CHANGED, own, await mcp.call("browser_snapshot"))


async def _whole(browser: LocalBrowser) -> Snapshot:
    """As much as a snapshot may be."""
    most = (await browser.capabilities()).limits.snapshot_characters
    return await browser.snapshot(PAGE, max_characters=most)


async def _theirs(mcp: PlaywrightMcp, url: str) -> str:
    await mcp.call("browser_navigate", url=url)
    return await mcp.call("browser_snapshot")


def _as_told(snapshot: Snapshot) -> str:
    """With title and address, as the peer's has them."""
    return f"{snapshot.page.title}\n{snapshot.page.url}\n{snapshot.text}"


def _figures(shots: list[Shot], counts: list[int] | None) -> list[Figure]:
    """`counts` are the tokens of each page, ours and theirs by turns; without them they are estimated."""
    how = "tokens" if counts else "tokens, estimated"
    counts = counts or [estimate_text(text) for shot in shots for text in (shot.own, shot.theirs)]
    tokens = list(zip(shots, counts[::2], counts[1::2], strict=True))
    return [
        *(_figure(shot, how, own, theirs) for shot, own, theirs in tokens),
        *(_figure(shot, "characters", len(shot.own), len(shot.theirs)) for shot in shots),
        *(_elements(shot, shot.actionable) for shot in shots if shot.actionable is not None),
        _words(shots),
    ]


def _figure(shot: Shot, unit: str, own: int, theirs: int) -> Figure:
    """Without a peer where they have nothing."""
    if not theirs:
        return Figure(f"snapshot: {shot.name}", own, unit)
    return Figure(f"snapshot: {shot.name}", own, unit, peer=_PEER, peer_value=theirs)


def _elements(shot: Shot, actionable: int) -> Figure:
    own, theirs = len(actionable_refs(shot.own)), len(actionable_refs(shot.theirs))
    peer_value = theirs if shot.theirs else None
    name = f"snapshot: {shot.name}, can be acted on"
    return Figure(name, own, "elements", actionable, better="high", peer=_PEER, peer_value=peer_value)


def _words(shots: list[Shot]) -> Figure:
    words = sum(len(shot.words) for shot in shots)
    own = sum(len(missing_words(shot.own, shot.words)) for shot in shots)
    theirs = sum(len(missing_words(shot.theirs, shot.words)) for shot in shots if shot.theirs)
    peer_value = theirs if any(shot.theirs for shot in shots) else None
    return Figure(f"snapshots: missing of {words} words", own, "words", 0, peer=_PEER, peer_value=peer_value)


def _missing(why: str) -> Figure:
    return Figure(f"snapshots beside playwright-mcp: {why}", None, "")
