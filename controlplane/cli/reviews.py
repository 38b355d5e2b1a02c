"""`empla reviews`: what waits for a person, and what the person decides."""

import click

from controlplane.cli.client import connected
from controlplane.cli.completing import EMPLOYEE
from controlplane.cli.deciding import answer, approve, classify, edit, reject
from controlplane.cli.document import as_document
from controlplane.cli.output import age, json_option, print_json
from controlplane.cli.pages import listed
from controlplane.cli.review_text import decided, print_review
from controlplane.cli.watch import Listing, show_list, watch_option
from empla.v1 import control_pb2

_HEADER = ("REVIEW", "AGE", "EMPLOYEE", "KIND", "STATE", "DECIDE", "REASON")


@click.group()
def reviews() -> None:
    """See and decide what waits for a person."""


for _command in (approve, edit, answer, reject, classify):
    reviews.add_command(_command)


@reviews.command(name="list")
@click.option("--employee", type=EMPLOYEE, default="", metavar="NAME", help="Only this employee's.")
@click.option("--all", "include_ended", is_flag=True, help="Resolved and expired ones as well.")
@click.option("-n", "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many.")
@watch_option
@json_option
def list_(*, employee: str, include_ended: bool, limit: int, watch: bool, as_json: bool) -> None:
    """List the open reviews."""

    def look() -> Listing:
        request = control_pb2.ListReviewsRequest(employee=employee, include_ended=include_ended)
        with connected() as control_plane:
            found = listed(control_plane.ListReviews, request, "reviews", limit)
        documents = [as_document(item) for item in found]
        return Listing(documents, _HEADER, list(map(_row, found)), "nothing waits for a person")

    show_list(look, as_json=as_json, watch=watch)


def _row(item: control_pb2.Review) -> tuple[str, ...]:
    decide = ",".join(item.decisions) or decided(item)
    return (item.review_id, age(item.created_at), item.employee, item.kind, item.state, decide, item.reason)


@reviews.command()
@click.argument("review_id", metavar="ID")
@json_option
def show(review_id: str, as_json: bool) -> None:
    """Show the review ID with what a person needs to decide it."""
    with connected() as control_plane:
        found = control_plane.GetReview(control_pb2.GetReviewRequest(review_id=review_id))
        about = found.message_id if not as_json else ""
        message = control_plane.GetMessage(control_pb2.GetMessageRequest(message_id=about)) if about else None
    if as_json:
        print_json(as_document(found))
    else:
        print_review(found, message)
