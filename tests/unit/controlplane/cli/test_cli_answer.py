"""Where the command line sends who got no reply."""

from controlplane.cli.answer import where_to_look
from empla.v1 import control_pb2


def test_of_several_reviews_the_one_is_named_that_the_reason_is_about():
    parts = (
        ("first", "a download must be approved", ["approve"]),
        ("second", "a person approves this reply", ["edit"]),
    )
    reviews = [control_pb2.Review(review_id=one, reason=reason, decisions=may) for one, reason, may in parts]
    message = control_pb2.Message(message_id="m", reason="a person approves this reply", reviews=reviews)
    assert where_to_look(message) == "empla reviews show second"
    message.reason = ""
    assert where_to_look(message) == "empla reviews show first"
    for review in message.reviews:
        review.ClearField("decisions")
    assert where_to_look(message) == "empla message show m"
