"""What pages ask a person's leave for: nobody is there to give it, so it is refused, and nothing waits for an answer."""

import pytest

from tests.conformance.browsing import document, ref_of
from tests.conformance.conftest import OpenTab
from tests.conformance.sites import Site
from workstation.interface import Browser, Click, Press

pytestmark = pytest.mark.asyncio(loop_scope="session")

ASKED = {
    "where it is": "new Promise((given, refused) => navigator.geolocation.getCurrentPosition(given, refused))",
    "camera": "navigator.mediaDevices.getUserMedia({video: true})",
    "microphone": "navigator.mediaDevices.getUserMedia({audio: true})",
    "screen": "navigator.mediaDevices.getDisplayMedia({video: true})",
    "notices": "Notification.requestPermission().then((said) => { if (said !== 'granted') throw new Error(said) })",
    "clipboard": "navigator.clipboard.readText()",
    "midi": "navigator.requestMIDIAccess({sysex: true})",
    "usb": "navigator.usb.requestDevice({filters: [{vendorId: 1}]})",
    "serial": "navigator.serial.requestPort()",
    "hid": "navigator.hid.requestDevice({filters: []}).then((found) => { if (!found.length) throw new Error('none') })",
    "idleness": "IdleDetector.requestPermission().then((said) => { if (said !== 'granted') throw new Error(said) })",
    "fonts": "queryLocalFonts().then((found) => { if (!found.length) throw new Error('none') })",
    "files": "showOpenFilePicker()",
    "a directory": "showDirectoryPicker()",
}
"""Promises that are kept only with somebody's leave."""


@pytest.mark.parametrize("what", ASKED)
async def test_it_is_not_given(open_tab: OpenTab, site: Site, what: str) -> None:
    script = f"const ask = async () => {{ await ({ASKED[what]}); say('was given') }}"
    page = document(
        f"<script>{script}</script><button onclick=\"ask().catch((error) => say('not given ' + error.name))\">Ask</button>"
        "<button onclick=\"say('goes on')\">Next</button>"
    )
    tab = await open_tab(url=site.show(page, host="localhost"))  # a secure context: nothing is refused for want of one
    text = await tab.text()
    await tab.act(Click(ref=ref_of(text, "button", "Ask")))
    await tab.act(Click(ref=ref_of(text, "button", "Next")))
    await tab.shows("goes on")
    await tab.shows("not given")
    assert "was given" not in await tab.text()


async def test_a_copy_button(open_tab: OpenTab, site: Site) -> None:
    """No page may read the clipboard, but each may write to it, and a person's keys paste it."""
    script = (
        "const copy = () => navigator.clipboard.writeText('order 907').then(() => say('copied'), () => say('refused'))"
    )
    page = document(f"<script>{script}</script><button onclick=copy()>Copy</button>")
    tab = await open_tab(url=site.show(page, host="localhost"))
    await tab.click("button", "Copy")
    await tab.shows("copied")
    other = await open_tab("<textarea aria-label=Note oninput=\"say('holds ' + this.value + '.')\"></textarea>")
    await other.act(Press(key="Control+v", ref=await other.ref("textbox", "Note")))
    await other.shows("holds order 907.")


async def test_a_page_that_goes_full_screen_or_takes_the_pointer(open_tab: OpenTab) -> None:
    tab = await open_tab(
        '<button onclick="document.body.requestFullscreen(); document.body.requestPointerLock()">Take</button>'
        "<button onclick=\"say('pressed')\">Next</button>"
    )
    text = await tab.text()
    await tab.act(Click(ref=ref_of(text, "button", "Take")))
    await tab.act(Click(ref=ref_of(text, "button", "Next")))
    await tab.shows("pressed")


async def test_a_link_of_another_program_starts_none(browser: Browser, open_tab: OpenTab) -> None:
    links = "".join(f"<a href='{to}'>{to}</a>" for to in ("mailto:ann@example.com", "tel:110", "steam://run/1"))
    tab = await open_tab(links + "<button onclick=\"say('still here')\">Next</button>")
    text = await tab.text()
    for name in ("mailto", "tel", "steam"):
        await tab.act(Click(ref=ref_of(text, "link", name)))
    await tab.act(Click(ref=ref_of(text, "button", "Next")))
    await tab.shows("still here")
    assert len(await browser.pages()) == 1
