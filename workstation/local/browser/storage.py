"""Cookies and storage of a browser context, as JSON and back."""

import json
from typing import Annotated, Any, Literal, cast
from urllib.parse import urlsplit

from playwright.async_api import BrowserContext, Error, StorageState
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from workstation.errors import InvalidArgument, LimitExceeded


def _require_web(origin: str) -> str:
    parts = urlsplit(origin)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path or parts.query or parts.fragment:
        raise ValueError("no origin of http or https")
    return origin


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Cookie(_Shape):
    name: str
    value: str
    domain: str = Field(min_length=1)
    path: str = Field(pattern="^/")
    expires: float = -1
    httpOnly: bool = False  # noqa: N815  # Playwright's names
    secure: bool = False
    sameSite: Literal["Strict", "Lax", "None"] = "Lax"  # noqa: N815
    partitionKey: str | None = None  # noqa: N815


class _Item(_Shape):
    name: str
    value: str


class _Origin(_Shape):
    origin: Annotated[str, AfterValidator(_require_web)]
    localStorage: list[_Item] = []  # noqa: N815
    indexedDB: list[dict[str, Any]] = []  # noqa: N815  # Playwright checks what is in them


class _State(_Shape):
    cookies: list[_Cookie] = []
    origins: list[_Origin] = []


async def take_storage(context: BrowserContext, *, most_bytes: int) -> str:
    """Cookies, localStorage and IndexedDB of a context as JSON. Raises `LimitExceeded`, and Playwright's `Error`."""
    text = json.dumps(await context.storage_state(indexed_db=True), ensure_ascii=False, separators=(",", ":"))
    _require_size(text, most_bytes)
    return text


async def put_storage(context: BrowserContext, state: str, *, most_bytes: int) -> None:
    """Put `state` in place of all that a context holds; '' clears it.

    Raises `InvalidArgument` and `LimitExceeded`, and then nothing has changed; Playwright's `Error` when it is gone.
    """
    given = parse_storage(state, most_bytes=most_bytes)
    before = await context.storage_state(indexed_db=True)
    try:
        await context.set_storage_state(given)
    except Error as error:
        await context.set_storage_state(before)  # which fails as well when it was not for what was given
        raise InvalidArgument(f"no storage of a browser: {error.message.splitlines()[0][:300]}") from None


def parse_storage(state: str, *, most_bytes: int) -> StorageState:
    """Check JSON that is to become a context's storage, '' for none. Raises `InvalidArgument` and `LimitExceeded`."""
    _require_size(state, most_bytes)
    try:
        checked = _State.model_validate_json(state or "{}")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"][:6])) or "it"
        raise InvalidArgument(f"no storage of a browser: {place}: {first['msg'][:200]}") from None
    return cast(StorageState, {"cookies": [], "origins": []} | checked.model_dump(exclude_unset=True))


def _require_size(state: str, most_bytes: int) -> None:
    size = len(state.encode("utf-8", "surrogatepass"))
    if size > most_bytes:
        message = f"cookies and storage have {size} bytes, more than the {most_bytes} they may have"
        raise LimitExceeded(message, limit="storage_bytes", allowed=most_bytes)
