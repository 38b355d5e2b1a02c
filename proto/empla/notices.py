"""What a sender is told in words that nobody wrote for them. The Sender lets these leave unseen, and no others."""

FAILURE = "I could not finish this on my own. A person has been asked to look at it and will get back to you."
TAKES_LONGER = (
    "This takes longer. I go on with it in the background, tell you now and then, and send you what comes of it."
)
STILL_AT_IT = "I am still working on this."
CANCELLED = "I have stopped working on this, as I was told to. There is no result."

UNSEEN = frozenset({FAILURE, TAKES_LONGER, STILL_AT_IT, CANCELLED})


def stopped(*, queued: int, in_work: int, unsent: int, background: int, questions: int) -> str:
    """What whoever says /stop is told, by how many messages each kind of thing was stopped for."""
    said = [
        (queued, "a waiting message is dropped", "{} waiting messages are dropped"),
        (in_work, "the message I was working on is left", "{} messages I was working on are left"),
        (unsent, "a reply that had not left is withheld", "{} replies that had not left are withheld"),
        (background, "the task in the background is stopped", "{} tasks in the background are stopped"),
        (questions, "what waited for an answer is closed", "what waited for {} answers is closed"),
    ]
    told = [(one if count == 1 else many.format(count)) for count, one, many in said if count]
    if not told:
        return "There was nothing to stop."
    return f"Stopped: {'; '.join(told)}. What had been done by then stays done."
