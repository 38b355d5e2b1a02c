"""Pictures of pages: of what is in view, of the full page, or of one element."""

import base64
import math
import struct
from typing import Any

from playwright.async_api import CDPSession, Error, Locator, Page

from workstation.errors import LimitExceeded
from workstation.interface import ImageFormat, Picture
from workstation.local.browser.devtools import devtools

_MOST_BYTES = 7 << 20
"""A picture travels in one message; `workstation.proto` says so."""
_JPEG_QUALITY = 80
_PATIENCE_MILLISECONDS = 3000
"""For an element to become visible."""
_PNG_HEAD = b"\x89PNG\r\n\x1a\n"
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""The markers whose segment tells a JPEG's size (ITU T.81, table B.1)."""


async def take_picture(
    page: Page,
    *,
    most_pixels: int,
    element: Locator | None = None,
    full_page: bool = False,
    format: ImageFormat = ImageFormat.PNG,  # noqa: A002  # as the contract calls it
) -> Picture:
    """Take a picture of what is in view, of all of the page, or of an `element`, which is brought into view.

    Takes as long as the page lets it: the caller bounds the time. Raises `LimitExceeded`, for more than `most_pixels`
    before anything is taken; Playwright's `Error` when the page or the element is gone or cannot be seen.
    """
    if element is not None:
        await element.scroll_into_view_if_needed(timeout=_PATIENCE_MILLISECONDS)
    async with devtools(page) as session:
        clip = await _clip(session, element, full_page=full_page)
        _require_pixels(clip, most_pixels)
        options: dict[str, Any] = {"format": format.value, "clip": clip, "captureBeyondViewport": True}
        if format is ImageFormat.JPEG:
            options["quality"] = _JPEG_QUALITY
        taken = await session.send("Page.captureScreenshot", options)
    return _picture(format, base64.b64decode(taken["data"]), most_pixels)


def image_size(format: ImageFormat, data: bytes) -> tuple[int, int]:  # noqa: A002
    """Width and height that a picture tells of itself; raises `ValueError` for what is no picture of that format."""
    try:
        return _jpeg_size(data) if format is ImageFormat.JPEG else _png_size(data)
    except (struct.error, IndexError):
        raise ValueError(f"no {format} picture, or one that is cut short") from None


async def _clip(session: CDPSession, element: Locator | None, *, full_page: bool) -> dict[str, float]:
    """The part of the page to take, in pixels from the page's top left."""
    metrics = await session.send("Page.getLayoutMetrics")
    view, all_of_it = metrics["cssVisualViewport"], metrics["cssContentSize"]
    if element is not None:
        box = await element.bounding_box()
        if box is None:
            raise Error("the element is not visible")
        left, top, width, height = box["x"] + view["pageX"], box["y"] + view["pageY"], box["width"], box["height"]
    elif full_page:
        left, top, width, height = 0, 0, all_of_it["width"], all_of_it["height"]
    else:
        left, top, width, height = view["pageX"], view["pageY"], view["clientWidth"], view["clientHeight"]
    return _whole_pixels(left, top, width, height)


def _whole_pixels(left: float, top: float, width: float, height: float) -> dict[str, float]:
    x, y = max(math.floor(left), 0), max(math.floor(top), 0)
    right, bottom = math.ceil(left + width), math.ceil(top + height)
    return {"x": x, "y": y, "width": max(right - x, 1), "height": max(bottom - y, 1), "scale": 1}


def _require_pixels(clip: dict[str, float], most: int) -> None:
    if clip["width"] * clip["height"] > most:
        raise LimitExceeded(
            f"a picture of {clip['width']}x{clip['height']} pixels has more than the {most} it may have: "
            "take what is in view, or one element",
            limit="screenshot_pixels",
            allowed=most,
        )


def _picture(format: ImageFormat, data: bytes, most_pixels: int) -> Picture:  # noqa: A002
    if len(data) > _MOST_BYTES:
        cure = "a part of the page" if format is ImageFormat.JPEG else "jpeg, or for a part of the page"
        raise LimitExceeded(
            f"the picture has {len(data)} bytes, more than the {_MOST_BYTES} it may have: ask for {cure}",
            limit="screenshot_pixels",
            allowed=most_pixels,
        )
    width, height = image_size(format, data)
    return Picture(format=format, data=data, width=width, height=height)


def _png_size(data: bytes) -> tuple[int, int]:
    if data[:8] != _PNG_HEAD:
        raise ValueError("no png picture")
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _jpeg_size(data: bytes) -> tuple[int, int]:
    at = 2
    while data[at] == 0xFF:
        marker, length = struct.unpack_from(">xBH", data, at)
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        at += 2 + length
    raise ValueError("no jpeg picture")
