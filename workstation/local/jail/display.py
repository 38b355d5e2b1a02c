"""How a session shows values and exceptions, within bounds; matplotlib's figures as pictures.

It runs in the jail beside the interpreter, on nothing but the standard library, and calls code's own methods, which may
do anything: those that fail are said and passed over.
"""

from __future__ import annotations

import binascii
import builtins
import io
import sys

TYPE_CHECKING = False  # typing's own would take longer to import than all else here
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from traceback import TracebackException
    from types import ModuleType
    from typing import Any

globals()["__builtins__"] = dict(vars(builtins))  # functions below keep these, whatever code does to its builtins

MAX_TEXT = 64 << 10
MAX_TRACEBACK = 10_000
PYPLOT = "matplotlib.pyplot"
OURS: set[str] = set()
"""The files whose frames are left out of tracebacks."""
_MAX_KINDS = 20
_REPRESENTATIONS = {
    "image/png": "_repr_png_",
    "image/jpeg": "_repr_jpeg_",
    "image/svg+xml": "_repr_svg_",
    "text/html": "_repr_html_",
    "text/markdown": "_repr_markdown_",
    "text/latex": "_repr_latex_",
    "application/json": "_repr_json_",
}
"""The display methods that libraries define for notebooks, the richest first; see IPython's documentation of `display`."""


def represented(value: object, say: Callable[[str], None]) -> list[tuple[str, bytes]]:
    """A value in the ways it can be shown, the richest first and plain text last; `say` is told of those that failed."""
    found: dict[str, bytes] = {}
    bundle = _ask(say, value, "_repr_mimebundle_", include=None, exclude=None)
    if isinstance(bundle, dict):
        _collect(found, {str(kind)[:200]: content for kind, content in list(bundle.items())[:_MAX_KINDS]}, say)
    if is_figure(value):
        picture = io.BytesIO()
        _ask(say, value, "savefig", fname=picture, format="png", bbox_inches="tight")
        found["image/png"] = picture.getvalue()
    for kind, method in _REPRESENTATIONS.items():
        if kind not in found and not (kind == "image/jpeg" and "image/png" in found):  # one picture is enough
            _collect(found, {kind: _ask(say, value, method)}, say)
    plain = found.pop("text/plain", None) or clean(told(repr, value), MAX_TEXT).encode()
    order = [*_REPRESENTATIONS]
    rich = sorted(found.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order))
    return [*((kind, content) for kind, content in rich if content), ("text/plain", plain)]


def _ask(say: Callable[[str], None], value: object, method: str, **arguments: object) -> Any:
    """What a display method gives, None without one; it may also give metadata beside, which nobody needs."""
    try:
        show = None if isinstance(value, type) else getattr(value, method, None)
        shown = show(**arguments) if callable(show) else None
    except Exception as error:  # noqa: BLE001 - one way to show it fails, others may not
        say(f"{method} failed: {type(error).__name__}: {clean(told(str, error), 500)}")
        return None
    return shown[0] if isinstance(shown, tuple) and shown else shown


def _collect(found: dict[str, bytes], given: dict[str, Any], say: Callable[[str], None]) -> None:
    for kind, content in given.items():
        try:
            data = _encoded(kind, content)
        except Exception as error:  # noqa: BLE001 - code's own objects are in it
            say(f"{kind} failed: {type(error).__name__}: {clean(told(str, error), 500)}")
        else:
            if data is not None:
                found[kind] = data


def _encoded(kind: str, content: object) -> bytes | None:
    """Content as bytes, None for what is no content; pictures may come in base64."""
    if isinstance(content, (bytes, bytearray)):
        return bytes(content)
    if isinstance(content, str):
        picture = kind.startswith("image/") and kind != "image/svg+xml"
        return binascii.a2b_base64(content) if picture else content.encode("utf-8", "backslashreplace")
    if isinstance(content, (dict, list)):
        import json  # noqa: PLC0415 - few values show themselves so

        return json.dumps(content, default=str).encode()
    return None


