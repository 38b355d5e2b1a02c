"""What requests say, checked."""

from uuid import UUID

from controlplane.errors import Invalid

DEFAULT_PAGE = 50
MAX_PAGE = 500


def given_id(text: str, field: str) -> UUID:
    """The id in a request's `field`; raises `Invalid`."""
    try:
        return UUID(text)
    except ValueError as error:
        raise Invalid(f"{text!r} is no id", fields={field: "a UUID"}) from error


def page_size(asked: int) -> int:
    """How many a page of a list has."""
    return min(asked or DEFAULT_PAGE, MAX_PAGE)
