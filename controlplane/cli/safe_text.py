"""Text that others wrote, made safe to show on a terminal."""

# Control characters (escape sequences begin with one) and those that reorder what is shown.
_STEERING = dict.fromkeys(
    {*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)} - {ord("\n"), ord("\t")},
    "\N{REPLACEMENT CHARACTER}",
)


def one_line(text: str, limit: int = 80) -> str:
    """`text` on one line without control characters, cut with an ellipsis at `limit`."""
    flat = " ".join(printable(text).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def printable(text: str) -> str:
    """`text` without the characters by which untrusted text could steer a terminal; newlines and tabs stay."""
    return text.translate(_STEERING)
