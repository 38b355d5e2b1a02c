"""Actions as requests and back."""

from typing import assert_never

from empla.v1 import workstation_pb2 as pb
from workstation import paths
from workstation.errors import InvalidArgument
from workstation.interface import Action, AnswerDialog, Click, Drag, Fill, Hover, Press, Scroll, Select, Upload
from workstation.remote.browser.values import SINT32_MAX, count, exact, shown, within


def act_request(page_id: str, action: Action, timeout: float | None) -> pb.PageActRequest:
    """An action on a page. Raises `InvalidArgument` and `InvalidPath` for what the wire could not carry as it is."""
    request = pb.PageActRequest(page_id=shown(page_id), timeout=timeout)
    match action:
        case Click():
            request.click.MergeFrom(_click(action))
        case Fill(ref=ref, text=text, submit=submit):
            request.fill.MergeFrom(pb.PageActRequest.Fill(ref=shown(ref), text=exact(text), submit=submit))
        case Press(key=key, ref=ref):
            given = None if ref is None else shown(ref)
            request.press.MergeFrom(pb.PageActRequest.Press(key=exact(key), ref=given))
        case Select(ref=ref, values=values):
            request.select.MergeFrom(pb.PageActRequest.Select(ref=shown(ref), values=map(exact, values)))
        case Hover(ref=ref):
            request.hover.MergeFrom(pb.PageActRequest.Hover(ref=shown(ref)))
        case Drag(ref=ref, to_ref=to_ref):
            request.drag.MergeFrom(pb.PageActRequest.Drag(ref=shown(ref), to_ref=shown(to_ref)))
        case Scroll():
            request.scroll.MergeFrom(_scroll(action))
        case Upload(ref=ref, paths=given_paths):
            request.upload.MergeFrom(pb.PageActRequest.Upload(ref=shown(ref), paths=map(_path, given_paths)))
        case AnswerDialog(accept=accept, text=said):
            given = None if said is None else exact(said)
            request.answer_dialog.MergeFrom(pb.PageActRequest.AnswerDialog(accept=accept, text=given))
        case _:
            assert_never(action)
    return request


def action_of(request: pb.PageActRequest) -> Action:  # noqa: PLR0911  # one for each kind
    """The action that is asked for. Raises `InvalidArgument` when there is none."""
    kind = request.WhichOneof("action")
    match kind:
        case "click":
            click = request.click
            return Click(ref=click.ref, button=click.button or "left", clicks=click.clicks or 1)
        case "fill":
            return Fill(ref=request.fill.ref, text=request.fill.text, submit=request.fill.submit)
        case "press":
            return Press(key=request.press.key, ref=request.press.ref if request.press.HasField("ref") else None)
        case "select":
            return Select(ref=request.select.ref, values=tuple(request.select.values))
        case "hover":
            return Hover(ref=request.hover.ref)
        case "drag":
            return Drag(ref=request.drag.ref, to_ref=request.drag.to_ref)
        case "scroll":
            scroll = request.scroll
            return Scroll(ref=scroll.ref if scroll.HasField("ref") else None, x=scroll.x, y=scroll.y)
        case "upload":
            return Upload(ref=request.upload.ref, paths=tuple(request.upload.paths))
        case "answer_dialog":
            answer = request.answer_dialog
            return AnswerDialog(accept=answer.accept, text=answer.text if answer.HasField("text") else None)
        case None:
            raise InvalidArgument("say what to do: the request has no action")
        case _:
            assert_never(kind)


def _click(click: Click) -> pb.PageActRequest.Click:
    if not click.button:
        raise InvalidArgument("a button is left, middle or right, not ''")
    return pb.PageActRequest.Click(
        ref=shown(click.ref), button=shown(click.button), clicks=count(click.clicks, "the number of clicks")
    )


def _scroll(scroll: Scroll) -> pb.PageActRequest.Scroll:
    x, y = (within(pixels, -SINT32_MAX, SINT32_MAX) for pixels in (scroll.x, scroll.y))
    return pb.PageActRequest.Scroll(ref=None if scroll.ref is None else shown(scroll.ref), x=x, y=y)


def _path(path: str) -> str:
    paths.decode(path)
    return path
