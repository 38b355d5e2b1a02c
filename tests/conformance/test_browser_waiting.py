"""Waiting for what a page is to come to."""

import asyncio
import json

import pytest

from tests.conformance.browsing import document
from tests.conformance.conftest import OpenTab
from tests.conformance.sites import Site
from workstation.errors import DialogOpen, InvalidArgument, LimitExceeded, PageNotFound, PageTimedOut
from workstation.interface import LoadState

pytestmark = pytest.mark.asyncio(loop_scope="session")


def later(script: str, milliseconds: int = 200) -> str:
    """A script that a page runs a little later."""
    return f"<script>setTimeout(() => {{ {script} }}, {milliseconds})</script>"


class TestText:
    async def test_that_is_there(self, open_tab: OpenTab) -> None:
        tab = await open_tab("<p>It is here.</p>")
        assert (await tab.browser.wait_for(tab.page_id, text="is here", timeout=5)).title == "A page"

    async def test_that_comes(self, open_tab: OpenTab) -> None:
        tab = await open_tab(later("document.body.append('It came late.')"))
        await tab.browser.wait_for(tab.page_id, text="It came late.", timeout=5)

    async def test_that_goes(self, open_tab: OpenTab) -> None:
        tab = await open_tab("<p id=busy>Please wait</p>" + later("busy.remove()"))
        await tab.browser.wait_for(tab.page_id, text_gone="Please wait", timeout=5)
        assert "Please wait" not in await tab.text()

    async def test_that_is_there_but_hidden(self, open_tab: OpenTab) -> None:
        tab = await open_tab("<p id=it hidden>Not to be seen</p>")
        with pytest.raises(PageTimedOut):
            await tab.browser.wait_for(tab.page_id, text="Not to be seen", timeout=0.5)
        await tab.browser.wait_for(tab.page_id, text_gone="Not to be seen", timeout=5)
        tab = await open_tab("<p id=it hidden>Not to be seen</p>" + later("it.hidden = false"))
        await tab.browser.wait_for(tab.page_id, text="Not to be seen", timeout=5)

    async def test_both_at_once(self, open_tab: OpenTab) -> None:
        tab = await open_tab("<p id=busy>Wait</p>" + later("busy.textContent = 'Done'"))
        await tab.browser.wait_for(tab.page_id, text="Done", text_gone="Wait", timeout=5)
        with pytest.raises(PageTimedOut):
            await tab.browser.wait_for(tab.page_id, text="Done", text_gone="Done", timeout=0.5)

    @pytest.mark.parametrize(
        "text", ['it\'s "quoted"', "a\\b", "100 % [x]{y}(z)*", "text=Buy >> css=p", "/re.*/", "日本語 🎉"]
    )
    async def test_it_is_taken_to_the_letter(self, open_tab: OpenTab, text: str) -> None:
        tab = await open_tab("<p id=it></p>" + f"<script>it.textContent = {json.dumps(text)}</script>")
        await tab.browser.wait_for(tab.page_id, text=text, timeout=5)
        with pytest.raises(PageTimedOut):
            await tab.browser.wait_for(tab.page_id, text=text + "?", timeout=0.3)

    async def test_in_a_frame(self, open_tab: OpenTab, site: Site) -> None:
        inner = site.show(
            document("In the frame" + later("document.body.append('Late in the frame')")), host="other.test"
        )
        tab = await open_tab(f"<iframe src='{inner}'></iframe>")
        await tab.browser.wait_for(tab.page_id, text="Late in the frame", timeout=5)


class TestAddress:
    async def test_that_comes(self, open_tab: OpenTab, site: Site) -> None:
        goal = site.show(document("goal", title="Goal"))
        tab = await open_tab(later(f"location = '{goal}'"))
        page = await tab.browser.wait_for(tab.page_id, url=goal, timeout=5)
        assert page.url == goal

    async def test_that_a_script_writes(self, open_tab: OpenTab) -> None:
        tab = await open_tab(later("history.pushState({}, '', '/orders?id=7')"))
        await tab.browser.wait_for(tab.page_id, url="/orders?id=7", timeout=5)

    async def test_that_never_comes(self, open_tab: OpenTab) -> None:
        tab = await open_tab("here")
        with pytest.raises(PageTimedOut) as caught:
            await tab.browser.wait_for(tab.page_id, url="/elsewhere", timeout=0.3)
        assert caught.value.page_id == tab.page_id

    async def test_text_of_the_next_page(self, open_tab: OpenTab, site: Site) -> None:
        goal = site.show(document("The goal" + later("document.body.append('complete')")))
        tab = await open_tab("The start" + later(f"location = '{goal}'"))
        page = await tab.browser.wait_for(tab.page_id, text="complete", url=goal, timeout=5)
        assert page.url == goal


class TestTimesAndArguments:
    async def test_nothing_named_is_no_wait(self, open_tab: OpenTab) -> None:
        tab = await open_tab("here")
        with pytest.raises(InvalidArgument):
            await tab.browser.wait_for(tab.page_id)

    @pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf")])
    async def test_impossible_times(self, open_tab: OpenTab, timeout: float) -> None:
        tab = await open_tab("here")
        with pytest.raises((InvalidArgument, LimitExceeded)):
            await tab.browser.wait_for(tab.page_id, text="here", timeout=timeout)

    async def test_a_page_whose_network_is_never_quiet(self, open_tab: OpenTab, site: Site) -> None:
        poll = site.show("ok")
        tab = await open_tab(f"<script>setInterval(() => fetch('{poll}'), 50)</script>")
        await tab.browser.wait_for(tab.page_id, load_state=LoadState.LOADED, timeout=5)
        with pytest.raises(PageTimedOut):
            await tab.browser.wait_for(tab.page_id, load_state=LoadState.QUIET, timeout=1)

    async def test_a_dialog_that_comes_meanwhile(self, open_tab: OpenTab) -> None:
        tab = await open_tab(later("alert('stop')"))
        with pytest.raises(DialogOpen, match="stop"):
            await asyncio.wait_for(tab.browser.wait_for(tab.page_id, text="never", timeout=20), 10)

    async def test_a_page_that_is_closed_meanwhile(self, open_tab: OpenTab) -> None:
        tab = await open_tab("here")
        waiting = asyncio.ensure_future(tab.browser.wait_for(tab.page_id, text="never", timeout=20))
        await asyncio.sleep(0.3)
        await tab.browser.close_page(tab.page_id)
        with pytest.raises(PageNotFound):
            await asyncio.wait_for(waiting, 5)
