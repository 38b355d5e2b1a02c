import asyncio
from contextlib import aclosing

import pytest
from playwright.async_api import Error

from tests.integration.workstation.browser_media.conftest import OpenPage
from workstation.errors import LimitExceeded
from workstation.interface import ImageFormat
from workstation.local.browser import pictures
from workstation.local.browser.pictures import image_size, take_picture
from workstation.local.browser.printing import print_pdf

pytestmark = pytest.mark.asyncio(loop_scope="package")

MANY = 100_000_000
NOISE = """<canvas id=c width=1800 height=1800></canvas><script>
const g = c.getContext('2d'), d = g.createImageData(1800, 1800);
for (let i = 0; i < d.data.length; i += 65536) crypto.getRandomValues(d.data.subarray(i, i + 65536));
for (let i = 3; i < d.data.length; i += 4) d.data[i] = 255;
g.putImageData(d, 0, 0)</script>"""


@pytest.mark.parametrize("kind", ImageFormat)
async def test_a_picture_is_of_what_is_in_view(open_page: OpenPage, kind: ImageFormat) -> None:
    page = await open_page("<body style='margin:0;background:red'><div style='height:5000px'>")
    picture = await take_picture(page, format=kind, most_pixels=MANY)
    assert (picture.format, picture.width, picture.height) == (kind, 800, 600)
    assert image_size(kind, picture.data) == (800, 600)


async def test_a_full_picture_is_as_high_as_the_page(open_page: OpenPage) -> None:
    page = await open_page("<body style='margin:0'><div style='height:21000px;background:blue'>")
    picture = await take_picture(page, full_page=True, most_pixels=MANY)
    assert (picture.width, picture.height) == (800, 21000)


@pytest.mark.parametrize("top", [0, 3000])
async def test_a_picture_of_an_element_has_its_size_wherever_it_is(open_page: OpenPage, top: int) -> None:
    page = await open_page(
        f"<body style='margin:0'><div style='height:{top}px'></div>"
        "<p id=it style='margin:10.4px;width:100px;height:50px;background:lime'></p><div style='height:4000px'>"
    )
    picture = await take_picture(page, element=page.locator("#it"), most_pixels=MANY)
    assert (picture.width, picture.height) in {(100, 50), (101, 50), (100, 51), (101, 51)}


async def test_an_element_may_be_larger_than_the_view(open_page: OpenPage) -> None:
    page = await open_page(
        "<body style='margin:0'><p id=it style='margin:0;width:100px;height:2000px;background:lime'>"
    )
    picture = await take_picture(page, element=page.locator("#it"), most_pixels=MANY)
    assert (picture.width, picture.height) == (100, 2000)


async def test_an_element_within_a_frame_is_found(open_page: OpenPage) -> None:
    page = await open_page("""<iframe style="margin-top:900px" srcdoc="<p id=it style='width:50px;height:20px'>x">""")
    picture = await take_picture(page, element=page.frames[1].locator("#it"), most_pixels=MANY)
    assert (picture.width, picture.height) == (50, 20)


async def test_what_cannot_be_seen_has_no_picture(open_page: OpenPage) -> None:
    page = await open_page("<p id=it style='display:none'>x")
    page.set_default_timeout(500)
    with pytest.raises(Error):
        await take_picture(page, element=page.locator("#it"), most_pixels=MANY)


async def test_too_large_a_picture_is_not_taken_at_all(open_page: OpenPage) -> None:
    page = await open_page("<body style='margin:0'><div style='height:30000000px'>")
    with pytest.raises(LimitExceeded, match="800x30000000 pixels") as caught:
        await take_picture(page, full_page=True, most_pixels=1_000_000)
    assert (caught.value.limit, caught.value.allowed) == ("screenshot_pixels", 1_000_000)
    assert (await take_picture(page, most_pixels=1_000_000)).height == 600


async def test_too_many_bytes_say_what_to_ask_for(open_page: OpenPage) -> None:
    page = await open_page(f"<body style='margin:0'>{NOISE}")
    with pytest.raises(LimitExceeded, match="ask for jpeg, or for a part"):
        await take_picture(page, full_page=True, most_pixels=MANY)
    picture = await take_picture(page, full_page=True, most_pixels=MANY, format=ImageFormat.JPEG)
    assert picture.height >= 1800
    assert len(picture.data) <= pictures._MOST_BYTES


async def test_endless_animations_and_fonts_that_never_come_hold_up_nothing(open_page: OpenPage) -> None:
    page = await open_page(
        "<style>@font-face{font-family:never;src:url(/never)} @keyframes t{to{opacity:0}} p{animation:t 1s infinite}</style>"
        "<p style='font-family:never'>x<input autofocus>"
        "<script>(function again() { document.body.dataset.x = Math.random(); requestAnimationFrame(again) })()</script>"
    )
    async with asyncio.timeout(20):
        assert (await take_picture(page, most_pixels=MANY)).width == 800


async def test_a_page_is_printed(open_page: OpenPage) -> None:
    page = await open_page("<h1>Printed</h1>" + "<p>paragraph</p>" * 500)
    pdf = b"".join([piece async for piece in print_pdf(page, most_bytes=10_000_000)])
    assert pdf.startswith(b"%PDF-")
    assert pdf.rstrip().endswith(b"%%EOF")


async def test_a_pdf_comes_in_pieces_and_is_bounded(open_page: OpenPage) -> None:
    page = await open_page(NOISE)
    pieces = [len(piece) async for piece in print_pdf(page, most_bytes=100_000_000)]
    assert len(pieces) > 1
    assert max(pieces) <= 1 << 20
    with pytest.raises(LimitExceeded, match="1500000 bytes") as caught:
        async for _ in print_pdf(page, most_bytes=1_500_000):
            pass
    assert caught.value.limit == "pdf_bytes"


async def test_a_pdf_that_nobody_reads_to_its_end_leaves_the_page_well(open_page: OpenPage) -> None:
    page = await open_page(NOISE)
    for _ in range(3):
        async with aclosing(print_pdf(page, most_bytes=100_000_000)) as pieces:
            await anext(pieces)
    assert await page.title() == "A page"


async def test_a_page_that_is_gone_says_so(open_page: OpenPage) -> None:
    page = await open_page()
    await page.close()
    with pytest.raises(Error):
        await take_picture(page, most_pixels=MANY)
    with pytest.raises(Error):
        await anext(print_pdf(page, most_bytes=1))
