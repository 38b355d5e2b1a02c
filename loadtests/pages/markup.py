"""What every page is made of."""

from collections.abc import Iterable
from html import escape


def document(title: str, body: str, *, style: str = "") -> str:
    """A whole page."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>body {{ font: 15px sans-serif; margin: 1em }} {style}</style></head><body>{body}</body></html>"
    )


def link(text: str, address: str = "") -> str:
    """A link to an address that follows from its text."""
    return f'<a href="{escape(address or "/" + slug(text))}">{escape(text)}</a>'


def listed(items: Iterable[str]) -> str:
    """A bullet for each."""
    return "<ul>" + "".join(f"<li>{item}</li>" for item in items) + "</ul>"


def slug(text: str) -> str:
    """The text as the path of an address has it."""
    return "-".join("".join(sign if sign.isalnum() else " " for sign in text.lower()).split())
