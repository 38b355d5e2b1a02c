"""`empla reviews approve`, `edit`, `answer`, `reject`, `classify`: what a person decides."""

from collections.abc import Sequence
from typing import get_args

import click
from google.protobuf.struct_pb2 import Struct

from controlplane.cli.client import connected
from controlplane.cli.document import as_document
from controlplane.cli.errors import InvalidInput
from controlplane.cli.given import given_text
from controlplane.cli.output import json_option, print_json
from controlplane.cli.review_text import print_review
from controlplane.cli.safe_text import one_line
from empla.classification import Category, Priority, Sentiment
from empla.v1 import control_pb2

_LONGEST_SUMMARY = 500
_ID = click.argument("review_id", metavar="ID")
_TEXT = click.argument("text")


@click.command()
@_ID
@json_option
def approve(review_id: str, as_json: bool) -> None:
    """Let what the review ID is about go on.

    A draft leaves, a risky action runs, a step that failed is tried again, and what perhaps never arrived is sent again.
    """
    _resolve(control_pb2.ResolveReviewRequest(review_id=review_id, approve=control_pb2.Approve()), as_json)


@click.command()
@_ID
@_TEXT
@json_option
def edit(review_id: str, text: str, as_json: bool) -> None:
    """Send TEXT instead of the draft; TEXT `-` is read from standard input."""
    decided = control_pb2.Edit(text=given_text(text))
    _resolve(control_pb2.ResolveReviewRequest(review_id=review_id, edit=decided), as_json)


@click.command()
@_ID
@_TEXT
@json_option
def answer(review_id: str, text: str, as_json: bool) -> None:
    """Answer a question, or write TEXT for the part that failed; TEXT `-` is read from standard input."""
    decided = control_pb2.Answer(text=given_text(text))
    _resolve(control_pb2.ResolveReviewRequest(review_id=review_id, answer=decided), as_json)


@click.command()
@_ID
@click.option("--reason", default="", help="Why; kept with the review, and told to the employee.")
@json_option
def reject(review_id: str, reason: str, as_json: bool) -> None:
    """Refuse it: a draft is withheld, an action not done, a part given up.

    Of a sending whose outcome is unknown this says that it had arrived. A review that nothing goes on from is closed.
    """
    decided = control_pb2.Reject(reason=reason)
    _resolve(control_pb2.ResolveReviewRequest(review_id=review_id, reject=decided), as_json)


@click.command()
@_ID
@click.argument("category", type=click.Choice(get_args(Category)))
@click.option("--intent", "intents", multiple=True, metavar="TEXT", help="One thing the sender wants; may be repeated.")
@click.option("--priority", type=click.Choice(get_args(Priority)), default="normal", show_default=True)
@click.option("--sentiment", type=click.Choice(get_args(Sentiment)), default="neutral", show_default=True)
@click.option("--language", default="en", show_default=True, help="ISO 639 code of the message's language.")
@json_option
def classify(
    *,
    review_id: str,
    category: str,
    intents: Sequence[str],
    priority: str,
    sentiment: str,
    language: str,
    as_json: bool,
) -> None:
    """Say of what CATEGORY a message is, so that its employee can work on it.

    Without --intent the whole message is one thing that the sender wants.
    """
    with connected() as control_plane:
        review = control_plane.GetReview(control_pb2.GetReviewRequest(review_id=review_id))
        if not review.message_id:
            raise InvalidInput("the review is about no message, so there is nothing to classify")
        message = control_plane.GetMessage(control_pb2.GetMessageRequest(message_id=review.message_id))
    classification = Struct()
    classification.update(
        {
            "category": category,
            "priority": priority,
            "sentiment": sentiment,
            "language": language,
            "confidence": 1,
            "intents": [_intent(summary, category, message.text) for summary in intents or ("",)],
        }
    )
    _resolve(control_pb2.ResolveReviewRequest(review_id=review_id, classification=classification), as_json)


def _intent(summary: str, category: str, text: str) -> dict[str, str | int]:
    """An intent with the place of its words, or with the whole message where they are not literally in it."""
    start = text.find(summary) if summary else -1
    span = (start, start + len(summary)) if start >= 0 else (0, len(text))
    shown = summary or one_line(text, _LONGEST_SUMMARY)
    return {"summary": shown, "category": category, "start": span[0], "end": span[1]}


def _resolve(request: control_pb2.ResolveReviewRequest, as_json: bool) -> None:
    with connected() as control_plane:
        resolved = control_plane.ResolveReview(request)
    if as_json:
        print_json(as_document(resolved))
    else:
        print_review(resolved)
