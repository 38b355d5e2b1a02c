"""Lists that come in pages."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

LARGEST_PAGE = 500


def listed(call: Callable[[Any], Any], request: Any, field: str, limit: int | None = None) -> list[Any]:
    """The items of `field` in the answers of `call`, page after page, at most `limit`."""
    request.page_size = min(limit or LARGEST_PAGE, LARGEST_PAGE)
    return list(islice(_items(call, request, field), limit))


def _items(call: Callable[[Any], Any], request: Any, field: str) -> Iterator[Any]:
    while True:
        response = call(request)
        yield from getattr(response, field)
        if not response.next_page_token:
            return
        request.page_token = response.next_page_token