def fitting(data: list[tuple[str, bytes]], most: int, say: Callable[[str], None]) -> list[tuple[str, bytes]]:
    """What is not too large; the largest is left out first, and the plain text says so."""
    kept, notes = dict(data), []
    while kept and sum(map(len, kept.values())) > most:
        kind = max(kept, key=lambda kind: len(kept[kind]))
        notes.append(f"{kind} of {len(kept.pop(kind))} bytes")
    plain = kept.pop("text/plain", b"")
    if notes:
        note = f"[left out, since a result has {most} bytes at most: {', '.join(notes)}]"
        say(note)
        plain = b"\n".join(filter(None, (plain, note.encode())))
    room = most - sum(map(len, kept.values()))
    return [*kept.items(), ("text/plain", plain[: max(room, 0)].decode("utf-8", "ignore").encode())]


class Pyplot:
    """Has `pyplot.show()` show figures here, from the moment pyplot is imported."""

    def __init__(self, show: Callable[..., None]) -> None:
        self._show = show

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Pyplot's own spec with `show` replaced after loading; nothing else is ours."""
        if name != PYPLOT:
            return None
        others = [finder for finder in sys.meta_path if finder is not self]
        spec = next(filter(None, (finder.find_spec(name, path, target) for finder in others)), None)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_and_patch(module: ModuleType) -> None:
                load(module)
                module.show = lambda *_, **__: self._show()  # type: ignore[attr-defined] # pyplot sets its attributes

            spec.loader.exec_module = load_and_patch  # type: ignore[method-assign]
        return spec


def is_figure(value: object) -> bool:
    """Whether it is matplotlib's; never imports it."""
    figures = getattr(sys.modules.get("matplotlib.figure"), "Figure", ())
    return isinstance(value, figures)


def described(error: BaseException, names: set[str]) -> dict[str, str]:
    """An exception as data."""
    name = clean(told(lambda error: type(error).__name__, error, BaseException), 200)
    message = clean(told(str, error, BaseException), MAX_TRACEBACK)
    try:
        lines = _traceback(error, names)
    except BaseException as broken:  # noqa: BLE001 - an exception that cannot be shown, or tools that were broken
        lines = f"{name}: {message}\n(its traceback cannot be shown: {type(broken).__name__})"
    return {"name": name, "message": message, "traceback": clean(lines, MAX_TRACEBACK)}


def _traceback(error: BaseException, names: set[str]) -> str:
    """From the first frame of the code's own."""
    import traceback  # noqa: PLC0415 - it imports re and tokenize

    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename not in names:
        trace = trace.tb_next
    shown = traceback.TracebackException(type(error), error, trace, compact=True)
    _leave_out_ours(shown)
    return "".join(shown.format())


def _leave_out_ours(shown: TracebackException | None) -> None:
    if shown is not None:
        shown.stack[:] = [frame for frame in shown.stack if frame.filename not in OURS]
        if not shown.stack:
            shown.stack = None  # type: ignore[assignment] # then it has no heading either
        for other in (shown.__cause__, shown.__context__, *(shown.exceptions or ())):
            _leave_out_ours(other)


def told(way: Callable[[Any], str], value: object, survive: type[BaseException] = Exception) -> str:
    """A value in words, or that it has none; what is raised beyond `survive`, such as an interrupt, is for the run."""
    try:
        return way(value)
    except survive as error:
        return f"<{type(value).__name__}: {way.__name__} failed: {type(error).__name__}>"


def clean(text: str, most: int) -> str:
    """Text that can be encoded, of bounded length: what is cut out of it lies nearer to its beginning."""
    text = str.encode(text, "utf-8", "backslashreplace").decode()
    if len(text) <= most:
        return text
    head = most // 3
    return f"{text[:head]}\n… {len(text) - most} characters left out …\n{text[head - most :]}"
