"""Addresses as they may be shown: without credentials, and no longer than anybody reads."""

import re
from collections.abc import Callable
from urllib.parse import unquote_plus

MOST_CHARACTERS = 2000
MASKED = "[hidden]"
_MOST_DATA_CHARACTERS = 100

_CREDENTIALS = re.compile(r"^([a-z][a-z0-9+.-]*://)[^/?#]*@", re.IGNORECASE)
_PARAMETER = re.compile(r"(?<=[?&;#])([^=&;#]{1,200})=([^&;#]*)")
_SECRET = re.compile(
    r"pass(w|phrase|code|$)|pwd|secret|token|api.?key|access.?key|private|credential|signature|session|jwt|otp|\bpin\b|^(sig|sid|auth|code|key|pw)$",
    re.IGNORECASE,
)


def shown_address(url: str, mask: Callable[[str], str] = str) -> str:
    """An address without user and password, and without the values of parameters that are named like secrets.

    `mask` takes out of a text what else may not be told.
    """
    if url[:5].lower() == "data:":
        url = url if len(url) <= _MOST_DATA_CHARACTERS else f"{url[:_MOST_DATA_CHARACTERS]}…"
        return mask(url)
    plain = _CREDENTIALS.sub(r"\1", url[: 2 * MOST_CHARACTERS])
    masked = mask(_PARAMETER.sub(lambda found: f"{found[1]}={_value(found[1], found[2], mask)}", plain))
    return masked if len(masked) <= MOST_CHARACTERS else f"{masked[: MOST_CHARACTERS - 1]}…"


def _value(name: str, value: str, mask: Callable[[str], str]) -> str:
    if not value:
        return value
    plain = unquote_plus(value)
    return MASKED if _SECRET.search(unquote_plus(name)) or mask(plain) != plain else value
